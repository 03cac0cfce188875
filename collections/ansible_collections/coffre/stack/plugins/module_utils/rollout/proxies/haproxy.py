"""HAProxy's side of a rollout, through its master socket: who gets requests, and when it reads its files again.

Its backends have slots that the engine's DNS fills as soon as a container starts. Of a healthy slot new requests can
be kept away (`drain`), which is how a container that is not ready yet, or is about to leave, is spared them. What is
set so lives in the worker alone: a reload or a restart of HAProxy makes every slot usable again.
"""

from __future__ import annotations

import csv
import os
import socket
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ...engines import compose
from ...engines.compose import Container
from ...errors import CoffreError

MASTER = "/run/haproxy/master.sock"
ANSWER_SECONDS = 10.0
ANSWER_BYTES = 2**20
POLL_SECONDS = 0.1
DRAIN_SECONDS = 10.0
# In `show servers state`:
RUNNING = "2"  # srv_op_state
FORCED_DRAIN = 0x08  # bit of srv_admin_state


@dataclass(frozen=True)
class Server:
    """One slot of a backend of HAProxy's."""

    backend: str
    name: str
    address: str
    up: bool
    drained: bool


def servers(table: str) -> list[Server]:
    """The slots in HAProxy's `show servers state`.

    Its column names stand in the line that starts with #: be_id be_name srv_id srv_name srv_addr srv_op_state ...
    """
    rows = [line.split() for line in table.splitlines() if line.strip()]
    names = next((row[1:] for row in rows if row[0] == "#"), [])
    slots = [dict(zip(names, row, strict=True)) for row in rows if names and len(row) == len(names)]
    return [
        Server(
            backend=slot["be_name"],
            name=slot["srv_name"],
            address=slot["srv_addr"],
            up=slot["srv_op_state"] == RUNNING,
            drained=bool(int(slot["srv_admin_state"]) & FORCED_DRAIN),
        )
        for slot in slots
    ]


def to_hold(slots: Sequence[Server], leaving: frozenset[str]) -> list[Server]:
    """The slots that must not be used before the new container is ready: all others of the backends that one serves
    which is to leave. Where none serves there is nothing to lose, and whoever comes may begin at once."""
    served = {slot.backend for slot in slots if slot.address in leaving and slot.up and not slot.drained}
    return [slot for slot in slots if slot.backend in served and slot.address not in leaving]


def lacking(slots: Sequence[Server], leaving: frozenset[str], coming: frozenset[str]) -> list[str]:
    """The backends that know an address that leaves, but find none that comes healthy."""
    found = {slot.backend for slot in slots if slot.address in coming and slot.up}
    return sorted({slot.backend for slot in slots if slot.address in leaving} - found)


def sessions(table: str, slots: Sequence[Server]) -> int:
    """How many requests are under way on these slots, from HAProxy's `show stat`."""
    wanted = {(slot.backend, slot.name) for slot in slots}
    rows = csv.DictReader(table.removeprefix("# ").splitlines())
    return sum(int(row["scur"]) for row in rows if (row["pxname"], row["svname"]) in wanted)


def _master(proxy: Container, command: str) -> str:
    """What the master answers, or its worker to each command that begins with @1.

    Its socket is reached from the host, through /proc, in a tenth of the time that a command in the container takes.
    A link that stands in its place would be read as one of the host's, and is not followed.
    """
    pid = compose.inspect([proxy.id])[0].pid  # it may have been restarted since
    try:
        handle = os.open(f"/proc/{pid}/root{MASTER}", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISSOCK(os.fstat(handle).st_mode):
                raise CoffreError(f"{MASTER} in {proxy.name} is no socket.")
            return _exchange(f"/proc/self/fd/{handle}", f"{command}\n".encode()).decode(errors="replace")
        finally:
            os.close(handle)
    except OSError as error:
        raise CoffreError(f"HAProxy in {proxy.name} does not answer ({error.strerror or error}).") from None


def _exchange(path: str, question: bytes) -> bytes:
    """What a socket answers until it closes, within limits of time and size. Raises OSError."""
    deadline, answer = time.monotonic() + ANSWER_SECONDS, b""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(ANSWER_SECONDS)
        peer.connect(path)
        peer.sendall(question)
        peer.shutdown(socket.SHUT_WR)
        while chunk := peer.recv(2**16):
            answer += chunk
            if len(answer) > ANSWER_BYTES or time.monotonic() > deadline:
                raise OSError("it does not come to an end")
            peer.settimeout(max(deadline - time.monotonic(), 0.001))
    return answer


def _servers(proxy: Container) -> list[Server]:
    return servers(_master(proxy, "@1 show servers state"))


def reload(proxy: Container) -> bool:
    """Have a new worker read the configuration and the certificates; False if it refuses them and the old one stays."""
    return "Success=1" in _master(proxy, "reload")


def _set(proxy: Container, ready: Sequence[Server], drain: Sequence[Server] = ()) -> None:
    """Let slots take new requests, and then others none, in one command; health checks go on in both."""
    states = [*((slot, "ready") for slot in ready), *((slot, "drain") for slot in drain)]
    if states:
        orders = [f"@1 set server {slot.backend}/{slot.name} state {state}" for slot, state in states]
        if answer := _master(proxy, "; ".join(orders)).strip():
            raise CoffreError(f"HAProxy does not set the state of its servers: {answer.splitlines()[0]}")


def hold(proxy: Container, leaving: frozenset[str]) -> None:
    """Keep requests from whatever takes a slot beside the old containers, until it is opened."""
    _set(proxy, [], to_hold(_servers(proxy), leaving))


def switch(proxy: Container, leaving: frozenset[str], coming: frozenset[str], seconds: float) -> str:
    """Send requests to the new container instead of the old ones, wherever they get any: "", or what is wrong.

    Both at a time would let a client come from the new one to an old one, which may not know the key of its session.
    """
    deadline = time.monotonic() + seconds
    while backends := lacking(slots := _servers(proxy), leaving, coming):
        if time.monotonic() > deadline:
            return f"the proxy does not find the new container healthy in {', '.join(backends)}"
        time.sleep(POLL_SECONDS)
    opened = [slot for slot in slots if slot.address in coming and slot.drained]
    _set(proxy, opened, [slot for slot in slots if slot.address in leaving])
    return ""


def drain(proxy: Container, leaving: frozenset[str]) -> None:
    """Wait a while for what the old containers are still answering, after which they get nothing more."""
    slots = [slot for slot in _servers(proxy) if slot.address in leaving]
    _set(proxy, [], [slot for slot in slots if not slot.drained])
    deadline = time.monotonic() + DRAIN_SECONDS
    while slots and sessions(_master(proxy, "@1 show stat"), slots) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def release(proxy: Container, gone: frozenset[str] = frozenset()) -> None:
    """Make every slot usable again, once the proxy counts none of a container that is gone as healthy.

    Whether it still knows the address does not matter: what is down gets no requests until it is somebody else's.
    """
    deadline = time.monotonic() + DRAIN_SECONDS
    slots = _servers(proxy)
    while time.monotonic() < deadline and any(slot.up for slot in slots if slot.address in gone):
        time.sleep(POLL_SECONDS)
        slots = _servers(proxy)
    _set(proxy, [slot for slot in slots if slot.drained])
