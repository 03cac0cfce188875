#!/usr/bin/env python3
"""Watch from outside what a run writes to a stack's state, and hold it up at a record; runs on the host, as root.

    watch.py WHERE [LABEL [OCCURRENCE]]

WHERE is the stack's folder, with its state.json and lock, or the name of a stack on a swarm, of which this host is a
manager. Each record is a line of JSON on standard output, {"label": ...}: what was new in it; of two that came too fast
to be told apart, the last. At the one of this LABEL that comes as the OCCURRENCE-th (1) the module that wrote it is
stopped where it stands, with "held": true on the line, until standard input brings `go` or `kill` for it. Ends with its
input.

Stdlib only, Python 3.11 or later.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import select
import signal
import socket
import struct
import sys
import urllib.parse
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

MOVED_TO, CREATE = 0x80, 0x100  # inotify(7)
EVENT = struct.Struct("iIII")
ENGINE = "/run/docker.sock"
PYTHON = b"/usr/local/lib/coffre/venv/bin/python"  # the modules'


def label(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What a record of the state has that the one before it had not."""
    old, new = before.get("run"), now.get("run")
    if not old or not new:
        if new:
            # The first act may be recorded before anybody looks.
            return next((each["step"] for each in new["secrets"].values() if each["step"]), "opened")
        return "closed" if old else _staged(before, now)
    if old["holder"] != new["holder"]:
        return "taken over"
    if old["direction"] != new["direction"]:
        return "turned back"
    for name, change in new["secrets"].items():
        was = old["secrets"][name]
        for key, prefix in (("step", ""), ("undo", "back: ")):
            if was[key] != change[key]:
                return f"{prefix}{change[key]}"
        if (was["old"], was["new"]) != (change["old"], change["new"]):
            return "vault version"
    if exposed := set(new["exposed"]) - set(old["exposed"]):
        return f"{', '.join(sorted(exposed))} exposed"
    return _staged(before, now)


def _staged(before: dict[str, Any], now: dict[str, Any]) -> str:
    nothing: dict[str, Any] = {"current": None, "next": None, "bundles": {}}
    said = []
    for service, entry in sorted(now["services"].items()):
        was = before["services"].get(service, nothing)
        if entry["current"] != was["current"]:
            said.append(f"{service} adopted")
        elif entry["next"] != was["next"]:
            said.append(f"{service} staged" if entry["next"] else f"{service} refused")
        elif set(was["bundles"]) - set(entry["bundles"]):
            said.append(f"{service} collected")
    return ", ".join(said) or "again"


def writer(lock: Path) -> int:
    """The process that holds a lock, 0 if none does."""
    inode = lock.stat().st_ino
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[1] == "FLOCK" and int(words[-3].rpartition(":")[2]) == inode:
            return int(words[-4])
    return 0


class Source(Protocol):
    """Where the state is: `descriptor` is readable when a record may have come, `writers` are who wrote it."""

    descriptor: int
    writers: Collection[int]

    def came(self) -> bool:
        """Take what the descriptor has; whether there may be a record."""

    def state(self) -> dict[str, Any]: ...


class Disk:
    """The state of a stack of this host alone."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor, self.writers, self._folder = libc.inotify_init1(os.O_CLOEXEC), [0], folder
        if self.descriptor < 0 or libc.inotify_add_watch(self.descriptor, bytes(folder), MOVED_TO | CREATE) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def came(self) -> bool:
        # A record may come less than a millisecond after the one before. So who writes it is looked up as soon as its
        # temporary file is there, and only stopped when it is in place.
        begun, placed = _records(os.read(self.descriptor, 65536))
        if begun:
            self.writers = [writer(self._folder / "lock")]
        return placed

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._folder / "state.json").read_bytes())
        return found


class Raft:
    """The state that the managers of a swarm have, and the module of this one, where it is this one that acts."""

    def __init__(self, stack: str) -> None:
        self._name, self.writers = f"{stack}.state", list[int]()
        told = urllib.parse.quote(json.dumps({"type": ["config"], "config": [self._name]}))
        self._events = self._socket()
        self._events.sendall(f"GET /events?filters={told} HTTP/1.1\r\nHost: engine\r\n\r\n".encode())
        self._events.recv(65536)  # the head of the answer comes at once, an event whenever there is one
        self.descriptor = self._events.fileno()
        self._engine = http.client.HTTPConnection("engine")
        self._engine.sock = self._socket()

    def _socket(self) -> socket.socket:
        found = socket.socket(socket.AF_UNIX)
        found.connect(ENGINE)
        return found

    def came(self) -> bool:
        if not self._events.recv(65536):
            raise OSError("the engine ends its events")
        self.writers = modules()
        return True

    def state(self) -> dict[str, Any]:
        self._engine.request("GET", f"/configs/{self._name}")
        found: dict[str, Any] = json.loads(json.load(self._engine.getresponse())["Spec"]["Labels"]["coffre.state"])
        return found


def modules() -> list[int]:
    """The processes of Coffre's modules on this host."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().split(b"\0")[0] == PYTHON:
                found.append(int(path.parent.name))
    return found


def _signal(processes: Collection[int], number: int) -> None:
    """Send a signal to those processes that there are."""
    for each in processes:
        with suppress(ProcessLookupError):
            if each:
                os.kill(each, number)


def watch(source: Source, wanted: str, occurrence: int) -> None:
    """Tell every record until standard input ends."""
    before = source.state()
    held: Collection[int] = ()
    print(json.dumps({"label": "watching"}), flush=True)
    while True:
        # Once it has held the module up it looks no more: what happens then may take the source away.
        ready = select.select([0, source.descriptor][: 1 + occurrence], [], [])[0]
        if 0 in ready:
            order = os.read(0, 100).decode().strip()
            _signal(held, signal.SIGKILL if order == "kill" else signal.SIGCONT)
            held = ()
            if not order:
                return
        if source.descriptor not in ready or not source.came():
            continue
        _signal(source.writers, signal.SIGSTOP)
        now = source.state()
        if now != before:
            said, before = label(before, now), now
            occurrence -= said == wanted
            hit = said == wanted and occurrence == 0
            if hit:
                held = source.writers
            print(json.dumps({"label": said, "held": hit}), flush=True)
        if not held:
            _signal(source.writers, signal.SIGCONT)


def _records(data: bytes) -> tuple[bool, bool]:
    """Whether among these events are a state's temporary file that was made, and a state put in place."""
    begun, placed, at = False, False, 0
    while at < len(data):
        _, mask, _, length = EVENT.unpack_from(data, at)
        name = data[at + EVENT.size : at + EVENT.size + length].rstrip(b"\0")
        begun |= bool(mask & CREATE) and name == b".state.json.new"
        placed |= bool(mask & MOVED_TO) and name == b"state.json"
        at += EVENT.size + length
    return begun, placed


if __name__ == "__main__":
    place = Path(sys.argv[1])
    watch(
        Disk(place) if place.is_absolute() else Raft(sys.argv[1]),
        *(sys.argv[2:3] or [""]),
        int(sys.argv[3]) if sys.argv[3:] else 1,
    )
