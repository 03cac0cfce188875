"""A rollout on a swarm, from the state to the services, against a model of the managers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose, swarm
from ansible_collections.coffre.stack.plugins.module_utils.engines.swarm import deploy
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.staging import stage as staging
from tests.unit import described
from tests.unit.swarm.managers import Managers

RANDOM = {"type": "random", "bytes": 16}
RUN = audit.Author("run-1", "kim")


@pytest.fixture
def catalogue() -> Catalogue:
    return described.parse(
        {
            "secrets": [
                {"name": "password", "consumers": ["app"], "generate": RANDOM, "strategy": "replace"},
                {"name": audit.KEY, "consumers": ["host"], "generate": RANDOM, "strategy": "key_ring"},
            ],
            "services": [
                {"name": "app", "uid": 60611, "gid": 60611, "adopt": "start_first"},
                {"name": "other", "uid": 60612, "gid": 60612, "adopt": "restart"},
            ],
        }
    )


@pytest.fixture
def broken(managers: Managers, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The services whose new tasks end, so that Swarm goes back; all others come up at once."""
    names: set[str] = set()

    def call(command: Sequence[str], text: str = "", **_: Any) -> str:
        if list(command[:3]) == ["docker", "stack", "deploy"]:
            ((name, service),) = json.loads(text)["services"].items()
            deployed(managers, name, service, name in names)
        return ""

    monkeypatch.setattr(compose, "call", call)
    monkeypatch.setattr(compose, "save_logs", lambda *_, **__: False)
    monkeypatch.setattr(deploy, "STABLE_SECONDS", 0.0)
    monkeypatch.setattr(deploy, "POLL_SECONDS", 0.0)
    return names


def deployed(managers: Managers, name: str, service: dict[str, Any], fails: bool) -> None:
    labels = {**service["deploy"]["labels"], swarm.NAMESPACE: "demo"}
    container = {"Image": service["image"], "Labels": {**service["labels"], swarm.NAMESPACE: "demo"}}
    task = {"ID": f"t-{name}", "ServiceID": name, "CreatedAt": "1", "Spec": {"ContainerSpec": container}}
    if fails:
        managers.services[name]["UpdateStatus"] = {"State": "rollback_completed"}
        ended = {"State": "failed", "ContainerStatus": {"ExitCode": 1}}
        managers.tasks.append(task | {"DesiredState": "shutdown", "Status": ended})
        return
    template = {"ContainerSpec": container}
    wanted = {"Replicated": {"Replicas": service["deploy"].get("replicas")}}
    mode = {"Global": {}} if service["deploy"].get("mode") == "global" else wanted
    spec = {"Name": f"demo_{name}", "Labels": labels, "Mode": mode, "TaskTemplate": template}
    managers.services[name] = {"ID": name, "Version": {"Index": 1}, "Spec": spec}
    managers.tasks = [each for each in managers.tasks if each["ServiceID"] != name]
    managers.tasks.append(task | {"DesiredState": "running", "Status": {"State": "running"}})


def deploy_all(
    paths: StackPaths, catalogue: Catalogue, check: bool = False, agree: rollout.Agree | None = None
) -> dict[str, Any]:
    """Stage what is lacking, and roll."""

    def resolve(*given: Any) -> Any:
        return Demo("demo").resolve(catalogue, *given)

    if not check:
        with state.locked(paths):
            staging.deliver(paths, catalogue, resolve, staging.StagingOptions(), RUN)
    return rollout.roll(paths, catalogue, {}, {}, 5, RUN, agree, check=check)


def actions(result: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["action"] for each in result["services"]}


def replaced(paths: StackPaths, service: str = "app") -> None:
    """What a service has adopted is not what it is to have any more, so that it is given another bundle."""
    with state.locked(paths):
        st = state.load(paths)
        st.services[service].bundles[st.services[service].current or ""].uid = 1
        state.save(paths, st)


def test_a_check_of_a_new_stack_makes_nothing(paths: StackPaths, managers: Managers, catalogue: Catalogue) -> None:
    told = deploy_all(paths, catalogue, check=True)
    assert (told["changed"], actions(told)) == (True, {"app": "create", "other": "create"})
    assert (managers.configs, managers.secrets, paths.lib.exists()) == ({}, {}, False)


@pytest.mark.usefixtures("broken")
def test_a_service_that_was_scaled_by_hand_has_as_many_tasks_as_its_file_says(
    paths: StackPaths, managers: Managers, catalogue: Catalogue
) -> None:
    deploy_all(paths, catalogue)
    managers.services["app"]["Spec"]["Mode"]["Replicated"]["Replicas"] = 3
    (mine,) = (each for each in managers.tasks if each["ServiceID"] == managers.services["app"]["ID"])
    managers.tasks += [mine | {"ID": more} for more in ("t8", "t9")]
    told = {each["name"]: (each["action"], each["why"]) for each in deploy_all(paths, catalogue)["services"]}
    assert told == {"app": ("start_first", "number of tasks"), "other": ("nothing", "")}
    assert managers.services["app"]["Spec"]["Mode"] == {"Replicated": {"Replicas": 1}}


