"""What a rollout does, in which order, on an engine of the test's own: each step comes only after what it relies on."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils import compose_file
from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container, DesiredService
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout
from ansible_collections.coffre.stack.plugins.module_utils.rollout import proxies
from ansible_collections.coffre.stack.plugins.module_utils.rollout.proxies.haproxy.proxy import HAProxy
from ansible_collections.coffre.stack.plugins.module_utils.strategies import DECLARED
from ansible_collections.coffre.stack.plugins.modules import stack_rollout as module
from tests.unit import described

OLD, NEW = "0" * 12, "1" * 12
RUN = audit.Author("run-1", "somebody")
START_FIRST = {"update_config": {"order": "start-first"}}
COMPOSE: dict[str, dict[str, Any]] = {
    "postgres": {"image": "postgres:1"},
    "app": {"image": "app:1", "deploy": START_FIRST},
    "proxy": {"image": "proxy:1", "x-coffre": {"proxy": "haproxy"}},
}


@dataclass
class Engine:
    """A Docker engine in memory. `sick`: bundles or images whose containers never pass; `dying`: those that exit."""

    paths: StackPaths
    services: dict[str, DesiredService]
    file: dict[str, dict[str, Any]] = field(default_factory=lambda: dict(COMPOSE))  # services of the user's file
    secrets: list[dict[str, Any]] = field(default_factory=list)  # of the catalogue
    unreadable: bool = False  # whether Compose does not understand it
    sick: set[str | None] = field(default_factory=set)
    unfit: str = ""  # why HAProxy would not start with what is staged
    dying: set[str | None] = field(default_factory=set)
    there: dict[str, Container] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    network: str = "web"  # which its containers are made on
    no_hold: bool = False  # whether the packet filter has no set of ports to hold
    closed: int = 0  # how often the packet filter was told the networks
    open_network: bool = False  # whether a container was started before
    bridges: list[dict[str, object]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)  # the Compose file, whenever a container was made from it
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def change(self, identity: str, **different: object) -> None:
        self.there[identity] = replace(self.there[identity], **different)  # type: ignore[arg-type]

    def desired(self, *_: object) -> dict[str, DesiredService]:
        if self.unreadable:
            raise CoffreError("`docker compose` failed")
        return self.services

    def containers(self, _: str) -> list[Container]:
        return list(self.there.values())

    def inspect(self, ids: Sequence[str]) -> list[Container]:
        return [self.there[identity] for identity in ids]

    def networks(self, _: str) -> list[dict[str, object]]:
        return self.bridges

    def call(self, command: Sequence[str], stdin: str = "") -> str:
        if "held" in stdin:
            verb = ("pause" if "paused" in stdin else "hold") if "timeout" in stdin else "let in"
            ports = re.findall(r"{ 127.0.0.1 . (\d+)", stdin)
            self.events.append(" ".join([verb, *dict.fromkeys(ports)]))
            if self.no_hold and verb != "let in":
                raise CoffreError("`nft` failed")
        else:
            self.events.append(" ".join(command[:1]))
        return ""

    def add(self, file: Path, project: str, service: str) -> Container:
        self.read.append(file.read_text())
        number, wanted = next(self.numbers), self.services[service]
        made = described.container(
            id=f"{service}-{number}",
            name=f"{project}-{service}-{number}",
            service=service,
            config_hash=wanted.config_hash,
            image=wanted.image,
            image_id=wanted.image_id or "",
            bundle=wanted.bundle,
            state="created",
            health="",
            created=f"2026-01-01T00:00:{number:02}Z",
            pid=0,
            restart="unless-stopped",
            health_check=("CMD", "probe"),
            networks=frozenset({self.network}),
        )
        self.there[made.id] = made
        self.events.append(f"add {made.id}")
        return made

    def connect(self, container: Container, networks: Iterable[str]) -> None:
        for each in networks:
            self.events.append(f"connect {container.id} {each}")
            addresses = self.there[container.id].addresses | {f"@{container.id}.{each}"}
            self.change(container.id, addresses=addresses)

    def disconnect(self, container: Container, networks: Iterable[str]) -> None:
        self.events += [f"disconnect {container.id} {each}" for each in networks]

    def start(self, identity: str) -> None:
        self.events.append(f"start {identity}")
        dies = {self.there[identity].bundle, self.there[identity].image} & self.dying
        self.change(identity, **({"state": "exited", "exit_code": 3} if dies else {"state": "running"}))
        self.change(identity, addresses=frozenset({f"@{identity}"}))

    def unpause(self, identity: str) -> None:
        self.events.append(f"unpause {identity}")
        self.change(identity, state="running")

    def stop(self, container: Container) -> None:
        self.events.append(f"stop {container.id}")
        self.change(container.id, state="exited", addresses=frozenset())

    def remove(self, identity: str) -> None:
        self.events.append(f"remove {identity}")
        del self.there[identity]

    def set_restart(self, identity: str, policy: str) -> None:
        self.events.append(f"{policy} {identity}")
        self.change(identity, restart=policy)

    def save_logs(self, identity: str, path: Path) -> bool:
        path.write_text(f"logs of {identity}")
        return True

    def succeeds(self, identity: str, _: Sequence[str]) -> bool:
        container = self.there[identity]
        return container.state == "running" and not {container.bundle, container.image} & self.sick


class Clock:
    """Time that passes only while somebody sleeps, or looks."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def roll(
    engine: Engine,
    *names: str,
    run: audit.Author = RUN,
    agree: rollout.Agree | None = None,
    check: bool = False,
    rotating: bool = False,
    by_hand: Callable[[state.State], str] = lambda _: "",
) -> dict[str, Any]:
    """Roll the services named, or all, as the user's file orders them."""
    catalogue = catalogues.parse({"secrets": engine.secrets}, {"services": engine.file}, DECLARED)
    return rollout.roll(
        engine.paths,
        catalogue,
        {},
        {},
        10,
        run,
        agree,
        names=names or None,
        by_hand=by_hand,
        check=check,
        rotating=rotating,
    )


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine on which app, postgres and proxy have been rolled out; app and proxy with the bundle OLD."""
    paths = StackPaths("demo", tmp_path / "run", tmp_path / "lib")
    paths.lib.mkdir(parents=True)
    there = Engine(
        paths,
        {
            "app": DesiredService("app", "h", "app:1", "i", OLD, "start_first", "unless-stopped"),
            "postgres": DesiredService("postgres", "h", "postgres:1", "i", None, "restart", "unless-stopped"),
            "proxy": DesiredService("proxy", "h", "proxy:1", "i", None, "reload", "unless-stopped"),
        },
    )
    for name in ("desired", "containers", "inspect", "add", "connect", "disconnect", "start", "stop", "remove"):
        monkeypatch.setattr(compose, name, getattr(there, name))
    for name in ("unpause", "set_restart", "save_logs", "succeeds", "networks", "call"):
        monkeypatch.setattr(compose, name, getattr(there, name))
    monkeypatch.setattr(rollout, "time", Clock())

    def call(name: str, answer: object = None) -> None:
        """Let a call of HAProxy's side be an event: its name, with the addresses it is given."""

        def done(_: HAProxy, *given: object) -> object:
            addresses = [address for each in given if isinstance(each, frozenset) for address in sorted(each)]
            there.events.append(" ".join([name, *addresses]))
            return answer

        monkeypatch.setattr(HAProxy, name, done)

    for name in ("follow", "hold", "drain", "release"):
        call(name)
    for name in ("switch", "reload"):
        call(name, "")
    call("quiet", frozenset({"pages"}))
    call("found")
    monkeypatch.setattr(proxies, "refused", lambda *_: there.unfit)
    stage(there, "app", OLD)
    stage(there, "proxy", OLD)
    roll(there)
    there.events.clear()
    return there


