"""How far a service is, from what the managers tell, and what becomes of one whose tasks do not come up."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.compose_file import LABEL_ADOPT, LABEL_BUNDLE
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose, swarm
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import DesiredService
from ansible_collections.coffre.stack.plugins.module_utils.engines.swarm import deploy
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.rollout import on_swarm
from tests.unit.swarm.managers import Managers

NEW, OLD = "new", "old"


def service(spec: str = NEW, replicas: int = 1, update: str = "") -> dict[str, Any]:
    labels = {swarm.SPEC: spec, swarm.NAMESPACE: "demo"}
    about = {"Name": "demo_app", "Labels": labels, "Mode": {"Replicated": {"Replicas": replicas}}}
    state = {"UpdateStatus": {"State": update}} if update else {}
    return {"ID": "s1", "Version": {"Index": 1}, "Spec": about, **state}


def task(
    spec: str = NEW, state: str = "running", wanted: str = "running", error: str = "", code: int | None = None
) -> dict[str, Any]:
    status: dict[str, Any] = {"State": state, "Err": error}
    if code is not None:
        status["ContainerStatus"] = {"ExitCode": code}
    container = {"Image": "i", "Labels": {swarm.SPEC: spec, swarm.NAMESPACE: "demo"}}
    return {
        "ID": "t1",
        "ServiceID": "s1",
        "CreatedAt": "2026-01-01T00:00:00Z",
        "DesiredState": wanted,
        "Status": status,
        "Spec": {"ContainerSpec": container},
    }


@pytest.mark.parametrize(
    ("there", "tasks", "settled"),
    [
        (service(), [task()], True),
        (service(update="completed"), [task(), task(OLD, "shutdown", "shutdown")], True),
        (service(replicas=2), [task()], False),
        (service(), [task(state="starting")], False),
        (service(), [task(), task(OLD)], False),
        (service(update="updating"), [task()], False),
        (service(), [task(wanted="shutdown")], False),
        (service(), [], False),
        (None, [], False),
    ],
)
def test_a_service_is_settled_when_all_its_tasks_are_of_its_kind_and_run(
    there: dict[str, Any] | None, tasks: list[dict[str, Any]], settled: bool
) -> None:
    assert deploy.standing(there, tasks, NEW).settled is settled


@pytest.mark.parametrize(
    ("tasks", "settled"),
    [
        ({"n1": [task()], "n2": [task()]}, True),
        ({"n1": [task()], "n2": [task(state="pending", error="port in use")]}, False),
        ({"n1": [task()], "n2": [task(OLD, "shutdown", "shutdown")]}, True),
        ({"n1": [task()], "n2": [task(OLD), task()]}, False),
        ({}, False),
    ],
    ids=["on each", "one waits", "a node is away", "the old one is there still", "none yet"],
)
def test_of_a_service_on_every_node_each_that_has_a_task_counts(
    tasks: dict[str, list[dict[str, Any]]], settled: bool
) -> None:
    there = service()
    there["Spec"]["Mode"] = {"Global": {}}
    given = [each | {"NodeID": node} for node, found in tasks.items() for each in found]
    assert deploy.standing(there, given, NEW).settled is settled


def test_tasks_of_another_service_do_not_count() -> None:
    assert deploy.standing(service(), [task() | {"ServiceID": "s2"}], NEW).right == 0


def test_why_tasks_ended_and_why_one_waits_is_told() -> None:
    ended = [task(state="failed", wanted="shutdown", code=3), task(state="rejected", error="No such image: x:1")]
    now = deploy.standing(service(), [*ended, task(state="pending", error="no suitable node")], NEW)
    assert (now.last, now.pending) == ("No such image: x:1", "no suitable node")


@pytest.fixture
def stage(managers: Managers, monkeypatch: pytest.MonkeyPatch) -> Managers:
    """A service of before, and a clock that goes on by what is slept."""
    now = [0.0]
    managers.services["s1"] = service(OLD)
    managers.tasks = [task(OLD)]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(compose, "save_logs", lambda *_, **__: False)
    return managers


WHOLE = {"services": {"app": {"deploy": {"labels": {swarm.SPEC: NEW}}}}}


def test_a_service_that_comes_up_is_done(stage: Managers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def call(command: list[str], _: str) -> str:
        assert command[:5] == ["docker", "stack", "deploy", "--resolve-image", "never"]
        stage.services["s1"] = service(NEW, update="completed")
        stage.tasks = [task(NEW), task(OLD, "shutdown", "shutdown")]
        return ""

    monkeypatch.setattr(compose, "call", call)
    assert deploy.deploy("demo", WHOLE, "app", 60, tmp_path / "log", lambda: None) == ""


def test_what_swarm_has_put_back_is_told_with_the_reason(
    stage: Managers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def call(*_: Any) -> str:
        stage.services["s1"] = service(OLD, update="rollback_completed")
        stage.tasks = [task(OLD), task(NEW, "rejected", "shutdown", "No such image: x:1")]
        return ""

    monkeypatch.setattr(compose, "call", call)
    told = deploy.deploy("demo", WHOLE, "app", 60, tmp_path / "log", lambda: None)
    assert told == ("Swarm went back to what was there before: No such image: x:1; what was there before serves again")


@pytest.mark.parametrize(
    ("update", "of", "said"),
    [
        ("rollback_completed", OLD, ""),  # which is what is wanted, as where a rotation is undone
        ("rollback_completed", NEW, "Swarm went back to what was there before: nobody says why"),
        ("rollback_paused", OLD, "Swarm has paused its update: nobody says why"),
    ],
)
def test_what_swarm_has_put_back_is_well_where_it_is_what_is_wanted(
    update: str, of: str, said: str, stage: Managers
) -> None:
    stage.services["s1"] = service(OLD, update=update)
    stage.tasks = [] if "paused" in update else [task(OLD)]
    assert deploy.wait("demo", "app", of, 60) == said


def test_a_task_that_finds_no_node_is_taken_back_when_its_time_is_over(
    stage: Managers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []

    def call(*_: Any) -> str:
        stage.services["s1"] = service(NEW, update="updating")
        stage.tasks = [task(OLD), task(NEW, "pending", error="no suitable node")]
        return ""

    def ask(method: str, path: str, *given: Any, **query: Any) -> Any:
        if method == "POST":
            asked.append(query)
            stage.services["s1"], stage.tasks = service(OLD, update="rollback_completed"), [task(OLD)]
            return None
        return stage.ask(method, path, *given, **query)

    monkeypatch.setattr(compose, "call", call)
    monkeypatch.setattr(deploy, "ask", ask)
    told = deploy.deploy("demo", WHOLE, "app", 60, tmp_path / "log", lambda: None)
    assert told.startswith("0 of 1 tasks run after 60 s: no suitable node")
    assert told.endswith("; what was there before serves again")
    assert asked == [{"version": 1, "rollback": "previous"}]


def test_a_new_service_whose_tasks_end_again_and_again_is_removed(
    stage: Managers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[list[str]] = []
    stage.services.clear()
    stage.tasks.clear()

    def call(command: list[str], *_: Any) -> str:
        called.append(command[:3])
        stage.services["s1"] = service(NEW)
        stage.tasks = [task(NEW, "failed", "shutdown", code=1) | {"ID": each} for each in "abc"]
        return ""

    monkeypatch.setattr(compose, "call", call)
    told = deploy.deploy("demo", WHOLE, "app", 60, tmp_path / "log", lambda: None)
    assert told.startswith("its tasks end again and again: it exited with code 1; it was removed")
    assert called[-1] == ["docker", "service", "rm"]


def test_a_flash_of_readiness_does_not_count(stage: Managers, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([[task(NEW)], [task(NEW, "failed", "shutdown")], *([[task(NEW)]] * 5)])
    stage.services["s1"] = service(NEW)

    def ask(method: str, path: str, *given: Any, **query: Any) -> Any:
        if path == "/tasks":
            stage.tasks = next(turns)
        return stage.ask(method, path, *given, **query)

    monkeypatch.setattr(swarm, "ask", ask)
    assert deploy.wait("demo", "app", NEW, 60) == ""
    assert len(list(turns)) < 3


def test_tasks_are_told_as_containers() -> None:
    told = task() | {
        "NodeID": "there",
        "Slot": 2,
        "NetworksAttachments": [{"Network": {"Spec": {}}, "Addresses": ["10.0.1.5/24"]}],
    }
    told["Spec"]["ContainerSpec"] |= {"Healthcheck": {"Test": ["CMD", "true"]}}
    told["Status"]["ContainerStatus"] = {"ContainerID": "c1", "PID": 42}
    here, elsewhere = (swarm.container(told, "app", node) for node in ("there", "here"))
    assert (here.id, here.pid, here.elsewhere) == ("c1", 42, False)
    assert (elsewhere.id, elsewhere.task, elsewhere.pid, elsewhere.elsewhere) == ("c1", "t1", 0, True)
    assert (here.state, here.health, here.addresses) == ("running", "healthy", frozenset({"10.0.1.5"}))


def test_a_courier_counts_for_no_container(stage: Managers) -> None:
    labels = {LABEL_ADOPT: "reload"}
    proxy, courier = task(), task() | {"ServiceID": "s2"}
    proxy["Spec"]["ContainerSpec"]["Labels"] |= labels
    courier["Spec"]["ContainerSpec"]["Labels"] |= {**labels, LABEL_BUNDLE: "0a1b2c3d4e5f"}
    stage.services["s2"] = service() | {"ID": "s2"}
    stage.services["s2"]["Spec"]["Name"] = "demo_app-courier"
    stage.tasks = [proxy, courier]
    assert [each.service for each in swarm.containers("demo")] == ["app"]


def test_a_node_that_the_managers_do_not_reach_is_asked_nothing(stage: Managers) -> None:
    """Its tasks run for all that is known, and are to run no more."""
    ports = {"Ports": [{"TargetPort": 8443, "PublishedPort": 443}, {"TargetPort": 8080, "PublishedPort": 80}]}
    stage.nodes = {f"n{n}": {"ID": f"n{n}", "Spec": {}, "Status": {"Addr": f"192.0.2.{n}"}} for n in (1, 2)}
    stage.tasks = [task() | {"NodeID": "n1"}, task(wanted="shutdown") | {"NodeID": "n2"}]
    stage.services["s1"] = service()
    assert swarm.places("demo", "app", 8443) == []
    stage.services["s1"]["Spec"]["EndpointSpec"] = ports
    assert swarm.places("demo", "app", 8443) == [("192.0.2.1", 443)]


def test_a_task_that_had_ended_before_does_not_count(stage: Managers) -> None:
    """Of a service that was never updated Swarm tells of no update, and remembers its tasks over reboots."""
    ended = [task(NEW, "failed", "shutdown", code=1) | {"ID": each} for each in "abc"]
    stage.services["s1"], stage.tasks = service(NEW), [*ended, task(NEW)]
    assert deploy.wait("demo", "app", NEW, 60) == ""
    assert deploy.wait("demo", "app", NEW, 60, ended=()) == ""
    stage.tasks = [*ended, task(NEW, "starting")]
    assert deploy.wait("demo", "app", NEW, 60).startswith("0 of 1 tasks run after 60 s: it exited with code 1")
    assert deploy.wait("demo", "app", NEW, 60, ended=()).startswith("its tasks end again and again")


def test_each_task_has_its_time(stage: Managers, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.services["s1"] = service(NEW, replicas=3, update="updating")

    def ask(method: str, path: str, *given: Any, **query: Any) -> Any:
        come = min(int(time.monotonic() // 50), 3)
        stage.tasks = [task(NEW)] * come + [task(OLD)] * (3 - come)
        stage.services["s1"] = service(NEW, replicas=3, update="updating" if come < 3 else "completed")
        return stage.ask(method, path, *given, **query)

    monkeypatch.setattr(swarm, "ask", ask)
    assert deploy.wait("demo", "app", NEW, 60) == ""
    assert time.monotonic() > 150


def test_a_paused_node_is_named_where_a_task_does_not_go(stage: Managers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "ask", stage.ask)
    stage.nodes["n1"] = {"ID": "n1", "Spec": {"Availability": "pause"}, "Description": {"Hostname": "w1"}}
    stage.services["s1"], stage.tasks = service(NEW, update="completed"), [task(OLD) | {"NodeID": "n1"}]
    assert "w1 paused: activate or drain what is" in deploy.wait("demo", "app", NEW, 60)


def test_swarm_is_not_asked_for_what_it_has_no_memory_of(
    stage: Managers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same was asked of it twice, so what was there before is what fails."""

    def call(*_: Any) -> str:
        stage.services["s1"] = {**service(NEW, update="updating"), "PreviousSpec": service(NEW)["Spec"]}
        stage.tasks = [task(NEW, "pending", error="no suitable node")]
        return ""

    monkeypatch.setattr(compose, "call", call)
    told = deploy.deploy("demo", WHOLE, "app", 60, tmp_path / "log", lambda: None)
    assert told.endswith("no suitable node; and Swarm knows nothing else that was there before")
    assert ("POST", "/services/s1/update") not in stage.asked


