"""The state of a stack between managers: who holds its lock, who took it over, and who has lost it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from unittest.mock import MagicMock

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import raft, state, tasks
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rotation import run as rotation
from ansible_collections.coffre.stack.plugins.module_utils.strategies import loading
from tests.unit.swarm.managers import Managers

HELD = {raft.STACK: "demo", raft.LOCK: "another 00"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which goes on by what is slept."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    return now


def held(managers: Managers) -> None:
    """Another run has the lock."""
    managers.ask("POST", "/configs/create", {"Name": "demo.state", "Labels": HELD, "Data": raft.CONTENT})


def test_a_state_is_what_was_saved_last_and_the_lock_is_free_again(paths: StackPaths, managers: Managers) -> None:
    assert state.load(paths) == state.State("demo")
    for turn in (1, 2):
        with state.locked(paths):
            st = state.load(paths)
            st.vault = {"turn": turn}
            state.save(paths, st)
    assert state.load(paths).vault == {"turn": 2}
    (record,) = managers.configs.values()
    assert set(record["Spec"]["Labels"]) == {raft.STACK, raft.STATE}


def test_nothing_is_written_to_the_disk(paths: StackPaths) -> None:
    with state.locked(paths):
        state.save(paths, state.State("demo"))
    assert [path.name for path in paths.lib.iterdir()] == []


def test_a_lock_whose_holder_lives_is_waited_for_and_refused(
    paths: StackPaths, managers: Managers, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    held(managers)
    slept = time.sleep

    def renewing(seconds: float) -> None:
        slept(seconds)
        (record,) = managers.configs.values()
        if clock[0] % raft.RENEW_SECONDS == 0:
            record["Version"]["Index"] += 1

    monkeypatch.setattr(time, "sleep", renewing)
    with (
        pytest.raises(CoffreError, match="Another run has been working on stack demo for more than 60 s"),
        state.locked(paths),
    ):
        pass
    assert clock[0] >= 60


def test_a_lock_that_nobody_renews_is_taken_over(paths: StackPaths, managers: Managers, clock: list[float]) -> None:
    held(managers)
    with state.locked(paths):
        assert raft.GONE_SECONDS <= clock[0] < 60
        state.save(paths, state.State("demo", vault={"mine": True}))
    assert state.load(paths).vault == {"mine": True}


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.usefixtures("clock")
def test_what_its_holder_had_of_the_stack_on_another_host_ends_with_its_lock(
    paths: StackPaths, managers: Managers, killed: bool
) -> None:
    """It may have been killed when its run was closed, so that nothing is there to be taken over."""
    if killed:
        held(managers)
    labels = {raft.STACK: "demo", tasks.OWNER: "another 1 1"}
    managers.services["reader"] = {"ID": "reader", "Spec": {"Name": "demo_host-1", "Labels": labels}}
    with state.locked(paths):
        assert ("reader" in managers.services) == (not killed)


def test_of_a_process_of_the_same_host_nobody_waits_for_one_that_is_gone(
    paths: StackPaths, managers: Managers, clock: list[float]
) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        lock = f"{socket.gethostname()} {process.pid} {raft.born(process.pid)} 00"
        labels = {**HELD, raft.LOCK: lock}
        managers.ask("POST", "/configs/create", {"Name": "demo.state", "Labels": labels, "Data": raft.CONTENT})
        assert not raft._gone(lock)
        # Its number may be another one's by now, or another host's; one that ended stays until it was waited for.
        assert raft._gone(f"{socket.gethostname()} {process.pid} {raft.born(os.getpid())} 00")
        assert not raft._gone(f"another {process.pid} {raft.born(os.getpid())} 00")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with state.locked(paths):
            assert clock[0] == 0


def test_who_was_taken_over_writes_nothing_more(paths: StackPaths, managers: Managers) -> None:
    with pytest.raises(CoffreError, match="Another run has taken over stack demo"), state.locked(paths):
        (record,) = managers.configs.values()
        managers._update(record, {**record["Spec"], "Labels": HELD}, {"version": record["Version"]["Index"]})
        state.save(paths, state.State("demo", vault={"mine": True}))
    assert record["Spec"]["Labels"] == HELD


def test_who_was_taken_over_while_it_stood_still_acts_on_nothing_more(paths: StackPaths, managers: Managers) -> None:
    with state.locked(paths):
        state.hold(paths)
        (record,) = managers.configs.values()
        record["Spec"]["Labels"][raft.LOCK] = "another 00"
        for _ in range(2):
            with pytest.raises(CoffreError, match="Another run has taken over stack demo"):
                state.hold(paths)
            record["Spec"]["Labels"][raft.LOCK] = raft._held["demo"].name  # lost is lost
    assert raft.LOCK in record["Spec"]["Labels"]


def test_without_a_majority_nothing_is_said_to_be_saved(paths: StackPaths, managers: Managers) -> None:
    with pytest.raises(CoffreError, match="does not have a leader"), state.locked(paths):
        managers.majority = False
        state.save(paths, state.State("demo"))
    managers.majority = True
    assert state.load(paths) == state.State("demo")


def test_of_two_that_begin_at_once_one_is_first(
    paths: StackPaths, managers: Managers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other has seen no object, and finds one when it makes its own."""
    look, first = raft.look, threading.Event()

    def late(paths: StackPaths) -> raft.Record | None:
        seen = look(paths)
        if not first.is_set():
            first.set()
            held(managers)
        return seen

    monkeypatch.setattr(raft, "look", late)
    assert raft._taken(paths, raft.look(paths), "mine 01") is None
    (record,) = managers.configs.values()
    assert record["Spec"]["Labels"] == HELD


def test_a_holder_renews_what_it_holds(paths: StackPaths) -> None:
    class Turns:
        left = 2

        def wait(self, seconds: float) -> bool:
            assert seconds == raft.RENEW_SECONDS
            self.left -= 1
            return self.left < 0

    with state.locked(paths):
        before = raft._held["demo"].record.index
        raft._renew(paths, raft._held["demo"], Turns())  # type: ignore[arg-type]
        assert raft.look(paths) == raft._held["demo"].record
        assert raft._held["demo"].record.index > before
        state.save(paths, state.State("demo", vault={"n": 1}))
    assert state.load(paths).vault == {"n": 1}


def test_a_write_whose_answer_was_lost_is_no_loss_of_the_lock(paths: StackPaths, managers: Managers) -> None:
    with state.locked(paths):
        (record,) = managers.configs.values()
        record["Version"]["Index"] += 7
        state.save(paths, state.State("demo", vault={"n": 1}))
    assert state.load(paths).vault == {"n": 1}


def test_a_stack_name_that_leaves_no_room_for_a_version_is_refused() -> None:
    StackPaths("a" * 31, engine="swarm")
    with pytest.raises(CoffreError, match="too long for Swarm: use up to 31"):
        StackPaths("a" * 32, engine="swarm")


@pytest.mark.parametrize("act", ["made", "taught", "proved", "published", "confirmed", "withdrawn", "refused"])
def test_between_its_record_and_an_act_the_lock_is_seen_to_be_there(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    def lost(_: StackPaths) -> None:
        raise CoffreError("lost")

    monkeypatch.setattr(state, "hold", lost)
    source, anything = MagicMock(), MagicMock()
    source.offered.return_value = None
    monkeypatch.setattr(loading, "load", lambda _: anything)
    given = MagicMock(paths=paths, has=lambda _: act != "made")
    with pytest.raises(CoffreError, match="lost"):
        rotation._act(given, act, source, anything)
    assert anything.method_calls == []
