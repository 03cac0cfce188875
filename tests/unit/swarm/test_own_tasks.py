"""Services of Coffre's own on a swarm: one task each, a process's own, and none outlives it for long."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import raft, tasks
from tests.unit.swarm.managers import Managers

RUNNING = {"Status": {"State": "running", "ContainerStatus": {"PID": 42, "ContainerID": "c1"}}}
ME = f"here {os.getpid()} {raft.born(os.getpid())}"


def left(managers: Managers, called: str, owner: str) -> None:
    labels = {raft.STACK: "demo", tasks.OWNER: owner}
    managers.services[called] = {"ID": called, "Spec": {"Name": called, "Labels": labels}}


def test_a_task_is_this_nodes_and_nobody_elses(managers: Managers) -> None:
    managers.tasks = [RUNNING]
    first, second = (tasks.start("demo", "host", {"ContainerSpec": {"Image": "i"}}) for _ in range(2))
    assert (first.pid, first.container) == (42, "c1")
    assert set(managers.services) == {first.service, second.service}
    names = {each["Spec"]["Name"] for each in managers.services.values()}
    assert len(names) == 2
    assert all(each.startswith("demo_host-") and len(each) <= len("demo_host-") + 8 for each in names)
    template = managers.services[first.service]["Spec"]["TaskTemplate"]
    assert template["Placement"] == {"Constraints": ["node.id==here"]}
    assert (template["RestartPolicy"], template["LogDriver"]) == ({"Condition": "none"}, {"Name": "none"})
    tasks.stop(first.service)
    tasks.stop(first.service)
    assert set(managers.services) == {second.service}


@pytest.mark.parametrize(
    ("owner", "stays"),
    [
        (ME, True),
        (f"here {os.getpid()} 1", False),
        (f"here {2**22 + 1} 1", False),
        ("up 1 1", True),
        ("down 1 1", False),
        ("gone 1 1", False),
    ],
    ids=["alive", "another process of its number", "dead", "a manager that is up", "one that is down", "one that left"],
)
def test_what_a_dead_process_left_is_ended_by_the_next(managers: Managers, owner: str, stays: bool) -> None:
    managers.tasks = [RUNNING]
    managers.nodes = {name: {"ID": name, "Spec": {}, "Status": {"State": state}} for name, state in NODES.items()}
    left(managers, "left", owner)
    tasks.start("demo", "host", {})
    assert ("left" in managers.services) == stays


def test_whoever_takes_over_ends_what_other_managers_have_of_the_stack(managers: Managers) -> None:
    for called, owner in (("mine", ME), ("anothers", "up 1 1")):
        left(managers, called, owner)
    managers.services["plain"] = {"ID": "plain", "Spec": {"Name": "plain", "Labels": {raft.STACK: "demo"}}}
    tasks.oust("demo")
    assert set(managers.services) == {"mine", "plain"}


NODES = {"here": "ready", "up": "ready", "down": "down"}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"State": "rejected", "Err": "No such image: i"}, "No such image: i"),
        ({"State": "failed"}, "failed"),
        ({"State": "pending", "Err": "no suitable node"}, "no suitable node"),
        (None, "it has no task"),
    ],
)
def test_one_that_does_not_start_is_told_and_leaves_nothing(
    managers: Managers, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any] | None, why: str
) -> None:
    monkeypatch.setattr(tasks, "TASK_SECONDS", 0.0)
    managers.tasks = [{"Status": status}] if status else []
    with pytest.raises(
        CoffreError, match=rf"^The service demo_host-\w+, a help to work on demo, does not do: {why}\.$"
    ):
        tasks.start("demo", "host", {})
    assert managers.services == {}


def test_work_on_another_node_is_waited_for(managers: Managers, monkeypatch: pytest.MonkeyPatch) -> None:
    managers.tasks = [RUNNING]
    monkeypatch.setattr(tasks, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(time, "sleep", lambda _: managers.tasks[0].update(done()))
    with tasks.finished("demo", "reads", {}, "other") as service:
        placement = managers.services[service]["Spec"]["TaskTemplate"]["Placement"]
        assert placement == {"Constraints": ["node.id==other"]}
    assert managers.services == {}


def done() -> dict[str, Any]:
    return {"Status": {"State": "complete", "ContainerStatus": {"PID": 0, "ContainerID": "c1"}}}
