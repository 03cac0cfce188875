"""Where a module's thread is while it talks to tasks: in the reader's network namespace, and after that at home."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import objects, tasks
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from tests.unit.swarm.managers import Managers


def network(process: int | str = "thread-self") -> str:
    return str(Path(f"/proc/{process}/ns/net").readlink())


@pytest.fixture
def away() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes, each in a network of its own with a loopback device that is up."""
    script = "ip link set lo up && echo && exec sleep infinity"
    found = [
        subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        if not all(each.stdout and each.stdout.readline() for each in found):
            pytest.skip("no network namespace can be made here: it takes root")
        yield found
    finally:
        for each in found:
            each.kill()
            each.communicate()


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch, away: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """The processes of the readers that are started, one after another; the managers are the model's."""
    left, started = [each.pid for each in away], list[int]()

    def start(*_: object) -> tasks.Task:
        started.append(left.pop(0))
        return tasks.Task(f"reader-{len(started)}", started[-1], "")

    monkeypatch.setattr(objects, "_image", lambda: None)
    monkeypatch.setattr(tasks, "start", start)
    yield started
    objects._readers.clear()


def joined(managers: Managers, *networks: str) -> None:
    """Have the stack's one service be in these networks."""
    spec = {
        "Name": "demo_app",
        "Labels": {tasks.NAMESPACE: "demo"},
        "TaskTemplate": {"Networks": [{"Target": each} for each in networks]},
    }
    managers.services["app"] = {"ID": "app", "Spec": spec}


def test_a_thread_is_there_with_what_it_starts_and_then_at_home(paths: StackPaths, readers: list[int]) -> None:
    home, elsewhere = network(), list[str]()
    with socket.create_server(("127.0.0.1", 0)) as ours:
        with objects.near(paths):
            there = network()
            assert there == network(readers[0])
            assert subprocess.check_output(["readlink", "/proc/self/ns/net"], text=True).strip() == there
            worker = threading.Thread(target=lambda: elsewhere.append(network()))
            worker.start()
            worker.join()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(ours.getsockname(), 5)
            with objects.near(paths):
                assert network() == there
            assert network() == there
        socket.create_connection(ours.getsockname(), 5).close()
    assert (network(), elsewhere, len(readers)) == (home, [there], 1)


def test_another_thread_stays_at_home_until_it_goes_itself(paths: StackPaths, readers: list[int]) -> None:
    home, found, asked, told = network(), list[str](), threading.Event(), threading.Event()

    def look() -> None:
        asked.wait(10)
        found.append(network())
        with objects.near(paths):
            found.append(network())
        told.set()

    worker = threading.Thread(target=look)
    worker.start()
    with objects.near(paths):
        asked.set()
        told.wait(10)
    worker.join()
    assert (found, len(readers)) == ([home, network(readers[0])], 1)


def test_what_fails_there_ends_at_home(paths: StackPaths, readers: list[int]) -> None:
    home = network()
    with pytest.raises(CoffreError, match="refused"), objects.near(paths):
        raise CoffreError("refused")
    assert (network(), len(readers)) == (home, 1)
    with objects.near(paths):
        assert network() != home


def test_a_reader_serves_until_it_lacks_a_value_or_a_network(
    paths: StackPaths, managers: Managers, readers: list[int]
) -> None:
    joined(managers, "n1")
    objects.keep(paths, {"a": b"1"})
    first = objects.reader(paths)
    assert (first.mounted, first.networks) == (frozenset("a"), frozenset({"n1"}))
    assert objects.reader(paths, ["a", "gone"]) is first
    joined(managers)
    assert objects.reader(paths) is first
    joined(managers, "n1", "n2")
    assert objects.reader(paths).networks == {"n1", "n2"}
    assert len(readers) == 2


def test_where_a_reader_takes_the_place_of_another_the_thread_goes_along(paths: StackPaths, readers: list[int]) -> None:
    home = network()
    with objects.near(paths):
        before = network()
        objects.keep(paths, {"a": b"1"})
        with objects.near(paths):
            objects.reader(paths, ["a"])
        assert network() == network(readers[1]) != before
    assert network() == home


def test_one_that_has_ended_is_replaced(paths: StackPaths, readers: list[int]) -> None:
    objects.reader(paths)
    objects._readers[paths.stack] = replace(objects._readers[paths.stack], pid=2**22 + 1)
    objects.reader(paths)
    assert len(readers) == 2


def test_threads_that_want_values_at_once_have_one_reader(
    paths: StackPaths, readers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, both = tasks.start, threading.Barrier(2)

    def slowly(*given: Any) -> tasks.Task:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # for another, which must not come
        return started(*given)

    monkeypatch.setattr(tasks, "start", slowly)
    with ThreadPoolExecutor() as several:
        found = {each.result() for each in [several.submit(objects.reader, paths) for _ in range(2)]}
    assert (len(found), len(readers)) == (1, 1)
