"""What a rollout does, in which order, on an engine of the test's own: each step comes only after what it relies on."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.engines.compose import Container, DesiredService
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout
from ansible_collections.coffre.stack.plugins.module_utils.rollout.proxies import haproxy

OLD, NEW = "0" * 12, "1" * 12
RUN = audit.Author("run-1", "somebody")


@dataclass
class Engine:
    """A Docker engine in memory. `sick`: bundles or images whose containers never pass; `dying`: those that exit."""

    paths: StackPaths
    services: dict[str, DesiredService]
    sick: set[str | None] = field(default_factory=set)
    dying: set[str | None] = field(default_factory=set)
    there: dict[str, Container] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    closed: int = 0  # how often the packet filter was told the networks
    open_network: bool = False  # whether a container was started before
    bridges: list[dict[str, object]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)  # the Compose file, whenever a container was made from it
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def change(self, identity: str, **different: object) -> None:
        self.there[identity] = replace(self.there[identity], **different)  # type: ignore[arg-type]

    def desired(self, _: Path, content: str) -> dict[str, DesiredService]:
        if content == "no Compose file":
            raise CoffreError("`docker compose` failed")
        return self.services

    def containers(self, _: str) -> list[Container]:
        return list(self.there.values())

    def inspect(self, ids: Sequence[str]) -> list[Container]:
        return [self.there[identity] for identity in ids]

    def networks(self, _: str) -> list[dict[str, object]]:
        return self.bridges

    def call(self, command: Sequence[str]) -> str:
        self.events.append(" ".join(command[:1]))
        return ""

    def add(self, file: Path, project: str, service: str) -> Container:
        self.read.append(file.read_text())
        number, wanted = next(self.numbers), self.services[service]
        made = Container(
            id=f"{service}-{number}",
            name=f"{project}-{service}-{number}",
            service=service,
            config_hash=wanted.config_hash,
            image=wanted.image,
            image_id=wanted.image_id or "",
            bundle=wanted.bundle,
            state="created",
            health="",
            exit_code=0,
            out_of_memory=False,
            restarts=0,
            created=f"2026-01-01T00:00:{number:02}Z",
            pid=0,
            stop_seconds=10,
            restart="unless-stopped",
            health_check=("CMD", "probe"),
            ready=(),
            addresses=frozenset(),
            mounts=(),
        )
        self.there[made.id] = made
        self.events.append(f"add {made.id}")
        return made

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


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine on which app, postgres and proxy have been rolled out; app and proxy with the bundle OLD."""
    paths = StackPaths("demo", tmp_path / "run", tmp_path / "lib")
    paths.lib.mkdir(parents=True)
    paths.compose.write_text("services: {}\n")
    there = Engine(
        paths,
        {
            "app": DesiredService("app", "h", "app:1", "i", OLD, "start_first", "unless-stopped"),
            "postgres": DesiredService("postgres", "h", "postgres:1", "i", None, "restart", "unless-stopped"),
            "proxy": DesiredService("proxy", "h", "proxy:1", "i", None, "reload", "unless-stopped"),
        },
    )
    for name in ("desired", "containers", "inspect", "add", "start", "stop", "remove"):
        monkeypatch.setattr(compose, name, getattr(there, name))
    for name in ("unpause", "set_restart", "save_logs", "succeeds", "networks", "call"):
        monkeypatch.setattr(compose, name, getattr(there, name))
    monkeypatch.setattr(rollout, "time", Clock())

    def call(name: str, answer: object = None) -> None:
        """Let a call of HAProxy's side be an event: its name, with the addresses it is given."""

        def done(_: Container, *given: object) -> object:
            addresses = [address for each in given if isinstance(each, frozenset) for address in sorted(each)]
            there.events.append(" ".join([name, *addresses]))
            return answer

        monkeypatch.setattr(haproxy, name, done)

    for name, answer in {"hold": None, "switch": "", "drain": None, "release": None, "reload": True}.items():
        call(name, answer)
    stage(there, "app", OLD)
    stage(there, "proxy", OLD)
    rollout.roll(paths, ["postgres", "app", "proxy"], 10, RUN)
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
    result = rollout.roll(engine.paths, ["postgres", "app", "proxy"], 10, RUN)
    assert not result["changed"]
    assert [each["action"] for each in result["services"]] == ["nothing"] * 3
    assert engine.events == ["release"]  # slots that a run killed at its end has left closed


