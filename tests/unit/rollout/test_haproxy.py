"""How HAProxy is asked, how its tables are read, and what follows from them."""

import os
import socket
import socketserver
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.rollout.proxies.haproxy import proxy as haproxy
from ansible_collections.coffre.stack.plugins.module_utils.rollout.proxies.haproxy.proxy import (
    HAProxy,
    Server,
    lacking,
    servers,
    sessions,
    to_hold,
)

STATE = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
4 app 1 app1 172.18.0.3 2 0 1
4 app 2 app2 172.18.0.4 0 0 1
4 app 3 app3 - 0 32 1
4 app 4 app4 172.18.0.5 2 8 1
5 accounts 1 a1 172.18.0.4 2 0 1
6 keycloak 1 k1 172.18.0.30 2 0 1

"""


def test_the_slots_of_the_proxy_are_read() -> None:
    assert servers("") == servers("Unknown command.\n") == []
    assert servers(STATE)[1] == Server("app", "app2", "172.18.0.4", up=False, drained=False)
    assert [slot.name for slot in servers(STATE) if slot.up] == ["app1", "app4", "a1", "k1"]
    assert [slot.name for slot in servers(STATE) if slot.drained] == ["app4"]


@pytest.mark.parametrize(
    ("leaving", "coming", "backends"),
    [
        ({"172.18.0.4"}, {"172.18.0.3"}, ["accounts"]),
        ({"172.18.0.3"}, {"172.18.0.4"}, ["app"]),
        ({"172.18.0.3"}, set(), ["app"]),
        ({"172.18.0.3"}, {"172.18.0.5"}, []),
        ({"10.0.0.1"}, {"172.18.0.4"}, []),
        (set(), {"172.18.0.4"}, []),
    ],
    ids=["not everywhere yet", "down", "not known", "healthy, not open yet", "nothing to replace", "the first"],
)
def test_the_backends_that_lack_the_new_container(leaving: set[str], coming: set[str], backends: list[str]) -> None:
    assert lacking(servers(STATE), frozenset(leaving), frozenset(coming)) == backends


@pytest.mark.parametrize(
    ("leaving", "staying", "closed"),
    [
        ({"172.18.0.3"}, set(), ["app2", "app3", "app4"]),
        ({"172.18.0.4"}, set(), []),
        ({"172.18.0.3", "172.18.0.4"}, set(), ["app3", "app4"]),
        ({"172.18.0.5"}, set(), []),
        ({"10.0.0.1"}, set(), []),
        (set(), set(), []),
        ({"172.18.0.3"}, {"172.18.0.4"}, ["app3", "app4"]),
        ({"172.18.0.4"}, {"172.18.0.3"}, ["app3", "app4"]),
        (set(), {"172.18.0.3"}, ["app2", "app3", "app4"]),
    ],
    ids=[
        "one serves",
        "only its backend alone",
        "all that serve",
        "it takes no requests",
        "not known",
        "the first",
        "another one stays",
        "the one that stays serves",
        "one more",
    ],
)
def test_the_slots_closed_to_a_container_that_is_not_ready(
    leaving: set[str], staying: set[str], closed: list[str]
) -> None:
    assert [slot.name for slot in to_hold(servers(STATE), frozenset(leaving), frozenset(staying))] == closed


def test_the_requests_under_way_are_counted() -> None:
    table = "# pxname,svname,qcur,qmax,scur,smax\napp,app1,0,0,3,9\napp,app2,0,0,4,9\napp,BACKEND,0,0,7,9\n\n"
    assert sessions(table, []) == 0
    assert sessions(table, [Server("app", "app2", "", True, True), Server("app", "app9", "", True, True)]) == 4


def test_the_new_container_is_opened_and_the_old_one_left_in_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """In between, a client could come from the new one to the old one, which does not know the new key."""
    said: list[str] = []

    def master(_: Any, command: str) -> str:
        if "show" in command:
            return STATE
        said.append(command)
        return ""

    monkeypatch.setattr(haproxy, "_master", master)
    proxy: Any = None
    assert HAProxy(proxy).switch(frozenset({"172.18.0.3"}), frozenset({"172.18.0.5"}), 1.0) == ""
    assert said == ["@1 set server app/app4 state ready; @1 set server app/app1 state drain"]


def test_the_old_ones_are_waited_for_at_the_addresses_that_they_were_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = iter([STATE, STATE, STATE.replace("172.18.0.3", "172.19.0.3")])
    monkeypatch.setattr(haproxy, "_master", lambda *_: next(tables))
    monkeypatch.setattr(haproxy, "POLL_SECONDS", 0.0)
    proxy: Any = None
    HAProxy(proxy).follow(frozenset({"172.18.0.3"}), frozenset({"172.19.0.3"}))
    assert not [*tables]
    # One that it never found is not waited for.
    monkeypatch.setattr(haproxy, "_master", lambda *_: STATE)
    HAProxy(proxy).follow(frozenset({"172.30.0.9"}), frozenset({"172.31.0.9"}))


def test_the_old_containers_are_left_and_what_they_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    under_way = iter("210")

    def master(_: Any, command: str) -> str:
        if "servers" in command:
            return STATE
        if "stat" in command.split():
            return f"# pxname,svname,scur\napp,app1,{next(under_way)}\napp,app4,0\n"
        said.append(command)
        return ""

    monkeypatch.setattr(haproxy, "_master", master)
    monkeypatch.setattr(haproxy, "POLL_SECONDS", 0.0)
    proxy: Any = None
    HAProxy(proxy).drain(frozenset({"172.18.0.3", "172.18.0.5"}))
    assert said == ["@1 set server app/app1 state drain"]  # the other one is left already
    assert not [*under_way]


def test_the_slots_are_usable_again_once_who_is_gone_counts_as_down(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def master(_: Any, command: str) -> str:
        asked.append(command)
        if command != "@1 show servers state":
            return ""
        return STATE.replace("172.18.0.5 2", "172.18.0.5 0") if len(asked) == 3 else STATE

    monkeypatch.setattr(haproxy, "_master", master)
    monkeypatch.setattr(haproxy, "POLL_SECONDS", 0.0)
    proxy: Any = None
    HAProxy(proxy).release(frozenset({"172.18.0.5"}))
    assert asked == [*["@1 show servers state"] * 3, "@1 set server app/app4 state ready"]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A container, this process, whose socket answers each connection with what it was told, in capitals."""

    class Master(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.read().upper())

    # Not in tmp_path: a socket's path must be short.
    with tempfile.TemporaryDirectory() as folder, socketserver.UnixStreamServer(f"{folder}/s", Master) as server:
        monkeypatch.setattr(haproxy, "MASTER", f"{folder}/s")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        monkeypatch.setattr(compose, "inspect", lambda _: [SimpleNamespace(pid=os.getpid())])
        yield SimpleNamespace(id="1", name="proxy-1", pid=0)
        server.shutdown()


