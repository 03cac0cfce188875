"""The module that has every manager keep trail and state tells of one that cannot, and leaves it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.modules import swarm_export


@pytest.mark.parametrize(("said", "warns"), [("inactive", False), ("locked", True), ("active", True)])
def test_a_manager_that_is_not_in_control(said: str, warns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any) -> dict[str, Any]:
        return {"Swarm": {"LocalNodeState": said, "ControlAvailable": False}}

    monkeypatch.setattr(swarm_export, "ask", ask)
    found = swarm_export.work("demo", "", check=False)
    assert found == {"changed": False, "records": 0, "warnings": [swarm_export.AWAY] if warns else []}


def test_the_authority_is_kept_too(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm_export, "ask", lambda *_: {"Swarm": {"ControlAvailable": True}})
    monkeypatch.setattr(swarm_export, "StackPaths", lambda *_, **__: paths)
    with state.locked(paths):
        state.save(paths, state.State("demo"))

    def run(authority: str, check: bool = False) -> bool:
        return bool(swarm_export.work("demo", authority, check)["changed"])

    assert run("one", check=True) and not paths.authority.exists()
    assert [run("one"), run("one"), run(""), run("two")] == [True, False, False, True]
    assert (paths.authority.read_text(), paths.authority.stat().st_mode & 0o777) == ("two", 0o644)
