"""What the doctor says of a manager of a swarm."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.doctor import swarm

LOCKED = {"ControlAvailable": True, "Cluster": {"Spec": {"EncryptionConfig": {"AutoLockManagers": True}}}}
OPEN = {"ControlAvailable": True, "Cluster": {"Spec": {}}}


def node(role: str, number: int, up: bool) -> dict[str, Any]:
    reachability = "" if role == "worker" else "reachable" if up else "unreachable"
    state = "ready" if up else "down"
    return {"role": role, "hostname": f"{role}{number}", "state": state, "reachability": reachability, "labels": {}}


@pytest.mark.parametrize(
    ("said", "opens", "words"),
    [
        (LOCKED, True, []),
        ({}, False, ["it is not in control of the swarm (no engine)"]),
        ({"LocalNodeState": "locked"}, False, ["it is not in control of the swarm (locked)"]),
        (OPEN, True, ["the swarm is not locked at rest"]),
        (LOCKED, False, ["the unlock key that is sealed here does not open what is on this manager's disk"]),
    ],
)
def test_a_manager(said: dict[str, Any], opens: bool, words: list[str]) -> None:
    assert list(swarm.amiss(said, opens)) == words


@pytest.mark.parametrize(
    ("managers", "workers", "words"),
    [
        ("111", "1", []),
        ("110", "1", ["2 of 3 managers are reachable, and the next one that is lost stops all changes"]),
        ("11110", "", ["4 of 5 managers are reachable, and 1 more may be lost"]),
        ("111", "010", ["worker0, worker2 are not ready"]),
        ("111", "0", ["worker0 is not ready"]),
    ],
)
def test_the_others(managers: str, workers: str, words: list[str]) -> None:
    nodes = [node("manager", at, up == "1") for at, up in enumerate(managers)]
    nodes += [node("worker", at, up == "1") for at, up in enumerate(workers)]
    found = list(swarm.away(nodes))
    assert [each.startswith(word) for each, word in zip(found, words, strict=True)] == [True] * len(words)
