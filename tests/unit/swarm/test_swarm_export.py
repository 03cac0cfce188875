"""The module that has every manager keep trail and state tells of one that cannot, and leaves it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.modules import swarm_export


@pytest.mark.parametrize(("said", "warns"), [("inactive", False), ("locked", True), ("active", True)])
def test_a_manager_that_is_not_in_control(said: str, warns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any) -> dict[str, Any]:
        return {"Swarm": {"LocalNodeState": said, "ControlAvailable": False}}

    monkeypatch.setattr(swarm_export, "ask", ask)
    found = swarm_export.work("demo", check=False)
    assert found == {"changed": False, "records": 0, "warnings": [swarm_export.AWAY] if warns else []}
