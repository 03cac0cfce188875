"""What a rollout decides, as tables: it touches nothing, so neither does this."""

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, parse
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container, DesiredService
from ansible_collections.coffre.stack.plugins.module_utils.rollout.apply import _order, plan, plans, probe
from ansible_collections.coffre.stack.plugins.module_utils.strategies import DECLARED
from tests.unit import described

APP = DesiredService(
    "app",
    config_hash="h1",
    image="coffre/app:1",
    image_id="i1",
    bundle="b1",
    adopt="start_first",
    restart="unless-stopped",
)
DATABASE = replace(APP, name="postgres", bundle=None, adopt="restart")
PROXY = replace(APP, name="proxy", bundle=None, adopt="reload")


def container(identity: str, service: DesiredService = APP, **different: Any) -> Container:
    """A healthy container of a service, but for what is different; a later letter was made later."""
    sound = {
        "id": identity,
        "name": f"demo-{service.name}-{identity}",
        "service": service.name,
        "config_hash": service.config_hash,
        "image": service.image,
        "image_id": service.image_id or "",
        "bundle": service.bundle,
        "created": f"2026-01-01T00:00:00.{ord(identity)}Z",
        "restart": "unless-stopped",
    }
    return described.container(**(sound | different))


OLD_BUNDLE: dict[str, Any] = {"bundle": "b0", "config_hash": "h0"}
OLD_IMAGE: dict[str, Any] = {"image": "coffre/app:0", "image_id": "i0", "config_hash": "h0"}
DEAD: dict[str, Any] = {"state": "exited", "health": "", "exit_code": 3}

