"""What a rollout decides, as tables: it touches nothing, so neither does this."""

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines.compose import Container, DesiredService
from ansible_collections.coffre.stack.plugins.module_utils.rollout.apply import plan, probe

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
    sound = Container(
        id=identity,
        name=f"demo-{service.name}-{identity}",
        service=service.name,
        config_hash=service.config_hash,
        image=service.image,
        image_id=service.image_id or "",
        bundle=service.bundle,
        state="running",
        health="healthy",
        exit_code=0,
        out_of_memory=False,
        restarts=0,
        created=f"2026-01-01T00:00:00.{ord(identity)}Z",
        pid=1,
        stop_seconds=10,
        restart="unless-stopped",
        health_check=(),
        ready=(),
        addresses=frozenset(),
        mounts=(),
    )
    return replace(sound, **different)


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
    "roll cut short, and the wish has changed again": (
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
