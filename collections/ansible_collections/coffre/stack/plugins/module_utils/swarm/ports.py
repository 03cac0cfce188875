"""Whether hosts reach each other where a swarm's nodes must, before there is a swarm: standard library only.

A host listens in a process of its own, which answers each who comes and ends by itself; the others then try.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

# What managers tell all nodes, nodes tell each other, and containers do across hosts.
CONTROL, GOSSIP, DATA = 2377, 7946, 4789
ALL = (f"{CONTROL}/tcp", f"{GOSSIP}/tcp", f"{GOSSIP}/udp", f"{DATA}/udp")
ANSWER = b"coffre"
LIFE = 120.0  # seconds until a listener ends that nobody ended
PATIENCE = 2.0  # seconds to wait for an answer
TRIES = 3  # a datagram may be lost
# In the abstract namespace: whoever connects ends the listener, and it goes with it.
END = "\0coffre-swarm-ports"


def _bound(address: str, port: str) -> socket.socket | None:
    """A socket that listens there; None where something else does."""
    number, _, protocol = port.partition("/")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    found = socket.socket(socket.AF_INET, kind)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
    try:
        found.bind((address, int(number)))
        if kind == socket.SOCK_STREAM:
            found.listen()
    except OSError:
        found.close()
        return None
    return found


def listen(address: str) -> list[str]:
    """Answer at all ports of a swarm until `end`; return those that something else has."""
    end()
    with ExitStack() as ours:
        control = ours.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        control.bind(END)
        control.listen()
        sockets = {port: ours.enter_context(each) for port in ALL if (each := _bound(address, port))}
        if os.fork() == 0:
            _detached([*sockets.values()], control)
    return [port for port in ALL if port not in sockets]


def _detached(sockets: list[socket.socket], control: socket.socket) -> None:
    """Serve, as a process of nobody's, and end."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        _serve(sockets, control)
    finally:
        os._exit(0)


def _serve(sockets: list[socket.socket], control: socket.socket) -> None:
    deadline = time.monotonic() + LIFE
    with selectors.DefaultSelector() as selector:
        for each in (*sockets, control):
            selector.register(each, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if key.fileobj is control:
                    return
                _answer(key.fileobj)


def _answer(asked: Any) -> None:
    try:
        if asked.type == socket.SOCK_STREAM:
            connection, _ = asked.accept()
            with connection:
                connection.sendall(ANSWER)
        else:
            asked.sendto(ANSWER, asked.recvfrom(16)[1])
    except OSError:
        pass  # whoever asked is gone


def end() -> None:
    """End this host's listener; done when its ports are free."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.settimeout(PATIENCE)
        try:
            asked.connect(END)
            asked.recv(1)  # ends with the process
        except OSError:
            pass


def reach(others: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Which of {host: {address, ports}} do not answer from here, as HOST PORT/PROTOCOL."""
    places = [(host, each["address"], port) for host, each in others.items() for port in each["ports"]]
    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda place: _answers(*place[1:]), places)
        return [f"{host} {port}" for (host, _, port), answered in zip(places, answers, strict=True) if not answered]


def _answers(address: str, port: str) -> bool:
    """Whether somebody is there: over TCP whoever it is, over UDP our listener."""
    number, _, protocol = port.partition("/")
    if protocol == "udp":
        return any(_echo(address, int(number)) for _ in range(TRIES))
    try:
        socket.create_connection((address, int(number)), PATIENCE).close()
    except OSError:
        return False
    return True


def _echo(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(PATIENCE / TRIES)
        try:
            asked.sendto(b"?", (address, port))
            return asked.recvfrom(16)[0] == ANSWER
        except OSError:
            return False