def test_the_master_is_asked_through_its_socket(proxy: Any) -> None:
    assert haproxy._master(proxy, "@1 show stat") == "@1 SHOW STAT\n"


def test_a_link_in_place_of_the_socket_is_not_followed(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Path(haproxy.MASTER).with_name("link")
    link.symlink_to(haproxy.MASTER)
    monkeypatch.setattr(haproxy, "MASTER", str(link))
    with pytest.raises(CoffreError, match="link in proxy-1 is no socket"):
        haproxy._master(proxy, "reload")


def test_a_master_that_is_not_there_or_does_not_listen_is_told_as_such(proxy: Any) -> None:
    Path(haproxy.MASTER).unlink()
    with pytest.raises(CoffreError, match=r"HAProxy in proxy-1 does not answer \(No such file or directory\)"):
        haproxy._master(proxy, "reload")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(haproxy.MASTER)
        with pytest.raises(CoffreError, match=r"HAProxy in proxy-1 does not answer \(Connection refused\)"):
            haproxy._master(proxy, "reload")


@pytest.mark.parametrize(("seconds", "size"), [(0.05, 2**20), (3600.0, 20)])
def test_an_answer_without_end_is_not_waited_for(
    proxy: Any, monkeypatch: pytest.MonkeyPatch, seconds: float, size: int
) -> None:
    def trickle(server: socket.socket) -> None:
        with server.accept()[0] as peer, suppress(OSError):
            for _ in range(1000):
                peer.sendall(b"more ")
                time.sleep(0.01)

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        monkeypatch.setattr(haproxy, "MASTER", f"{folder}/s")
        monkeypatch.setattr(haproxy, "ANSWER_SECONDS", seconds)
        monkeypatch.setattr(haproxy, "ANSWER_BYTES", size)
        server.bind(haproxy.MASTER)
        server.listen()
        talker = threading.Thread(target=trickle, args=(server,))
        talker.start()
        with pytest.raises(
            CoffreError, match=r"HAProxy in proxy-1 does not answer \(it does not come to an end|timed out"
        ):
            haproxy._master(proxy, "reload")
        talker.join()
