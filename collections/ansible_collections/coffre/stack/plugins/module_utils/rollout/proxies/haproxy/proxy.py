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
from pathlib import Path

from ....engines import compose
from ....engines.base import Container
from ....errors import CoffreError
from ..base import Addresses
from .config import NAME

MASTER = "/run/haproxy/master.sock"
FILES = "/run/secrets/current"  # the bundle in force, in its container
ANSWER_SECONDS = 10.0
ANSWER_BYTES = 2**20
POLL_SECONDS = 0.1
DRAIN_SECONDS = 10.0
QUIET_SECONDS = 5.0
FOLLOW_SECONDS = 5.0
QUIET_LOOKS = 3  # in a row: a request that has just arrived is on no slot yet
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


def to_hold(slots: Sequence[Server], leaving: Addresses, staying: Addresses) -> list[Server]:
    """The slots that must not be used before the new container is ready: all but those of its service's other
    containers, in the backends that one of these serves. Where none serves there is nothing to lose, and whoever comes
    may begin at once."""
    known = leaving | staying
    served = {slot.backend for slot in slots if slot.address in known and slot.up and not slot.drained}
    return [slot for slot in slots if slot.backend in served and slot.address not in known]


def lacking(slots: Sequence[Server], leaving: Addresses, coming: Addresses) -> list[str]:
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


def _set(proxy: Container, ready: Sequence[Server], drain: Sequence[Server] = ()) -> None:
    """Let slots take new requests, and then others none, in one command; health checks go on in both."""
    states = [*((slot, "ready") for slot in ready), *((slot, "drain") for slot in drain)]
    if states:
        orders = [f"@1 set server {slot.backend}/{slot.name} state {state}" for slot, state in states]
        if answer := _master(proxy, "; ".join(orders)).strip():
            raise CoffreError(f"HAProxy does not set the state of its servers: {answer.splitlines()[0]}")


def refused(image: str, user: str, bundle: Path) -> str:
    """Why HAProxy of an image would not start with a bundle, "" if it would: asked in a container that reaches nothing.

    `user`: as whom it would run, UID:GID. Raises CoffreError if it cannot be asked.
    """
    bound = ["--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={user}"]
    mounts = ["--volume", f"{bundle}:{FILES}:ro", "--entrypoint=/bin/sh"]
    question = f"haproxy -c -f {FILES}/{NAME} 2>&1; echo $?"
    *said, status = compose.call(["docker", "run", "--rm", *bound, *mounts, image, "-c", question]).splitlines()
    if status == "0":
        return ""
    alerts = [line.partition(" : ")[2] for line in said if line.startswith("[ALERT]")]
    return f"HAProxy refuses its configuration: {(alerts or said or ['it said nothing'])[0][:300]}"


@dataclass(frozen=True)
class HAProxy:
    """The proxy that runs in a container."""

    container: Container

    def _servers(self) -> list[Server]:
        return servers(_master(self.container, "@1 show servers state"))

    def hold(self, leaving: Addresses, staying: Addresses = frozenset()) -> None:
        """Keep requests from whatever takes a slot beside the old containers, until it is opened."""
        _set(self.container, [], to_hold(self._servers(), leaving, staying))

    def follow(self, leaving: Addresses, more: Addresses) -> None:
        """Wait a while until containers that it finds at the addresses of before are found at further ones."""
        deadline = time.monotonic() + FOLLOW_SECONDS
        while lacking(self._servers(), leaving, more) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def switch(self, leaving: Addresses, coming: Addresses, seconds: float) -> str:
        """Send requests to the new container instead of the old ones, wherever they get any: "", or what is wrong.

        Both at a time would let a client come from the new one to an old one, which may not know its session's key.
        """
        deadline = time.monotonic() + seconds
        while backends := lacking(slots := self._servers(), leaving, coming):
            if time.monotonic() > deadline:
                return f"the proxy does not find the new container healthy in {', '.join(backends)}"
            time.sleep(POLL_SECONDS)
        opened = [slot for slot in slots if slot.address in coming and slot.drained]
        _set(self.container, opened, [slot for slot in slots if slot.address in leaving])
        return ""

    def quiet(self) -> frozenset[str]:
        """Wait a while until no request is under way; returns the backends that have a healthy server."""
        slots = self._servers()
        deadline, looks = time.monotonic() + QUIET_SECONDS, 0
        while looks < QUIET_LOOKS and time.monotonic() < deadline:
            looks = 0 if sessions(_master(self.container, "@1 show stat"), slots) else looks + 1
            time.sleep(POLL_SECONDS)
        return frozenset(slot.backend for slot in slots if slot.up)

    def found(self, answered: frozenset[str], seconds: float) -> None:
        """Wait, these seconds at most, until each of these backends has a healthy server again."""
        deadline = time.monotonic() + seconds
        while answered - {slot.backend for slot in self._servers() if slot.up} and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def drain(self, leaving: Addresses) -> None:
        """Wait a while for what the old containers are still answering, after which they get nothing more."""
        slots = [slot for slot in self._servers() if slot.address in leaving]
        _set(self.container, [], [slot for slot in slots if not slot.drained])
        deadline = time.monotonic() + DRAIN_SECONDS
        while slots and sessions(_master(self.container, "@1 show stat"), slots) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def release(self, gone: Addresses = frozenset()) -> None:
        """Make every slot usable again, once the proxy counts none of a container that is gone as healthy.

        Whether it still knows the address does not matter: what is down gets no requests until it is somebody else's.
        """
        deadline = time.monotonic() + DRAIN_SECONDS
        slots = self._servers()
        while time.monotonic() < deadline and any(slot.up for slot in slots if slot.address in gone):
            time.sleep(POLL_SECONDS)
            slots = self._servers()
        _set(self.container, [slot for slot in slots if slot.drained])

    def reload(self) -> str:
        """Have a new worker read configuration and certificates: "", or why the old one stays.

        The master answers when the new worker serves, or has refused its configuration.
        """
        return "" if "Success=1" in _master(self.container, "reload") else "HAProxy refuses to load it"
