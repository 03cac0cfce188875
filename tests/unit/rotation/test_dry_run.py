"""One dry run tells everything that a look can tell, at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from ansible_collections.coffre.stack.plugins.module_utils.host import memory
from ansible_collections.coffre.stack.plugins.module_utils.rotation import plan as rotation_plan
from tests.unit.described import container

from .conftest import House

LOOK = rotation_plan._stack  # before any fixture takes its place
ALL = ("client", "admin", "database", "deployment-audit-key")
CONTAINER = container(adopt="start_first", memory=512 << 20)


@dataclass
class Host:
    """What runs, by service, and the free memory in MiB."""

    house: House
    running: dict[str, Container]
    free: int = 4096

    def plan(self, *names: str, hosts: int = 1) -> rotation_plan.RotationPlan:
        asked = rotation_plan.RotationRequest(names, 14, hosts=hosts)
        st = self.house.state
        chosen = rotation_plan.changes(self.house.catalogue, st, asked, self.house.source, rotation_plan.present())
        return rotation_plan.plan(self.house.paths, self.house.catalogue, st, asked, chosen, self.house.source)

    def change(self, service: str, **keys: Any) -> None:
        self.running[service] = replace(self.running[service], **keys)


@pytest.fixture
def host(house: House, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host on which all is well: each service runs with the bundle in force."""
    services = house.state.services
    running = {
        each: replace(CONTAINER, service=each, bundle=services[each].current) for each in services if each != "host"
    }
    host = Host(house, running)
    monkeypatch.setattr(rotation_plan, "_stack", LOOK)
    monkeypatch.setattr(memory, "available", lambda: host.free << 20)
    monkeypatch.setattr(compose, "containers", lambda _: list(host.running.values()))
    return host


def unsettled(host: Host) -> None:
    host.house.verifier.accepted["admin"].add(b"other")


def unsealed(host: Host) -> None:
    for path in host.house.paths.sealed.glob("keycloak.*"):
        path.unlink()


def waiting(host: Host) -> None:
    host.house.data["secrets"].append(copy.deepcopy(host.house.data["secrets"][0]) | {"name": "another"})
    host.house.stage("")


FAULTS: dict[str, tuple[Callable[[Host], object], str]] = {
    "gone": (lambda host: host.running.pop("keycloak"), "keycloak does not run"),
    "stopped": (lambda host: host.change("keycloak", state="exited"), "keycloak does not run"),
    "ill": (lambda host: host.change("app", health="unhealthy"), "app does not run healthy, in one container with the"),
    "another bundle": (lambda host: host.change("app", bundle="0a"), "app does not run healthy, in one container with"),
    "memory": (
        lambda host: setattr(host, "free", 100),
        "the host has 100 MiB of memory left and a second container may",
    ),
    "verifier": (unsettled, "admin has an open overlap"),
    "seal": (unsealed, "the sealed copy of keycloak's bundle"),
    "behind": (waiting, "app has not adopted what the catalogue says: run playbooks/site.yml first"),
}


def test_where_all_is_well_nothing_hinders(host: Host) -> None:
    assert host.plan(*ALL).problems == []


@pytest.mark.parametrize(("plant", "sentence"), FAULTS.values(), ids=FAULTS)
def test_each_fault_alone(host: Host, plant: Callable[[Host], object], sentence: str) -> None:
    plant(host)
    (problem,) = host.plan(*ALL).problems
    assert problem.startswith(sentence)


@pytest.mark.parametrize("answers", [True, False])
def test_one_that_the_engine_has_not_asked_yet_is_asked(
    host: Host, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    host.change("app", health="starting", ready=("probe",))
    monkeypatch.setattr(compose, "succeeds", lambda *_: answers)
    found = host.plan(*ALL).problems
    assert [each.split(",")[0] for each in found] == ([] if answers else ["app does not run healthy"])


@pytest.mark.usefixtures("shelf")
def test_five_faults_at_once(host: Host) -> None:
    host.running.pop("app")
    for name in ("memory", "verifier"):
        FAULTS[name][0](host)
    assert host.plan("clint", *ALL, hosts=2).problems == [
        "the catalogue has no secret clint: name some of client, admin, database, client-2, deployment-audit-key",
        "app does not run: run playbooks/site.yml first",
        "the host has 100 MiB of memory left and a second container may take 512 MiB: free some",
        "admin has an open overlap",
        "2 hosts would each put a version of their own into the one vault: name one host with --limit, or give each a "
        "stack of its own",
    ]


def test_who_does_not_run_is_not_asked(host: Host) -> None:
    host.running.pop("keycloak")
    host.house.verifier.down.add("blockers")
    assert host.plan("client", "admin").problems == ["keycloak does not run: run playbooks/site.yml first"]


def test_what_will_be_lost_is_told_beside_what_hinders(host: Host) -> None:
    for service in host.house.data["services"]:
        service["adopt"] = "restart"
    host.free = 0
    host.change("app", adopt="restart")
    host.change("keycloak", adopt="restart", health="unhealthy")
    found = host.plan("client", "database")
    assert [each.split(" (")[0] for each in found.asides] == [
        "app is recreated in place: requests will be lost while it starts",
        "keycloak is recreated in place: requests will be lost while it starts",
    ]
    assert found.problems == [
        "keycloak does not run healthy, in one container with the bundle in force: run playbooks/site.yml first"
    ]
