#!/usr/bin/env python3
"""Watch from outside what a run writes to a stack's state, and hold it up at a record; runs on the host, as root.

    watch.py FOLDER [LABEL [OCCURRENCE]]

FOLDER is the stack's, with its state.json and lock. Each record is a line of JSON on standard output, {"label": ...}:
what was new in it; of two that came too fast to be told apart, the last. At the one of this LABEL that comes as the
OCCURRENCE-th (1) the module that wrote it is stopped where it stands, with "held": true on the line, until standard
input brings `go` or `kill` for it. Ends with its input.

Stdlib only, Python 3.11 or later.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

MOVED_TO, CREATE = 0x80, 0x100  # inotify(7)
EVENT = struct.Struct("iIII")


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


def _signal(process: int, number: int) -> None:
    """Send a signal to a process, if there is one."""
    with suppress(ProcessLookupError):
        if process:
            os.kill(process, number)


def watch(folder: Path, wanted: str, occurrence: int) -> None:
    """Tell every record until standard input ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    events = libc.inotify_init1(os.O_CLOEXEC)
    if events < 0 or libc.inotify_add_watch(events, bytes(folder), MOVED_TO | CREATE) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    before = json.loads((folder / "state.json").read_bytes())
    held = process = 0
    print(json.dumps({"label": "watching"}), flush=True)
    while True:
        ready = select.select([events, 0], [], [])[0]
        if 0 in ready:
            order = os.read(0, 100).decode().strip()
            _signal(held, signal.SIGKILL if order == "kill" else signal.SIGCONT)
            held = 0
            if not order:
                return
        if events not in ready:
            continue
        # A record may come less than a millisecond after the one before. So who writes it is looked up as soon as its
        # temporary file is there, and only stopped when it is in place.
        begun, placed = _records(os.read(events, 65536))
        if begun:
            process = writer(folder / "lock")
        if not placed:
            continue
        _signal(process, signal.SIGSTOP)
        now = json.loads((folder / "state.json").read_bytes())
        if now != before:
            said, before = label(before, now), now
            occurrence -= said == wanted
            hit = said == wanted and occurrence == 0
            if hit:
                held = process
            print(json.dumps({"label": said, "held": hit}), flush=True)
        if not held:
            _signal(process, signal.SIGCONT)


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
    watch(Path(sys.argv[1]), *(sys.argv[2:3] or [""]), int(sys.argv[3]) if sys.argv[3:] else 1)