def test_check_mode_says_and_does_nothing(engine: Engine) -> None:
    stage(engine, "app", NEW)
    result = rollout.roll(engine.paths, ["postgres", "app"], 10, RUN, check=True)
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
    engine.services["app"] = replace(engine.services["app"], image="app:2", image_id=None)  # not built in check mode
    told = rollout.roll(engine.paths, ["app"], 10, RUN, check=True, content="other")
    assert [each["action"] for each in told["services"]] == ["start_first"]
    assert (told["diff"][0]["before"], told["diff"][0]["after"]) == (before, "other")
    assert engine.paths.compose.read_text() == before
    engine.services["app"] = replace(engine.services["app"], image="app:2", image_id="j")
    assert rollout.roll(engine.paths, ["app"], 10, RUN, content="other")["changed"]
    assert (engine.paths.compose.read_text(), engine.read[-1]) == ("other", "other")
    assert engine.paths.compose.stat().st_mode & 0o777 == 0o600
    again = rollout.roll(engine.paths, ["app"], 10, RUN, content="other")
    assert (again["changed"], len(again["diff"])) == (False, 1)
    with pytest.raises(CoffreError, match="cannot be used, and nothing was changed: `docker compose` failed"):
        rollout.roll(engine.paths, ["app"], 10, RUN, content="no Compose file")
    assert engine.paths.compose.read_text() == "other"


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
    assert rollout.roll(engine.paths, ["app"], 10, RUN, content=before)["changed"]
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


def test_all_are_seen_ready_and_stay_so_at_once(engine: Engine) -> None:
    assert rollout.steady("demo", ["app"], 10) == ""
    engine.sick.add("postgres:1")
    found = rollout.steady("demo", ["app"], 10)
    assert found.startswith("demo-postgres-1: the container runs, but its health check fails after 10 s"), found
    engine.sick.clear()
    engine.change("postgres-1", state="paused")
    assert rollout.steady("demo", ["app"], 10).startswith("demo-postgres-1: it is paused after 10 s")
    engine.change("postgres-1", health="unhealthy")  # as it was before, and no matter of the app's
    assert rollout.steady("demo", ["app"], 10) == ""
    engine.sick = {OLD}
    assert "demo-app-2: the container runs, but its health check fails" in rollout.steady("demo", ["app"], 10)
    engine.stop(engine.there["app-2"])
    assert rollout.steady("demo", ["app"], 10) == "no container of app runs"
    assert rollout.steady("another", [], 10) == ""


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
    assert rollout.steady("demo", ["app"], 60) == ""
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
        rollout.roll(engine.paths, ["app"], 10, RUN, rotating=True)
    engine.services = before
    rotating(engine, "back")
    rollout.roll(engine.paths, ["app"], 10, RUN, rotating=True)
    st = state.load(engine.paths)
    st.run = None
    state.save(engine.paths, st)
    rollout.roll(engine.paths, ["app"], 10, RUN)  # an unchanged deploy
    assert log.read_text() == "logs of app-4"
    engine.sick.clear()
    stage(engine, "app", NEW)
    rollout.roll(engine.paths, ["app"], 10, RUN)
    assert not log.exists()


def test_the_log_of_a_container_that_is_rolled_back_is_kept(engine: Engine) -> None:
    """It may have been ready, and failed at what the rotation tried next; one that never had the new value did not."""
    stage(engine, "app", NEW)
    rotating(engine, "forward")
    rollout.roll(engine.paths, ["app"], 10, RUN, rotating=True)
    assert not engine.paths.failed_log("app").exists()
    stage(engine, "app", OLD)
    rotating(engine, "back")
    rollout.roll(engine.paths, ["app"], 10, RUN, rotating=True)
    assert engine.paths.failed_log("app").read_text() == "logs of app-4"
    stage(engine, "app", "2" * 12)  # a ring that keeps what was exposed out
    rollout.roll(engine.paths, ["app"], 10, RUN, rotating=True)
    assert engine.paths.failed_log("app").read_text() == "logs of app-4"