def stage(engine: Engine, service: str, name: str) -> None:
    """Put a bundle in place as the next one, as staging does."""
    st = state.load(engine.paths)
    bundle = state.Bundle({"key": ["key"]}, {"key": "v"}, state.now(), os.getuid(), os.getgid(), service == "proxy")
    bundles.write(engine.paths, service, name, bundle, bundles.Content({"key": b"x"}))
    entry = st.services.setdefault(service, state.ServiceState())
    entry.bundles[name] = bundle
    entry.next = name
    state.save(engine.paths, st)
    if service != "proxy":
        engine.services[service] = replace(engine.services[service], bundle=name, config_hash=f"h{name}")


def named(engine: Engine, service: str) -> tuple[str | None, str | None]:
    entry = state.load(engine.paths).services[service]
    return entry.current, entry.next


def link(engine: Engine) -> str:
    return str((engine.paths.service("proxy") / "current").readlink())


def test_the_first_rollout_adopts_what_is_staged(engine: Engine) -> None:
    assert named(engine, "app") == named(engine, "proxy") == (OLD, None)
    assert link(engine) == OLD
    assert {each.id: each.state for each in engine.containers("demo")} == {
        "postgres-1": "running",
        "app-2": "running",
        "proxy-3": "running",
    }


def test_again_is_nothing(engine: Engine) -> None:
    result = roll(engine, "postgres", "app", "proxy")
    assert not result["changed"]
    assert [each["action"] for each in result["services"]] == ["nothing"] * 3
    assert engine.events == ["release"]  # slots that a run killed at its end has left closed


def test_check_mode_says_and_does_nothing(engine: Engine) -> None:
    stage(engine, "app", NEW)
    result = roll(engine, "postgres", "app", check=True)
    assert result["changed"]
    assert [each["action"] for each in result["services"]] == ["nothing", "start_first"]
    assert result["diff"] == [
        {
            "before": f"demo-app-2: image app:1, bundle {OLD}\n",
            "after": f"app: image app:1, bundle {NEW} (start_first: bundle)\n",
        }
    ]
    assert engine.events == []
    assert named(engine, "app") == (OLD, NEW)


def test_a_new_compose_file_is_shown_in_check_mode_and_put_in_place_otherwise(engine: Engine) -> None:
    before = engine.paths.compose.read_text()
    engine.file["app"] = {**COMPOSE["app"], "image": "app:2"}
    engine.services["app"] = replace(engine.services["app"], image="app:2", image_id=None)  # not built in check mode
    told = roll(engine, "app", check=True)
    assert [each["action"] for each in told["services"]] == ["start_first"]
    other = before.replace("app:1", "app:2")
    assert (told["diff"][0]["before"], told["diff"][0]["after"]) == (before, other)
    assert engine.paths.compose.read_text() == before
    engine.services["app"] = replace(engine.services["app"], image="app:2", image_id="j")
    assert roll(engine, "app")["changed"]
    assert (engine.paths.compose.read_text(), engine.read[-1]) == (other, other)
    assert engine.paths.compose.stat().st_mode & 0o777 == 0o600
    again = roll(engine, "app")
    assert (again["changed"], len(again["diff"])) == (False, 1)
    engine.file["app"], engine.unreadable = COMPOSE["app"], True
    with pytest.raises(CoffreError, match="cannot be used, and nothing was changed: `docker compose` failed"):
        roll(engine, "app")
    assert engine.paths.compose.read_text() == other


def test_a_compose_file_that_another_run_or_a_disk_has_spoilt_is_written_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, locked = engine.paths.compose.read_text(), state.locked

    @contextmanager
    def waited(paths: StackPaths) -> Iterator[None]:
        with locked(paths):
            engine.paths.compose.write_bytes(b"\xff of another run")
            yield

    monkeypatch.setattr(state, "locked", waited)
    assert roll(engine, "app")["changed"]
    assert engine.paths.compose.read_text() == before


def test_what_is_ready_must_still_be_so_a_while_later_however_long_it_took_to_look(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, looks = Clock(), list[float]()
    monkeypatch.setattr(rollout, "time", clock)

    def slow(*_: object) -> bool:
        clock.sleep(1.2)
        looks.append(clock.monotonic())
        return len(looks) != 2  # ready, gone, and ready from then on

    monkeypatch.setattr(compose, "succeeds", slow)
    assert rollout.wait_ready(engine.there["app-2"], 60) == ""
    assert len(looks) == 4
    assert looks[-1] - looks[-2] >= rollout.STABLE_SECONDS + 1.2


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0, "after 10 s"),
        (0.5, "after 20 s, in 10 s of which it had to wait for a processor"),
        (3, "after 40 s, in 40 s of which it had to wait for a processor"),  # the threads of one that stands still
        (-1, "after 10 s"),  # threads end, and what they have waited with them
    ],
)
def test_time_in_which_a_container_has_to_wait_for_a_processor_does_not_count(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, share: float, told: str
) -> None:
    clock = Clock()
    monkeypatch.setattr(rollout, "time", clock)
    monkeypatch.setattr(compose, "queued", lambda _: 100 + share * clock.now)
    engine.sick.add(OLD)
    assert rollout.wait_ready(engine.there["app-2"], 10) == f"the container runs, but its health check fails {told}"


