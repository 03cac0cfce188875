"""A stack on a swarm whose managers are a model, and whose values are read where that keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import swarm
from ansible_collections.coffre.stack.plugins.module_utils.engines.swarm import deploy
from ansible_collections.coffre.stack.plugins.module_utils.host import api, objects, raft
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from tests.unit.swarm.managers import Managers


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    return StackPaths("demo", tmp_path / "run", tmp_path / "lib", engine="swarm")


@pytest.fixture(autouse=True)
def managers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Managers]:
    model = Managers()
    for module in (api, raft, swarm, deploy):
        monkeypatch.setattr(module, "ask", model.ask)

    def read(of: StackPaths, _: object) -> dict[str, bytes]:
        return {called: model.value(f"{of.stack}.{called}") for called in objects.there(of)}

    monkeypatch.setattr(objects, "_read", read)
    monkeypatch.setattr(swarm, "near", lambda _: nullcontext())
    objects._known.clear()
    yield model
    objects._known.clear()
    raft._held.clear()
