"""A teardown on a swarm: what the managers have of a stack goes under its lock, the state last."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import swarm
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import objects, raft, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import swarm_teardown as core
from tests.unit.swarm.managers import Managers

HOSTS = ("one", "two")


def node(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "ID": f"n-{name}",
        "Version": {"Index": 1},
        "Description": {"Hostname": name},
        "Status": {"State": "ready"},
        "Spec": {"Name": name, "Role": "worker", "Labels": labels},
    }


@pytest.fixture
def deployed(paths: StackPaths, managers: Managers, monkeypatch: pytest.MonkeyPatch) -> Managers:
    """Two stacks that run on two nodes, each with everything that one can have."""
    monkeypatch.setattr(core, "ask", managers.ask)
    monkeypatch.setattr(core, "GONE_SECONDS", 0.0)
    for stack in ("demo", "demo-2"):
        of = {swarm.NAMESPACE: stack}
        for name in ("app", "db"):
            managers.ask("POST", "/services/create", {"Name": f"{stack}_{name}", "Labels": of})
        managers.ask("POST", "/services/create", {"Name": f"{stack}_host", "Labels": {raft.STACK: stack}})
        managers.ask("POST", "/networks/create", {"Name": f"{stack}_inner", "Labels": of})
        managers.ask("POST", "/configs/create", {"Name": f"{stack}_file", "Labels": of})
        its = StackPaths(stack, paths.run_root, paths.lib_root, engine="swarm")
        objects.keep(its, {"a": b"1", "b": b"2"})
        with state.locked(its):
            state.save(its, state.State(stack))
            raft.keep_trail(its, [b"{}\n"])
    label = {"coffre.demo": "true", "coffre.demo-2": "true"}
    managers.nodes |= {f"n-{each}": node(each, {**label, "coffre.host": each}) for each in HOSTS}
    managers.nodes["n-one"]["Spec"]["Labels"]["coffre.demo.data"] = "true"
    return managers


def names(managers: Managers, stack: str) -> set[str]:
    """What the managers have of a stack."""
    kinds = (managers.services, managers.networks, managers.configs, managers.secrets)
    found = {each["Spec"]["Name"] for kind in kinds for each in kind.values()}
    return {name.removeprefix(stack) for name in found if name.startswith((f"{stack}.", f"{stack}_"))}


def labels(managers: Managers) -> set[str]:
    return {label for each in managers.nodes.values() for label in each["Spec"]["Labels"]}


def test_what_runs_goes_and_what_it_is_made_of_stays(paths: StackPaths, deployed: Managers) -> None:
    told = core.teardown(paths, "", check=False, hosts=HOSTS)
    assert told == {"changed": True, "removed": ["3 services", "1 networks", "1 configs"], "warnings": []}
    assert names(deployed, "demo") == {".a", ".b", ".state", ".trail"}
    assert "coffre.demo.data" in labels(deployed)
    assert state.load(paths) == state.State("demo")
    assert core.teardown(paths, "", check=False, hosts=HOSTS)["changed"] is False


def test_for_good(paths: StackPaths, deployed: Managers) -> None:
    told = core.teardown(paths, "demo", check=False, hosts=HOSTS)
    assert told["removed"] == ["3 services", "1 networks", "3 configs", "2 secrets", "the labels of 2 nodes"]
    assert names(deployed, "demo") == set()
    assert labels(deployed) == {"coffre.demo-2", "coffre.host"}
    assert len(names(deployed, "demo-2")) == 9
    again = core.teardown(paths, "demo", check=False, hosts=HOSTS)
    assert again == {"changed": False, "removed": [], "warnings": []}


def test_a_check_only_tells(paths: StackPaths, deployed: Managers) -> None:
    before = names(deployed, "demo")
    assert core.teardown(paths, "demo", check=True, hosts=HOSTS)["changed"]
    assert names(deployed, "demo") == before
    assert "coffre.demo" in labels(deployed)


def test_another_name_removes_nothing(paths: StackPaths, deployed: Managers) -> None:
    with pytest.raises(CoffreError, match="not the name of this stack; nothing was removed"):
        core.teardown(paths, "demo-2", check=False, hosts=HOSTS)
    assert len(names(deployed, "demo")) == 9


def test_a_rotation_that_is_alive_is_left_alone(paths: StackPaths, deployed: Managers) -> None:
    with state.locked(paths):
        run = state.Run("r1", "play", "ann", state.now(), state.now(60), {})
        state.save(paths, state.State("demo", run=run))
    with pytest.raises(CoffreError, match=r"ann has been rotating .* nothing was removed: wait"):
        core.teardown(paths, "demo", check=False, hosts=HOSTS)
    assert len(names(deployed, "demo")) == 9


def test_it_waits_for_the_lock(paths: StackPaths, deployed: Managers, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = state.locked
    monkeypatch.setattr(state, "locked", lambda paths: locked(paths, 0.1))
    with locked(paths), pytest.raises(CoffreError, match="Another run has been working on stack demo"):
        core.teardown(paths, "demo", check=False, hosts=HOSTS)
    assert len(names(deployed, "demo")) == 9


def test_without_a_majority_nothing_goes(paths: StackPaths, deployed: Managers) -> None:
    deployed.majority = False
    with pytest.raises(CoffreError, match="does not have a leader"):
        core.teardown(paths, "demo", check=False, hosts=HOSTS)
    deployed.majority = True
    assert len(names(deployed, "demo")) == 9


def test_tasks_that_do_not_end_keep_the_secrets_and_the_state(paths: StackPaths, deployed: Managers) -> None:
    deployed.tasks = [{"NodeID": "n-two", "CreatedAt": "1"}]
    with pytest.raises(
        CoffreError, match=r"not wholly removed: two has tasks of it .* run playbooks/teardown.yml again"
    ):
        core.teardown(paths, "demo", check=False, hosts=HOSTS)
    assert {".a", ".b", ".state", ".trail", "_inner"} <= names(deployed, "demo")


def test_a_node_that_is_down_is_not_waited_for(paths: StackPaths, deployed: Managers) -> None:
    deployed.tasks = [{"NodeID": "n-two", "CreatedAt": "1"}]
    deployed.nodes["n-two"]["Status"]["State"] = "down"
    (warning,) = core.teardown(paths, "demo", check=False, hosts=["one"])["warnings"]
    assert warning.startswith("What two has of it stays there")
    assert names(deployed, "demo") == set()


def test_what_a_task_that_ends_has_still_is_asked_for_again(
    paths: StackPaths, deployed: Managers, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.mounted = {"demo.a"}
    monkeypatch.setattr(core, "GONE_SECONDS", 60.0)
    monkeypatch.setattr(time, "sleep", lambda _: deployed.mounted.clear())
    core.teardown(paths, "demo", check=False, hosts=HOSTS)
    assert names(deployed, "demo") == set()


@pytest.mark.parametrize("held", ["demo_inner", "demo.a"])
def test_what_somebody_else_holds_keeps_the_state_and_is_told(paths: StackPaths, deployed: Managers, held: str) -> None:
    deployed.mounted = {held}
    with pytest.raises(CoffreError, match="not wholly removed"):
        core.teardown(paths, "demo", check=False, hosts=HOSTS)
    assert {held.removeprefix("demo"), ".state"} <= names(deployed, "demo")


def test_a_node_that_changes_meanwhile_is_read_anew(
    paths: StackPaths, deployed: Managers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(method: str, path: str, *given: Any, **more: Any) -> Any:
        if path == "/nodes/n-two/update" and not changed:
            changed.append(path)
            deployed.nodes["n-two"]["Version"] = {"Index": 99}
        return deployed.ask(method, path, *given, **more)

    changed: list[str] = []
    monkeypatch.setattr(core, "ask", ask)
    monkeypatch.setattr(core, "GONE_SECONDS", 60.0)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    core.teardown(paths, "demo", check=False, hosts=HOSTS)
    assert labels(deployed) == {"coffre.demo-2", "coffre.host"}
    assert changed and names(deployed, "demo") == set()
