"""State files that earlier versions wrote, at rest and with a rotation open, are read whole and gone on from.

Those in states/ were saved on a host between the acts of one rotation of three secrets.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.host import restore, seals, state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rotation import plan, run
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.strategies import loading
from tests.unit import described

STATES = sorted((Path(__file__).parent / "states").glob("*.json"))
DATABASE, CLIENT, SESSION = "keycloak-db-password", "keycloak-service-client-secret", "flask-secret-key"
RANDOM = {"type": "random", "bytes": 32}
CATALOGUE = described.parse(
    {
        "secrets": [
            {"name": SESSION, "consumers": ["app"], "generate": RANDOM, "strategy": "key_ring"},
            {"name": DATABASE, "consumers": ["keycloak"], "generate": RANDOM, "strategy": "postgres_role"},
            {"name": CLIENT, "consumers": ["app", "host"], "generate": RANDOM, "strategy": "keycloak_client"},
        ],
        "services": [
            {"name": "keycloak", "uid": 60612, "gid": 60612, "adopt": "start_first"},
            {"name": "app", "uid": 60611, "gid": 60611, "adopt": "start_first"},
        ],
    }
)
ALL = {SESSION, DATABASE, CLIENT}
# By saved file: which way a play that takes over goes, and which acts it does, each for these secrets.
GOES_ON: dict[str, tuple[str, dict[str, set[str]]]] = {
    "taught": ("back", dict.fromkeys(["adopted", "withdrawn", "proved", "confirmed", "refused"], ALL)),
    "exposed": ("back", dict.fromkeys(["published", "adopted", "withdrawn", "proved", "confirmed", "refused"], ALL)),
    "withdrawn": ("forward", dict.fromkeys(["confirmed", "withdrawn", "refused"], ALL)),
}


def placed(tmp_path: Path, data: dict[str, Any]) -> StackPaths:
    paths = StackPaths("coffre-demo", tmp_path / "run", tmp_path / "lib")
    paths.lib.mkdir(parents=True)
    paths.state.write_text(json.dumps(data))
    return paths


@pytest.mark.parametrize("direction", ["forward", "back"])
@pytest.mark.parametrize("saved", STATES, ids=lambda path: path.stem)
def test_nothing_of_a_state_is_lost(tmp_path: Path, saved: Path, direction: str) -> None:
    data = json.loads(saved.read_text())
    if data["run"] and direction == "back":
        data["run"]["direction"] = "back"
        data["run"]["secrets"][CLIENT]["undo"] = "withdrawn"
    paths = placed(tmp_path, data)
    read = state.load(paths)
    if data["run"]:
        data["run"]["exposed"] = data["run"].pop("handed")
    for entry in data["services"].values():
        for bundle in entry["bundles"].values():
            bundle["dates"] = {}  # not noted then
    assert asdict(read) == data
    state.save(paths, read)
    assert state.load(paths) == read


class Strategy:
    """Does what it is asked."""

    def make(self, *_: object) -> bytes:
        return b"new"

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No seals, no tmpfs, no trail."""
    monkeypatch.setattr(loading, "load", lambda _: Strategy())
    monkeypatch.setattr(seals, "seal", lambda *_: None)
    monkeypatch.setattr(tmpfs, "ensure", lambda _: None)
    monkeypatch.setattr(restore, "raise_bundles", lambda *_: None)
    monkeypatch.setattr(audit, "happened", lambda *_: None)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", GOES_ON)
def test_a_rotation_that_was_open_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    direction, expected = GOES_ON[name]
    paths = placed(tmp_path, json.loads((STATES[0].parent / f"{name}.json").read_text()))
    settings = run.RotationSettings("r2", "kim", Demo("demo"))
    st = state.load(paths)
    assert st.run
    request = plan.RotationRequest((), 14, st.run.id, only_open=True)
    plan.take_over(paths, st, request, settings)
    done: dict[str, set[str]] = {}
    monkeypatch.setattr(run, "_act", lambda given, act, *_: done.setdefault(act, set()).add(given.secret.name))
    for phase in run.PHASES[direction]:
        run.perform(paths, CATALOGUE, phase, settings)
    st = state.load(paths)
    assert st.run
    assert (st.run.direction, done) == (direction, expected)
    assert {each.undo or each.step for each in st.run.secrets.values()} == {"refused"}