def test_who_was_taken_over_takes_nothing_back(
    stage: Managers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What looks like Swarm's own way back is the other run's rollout."""
    answers = iter([None])

    def hold() -> None:
        if next(answers, "lost"):
            raise CoffreError("Another run has taken over")

    def call(*_: Any) -> str:
        stage.services["s1"], stage.tasks = service("another", update="updating"), [task(NEW)]
        return ""

    monkeypatch.setattr(compose, "call", call)
    with pytest.raises(CoffreError, match="Another run has taken over"):
        deploy.deploy("demo", WHOLE, "app", 60, tmp_path / "log", hold)
    assert ("POST", "/services/s1/update") not in stage.asked


@pytest.mark.parametrize(
    ("update", "tasks", "action"),
    [
        ("updating", [task(), task(OLD)], "wait"),  # asked once more, Swarm would not take it back by itself any longer
        ("rollback_started", [task(), task(OLD)], "wait"),
        ("paused", [task(), task(OLD)], "finish"),
        ("completed", [task(), task(OLD)], "finish"),
        ("rollback_completed", [task(state="starting")], "wait"),
        ("rollback_completed", [task()], "nothing"),
    ],
)
def test_what_a_service_needs_by_how_far_swarm_is(update: str, tasks: list[dict[str, Any]], action: str) -> None:
    there = service(update=update)
    desired = DesiredService("app", NEW, "i", None, None, "start_first", "")
    assert on_swarm._step(desired, deploy.standing(there, tasks, NEW), there, 1).action == action