@pytest.mark.usefixtures("broken")
def test_the_second_rollout_changes_nothing(paths: StackPaths, catalogue: Catalogue) -> None:
    assert actions(deploy_all(paths, catalogue)) == {"app": "create", "other": "create"}
    entry = state.load(paths).services["app"]
    assert entry.current and not entry.next
    assert actions(deploy_all(paths, catalogue, check=True)) == {"app": "nothing", "other": "nothing"}
    again = deploy_all(paths, catalogue)
    assert (again["changed"], actions(again)) == (False, {"app": "nothing", "other": "nothing"})


@pytest.mark.usefixtures("broken")
def test_who_is_asked_to_accept_what_is_deployed(paths: StackPaths, catalogue: Catalogue) -> None:
    asked: list[tuple[str, bool]] = []

    def agree(_: state.State, service: str, dry: bool) -> rollout.Agreed:
        asked.append((service, dry))
        return rollout.Agreed({"password": ["secret"]} if service == "app" else {})

    told = deploy_all(paths, catalogue, agree=agree)
    assert asked == [("app", False), ("other", False)]
    assert [each["agreed"] for each in told["services"]] == [{"password": ["secret"]}, {}]
    told = deploy_all(paths, catalogue, check=True, agree=agree)
    assert asked[2:] == [("app", True), ("other", True)]
    assert told["changed"]
    assert set(actions(told).values()) == {"nothing"}


@pytest.mark.usefixtures("broken")
def test_a_changed_bundle_rolls_its_service_alone(paths: StackPaths, managers: Managers, catalogue: Catalogue) -> None:
    deploy_all(paths, catalogue)
    before = state.load(paths).services["app"].current
    replaced(paths)
    told = deploy_all(paths, catalogue)
    assert actions(told) == {"app": "start_first", "other": "nothing"}
    st = state.load(paths)
    assert st.services["app"].current not in (None, before)
    assert told["removed"] == [f"app/{before}"]
    assert managers.names == {f"demo.{secret.version}" for secret in st.secrets.values()}


def test_what_swarm_took_back_is_refused_and_recorded(
    paths: StackPaths, managers: Managers, catalogue: Catalogue, broken: set[str]
) -> None:
    deploy_all(paths, catalogue)
    before = state.load(paths).services["app"].current
    replaced(paths)
    broken.add("app")
    with pytest.raises(
        CoffreError, match=r"app could not adopt .* Swarm went back to what was there before: it exited"
    ):
        deploy_all(paths, catalogue)
    entry = state.load(paths).services["app"]
    assert (entry.current, entry.next) == (before, None)
    assert b'"outcome":"refused"' in paths.audit.read_bytes()
    assert managers.services["other"]["Spec"]["Labels"]


@pytest.fixture
def fronted() -> Catalogue:
    """A stack whose proxy has a secret and a route."""
    proxy: dict[str, Any] = {
        "name": "front",
        "uid": 60614,
        "gid": 60614,
        "adopt": "restart",
        "compose": {"x-coffre": {"proxy": {"haproxy": {"public_url": "https://localhost", "certificate": "password"}}}},
    }
    app = {
        "name": "app",
        "uid": 60611,
        "gid": 60611,
        "adopt": "restart",
        "compose": {"x-coffre": {"route": {"port": 80}}},
    }
    password = {"name": "password", "consumers": ["front"], "generate": RANDOM, "strategy": "replace"}
    return described.parse({"secrets": [password], "services": [proxy, app]})


@pytest.mark.usefixtures("broken")
def test_a_proxys_courier_comes_first_and_its_bundle_touches_nothing_else(
    paths: StackPaths, managers: Managers, fronted: Catalogue
) -> None:
    assert actions(deploy_all(paths, fronted)) == {"front": "create", "app": "create"}
    assert [*managers.services] == ["front-courier", "front", "app"]
    tasks = {each["ServiceID"]: each for each in managers.tasks}
    replaced(paths, "front")
    told = deploy_all(paths, fronted)
    assert actions(told) == {"front": "reload", "app": "nothing"}
    assert [name for name, task in tasks.items() if task not in managers.tasks] == ["front-courier"]
    assert state.load(paths).services["front"].next is None
    assert actions(deploy_all(paths, fronted)) == {"front": "nothing", "app": "nothing"}


def test_what_a_courier_is_refused_stays_with_the_proxys_bundle_of_before(
    paths: StackPaths, fronted: Catalogue, broken: set[str]
) -> None:
    deploy_all(paths, fronted)
    before = state.load(paths).services["front"].current
    replaced(paths, "front")
    broken.add("front-courier")
    with pytest.raises(CoffreError, match="front could not adopt"):
        deploy_all(paths, fronted)
    entry = state.load(paths).services["front"]
    assert (entry.current, entry.next) == (before, None)


def test_a_proxy_that_fails_behind_its_courier_keeps_the_bundle_that_this_brought(
    paths: StackPaths, managers: Managers, fronted: Catalogue, broken: set[str]
) -> None:
    deploy_all(paths, fronted)
    before = state.load(paths).services["front"].current
    replaced(paths, "front")
    managers.services["front"]["Spec"]["Labels"][swarm.SPEC] = "another"
    broken.add("front")
    with pytest.raises(CoffreError, match="front could not adopt"):
        deploy_all(paths, fronted)
    entry = state.load(paths).services["front"]
    assert entry.current not in (None, before)