def test_how_long_a_process_has_waited_is_read_from_the_kernel() -> None:
    """With what it has started, as two that share one processor; of one that is gone it is nothing."""
    spin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.fork()\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], start_new_session=True) as busy:
        deadline = time.monotonic() + 60
        try:
            while compose.queued(busy.pid) < 0.1:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            os.killpg(busy.pid, signal.SIGKILL)
    assert compose.queued(busy.pid) == compose.queued(0) == 0


def test_all_are_seen_ready_at_once_by_one_look(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[str]()

    def look(identity: str, words: Sequence[str]) -> bool:
        looks.append(identity)
        return engine.succeeds(identity, words)

    with monkeypatch.context() as patched:
        patched.setattr(compose, "succeeds", look)
        assert rollout.steady(StackPaths("demo"), ["app"], 10) == ""
    assert "app-2" in looks and sorted(looks) == sorted(set(looks))
    engine.sick.add("postgres:1")
    found = rollout.steady(StackPaths("demo"), ["app"], 10)
    assert found.startswith("demo-postgres-1: the container runs, but its health check fails after 10 s"), found
    engine.sick.clear()
    engine.change("postgres-1", state="paused")
    assert rollout.steady(StackPaths("demo"), ["app"], 10).startswith("demo-postgres-1: it is paused after 10 s")
    engine.change("postgres-1", health="unhealthy")  # as it was before, and no matter of the app's
    assert rollout.steady(StackPaths("demo"), ["app"], 10) == ""
    engine.sick = {OLD}
    assert "demo-app-2: the container runs, but its health check fails" in rollout.steady(
        StackPaths("demo"), ["app"], 10
    )
    engine.stop(engine.there["app-2"])
    assert rollout.steady(StackPaths("demo"), ["app"], 10) == "no container of app runs"
    assert rollout.steady(StackPaths("another"), [], 10) == ""


def test_one_that_restarts_at_the_last_look_is_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its readiness flashes, and comes for good much later."""
    looks, clock = list[float](), Clock()
    monkeypatch.setattr(rollout, "time", clock)

    def flashing(identity: str, _: Sequence[str]) -> bool:
        if identity != "postgres-1":
            return True
        if not looks:
            engine.change(identity, restarts=1)
        looks.append(clock.monotonic())
        return len(looks) == 2 or looks[-1] - looks[0] > 27

    monkeypatch.setattr(compose, "succeeds", flashing)
    assert rollout.steady(StackPaths("demo"), ["app"], 60) == ""
    assert looks[-1] - looks[0] > 27 + rollout.STABLE_SECONDS


def rotating(engine: Engine, direction: str) -> None:
    """The app's bundle NEW has the new value of the rotation."""
    st = state.load(engine.paths)
    change = state.Change("replace", state.Version("v", state.now()), state.Version("w", state.now()))
    st.run = state.Run("run-1", "run-1", "kim", state.now(), state.now(60), {"key": change}, direction)
    if NEW in st.services["app"].bundles:
        st.services["app"].bundles[NEW].versions = {"key": "w"}
    state.save(engine.paths, st)


def test_the_log_that_an_undone_rotation_names_is_kept_until_something_new_is_adopted(engine: Engine) -> None:
    log, before = engine.paths.failed_log("app"), dict(engine.services)
    stage(engine, "app", NEW)
    rotating(engine, "forward")
    engine.sick.add(NEW)
    with pytest.raises(CoffreError, match=f"its last log lines are in {log}"):
        roll(engine, "app", rotating=True)
    engine.services = before
    rotating(engine, "back")
    roll(engine, "app", rotating=True)
    st = state.load(engine.paths)
    st.run = None
    state.save(engine.paths, st)
    roll(engine, "app")  # an unchanged deploy
    assert log.read_text() == "logs of app-4"
    engine.sick.clear()
    stage(engine, "app", NEW)
    roll(engine, "app")
    assert not log.exists()


def test_the_log_of_a_container_that_is_rolled_back_is_kept(engine: Engine) -> None:
    """It may have been ready, and failed at what the rotation tried next; one that never had the new value did not."""
    stage(engine, "app", NEW)
    rotating(engine, "forward")
    roll(engine, "app", rotating=True)
    assert not engine.paths.failed_log("app").exists()
    stage(engine, "app", OLD)
    rotating(engine, "back")
    roll(engine, "app", rotating=True)
    assert engine.paths.failed_log("app").read_text() == "logs of app-4"
    stage(engine, "app", "2" * 12)  # a ring that keeps what was handed out
    roll(engine, "app", rotating=True)
    assert engine.paths.failed_log("app").read_text() == "logs of app-4"


def test_start_first(engine: Engine) -> None:
    stage(engine, "app", NEW)
    result = roll(engine, "postgres", "app")
    assert engine.events == [
        "add app-4",
        "hold @app-2",
        "start app-4",
        "switch @app-2 @app-4",
        "drain @app-2",
        "stop app-2",
        "remove app-2",
        "release @app-2",
    ]
    assert named(engine, "app") == (NEW, None)
    assert result["removed"] == [f"app/{OLD}"]
    assert not engine.paths.bundle("app", OLD).exists()


def test_who_leaves_is_found_where_the_new_one_will_be(engine: Engine) -> None:
    """Else a name that two networks know would be the new one's alone, before it is ready."""
    stage(engine, "app", NEW)
    engine.network = "app"
    roll(engine, "app")
    both = "@app-2 @app-2.app"
    assert engine.events == [
        "add app-4",
        "connect app-2 app",
        "follow @app-2 @app-2.app",
        f"hold {both}",
        "start app-4",
        f"switch {both} @app-4",
        f"drain {both}",
        "stop app-2",
        "remove app-2",
        f"release {both}",
    ]


def test_who_stays_leaves_the_networks_of_the_one_that_failed(engine: Engine) -> None:
    stage(engine, "app", NEW)
    engine.network = "app"
    engine.sick.add(NEW)
    with pytest.raises(CoffreError):
        roll(engine, "app")
    assert engine.events[-3:] == ["remove app-4", "disconnect app-2 app", "release @app-4"]


def test_who_only_verifies_a_key_ring_is_rolled_before_who_signs(engine: Engine) -> None:
    engine.file = {name: {**COMPOSE[name], "user": "1:1", "secrets": ["jobs"]} for name in ("app", "postgres")}
    for signer, order in (("postgres", ["app", "postgres"]), ("app", ["postgres", "app"])):
        engine.secrets = [{"name": "jobs", "strategy": "key_ring", "settings": {"signers": [signer]}}]
        assert [each["name"] for each in roll(engine, check=True)["services"]] == order
    engine.remove("postgres-1")  # one that is created comes up as the file says
    assert [each["name"] for each in roll(engine, check=True)["services"]] == ["app", "postgres"]


def test_no_container_starts_on_a_network_that_the_packet_filter_does_not_know(engine: Engine) -> None:
    engine.bridges.append({"Id": "a" * 64, "Driver": "bridge", "Options": {}})
    stage(engine, "app", NEW)
    roll(engine, "app")
    assert engine.events[:4] == ["add app-4", "nft", "hold @app-2", "start app-4"]
    assert engine.events.count("nft") == 1
    # Where nothing is rolled it learns them too: of a host that an earlier version deployed, say.
    engine.bridges.append({"Id": "b" * 64, "Driver": "bridge", "Options": {}})
    result = roll(engine, "app")
    assert (result["changed"], engine.events[-1]) == (True, "nft")
    assert not roll(engine, "app")["changed"]


@pytest.mark.parametrize(
    ("ailing", "why"),
    [
        ("sick", "the container runs, but its health check fails after 10 s"),
        ("dying", "the container exited with code 3"),
    ],
)
def test_a_new_container_that_fails_is_taken_back(engine: Engine, ailing: str, why: str) -> None:
    stage(engine, "app", NEW)
    getattr(engine, ailing).add(NEW)
    with pytest.raises(CoffreError) as failure:
        roll(engine, "app", "postgres")
    log = engine.paths.lib / "app.failed.log"
    assert str(failure.value) == (
        f"app could not adopt app:1 with bundle {NEW}: {why}; the new container was removed, its last log lines are "
        f"in {log}; demo-app-2 goes on, unchanged. Mend the cause, then run playbooks/site.yml."
    )
    assert engine.events == [
        "add app-4",
        "hold @app-2",
        "start app-4",
        "remove app-4",
        "release @app-4",
    ]
    assert log.read_text() == "logs of app-4"
    assert named(engine, "app") == (OLD, None)
    assert [path.name for path in engine.paths.service("app").iterdir()] == [OLD]


def test_a_proxy_that_does_not_find_the_new_container_healthy_stops_the_roll(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(engine, "app", NEW)
    monkeypatch.setattr(HAProxy, "switch", lambda *_: "the proxy does not")
    with pytest.raises(CoffreError, match=r"the proxy does not.*demo-app-2 goes on"):
        roll(engine, "app")
    assert list(engine.there) == ["postgres-1", "app-2", "proxy-3"]


def test_a_first_bundle_that_fails_stays_staged(engine: Engine) -> None:
    engine.remove("app-2")
    st = state.load(engine.paths)
    st.services["app"].current, st.services["app"].next = None, OLD
    state.save(engine.paths, st)
    engine.sick.add(OLD)
    with pytest.raises(CoffreError, match=r"fails after 600 s; .*there is no older one to go back to"):
        roll(engine, "app")
    assert named(engine, "app") == (None, OLD)
    engine.sick.clear()
    assert roll(engine, "app")["changed"]
    assert named(engine, "app") == (OLD, None)
    assert not (engine.paths.lib / "app.failed.log").exists()


def test_a_paused_one_goes_on_before_compose_sees_it(engine: Engine) -> None:
    engine.change("app-2", state="paused")
    assert roll(engine, "app")["services"][0]["action"] == "heal"
    assert engine.events[:2] == ["unpause app-2", "add app-4"]
    assert [each.id for each in engine.there.values() if each.service == "app"] == ["app-4"]


def test_in_place_the_old_one_stops_first_and_boots_again_only_until_then(engine: Engine) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    roll(engine, "postgres")
    assert engine.events == [
        "add postgres-4",
        "always postgres-1",
        "stop postgres-1",
        "no postgres-1",
        "start postgres-4",
        "stop postgres-1",
        "remove postgres-1",
    ]


def needed(engine: Engine) -> Engine:
    """The proxy publishes ports and needs the app, which needs postgres, which has a new image."""
    engine.file["app"] = {**COMPOSE["app"], "depends_on": ["postgres"]}
    engine.file["proxy"] = {**COMPOSE["proxy"], "depends_on": ["app"]}
    engine.change("proxy-3", places=frozenset({("127.0.0.1", 8443)}))
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    return engine


def test_in_place_clients_of_those_who_need_it_wait_until_they_work_again(engine: Engine) -> None:
    """What was asked is answered first."""
    roll(needed(engine), "postgres")
    assert engine.events == [
        "add postgres-4",
        "pause 8443",
        "quiet",
        "always postgres-1",
        "stop postgres-1",
        "no postgres-1",
        "start postgres-4",
        "found pages",
        "let in 8443",
        "stop postgres-1",
        "remove postgres-1",
        "let in 8443",
    ]


def test_clients_wait_for_who_was_ready_only_and_not_for_ever(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    needed(engine).sick = {"proxy:1"}
    looks: list[str] = []

    def looked(container: Container, _: float) -> str:
        looks.append(container.id)
        return "it is not ready"

    with monkeypatch.context() as patched:
        patched.setattr(
            rollout, "wait_ready", lambda each, seconds: "" if each.id == "postgres-4" else looked(each, seconds)
        )
        roll(engine, "postgres")
    assert looks == ["app-2"]
    assert engine.events[-3:] == ["stop postgres-1", "remove postgres-1", "let in 8443"]


def test_clients_wait_for_the_old_one_where_the_new_one_fails(engine: Engine) -> None:
    needed(engine).dying.add("postgres:2")
    with pytest.raises(CoffreError, match="demo-postgres-1 goes on, unchanged"):
        roll(engine, "postgres")
    assert engine.events[-4:] == ["start postgres-1", "found pages", "let in 8443", "let in 8443"]


def test_nothing_stops_where_its_clients_would_not_wait(engine: Engine) -> None:
    needed(engine).no_hold = True
    with pytest.raises(
        CoffreError, match=r"does not let connections wait: `nft` failed;.* demo-postgres-1 goes on, unch"
    ):
        roll(engine, "postgres")
    assert "stop postgres-1" not in engine.events


@pytest.mark.parametrize(
    ("services", "found"),
    [
        ({"db": {}, "app": {"depends_on": ["db"]}, "other": {}}, {"app"}),
        ({"db": {}, "app": {"depends_on": ["db"]}, "web": {"depends_on": ["app"]}}, {"app", "web"}),
        (
            {
                "db": {},
                "app": {"depends_on": ["db"], "x-coffre": {"route": {"port": 80}}},
                "proxy": {"x-coffre": {"proxy": {"haproxy": {}}}},
            },
            {"app", "proxy"},
        ),
        ({"app": {}, "db": {"depends_on": ["app"]}}, set()),
    ],
)
def test_who_needs_a_service_is_told_by_the_file(services: dict[str, dict[str, Any]], found: set[str]) -> None:
    entries = {
        name: compose_file.Entry(name, each, after=tuple(each.get("depends_on", ()))) for name, each in services.items()
    }
    assert rollout.needing(compose_file.File({"services": services}, entries), "db") == found


def test_in_place_the_old_one_comes_back_with_its_policy(engine: Engine) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    engine.dying.add("postgres:2")
    with pytest.raises(CoffreError, match="demo-postgres-1 goes on, unchanged"):
        roll(engine, "postgres")
    assert engine.events[-3:] == ["remove postgres-4", "unless-stopped postgres-1", "start postgres-1"]
    assert (engine.there["postgres-1"].state, engine.there["postgres-1"].restart) == ("running", "unless-stopped")


def publishing(engine: Engine) -> Engine:
    """The proxy publishes ports, and has a new image."""
    engine.change("proxy-3", places=frozenset({("127.0.0.1", 8443), ("127.0.0.1", 8080)}))
    engine.services["proxy"] = replace(engine.services["proxy"], image="proxy:2")
    return engine


def test_in_place_who_connects_to_a_published_port_waits_until_the_new_one_is_ready(engine: Engine) -> None:
    roll(publishing(engine), "proxy")
    assert engine.events == [
        "add proxy-4",
        "hold 8080 8443",
        "always proxy-3",
        "stop proxy-3",
        "no proxy-3",
        "start proxy-4",
        "let in 8080 8443",
        "stop proxy-3",
        "remove proxy-3",
        "let in 8080 8443",
    ]


def test_in_place_who_connects_waits_for_the_old_one_where_the_new_one_fails(engine: Engine) -> None:
    publishing(engine).dying.add("proxy:2")
    with pytest.raises(CoffreError, match="demo-proxy-3 goes on, unchanged"):
        roll(engine, "proxy")
    assert engine.events[-4:] == ["remove proxy-4", "unless-stopped proxy-3", "start proxy-3", "let in 8080 8443"]


def test_in_place_nothing_stops_where_who_connects_would_be_refused(engine: Engine) -> None:
    publishing(engine).no_hold = True
    with pytest.raises(
        CoffreError,
        match=r"site.yml loads anew, does not let connections wait: `nft` failed;.* demo-proxy-3 goes on, unch",
    ):
        roll(engine, "proxy")
    assert "stop proxy-3" not in engine.events


def test_beside_one_that_has_stopped_nobody_waits(engine: Engine) -> None:
    engine.change("proxy-3", places=frozenset({("127.0.0.1", 8443)}), state="exited")
    roll(engine, "proxy")
    assert [each for each in engine.events if "8443" in each] == []


def test_in_place_an_old_one_that_does_not_come_back_is_said_so(engine: Engine) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    engine.dying |= {"postgres:1", "postgres:2"}
    with pytest.raises(CoffreError, match="demo-postgres-1 was to go on, but the container exited with code 3"):
        roll(engine, "postgres")


def test_an_old_one_that_had_stopped_is_left_so(engine: Engine) -> None:
    engine.stop(engine.there["app-2"])
    stage(engine, "app", NEW)
    engine.sick.add(NEW)
    with pytest.raises(CoffreError, match="demo-app-2 is left as it was: it exited with code 0"):
        roll(engine, "app")
    assert engine.there["app-2"].state == "exited"


def test_a_state_that_cannot_be_written_keeps_no_service_down(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(engine, "proxy", NEW)
    engine.services["proxy"] = replace(engine.services["proxy"], image="proxy:2")
    engine.dying.add("proxy:2")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state, "save", full)
    monkeypatch.setattr(compose, "save_logs", lambda *_: False)
    with pytest.raises(OSError, match="No space"):
        roll(engine, "proxy")
    assert (engine.there["proxy-3"].state, engine.there["proxy-3"].restart) == ("running", "unless-stopped")
    assert link(engine) == OLD


def test_a_proxy_that_does_not_answer_hides_no_failure(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(engine, "app", NEW)

    def silent(*_: object) -> None:
        raise CoffreError("HAProxy is silent.")

    monkeypatch.setattr(HAProxy, "hold", silent)
    monkeypatch.setattr(HAProxy, "release", silent)
    with pytest.raises(CoffreError, match=r"app could not adopt.*HAProxy is silent.*demo-app-2 goes on"):
        roll(engine, "app")
    assert named(engine, "app") == (OLD, None)


def test_the_one_that_serves_stays_whatever_a_roll_cut_short_left_beside_it(engine: Engine) -> None:
    old = dict(engine.services)
    stage(engine, "app", NEW)
    left = engine.add(engine.paths.compose, "demo", "app")  # killed here; then the change was called off
    engine.services = old
    st = state.load(engine.paths)
    st.services["app"].next = None
    state.save(engine.paths, st)
    engine.start(left.id)
    engine.sick.add(OLD)  # it is not ready for a moment
    with pytest.raises(CoffreError, match="demo-app-2 was there before and stays"):
        roll(engine, "app")
    assert engine.there["app-2"].state == "running"
    engine.sick.clear()
    roll(engine, "app")
    assert [each.id for each in engine.containers("demo") if each.service == "app"] == ["app-2"]


def test_one_that_was_never_started_is_not_kept_when_it_fails(engine: Engine) -> None:
    engine.remove("app-2")
    engine.add(engine.paths.compose, "demo", "app")
    engine.sick.add(OLD)
    with pytest.raises(CoffreError, match=r"the new container was removed.*there is no older one"):
        roll(engine, "app")
    assert list(engine.there) == ["postgres-1", "proxy-3"]


def test_in_place_one_that_would_not_start_at_boot_is_replaced(engine: Engine) -> None:
    before = dict(engine.services)
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    engine.events = Deadly(4)  # the old one has stopped, for good
    with pytest.raises(Killed):
        roll(engine, "postgres")
    engine.events, engine.services = [], before  # the change was called off
    roll(engine, "postgres")
    assert [(each.image, each.state, each.restart) for each in engine.there.values() if each.service == "postgres"] == [
        ("postgres:1", "running", "unless-stopped")
    ]


class Killed(BaseException):
    pass


class Deadly(list[str]):
    """Events of which one too many kills."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def append(self, event: str) -> None:
        if len(self) == self.steps:
            raise Killed
        super().append(event)


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_roll_in_place_that_is_killed_anywhere_is_finished(engine: Engine, steps: int) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    engine.events = Deadly(steps)
    try:
        roll(engine, "postgres")
    except Killed:
        engine.events = []
        roll(engine, "postgres")
    assert [(each.image, each.state, each.restart) for each in engine.there.values() if each.service == "postgres"] == [
        ("postgres:2", "running", "unless-stopped")
    ]


@pytest.mark.parametrize("steps", range(1, 9))
@pytest.mark.parametrize("sick", [False, True])
def test_a_roll_that_is_killed_anywhere_is_finished_or_taken_back(engine: Engine, steps: int, sick: bool) -> None:
    stage(engine, "app", NEW)
    engine.sick |= {NEW} if sick else set()
    engine.events = Deadly(steps)
    for _ in range(2):
        try:
            roll(engine, "app")
        except Killed:
            engine.events = []
        except CoffreError:
            break
    assert [each.bundle for each in engine.there.values() if each.service == "app"] == [OLD if sick else NEW]
    assert named(engine, "app") == (OLD if sick else NEW, None)


def replicated(engine: Engine, replicas: int = 3) -> Engine:
    """The app has so many containers of the bundle OLD."""
    engine.file["app"] = {**COMPOSE["app"], "deploy": {**START_FIRST, "replicas": replicas}}
    roll(engine, "app")
    engine.events.clear()
    return engine


def bundles_of(engine: Engine, service: str = "app") -> list[str | None]:
    return [each.bundle for each in engine.there.values() if each.service == service and each.state == "running"]


def test_replicas_are_replaced_one_after_the_other_and_have_adopted_with_the_last(engine: Engine) -> None:
    replicated(engine)
    assert bundles_of(engine) == [OLD] * 3
    stage(engine, "app", NEW)
    seen = []

    def agree(*_: object) -> rollout.Agreed:
        seen.append(named(engine, "app"))
        return rollout.Agreed()

    result = roll(engine, "app", agree=agree)
    assert [each["action"] for each in result["services"]] == ["start_first"] * 3
    moves = [each for each in engine.events if each.split()[0] in ("start", "stop")]
    assert [each.split()[0] for each in moves] == ["start", "stop"] * 3
    assert (bundles_of(engine), seen) == ([NEW] * 3, [(NEW, None)])  # once, behind the last of its steps
    assert not roll(engine, "app")["changed"]


def test_one_new_replica_that_fails_keeps_the_others(engine: Engine) -> None:
    before = dict(replicated(engine).services)
    stage(engine, "app", NEW)
    start, begun = engine.start, list[str]()

    def second_dies(identity: str) -> None:
        begun.append(identity)
        start(identity)
        if len(begun) == 2:
            engine.change(identity, state="exited", exit_code=3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "start", second_dies)
        with pytest.raises(CoffreError, match=r"the container exited with code 3; .*demo-app-4 goes on, unchanged"):
            roll(engine, "app")
    assert sorted(map(str, bundles_of(engine))) == [OLD, OLD, NEW]
    assert named(engine, "app") == (OLD, None)
    assert engine.paths.bundle("app", NEW).is_dir()  # one of them mounts it
    engine.services = before  # a rotation goes back
    roll(engine, "app")
    assert (bundles_of(engine), named(engine, "app")) == ([OLD] * 3, (OLD, None))
    assert not engine.paths.bundle("app", NEW).exists()


@pytest.mark.parametrize("steps", range(1, 25))
@pytest.mark.parametrize("sick", [False, True])
def test_a_roll_of_replicas_that_is_killed_anywhere_is_finished_or_taken_back(
    engine: Engine, steps: int, sick: bool
) -> None:
    replicated(engine)
    stage(engine, "app", NEW)
    engine.sick |= {NEW} if sick else set()
    engine.events = Deadly(steps)
    for _ in range(2):
        try:
            roll(engine, "app")
        except Killed:
            engine.events = []
        except CoffreError:
            break
    assert bundles_of(engine) == [OLD if sick else NEW] * 3
    assert named(engine, "app") == (OLD if sick else NEW, None)


def test_what_is_one_too_many_leaves(engine: Engine) -> None:
    replicated(engine)
    replicated(engine, 2)
    assert bundles_of(engine) == [OLD] * 2
    engine.file["app"] = COMPOSE["app"]
    roll(engine, "app")
    assert bundles_of(engine) == [OLD]


Asked = list[tuple[str, bool]]


def agreeing(asked: Asked, **found: rollout.Agreed) -> rollout.Agree:
    """Strategies that find something for some services, and note what they are asked."""

    def agree(_: state.State, service: str, dry: bool) -> rollout.Agreed:
        asked.append((service, dry))
        return found.get(service, rollout.Agreed())

    return agree


def test_after_each_service_its_strategies_are_asked_and_what_they_set_right_is_told(engine: Engine) -> None:
    asked: Asked = []
    stage(engine, "app", NEW)
    agree = agreeing(asked, postgres=rollout.Agreed({"key": ["role"]}, ["Somebody may have wanted it otherwise."]))
    result = roll(engine, agree=agree)
    assert asked == [("postgres", False), ("app", False), ("proxy", False)]
    assert [each["agreed"] for each in result["services"]] == [{"key": ["role"]}, {}, {}]
    assert result["warnings"] == ["Somebody may have wanted it otherwise."]
    again = roll(engine, agree=agree)
    assert (again["changed"], [each["action"] for each in again["services"]]) == (True, ["nothing"] * 3)
    assert not roll(engine, agree=agreeing(asked))["changed"]


def test_the_module_tells_what_was_set_right_and_what_the_file_says_in_vain(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rollout.Agreed({"key": ["role"]}, ["Somebody may have wanted it otherwise."])
    monkeypatch.setattr(module, "StackPaths", lambda _, **__: engine.paths)
    monkeypatch.setattr(module, "agreeing", lambda *_: agreeing([], postgres=found))
    engine.file["app"] = {**COMPOSE["app"], "deploy": {**START_FIRST, "placement": {"constraints": ["x"]}}}
    engine.file["proxy"] = {"image": "proxy:1", "x-coffre": {"adopt": "reload"}}
    file = {"services": engine.file}
    params = {
        "stack": "demo",
        "engine": "compose",
        "catalogue": {"secrets": []},
        "compose_file": file,
        "bundles": {},
        "images": {},
        "endpoints": [],
    }
    result = module.work(params | {"timeout": 10, "run": "run-1", "operator": "kim"}, check=False)
    assert [each["agreed"] for each in result["services"]] == [{"key": ["role"]}, {}, {}]
    assert result["warnings"][0] == "Somebody may have wanted it otherwise."
    assert "service app: Compose ignores deploy.placement" in result["warnings"][1:]


def test_in_check_mode_those_are_asked_that_have_containers_and_nothing_is_set_right(engine: Engine) -> None:
    asked: Asked = []
    engine.remove("postgres-1")
    agree = agreeing(asked, app=rollout.Agreed({"key": ["secret"]}))
    result = roll(engine, check=True, agree=agree)
    assert asked == [("app", True), ("proxy", True)]
    assert (result["changed"], result["services"][1]["agreed"]) == (True, {"key": ["secret"]})


def test_what_only_a_person_can_mend_ends_a_rollout_before_a_service_is_touched(engine: Engine) -> None:
    def by_hand(_: state.State) -> str:
        return "It has a second factor."

    assert not roll(engine, by_hand=by_hand)["changed"]  # nobody looks where nothing is to be done
    stage(engine, "app", NEW)
    before = bundles_of(engine)
    for check in (True, False):
        with pytest.raises(CoffreError, match="second factor"):
            roll(engine, by_hand=by_hand, check=check)
        assert (bundles_of(engine), named(engine, "app")) == (before, (OLD, NEW))


def test_a_verifier_that_cannot_be_made_to_agree_stops_the_roll_before_the_next_service(engine: Engine) -> None:
    stage(engine, "app", NEW)

    def agree(_: state.State, service: str, __: bool) -> rollout.Agreed:
        raise CoffreError(f"{service} gives no answer.")

    with pytest.raises(CoffreError, match="postgres gives no answer"):
        roll(engine, agree=agree)
    assert (engine.events, named(engine, "app")) == ([], (OLD, NEW))


@pytest.mark.parametrize("left", ["closed", "taken over"])
def test_a_rotation_that_is_gone_once_its_rollout_has_the_lock_rolls_nothing(engine: Engine, left: str) -> None:
    stage(engine, "app", NEW)
    rotating(engine, "forward")
    st = state.load(engine.paths)
    assert st.run
    st.run = replace(st.run, holder="another") if left == "taken over" else None
    state.save(engine.paths, st)
    engine.file["other"] = {"image": "other"}  # the file would be written anew
    before = engine.paths.compose.read_bytes(), engine.paths.state.read_bytes()
    with pytest.raises(CoffreError, match="Another play has taken over"):
        roll(engine, "app", rotating=True)
    assert (engine.paths.compose.read_bytes(), engine.paths.state.read_bytes(), engine.events) == (*before, [])


def test_a_proxy_is_not_stopped_for_a_configuration_that_it_would_not_start_with(engine: Engine) -> None:
    engine.services["proxy"] = replace(engine.services["proxy"], image="proxy:2")
    engine.unfit = "HAProxy refuses its configuration: no such backend"
    with pytest.raises(CoffreError, match=r"no such backend.*demo-proxy-3 goes on, unchanged"):
        roll(engine, "proxy")
    assert "stop proxy-3" not in engine.events
    engine.unfit = ""
    assert roll(engine, "proxy")["services"][0]["action"] == "restart"


@pytest.fixture
def signalled(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The proxy is none of HAProxy's: it reads its files again by a signal."""
    engine.file["proxy"] = {"image": "proxy:1", "x-coffre": {"adopt": {"reload": "SIGUSR1"}}}
    monkeypatch.setattr(HAProxy, "reload", lambda _: pytest.fail("it is no HAProxy"))
    roll(engine)
    engine.events.clear()
    stage(engine, "proxy", NEW)
    return engine


def test_who_reloads_by_a_signal_is_sent_it_and_must_be_ready_then(
    signalled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[str]] = []
    monkeypatch.setattr(compose, "call", sent.append)
    assert roll(signalled, "proxy")["services"][0]["action"] == "reload"
    assert sent == [["docker", "kill", "--signal", "SIGUSR1", "proxy-3"]]
    assert (named(signalled, "proxy"), link(signalled)) == ((NEW, None), NEW)


@pytest.mark.parametrize("fault", ["refused", "exits", "not ready"])
def test_a_signal_after_which_it_does_not_serve_goes_back(
    signalled: Engine, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    sent: list[str] = []

    def call(_: Sequence[str]) -> str:
        sent.append(link(signalled))
        if link(signalled) == NEW:
            if fault == "refused":
                raise CoffreError("`docker kill` failed")
            if fault == "exits":  # and the engine starts it again
                signalled.change("proxy-3", restarts=1)
            signalled.sick.add("proxy:1")
        else:
            signalled.sick.clear()
        return ""

    monkeypatch.setattr(compose, "call", call)
    with pytest.raises(CoffreError, match=f"proxy could not adopt bundle {NEW}: .*it goes on with bundle {OLD}"):
        roll(signalled, "proxy")
    assert (named(signalled, "proxy"), link(signalled)) == ((OLD, None), OLD)
    assert {path.name for path in signalled.paths.service("proxy").iterdir()} == {OLD, "current"}
    if fault != "refused":
        assert sent == [NEW, OLD]  # it has read the new files, so it must read the old ones again
    assert rollout.steady(StackPaths("demo"), ["proxy"], 10) == ""


def test_reload(engine: Engine) -> None:
    stage(engine, "proxy", NEW)
    result = roll(engine, "app", "proxy")
    assert result["services"][1]["action"] == "reload"
    assert engine.events == ["reload"]
    assert (named(engine, "proxy"), link(engine)) == ((NEW, None), NEW)


def test_a_proxy_that_a_roll_cut_short_left_reads_the_bundle_that_it_is_said_to_have(engine: Engine) -> None:
    stage(engine, "proxy", NEW)
    engine.services["proxy"] = replace(engine.services["proxy"], image="proxy:2")
    left = engine.add(engine.paths.compose, "demo", "proxy")
    engine.start(left.id)  # by a reboot, with the link on the bundle before
    engine.events.clear()
    result = roll(engine, "proxy")
    assert result["services"][0]["action"] == "finish"
    assert "reload" in engine.events
    assert (named(engine, "proxy"), link(engine)) == ((NEW, None), NEW)


def test_a_container_of_another_compose_file_is_not_taken_for_ours(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(engine, "app", NEW)

    def add(file: Path, project: str, service: str) -> Container:
        engine.change(engine.add(file, project, service).id, bundle="2" * 12)
        return engine.there["app-4"]

    monkeypatch.setattr(compose, "add", add)
    with pytest.raises(CoffreError, match=r"another run has changed the Compose file.*demo-app-2 goes on"):
        roll(engine, "app")
    assert named(engine, "app") == (OLD, None)
    assert [each.id for each in engine.containers("demo") if each.service == "app"] == ["app-2"]


def test_a_reload_that_is_refused_leaves_the_link_where_it_was(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(engine, "proxy", NEW)
    monkeypatch.setattr(HAProxy, "reload", lambda _: "HAProxy refuses to load it")
    with pytest.raises(CoffreError, match=f"HAProxy refuses to load it; it goes on with bundle {OLD}"):
        roll(engine, "proxy")
    assert (named(engine, "proxy"), link(engine)) == ((OLD, None), OLD)
    assert {path.name for path in engine.paths.service("proxy").iterdir()} == {OLD, "current"}


def test_a_proxy_replaced_with_its_bundle_goes_back_with_it(engine: Engine) -> None:
    stage(engine, "proxy", NEW)
    engine.services["proxy"] = replace(engine.services["proxy"], image="proxy:2")
    engine.sick.add("proxy:2")
    with pytest.raises(CoffreError, match="demo-proxy-3 goes on, unchanged"):
        roll(engine, "proxy")
    assert (named(engine, "proxy"), link(engine)) == ((OLD, None), OLD)


def refusal(engine: Engine, *names: str) -> str:
    before = state.load(engine.paths)
    with pytest.raises(CoffreError) as failure:
        roll(engine, *names)
    assert engine.events == []
    assert state.load(engine.paths) == before
    assert "nothing was changed" in str(failure.value)
    return str(failure.value)


def test_refusals_come_before_any_change(engine: Engine) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], config_hash="other")
    known = dict(engine.services)
    del engine.services["proxy"]
    assert "has no service proxy" in refusal(engine, "postgres", "proxy")
    engine.services = known
    engine.services["app"] = replace(engine.services["app"], image_id=None)
    assert "The image app:1 of app is not on this host" in refusal(engine, "postgres", "app")
    engine.services["app"] = replace(engine.services["app"], image_id="i", bundle=NEW)
    assert f"names bundle {NEW} for app where the state has {OLD}" in refusal(engine, "postgres", "app")
    engine.services["app"] = replace(engine.services["app"], bundle=OLD)
    bundles.remove(engine.paths.bundle("app", OLD))
    assert f"Bundle {OLD} of app is not on this host" in refusal(engine, "postgres", "app")


def test_check_mode_on_a_new_host_needs_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "call", None)
    result = roll(Engine(StackPaths("demo", tmp_path / "run", tmp_path / "lib"), {}), "postgres", "app", check=True)
    assert [each["action"] for each in result["services"]] == ["create", "create"]
    assert not (tmp_path / "lib").exists()


@pytest.fixture
def recorded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose host has a key for its audit trail, in which what was adopted before is recorded."""
    st = state.load(engine.paths)
    key = state.Bundle({}, {audit.KEY: "k"}, state.now(), 0, 0)
    st.services["host"] = state.ServiceState("2" * 12, None, {"2" * 12: key})
    state.save(engine.paths, st)
    monkeypatch.setattr(bundles, "value", lambda *_: b"canary-audit-key")
    audit.adopted(engine.paths, st, audit.Author("run-0", "somebody"))
    return engine


def records(engine: Engine) -> list[tuple[str, str, str, str]]:
    """(run, service, bundle, outcome) of what the runs of a test recorded."""
    audit.verify(engine.paths.audit, {"k": b"canary-audit-key"})
    entries = [json.loads(line) for line in engine.paths.audit.read_text().splitlines()]
    return [
        (each["run"], each["service"], each["bundle"], each["outcome"]) for each in entries if each["run"] != "run-0"
    ]


def test_what_was_adopted_is_recorded_once(recorded: Engine) -> None:
    stage(recorded, "app", NEW)
    roll(recorded, "app", "postgres", check=True)
    assert records(recorded) == []
    roll(recorded, "app", "postgres")
    assert records(recorded) == [("run-1", "app", NEW, "adopted")]
    assert not roll(recorded, "app", "postgres", run=audit.Author("run-2", "somebody"))["changed"]
    assert len(records(recorded)) == 1


def test_what_was_refused_is_recorded_beside_what_was_adopted_before(recorded: Engine) -> None:
    recorded.file["proxy"], recorded.file["app"] = COMPOSE["proxy"], recorded.file.pop("app")  # the proxy comes first
    stage(recorded, "proxy", NEW)
    stage(recorded, "app", "3" * 12)
    recorded.sick.add("3" * 12)
    with pytest.raises(CoffreError, match="app could not adopt"):
        roll(recorded, "proxy", "app")
    assert records(recorded) == [("run-1", "proxy", NEW, "adopted"), ("run-1", "app", "3" * 12, "refused")]


def test_a_refusal_of_something_else_than_a_bundle_is_not_recorded(recorded: Engine) -> None:
    recorded.services["app"] = replace(recorded.services["app"], image="app:2", image_id="i2")
    recorded.sick.add("app:2")
    with pytest.raises(CoffreError, match="app could not adopt"):
        roll(recorded, "app")
    assert records(recorded) == []


def test_a_run_that_died_before_it_recorded_is_made_up_for(recorded: Engine) -> None:
    stage(recorded, "app", NEW)
    roll(recorded, "app")
    lines = recorded.paths.audit.read_bytes().splitlines(keepends=True)
    recorded.paths.audit.write_bytes(b"".join(lines[:-1]))
    later = audit.Author("run-2", "somebody")
    assert roll(recorded, "app", run=later)["changed"]
    assert records(recorded) == [("run-2", "app", NEW, "recovered")]
    assert not roll(recorded, "app", run=later)["changed"]


def test_a_trail_that_cannot_be_written_is_told_and_undoes_nothing(recorded: Engine) -> None:
    trail = recorded.paths.audit.read_bytes()
    recorded.paths.audit.unlink()
    recorded.paths.audit.mkdir()
    stage(recorded, "app", NEW)
    with pytest.raises(CoffreError, match=r"cannot be continued .* stays so"):
        roll(recorded, "app")
    recorded.paths.audit.rmdir()
    recorded.paths.audit.write_bytes(trail)
    roll(recorded, "app")
    assert named(recorded, "app") == (NEW, None)
    assert records(recorded) == [("run-1", "app", NEW, "adopted")]