CASES = {
    # name: (service, containers, ids with a broken mount, a reload is due, action, why, keep, others)
    "no container": (APP, [], "", False, "create", "it has no container", None, ""),
    "all is well": (APP, [container("a")], "", False, "nothing", "", "a", ""),
    "no health check": (APP, [container("a", health="")], "", False, "nothing", "", "a", ""),
    "just booted": (APP, [container("a", health="starting")], "", False, "wait", "it is starting", "a", ""),
    "new bundle": (APP, [container("a", **OLD_BUNDLE)], "", False, "start_first", "bundle", None, "a"),
    "bundle lost its label": (APP, [container("a", bundle=None)], "", False, "start_first", "bundle", None, "a"),
    "new image": (APP, [container("a", **OLD_IMAGE)], "", False, "start_first", "image", None, "a"),
    "same tag, other image": (APP, [container("a", image_id="i0")], "", False, "start_first", "image", None, "a"),
    "would not boot": (APP, [container("a", restart="no")], "", False, "start_first", "configuration", None, "a"),
    "new configuration": (
        APP,
        [container("a", config_hash="h0")],
        "",
        False,
        "start_first",
        "configuration",
        None,
        "a",
    ),
    "a proxy that nobody asked for": (
        APP,
        [container("a", proxies=frozenset({"HTTP_PROXY"}))],
        *("", False, "start_first", "a proxy in its environment", None, "a"),
    ),
    "a proxy that the stack asks for": (
        replace(APP, variables=frozenset({"HTTP_PROXY"})),
        [container("a", proxies=frozenset({"HTTP_PROXY"}))],
        *("", False, "nothing", "", "a", ""),
    ),
    "bundle and image": (
        APP,
        [container("a", bundle="b0", image_id="i0", config_hash="h0")],
        *("", False, "start_first", "bundle, image", None, "a"),
    ),
    "an old one that is dead too": (
        APP,
        [container("a", **OLD_BUNDLE, **DEAD)],
        *("", False, "start_first", "bundle", None, "a"),
    ),
    "database changed": (
        DATABASE,
        [container("a", DATABASE, config_hash="h0")],
        *("", False, "restart", "configuration", None, "a"),
    ),
    "stopped": (APP, [container("a", **DEAD)], "", False, "heal", "it exited with code 3", None, "a"),
    "unhealthy": (APP, [container("a", health="unhealthy")], "", False, "heal", "it is unhealthy", None, "a"),
    "restarts for ever": (APP, [container("a", state="restarting")], "", False, "heal", "it is restarting", None, "a"),
    "paused": (APP, [container("a", state="paused")], "", False, "heal", "it is paused", None, "a"),
    "mounts a directory": (APP, [container("a")], "a", False, "heal", "a mounted file is missing", None, "a"),
    "roll cut short before the start": (
        APP,
        [container("a", **OLD_BUNDLE), container("b", state="created", health="")],
        *("", False, "finish", "an earlier rollout was cut short", "b", "a"),
    ),
    "roll cut short while starting": (
        APP,
        [container("a", **OLD_BUNDLE), container("b", health="starting")],
        *("", False, "finish", "an earlier rollout was cut short", "b", "a"),
    ),
    "roll cut short before the old one left": (
        APP,
        [container("a", **OLD_BUNDLE, **DEAD), container("b")],
        *("", False, "finish", "an earlier rollout was cut short", "b", "a"),
    ),
    "roll cut short, new one failing": (
        APP,
        [container("a", **OLD_BUNDLE), container("b", health="unhealthy")],
        *("", False, "finish", "an earlier rollout was cut short", "b", "a"),
    ),
    "mending cut short: both unhealthy": (
        APP,
        [container("a", health="unhealthy"), container("b", health="unhealthy")],
        *("", False, "heal", "it is unhealthy", None, "ab"),
    ),
    "roll cut short, and what is desired has changed again": (
        APP,
        [container("a", **OLD_BUNDLE), container("b", bundle="b7")],
        *("", False, "start_first", "bundle", None, "ab"),
    ),
    "mending cut short: two that fit": (
        APP,
        [container("a", health="unhealthy"), container("b")],
        *("", False, "finish", "an earlier rollout was cut short", "b", "a"),
    ),
    "a running one goes before a newer that never ran": (
        APP,
        [container("a"), container("b", state="created", health="")],
        *("", False, "finish", "an earlier rollout was cut short", "a", "b"),
    ),
    "first start cut short": (
        DATABASE,
        [container("a", DATABASE, state="created", health="")],
        *("", False, "finish", "an earlier rollout was cut short", "a", ""),
    ),
    "restart cut short while both are stopped": (
        DATABASE,
        [container("a", DATABASE, config_hash="h0", **DEAD), container("b", DATABASE, state="created", health="")],
        *("", False, "finish", "an earlier rollout was cut short", "b", "a"),
    ),
    "new certificate": (PROXY, [container("a", PROXY)], "", True, "reload", "bundle", "a", ""),
    "new certificate and a proxy just booted": (
        PROXY,
        [container("a", PROXY, health="starting")],
        *("", True, "reload", "bundle", "a", ""),
    ),
    "new certificate and image": (
        PROXY,
        [container("a", PROXY, **OLD_IMAGE)],
        *("", True, "restart", "image", None, "a"),
    ),
    "new certificate and a dead proxy": (
        PROXY,
        [container("a", PROXY, **DEAD)],
        *("", True, "heal", "it exited with code 3", None, "a"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_plan(case: tuple[DesiredService, list[Container], str, bool, str, str, str | None, str]) -> None:
    service, actual, broken, due, action, why, keep, others = case
    step = plan(service, actual, frozenset(broken), due)
    assert (step.action, step.why) == (action, why)
    assert (step.keep.id if step.keep else None) == keep
    assert "".join(each.id for each in step.others) == others


@pytest.mark.parametrize(
    ("ready", "health", "found"),
    [
        ((), (), ("health check", [])),
        ((), ("NONE",), ("health check", [])),
        ((), ("CMD", "probe.sh", "/health"), ("health check", ["probe.sh", "/health"])),
        ((), ("CMD-SHELL", "test -f /x && true"), ("health check", ["/bin/sh", "-c", "test -f /x && true"])),
        (("probe.sh", "/ready"), ("CMD", "probe.sh", "/health"), ("readiness check", ["probe.sh", "/ready"])),
    ],
)
def test_a_readiness_check_stands_for_the_health_check_which_is_run_as_the_engine_runs_it(
    ready: tuple[str, ...], health: tuple[str, ...], found: tuple[str, list[str]]
) -> None:
    assert probe(container("a", ready=ready, health_check=health)) == found


def catalogued(services: str, rings: dict[str, tuple[str, str]]) -> Catalogue:
    """A catalogue of services, each with those it depends on ("web<db"), and rings by name: who signs, who verifies."""
    parts = [each.partition("<") for each in services.split()]
    consumers = {ring: [*signers.split(), *verifiers.split()] for ring, (signers, verifiers) in rings.items()}
    file = {
        name: {
            "image": "none",
            "user": "1:1",
            "secrets": [ring for ring in rings if name in consumers[ring]],
            "depends_on": [each for each in after.split(",") if each],
        }
        for name, _, after in parts
    }
    secrets = [
        {"name": ring, "strategy": "key_ring", "settings": {"signers": signers.split()} if signers else {}}
        for ring, (signers, _) in rings.items()
    ]
    return parse({"secrets": secrets}, {"services": file}, DECLARED)


JOBS = {"jobs": ("web", "worker")}
ORDERS = {
    # name: (services, rings, those that have containers, order)
    "no ring": ("db web<db worker<db", {}, "db web worker", "db web worker"),
    "who verifies goes first": ("db web<db worker<db", JOBS, "db web worker", "db worker web"),
    "nobody says who signs": ("db web<db worker<db", {"jobs": ("", "web worker")}, "db web worker", "db web worker"),
    "the first creation": ("db web worker<web", JOBS, "", "db web worker"),
    "only the signer runs": ("db web worker<web", JOBS, "db web", "db web worker"),
    "only the verifier runs": ("db web worker<web", JOBS, "db worker", "db web worker"),
    "against depends_on": ("db web<db worker<web", JOBS, "db web worker", "db worker web"),
    "what waits for the signer still does": ("web cron<web worker", JOBS, "web cron worker", "worker web cron"),
    "also where the verifier waits, too": ("web cron<web worker<web", JOBS, "web cron worker", "worker web cron"),
    "what the verifier waits for comes first": (
        *("db web worker<cache cache<db", JOBS, "db web worker cache", "db cache worker web"),
    ),
    "several of both": (*("a b c d", {"jobs": ("a b", "c d")}, "a b c d", "c d a b"),),
    "one rotation rolls one of them": ("web other", {}, "web other", "web other"),
    "a chain of rings": ("a b c", {"one": ("a", "b"), "two": ("b", "c")}, "a b c", "c b a"),
    "two rings that contradict each other": ("a b", {"one": ("a", "b"), "two": ("b", "a")}, "a b", "a b"),
}


@pytest.mark.parametrize("case", ORDERS.values(), ids=ORDERS.keys())
def test_who_only_verifies_a_ring_rolls_before_who_signs(
    case: tuple[str, dict[str, tuple[str, str]], str, str],
) -> None:
    services, rings, running, order = case
    catalogue = catalogued(services, rings)
    assert " ".join(_order(catalogue, list(catalogue.services), running.split())) == order
    for name in catalogue.services:
        assert _order(catalogue, [name], running.split()) == [name]  # one that waits for others alone


REPLICAS: dict[str, tuple[int, list[Container], str]] = {
    # name: (replicas, containers, by step: action, keep, others)
    "the first creation": (3, [], "create - -; create - -; create - -"),
    "all are there": (2, [container("a"), container("b")], "nothing a -; nothing b -"),
    "all are old": (
        *(2, [container("a", **OLD_BUNDLE), container("b", **OLD_BUNDLE)], "start_first - a; start_first - b"),
    ),
    "killed with two of three done": (
        3,
        [container("a", **OLD_BUNDLE), container("b"), container("c")],
        "nothing b -; nothing c -; start_first - a",
    ),
    "killed beside the one that was to leave": (
        3,
        [*(container(each, **OLD_BUNDLE) for each in "abc"), container("d", health="starting")],
        "finish d c; start_first - a; start_first - b",
    ),
    "killed before its start": (
        2,
        [*(container(each, **OLD_BUNDLE) for each in "ab"), container("c", state="created", health="")],
        "finish c b; start_first - a",
    ),
    "one has exited": (2, [container("a"), container("b", **DEAD)], "nothing a -; heal - b"),
    "more than before": (3, [container("a")], "nothing a -; create - -; create - -"),
    "fewer than before": (2, [container(each) for each in "abc"], "nothing a -; finish c b"),
    "down to one": (1, [container(each) for each in "abc"], "finish c ab"),
    "fewer, and old": (*(2, [container(each, **OLD_BUNDLE) for each in "abc"], "start_first - a; start_first - cb"),),
}


@pytest.mark.parametrize("case", REPLICAS.values(), ids=REPLICAS.keys())
def test_each_replica_has_a_step_of_its_own_and_the_last_is_told(case: tuple[int, list[Container], str]) -> None:
    replicas, actual, expected = case
    steps = plans(APP, actual, replicas=replicas)
    told = [
        f"{each.action} {each.keep.id if each.keep else '-'} {''.join(one.id for one in each.others) or '-'}"
        for each in steps
    ]
    assert "; ".join(told) == expected
    assert [each.last for each in steps] == [False] * (replicas - 1) + [True]