def test_start_first(engine: Engine) -> None:
    stage(engine, "app", NEW)
    result = rollout.roll(engine.paths, ["postgres", "app"], 10, RUN)
    assert engine.events == [
        "hold @app-2",
        "add app-4",
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


def test_no_container_starts_on_a_network_that_the_packet_filter_does_not_know(engine: Engine) -> None:
    engine.bridges.append({"Id": "a" * 64, "Driver": "bridge", "Options": {}})
    stage(engine, "app", NEW)
    rollout.roll(engine.paths, ["app"], 10, RUN)
    assert engine.events[:4] == ["hold @app-2", "add app-4", "nft", "start app-4"]
    assert engine.events.count("nft") == 1
    # Where nothing is rolled it learns them too: of a host that an earlier version deployed, say.
    engine.bridges.append({"Id": "b" * 64, "Driver": "bridge", "Options": {}})
    result = rollout.roll(engine.paths, ["app"], 10, RUN)
    assert (result["changed"], engine.events[-1]) == (True, "nft")
    assert not rollout.roll(engine.paths, ["app"], 10, RUN)["changed"]


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
        rollout.roll(engine.paths, ["app", "postgres"], 10, RUN)
    log = engine.paths.lib / "app.failed.log"
    assert str(failure.value) == (
        f"app could not adopt app:1 with bundle {NEW}: {why}; the new container was removed, its last log lines are "
        f"in {log}; demo-app-2 goes on, unchanged. Mend the cause, then run playbooks/site.yml."
    )
    assert engine.events == [
        "hold @app-2",
        "add app-4",
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
    monkeypatch.setattr(haproxy, "switch", lambda *_: "the proxy does not")
    with pytest.raises(CoffreError, match=r"the proxy does not.*demo-app-2 goes on"):
        rollout.roll(engine.paths, ["app"], 10, RUN)
    assert list(engine.there) == ["postgres-1", "app-2", "proxy-3"]


def test_a_first_bundle_that_fails_stays_staged(engine: Engine) -> None:
    engine.remove("app-2")
    st = state.load(engine.paths)
    st.services["app"].current, st.services["app"].next = None, OLD
    state.save(engine.paths, st)
    engine.sick.add(OLD)
    with pytest.raises(CoffreError, match=r"fails after 600 s; .*there is no older one to go back to"):
        rollout.roll(engine.paths, ["app"], 10, RUN)
    assert named(engine, "app") == (None, OLD)
    engine.sick.clear()
    assert rollout.roll(engine.paths, ["app"], 10, RUN)["changed"]
    assert named(engine, "app") == (OLD, None)
    assert not (engine.paths.lib / "app.failed.log").exists()


def test_a_paused_one_goes_on_before_compose_sees_it(engine: Engine) -> None:
    engine.change("app-2", state="paused")
    assert rollout.roll(engine.paths, ["app"], 10, RUN)["services"][0]["action"] == "heal"
    assert engine.events[1:4] == ["unpause app-2", "add app-4", "start app-4"]
    assert [each.id for each in engine.there.values() if each.service == "app"] == ["app-4"]


def test_in_place_the_old_one_stops_first_and_boots_again_only_until_then(engine: Engine) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    rollout.roll(engine.paths, ["postgres"], 10, RUN)
    assert engine.events == [
        "add postgres-4",
        "always postgres-1",
        "stop postgres-1",
        "no postgres-1",
        "start postgres-4",
        "stop postgres-1",
        "remove postgres-1",
    ]


def test_in_place_the_old_one_comes_back_with_its_policy(engine: Engine) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    engine.dying.add("postgres:2")
    with pytest.raises(CoffreError, match="demo-postgres-1 goes on, unchanged"):
        rollout.roll(engine.paths, ["postgres"], 10, RUN)
    assert engine.events[-3:] == ["remove postgres-4", "unless-stopped postgres-1", "start postgres-1"]
    assert (engine.there["postgres-1"].state, engine.there["postgres-1"].restart) == ("running", "unless-stopped")


def test_in_place_an_old_one_that_does_not_come_back_is_said_so(engine: Engine) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    engine.dying |= {"postgres:1", "postgres:2"}
    with pytest.raises(CoffreError, match="demo-postgres-1 was to go on, but the container exited with code 3"):
        rollout.roll(engine.paths, ["postgres"], 10, RUN)


def test_an_old_one_that_had_stopped_is_left_so(engine: Engine) -> None:
    engine.stop(engine.there["app-2"])
    stage(engine, "app", NEW)
    engine.sick.add(NEW)
    with pytest.raises(CoffreError, match="demo-app-2 is left as it was: it exited with code 0"):
        rollout.roll(engine.paths, ["app"], 10, RUN)
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
        rollout.roll(engine.paths, ["proxy"], 10, RUN)
    assert (engine.there["proxy-3"].state, engine.there["proxy-3"].restart) == ("running", "unless-stopped")
    assert link(engine) == OLD


def test_a_proxy_that_does_not_answer_hides_no_failure(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(engine, "app", NEW)

    def silent(*_: object) -> None:
        raise CoffreError("HAProxy is silent.")

    monkeypatch.setattr(haproxy, "hold", silent)
    monkeypatch.setattr(haproxy, "release", silent)
    with pytest.raises(CoffreError, match=r"app could not adopt.*HAProxy is silent.*demo-app-2 goes on"):
        rollout.roll(engine.paths, ["app"], 10, RUN)
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
        rollout.roll(engine.paths, ["app"], 10, RUN)
    assert engine.there["app-2"].state == "running"
    engine.sick.clear()
    rollout.roll(engine.paths, ["app"], 10, RUN)
    assert [each.id for each in engine.containers("demo") if each.service == "app"] == ["app-2"]


def test_one_that_was_never_started_is_not_kept_when_it_fails(engine: Engine) -> None:
    engine.remove("app-2")
    engine.add(engine.paths.compose, "demo", "app")
    engine.sick.add(OLD)
    with pytest.raises(CoffreError, match=r"the new container was removed.*there is no older one"):
        rollout.roll(engine.paths, ["app"], 10, RUN)
    assert list(engine.there) == ["postgres-1", "proxy-3"]


def test_in_place_one_that_would_not_start_at_boot_is_replaced(engine: Engine) -> None:
    before = dict(engine.services)
    engine.services["postgres"] = replace(engine.services["postgres"], image="postgres:2")
    engine.events = Deadly(4)  # the old one has stopped, for good
    with pytest.raises(Killed):
        rollout.roll(engine.paths, ["postgres"], 10, RUN)
    engine.events, engine.services = [], before  # the change was called off
    rollout.roll(engine.paths, ["postgres"], 10, RUN)
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
        rollout.roll(engine.paths, ["postgres"], 10, RUN)
    except Killed:
        engine.events = []
        rollout.roll(engine.paths, ["postgres"], 10, RUN)
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
            rollout.roll(engine.paths, ["app"], 10, RUN)
        except Killed:
            engine.events = []
        except CoffreError:
            break
    assert [each.bundle for each in engine.there.values() if each.service == "app"] == [OLD if sick else NEW]
    assert named(engine, "app") == (OLD if sick else NEW, None)


def test_reload(engine: Engine) -> None:
    stage(engine, "proxy", NEW)
    result = rollout.roll(engine.paths, ["app", "proxy"], 10, RUN)
    assert result["services"][1]["action"] == "reload"
    assert engine.events == ["reload"]
    assert (named(engine, "proxy"), link(engine)) == ((NEW, None), NEW)


def test_a_proxy_that_a_roll_cut_short_left_reads_the_bundle_that_it_is_said_to_have(engine: Engine) -> None:
    stage(engine, "proxy", NEW)
    engine.services["proxy"] = replace(engine.services["proxy"], image="proxy:2")
    left = engine.add(engine.paths.compose, "demo", "proxy")
    engine.start(left.id)  # by a reboot, with the link on the bundle before
    engine.events.clear()
    result = rollout.roll(engine.paths, ["proxy"], 10, RUN)
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
        rollout.roll(engine.paths, ["app"], 10, RUN)
    assert named(engine, "app") == (OLD, None)
    assert [each.id for each in engine.containers("demo") if each.service == "app"] == ["app-2"]


def test_a_reload_that_is_refused_leaves_the_link_where_it_was(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(engine, "proxy", NEW)
    monkeypatch.setattr(haproxy, "reload", lambda _: False)
    with pytest.raises(CoffreError, match=f"HAProxy refuses to load it; it goes on with bundle {OLD}"):
        rollout.roll(engine.paths, ["proxy"], 10, RUN)
    assert (named(engine, "proxy"), link(engine)) == ((OLD, None), OLD)
    assert {path.name for path in engine.paths.service("proxy").iterdir()} == {OLD, "current"}


def test_a_proxy_replaced_with_its_bundle_goes_back_with_it(engine: Engine) -> None:
    stage(engine, "proxy", NEW)
    engine.services["proxy"] = replace(engine.services["proxy"], image="proxy:2")
    engine.sick.add("proxy:2")
    with pytest.raises(CoffreError, match="demo-proxy-3 goes on, unchanged"):
        rollout.roll(engine.paths, ["proxy"], 10, RUN)
    assert (named(engine, "proxy"), link(engine)) == ((OLD, None), OLD)


def refusal(engine: Engine, *names: str) -> str:
    before = state.load(engine.paths)
    with pytest.raises(CoffreError) as failure:
        rollout.roll(engine.paths, names, 10, RUN)
    assert engine.events == []
    assert state.load(engine.paths) == before
    assert "nothing was changed" in str(failure.value)
    return str(failure.value)


def test_refusals_come_before_any_change(engine: Engine) -> None:
    engine.services["postgres"] = replace(engine.services["postgres"], config_hash="other")
    assert "has no service nobody" in refusal(engine, "postgres", "nobody")
    engine.services["app"] = replace(engine.services["app"], image_id=None)
    assert "The image app:1 of app is not on this host" in refusal(engine, "postgres", "app")
    engine.services["app"] = replace(engine.services["app"], image_id="i", bundle=NEW)
    assert f"names bundle {NEW} for app where the state has {OLD}" in refusal(engine, "postgres", "app")
    engine.services["app"] = replace(engine.services["app"], bundle=OLD)
    bundles.remove(engine.paths.bundle("app", OLD))
    assert f"Bundle {OLD} of app is not on this host" in refusal(engine, "postgres", "app")
    engine.paths.compose.unlink()
    assert "compose.yml is not there" in refusal(engine, "postgres")


def test_check_mode_on_a_new_host_needs_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "call", None)
    result = rollout.roll(
        StackPaths("demo", tmp_path / "run", tmp_path / "lib"), ["postgres", "app"], 10, RUN, check=True
    )
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
    rollout.roll(recorded.paths, ["app", "postgres"], 10, RUN, check=True)
    assert records(recorded) == []
    rollout.roll(recorded.paths, ["app", "postgres"], 10, RUN)
    assert records(recorded) == [("run-1", "app", NEW, "adopted")]
    assert not rollout.roll(recorded.paths, ["app", "postgres"], 10, audit.Author("run-2", "somebody"))["changed"]
    assert len(records(recorded)) == 1


def test_what_was_refused_is_recorded_beside_what_was_adopted_before(recorded: Engine) -> None:
    stage(recorded, "proxy", NEW)
    stage(recorded, "app", "3" * 12)
    recorded.sick.add("3" * 12)
    with pytest.raises(CoffreError, match="app could not adopt"):
        rollout.roll(recorded.paths, ["proxy", "app"], 10, RUN)
    assert records(recorded) == [("run-1", "proxy", NEW, "adopted"), ("run-1", "app", "3" * 12, "refused")]


def test_a_refusal_of_something_else_than_a_bundle_is_not_recorded(recorded: Engine) -> None:
    recorded.services["app"] = replace(recorded.services["app"], image="app:2", image_id="i2")
    recorded.sick.add("app:2")
    with pytest.raises(CoffreError, match="app could not adopt"):
        rollout.roll(recorded.paths, ["app"], 10, RUN)
    assert records(recorded) == []


def test_a_run_that_died_before_it_recorded_is_made_up_for(recorded: Engine) -> None:
    stage(recorded, "app", NEW)
    rollout.roll(recorded.paths, ["app"], 10, RUN)
    lines = recorded.paths.audit.read_bytes().splitlines(keepends=True)
    recorded.paths.audit.write_bytes(b"".join(lines[:-1]))
    later = audit.Author("run-2", "somebody")
    assert rollout.roll(recorded.paths, ["app"], 10, later)["changed"]
    assert records(recorded) == [("run-2", "app", NEW, "recovered")]
    assert not rollout.roll(recorded.paths, ["app"], 10, later)["changed"]


def test_a_trail_that_cannot_be_written_is_told_and_undoes_nothing(recorded: Engine) -> None:
    trail = recorded.paths.audit.read_bytes()
    recorded.paths.audit.unlink()
    recorded.paths.audit.mkdir()
    stage(recorded, "app", NEW)
    with pytest.raises(CoffreError, match=r"cannot be continued .* stays so"):
        rollout.roll(recorded.paths, ["app"], 10, RUN)
    recorded.paths.audit.rmdir()
    recorded.paths.audit.write_bytes(trail)
    rollout.roll(recorded.paths, ["app"], 10, RUN)
    assert named(recorded, "app") == (NEW, None)
    assert records(recorded) == [("run-1", "app", NEW, "adopted")]
