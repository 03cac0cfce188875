"""What a look makes of the engine's answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.swarm import look

MANAGER: dict[str, Any] = {
    "ID": "id1",
    "Spec": {"Role": "manager", "Availability": "active", "Labels": {"coffre.host": "m1"}},
    "Description": {"Hostname": "one"},
    "Status": {"State": "ready", "Addr": "192.0.2.9"},
    "ManagerStatus": {"Reachability": "reachable", "Addr": "192.0.2.1:2377"},
}
WORKER: dict[str, Any] = {
    "ID": "id2",
    "Spec": {"Role": "worker", "Availability": "drain", "Labels": {}},
    "Description": {"Hostname": "two"},
    "Status": {"State": "down", "Addr": "192.0.2.2"},
}


def test_a_node() -> None:
    assert look.parse(MANAGER) == {
        "id": "id1",
        "hostname": "one",
        "role": "manager",
        "availability": "active",
        "state": "ready",
        "address": "192.0.2.1",
        "reachability": "reachable",
        "labels": {"coffre.host": "m1"},
    }
    assert (look.parse(WORKER)["address"], look.parse(WORKER)["reachability"]) == ("192.0.2.2", "")


@pytest.mark.parametrize(
    ("release", "engine"),
    [('VERSION_ID="12"', "20.10"), ("VERSION_ID=13", "26.1"), ('VERSION_ID="24.04"', ""), ("", "")],
)
def test_the_engine_that_would_be_installed(release: str, engine: str, tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text(f"ID=debian\n{release}\n")
    assert look._of_debian(tmp_path / "os-release") == engine
    assert look._of_debian(tmp_path / "none") == ""


def test_a_host_without_an_engine_is_in_no_swarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_docker", lambda *_: "")
    monkeypatch.setattr(look, "_in_namespace", lambda _: True)
    found = look.look("192.0.2.7", 0)
    said = {key: found[key] for key in ("address", "state", "node", "control", "cluster", "labels", "nodes", "lacks")}
    assert said == {
        "address": "192.0.2.7", "state": "inactive", "node": "", "control": False, "cluster": "", "labels": {},
        "nodes": [], "lacks": [],
    }  # fmt: skip


def test_a_manager_is_in_control_where_it_finds_a_leader_within_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = {"LocalNodeState": "active", "ControlAvailable": True}
    led = alone | {"Cluster": {"ID": "c", "Spec": {"Labels": {"coffre.swarm": "mine"}}}}
    monkeypatch.setattr(look, "_in_namespace", lambda _: True)
    monkeypatch.setattr(look, "_docker", lambda *_: "")
    monkeypatch.setattr(look, "nodes", lambda: [{"id": "1"}])
    clock = iter(range(1000))
    passing = SimpleNamespace(time=lambda: 0.0, monotonic=lambda: float(next(clock)), sleep=lambda _: None)
    monkeypatch.setattr(look, "time", passing)
    for said, control in (([alone, alone, led], True), ([alone] * 100, False)):
        answers = iter(said)
        monkeypatch.setattr(look, "info", lambda answers=answers: {"Swarm": next(answers)})
        found = look.look("192.0.2.7", 0)
        assert (found["control"], bool(found["labels"]), bool(found["nodes"])) == (control,) * 3
