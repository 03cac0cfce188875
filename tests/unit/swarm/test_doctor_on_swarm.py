"""The doctor on a swarm: what the manager that acts is asked, and what each node, and that what is planted is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue
from ansible_collections.coffre.stack.plugins.module_utils.compose_file import LABEL_BUNDLE
from ansible_collections.coffre.stack.plugins.module_utils.doctor import answers as doctor_answers
from ansible_collections.coffre.stack.plugins.module_utils.doctor import checks as doctor
from ansible_collections.coffre.stack.plugins.module_utils.doctor import containers as doctor_containers
from ansible_collections.coffre.stack.plugins.module_utils.doctor import leaks as doctor_leaks
from ansible_collections.coffre.stack.plugins.module_utils.doctor import swarm as doctor_swarm
from ansible_collections.coffre.stack.plugins.module_utils.doctor import target as examined
from ansible_collections.coffre.stack.plugins.module_utils.doctor import times as doctor_times
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose, swarm
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, objects, raft, state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import endpoints, proxies
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.staging import stage as staging
from ansible_collections.coffre.stack.plugins.module_utils.swarm import look
from tests.unit import described
from tests.unit.swarm.managers import Managers

RANDOM = {"type": "random", "bytes": 32}
DATA: dict[str, Any] = {
    "secrets": [
        {"name": "ring", "consumers": ["app", "host"], "generate": RANDOM, "strategy": "key_ring"},
        {"name": "password", "consumers": ["db"], "generate": RANDOM, "strategy": "replace"},
        {
            "name": "ca",
            "consumers": ["host"],
            "generate": {"type": "certificate_authority", "names": ["localhost"], "days": 400},
            "strategy": "replace",
        },
        {
            "name": "tls",
            "consumers": ["app"],
            "generate": {"type": "certificate", "authority": "ca", "names": ["localhost"], "days": 90},
            "strategy": "replace",
        },
    ],
    "services": [
        {"name": "app", "uid": 60611, "gid": 60611, "adopt": "start_first", "compose": {"mem_limit": "1g"}},
        {"name": "db", "uid": 60612, "gid": 60612, "adopt": "restart"},
    ],
    "compose": {"x-coffre": {"harden": True}},
}
ON_DATA = "node.labels.coffre.demo.data==true"
Check = Callable[[examined.Target], str]


@pytest.fixture
def catalogue() -> Catalogue:
    return described.parse(DATA)


def service(name: str, bundle: str | None, constraints: list[str]) -> dict[str, Any]:
    task = {"ContainerSpec": {"Labels": {LABEL_BUNDLE: bundle}}, "Placement": {"Constraints": constraints}}
    labels = {swarm.NAMESPACE: "demo", swarm.SPEC: f"spec-{name}"}
    return {"Name": f"demo_{name}", "Labels": labels, "TaskTemplate": task, "Mode": {"Replicated": {"Replicas": 1}}}


def task(of: str, name: str, said: str = "running") -> dict[str, Any]:
    return {
        "ID": f"t-{name}",
        "ServiceID": of,
        "CreatedAt": "1",
        "DesiredState": "running",
        "Status": {"State": said, "Err": "no suitable node" if said == "pending" else ""},
        "Spec": {"ContainerSpec": {"Labels": {swarm.SPEC: f"spec-{name}"}}},
    }


@pytest.fixture
def deployed(paths: StackPaths, managers: Managers, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> Managers:
    """The stack runs, its database on the one node that has its data."""
    monkeypatch.setattr(doctor_swarm, "ask", managers.ask)
    with state.locked(paths):
        staging.stage(
            paths, catalogue, lambda *given: Demo("demo").resolve(catalogue, *given), staging.StagingOptions()
        )
        st = state.load(paths)
        for name in st.services:
            bundles.promote(paths, st, name)
    for name in ("app", "db"):
        spec = service(name, st.services[name].current, [ON_DATA] if name == "db" else [])
        managers.tasks.append(task(managers.ask("POST", "/services/create", spec)["ID"], name))
    labels = {"coffre.demo": "true", "coffre.host": "one", "coffre.demo.data": "true"}
    managers.nodes["n1"] = {"ID": "n1", "Spec": {"Name": "", "Labels": labels}, "Description": {"Hostname": "h"}}
    return managers


def target(paths: StackPaths, catalogue: Catalogue, tmp_path: Path, acts: bool = True) -> examined.Target:
    history = examined.History(None, (), "")
    made = examined.Target(
        paths,
        catalogue,
        ("https://localhost/",),
        paths.authority,
        history,
        tmp_path / "proc",
        sys=tmp_path / "sys",
        acts=acts,
    )
    made.__dict__["inspected"] = [container(tmp_path)]
    return made


def container(root: Path) -> dict[str, Any]:
    labels = {swarm.NAMESPACE: "demo", "com.docker.swarm.service.name": "demo_app"}
    return {
        "Id": "c" * 64,
        "Name": "/demo_app.1.x",
        "Image": "sha256:abc",
        "HostnamePath": str(root / "containers/c/hostname"),
        "LogPath": str(root / "containers/c/json.log"),
        "State": {"Pid": 7, "Running": True},
        "Config": {"User": "60611:60611", "Labels": labels, "Env": []},
        "HostConfig": {"ReadonlyRootfs": True, "CapDrop": ["ALL"], "Memory": 9, "MemorySwap": 18, "PidsLimit": 9}
        | {"Ulimits": [{"Name": "core", "Hard": 0}]},
        "NetworkSettings": {"Networks": {}},
    }


@pytest.fixture
def asked(
    paths: StackPaths,
    catalogue: Catalogue,
    tmp_path: Path,
    deployed: Managers,  # noqa: ARG001
) -> Callable[..., examined.Target]:
    """A manager that acts, or a node that does not, whose container mounts what its service is given."""
    mounts = tmp_path / "containers/c/mounts/secrets"
    mounts.mkdir(parents=True)
    (mounts / "id1").write_bytes(value(paths, "ring"))
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/status").write_text("Name:\tx\nNoNewPrivs:\t1\n")
    return lambda acts=True: target(paths, catalogue, tmp_path, acts)


def value(paths: StackPaths, secret: str) -> bytes:
    version = state.load(paths).secrets[secret].version
    return objects.values(paths, [version])[version]


def told(check: Check, given: examined.Target) -> str:
    with pytest.raises(CoffreError) as failure:
        check(given)
    return str(failure.value)


OF_THE_STACK = {"state", "ages", "values", "certificates", "endpoints", "logins", "git history", "secrets", "services"}
OF_A_HOST = {"memory", "bundles", "seals", "containers"}


def test_the_stack_is_asked_of_one_manager_and_a_node_of_what_is_its_own(
    paths: StackPaths, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "judge", lambda name, *_: examined.Check(name, True, False, ""))
    acting, node = (
        {each.check for each in doctor.examine(target(paths, catalogue, tmp_path, acts))} for acts in (True, False)
    )
    assert acting - node == OF_THE_STACK
    assert node >= {"engine", "permissions", "hardening", "packet filter", "docker metadata", "container logs"}
    assert node >= {"environment", "readiness", "swap", "swarm disk"}
    assert not acting & OF_A_HOST
    of_a_host = {each.name for each in doctor.EXAMINATIONS if examined.HOST in each.places}
    assert of_a_host >= OF_A_HOST
    assert {each.name for each in doctor.OF_A_NODE} == {"swap", "secrets", "services", "swarm disk"}


@pytest.mark.parametrize("check", [doctor_swarm.values, doctor_times.certificates, doctor_containers.hardening])
def test_a_sound_stack_passes(
    check: Check, asked: Callable[..., examined.Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examined.Target, "ask", staticmethod(lambda *_: []))
    assert check(asked())


def test_volumes_that_one_node_has_alone_are_a_warning(asked: Callable[..., examined.Target]) -> None:
    note = doctor_swarm.services(asked())
    assert isinstance(note, examined.Caution)
    assert note.startswith("the volumes of db are on one alone")


def drop_service(managers: Managers) -> None:
    managers.ask("DELETE", "/services/demo_app")


def add_service(managers: Managers) -> None:
    managers.ask("POST", "/services/create", service("old", None, []))


def spec(managers: Managers, name: str) -> Any:
    return next(each for each in managers.services.values() if each["Spec"]["Name"] == f"demo_{name}")


def other_bundle(managers: Managers) -> None:
    spec(managers, "app")["Spec"]["TaskTemplate"]["ContainerSpec"]["Labels"][LABEL_BUNDLE] = "0" * 12


def scaled(managers: Managers) -> None:
    spec(managers, "app")["Spec"]["Mode"]["Replicated"]["Replicas"] = 3


def paused(managers: Managers) -> None:
    spec(managers, "app")["UpdateStatus"] = {"State": "rollback_paused"}
    no_node(managers)


def no_node(managers: Managers) -> None:
    managers.tasks[0] = task(managers.tasks[0]["ServiceID"], "app", "pending")


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (drop_service, "app has no service"),
        (add_service, "the service old is not in the Compose file"),
        (other_bundle, "app has the bundle 000000000000, not the current"),
        (scaled, "app is to have 3 tasks where the Compose file says 1"),
        (paused, "Swarm has paused the last update of app"),
        (no_node, "0 of 1 tasks of app run as they should (no suitable node)"),
    ],
)
def test_services_that_are_not_as_they_should_be_are_told(
    plant: Callable[[Managers], None], says: str, deployed: Managers, asked: Callable[..., examined.Target]
) -> None:
    plant(deployed)
    assert says in told(doctor_swarm.services, asked())


def test_a_secret_that_is_missing_is_told(
    paths: StackPaths, deployed: Managers, asked: Callable[..., examined.Target]
) -> None:
    version = state.load(paths).secrets["password"].version
    deployed.ask("DELETE", f"/secrets/demo.{version}")
    assert told(doctor_swarm.values, asked()) == f"the secret demo.{version} is missing"


def test_secrets_that_nothing_needs_are_a_warning(paths: StackPaths, asked: Callable[..., examined.Target]) -> None:
    objects.keep(paths, {"strange": b"1"})
    objects.keep_of_run(paths, "r0", "ring", "new", b"of a rotation that is over")
    note = doctor_swarm.values(asked())
    assert isinstance(note, examined.Caution)
    assert "demo.strange" in note and note.count("demo.") == 2


def test_the_values_of_an_open_rotation_are_not_foreign(
    paths: StackPaths, asked: Callable[..., examined.Target]
) -> None:
    with state.locked(paths):
        st = state.load(paths)
        st.run = state.Run("r1", "play", "ann", state.now(), state.now(60), {})
        state.save(paths, st)
    objects.keep_of_run(paths, "r1", "ring", "new", b"next")
    assert not isinstance(doctor_swarm.values(asked()), examined.Caution)


@pytest.mark.parametrize("acts", [True, False])
def test_a_value_on_the_disk_of_the_swarm_is_told_also_between_two_blocks(
    acts: bool,
    paths: StackPaths,
    asked: Callable[..., examined.Target],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(look, "info", lambda: {"DockerRootDir": str(tmp_path)})
    monkeypatch.setattr(doctor_swarm, "BLOCK", 64)
    file = tmp_path / "swarm/worker/tasks.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"." * 100)
    assert doctor_swarm.disk(asked(acts))
    file.write_bytes(b"." * 50 + value(paths, "ring") + b"." * 50)
    name = "ring" if acts else "what is mounted in app (id1)"
    assert told(doctor_swarm.disk, asked(acts)) == f"the value of {name} stands in {file}"


def test_a_node_searches_its_logs_for_what_its_containers_mount(
    paths: StackPaths, asked: Callable[..., examined.Target], tmp_path: Path
) -> None:
    (tmp_path / "containers/c/json.log").write_bytes(value(paths, "ring"))
    sentence = told(doctor_leaks.logs, asked(False))
    assert sentence == "the value of what is mounted in app (id1) stands in the log of demo_app.1.x"


def test_a_value_in_what_the_managers_tell_is_told(
    paths: StackPaths, deployed: Managers, asked: Callable[..., examined.Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examined.Target, "ask", staticmethod(lambda *_: []))
    monkeypatch.setattr(compose, "call", lambda *_, **__: "")
    deployed.secrets = {key: json.loads(json.dumps(each)) for key, each in deployed.secrets.items()}
    given = asked()
    assert given.values
    for each in deployed.secrets.values():
        del each["Spec"]["Data"]  # which no manager tells
    assert doctor_leaks.metadata(given)
    label = {raft.STACK: "demo", "note": value(paths, "ring").decode()}
    deployed.ask("POST", "/configs/create", {"Name": "demo.note", "Labels": label, "Data": ""})
    assert told(doctor_leaks.metadata, given) == "the value of ring stands in what the managers tell of configs"


@pytest.mark.parametrize(
    ("plant", "what"),
    [
        (lambda root, _: (root / "proc/7/status").write_text("NoNewPrivs:\t0\n"), "no way to new privileges"),
        (lambda _, data: data["HostConfig"].update(Memory=0), "a memory limit that covers swap"),
        (lambda _, data: data["HostConfig"].update(ReadonlyRootfs=False), "a read-only root"),
    ],
)
def test_softened_tasks_are_told(
    plant: Callable[[Path, Any], Any],
    what: str,
    asked: Callable[..., examined.Target],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examined.Target, "ask", staticmethod(lambda *_: []))
    given = asked(False)
    plant(tmp_path, given.inspected[0])
    assert f"demo_app.1.x should have {what}" in told(doctor_containers.hardening, given)


def test_a_task_that_has_ended_is_held_to_nothing_and_its_network_may_be_gone(
    asked: Callable[..., examined.Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[str] = []

    def ask(_: str, names: set[str]) -> list[Any]:
        wanted.extend(names)
        return []

    monkeypatch.setattr(examined.Target, "ask", staticmethod(ask))
    given = asked(False)
    given.inspected[0]["State"]["Running"] = False
    given.inspected[0]["HostConfig"]["ReadonlyRootfs"] = False
    given.inspected[0]["NetworkSettings"]["Networks"] = {"demo_inner": {}}
    assert doctor_containers.hardening(given).startswith(("0 containers", "AppArmor is off"))
    assert wanted == []


@pytest.mark.parametrize(("second", "sentence"), [(200, ""), (503, "https://localhost/ at 192.0.2.2:8443 answers 503")])
def test_each_proxy_is_asked(
    second: int, sentence: str, asked: Callable[..., examined.Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = {("192.0.2.1", 8443): 200, ("192.0.2.2", 8443): second}
    monkeypatch.setattr(proxies, "places", lambda *_: list(status))
    monkeypatch.setattr(endpoints, "fetch", lambda _, __, at: (status[at], None))
    given = asked()
    monkeypatch.setattr(examined.Target, "trusting", lambda _: None)
    if sentence:
        assert told(doctor_answers.endpoints, given) == sentence
    else:
        assert doctor_answers.endpoints(given) == "https://localhost/ answer at 192.0.2.1:8443, 192.0.2.2:8443"


def test_swap_in_clear_is_told(asked: Callable[..., examined.Target], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmpfs, "swaps_in_clear", lambda: ["/dev/sda2"])
    assert "swapped to /dev/sda2, which is not encrypted" in told(doctor_swarm.memory, asked(False))
