"""The state of a stack on a swarm, and the end of its audit trail: labels of config objects that all managers have.

A write names the version that it follows, and the managers refuse any but the first of those that follow one; so who
was thought dead and is not cannot write over whoever took its place. The stack's lock is another label of the same
object: who holds it renews it, which makes a new version, and whoever waits takes it once no version was made for
GONE_SECONDS by its own clock. So no two clocks are compared. On the holder's own host nobody waits for a process that
is gone.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CoffreError
from ..paths import StackPaths
from .api import ask

STACK = "coffre.stack"
STATE = "coffre.state"
LOCK = "coffre.lock"
TRAIL = "coffre.trail"
KEPT = 300  # records at the end of the trail: a manager that lacks more of them has to be given the file
KEPT_BYTES = 1 << 20  # no more of these, for the managers send each other 1.4 MB at most
CONTENT = "Y29mZnJl"  # base64: a config object must have some, and no more than its labels can be changed
POLL_SECONDS = 0.5
RENEW_SECONDS = 5.0
GONE_SECONDS = 30.0
ATTEMPTS = 3
STALE = "out of sequence"  # in the managers' refusal of a write that does not follow the last version
LOST = (
    "Another run has taken over stack {} from this one, which was out of reach of the other managers for too long; it "
    "stops here and leaves everything to the other."
)


@dataclass(frozen=True)
class Record:
    """The object as it was read, or written last."""

    id: str
    index: int
    labels: Mapping[str, str] = field(repr=False)


@dataclass
class _Held:
    """A lock that this process holds; `guard` is for its threads."""

    name: str
    record: Record
    guard: threading.RLock = field(default_factory=threading.RLock)
    lost: bool = False


_held: dict[str, _Held] = {}


def name(paths: StackPaths) -> str:
    return f"{paths.stack}.state"


def look(paths: StackPaths) -> Record | None:
    """The object as the managers have it now. Raises CoffreError, without a majority of them too."""
    return _look(name(paths))


def _look(called: str) -> Record | None:
    found = ask("GET", "/configs", filters={"name": [called]})
    mine = [each for each in found if each["Spec"]["Name"] == called]
    return _record(mine[0]) if mine else None


def _record(data: Mapping[str, Any]) -> Record:
    return Record(data["ID"], int(data["Version"]["Index"]), data["Spec"].get("Labels") or {})


def read(paths: StackPaths) -> bytes | None:
    """The state, as it was written; None where there is none yet."""
    record = look(paths)
    return record.labels[STATE].encode() if record and STATE in record.labels else None


def write(paths: StackPaths, text: bytes) -> None:
    """Replace the state. The caller holds the lock. Raises CoffreError, for one that was lost too."""
    held = _held[paths.stack]
    with held.guard:
        _write(paths, held, {**held.record.labels, STATE: text.decode()})


def hold(paths: StackPaths) -> None:
    """See that the lock is still this process's, which may have stood still since its last write.

    Raises CoffreError where it was lost, and where no majority of the managers can tell.
    """
    held, now = _held[paths.stack], look(paths)
    if held.lost or now is None or now.labels.get(LOCK) != held.name:
        held.lost = True
        raise CoffreError(LOST.format(paths.stack))


def _write(paths: StackPaths, held: _Held, labels: Mapping[str, str]) -> None:
    """Make the next version of what is held. One whose answer was lost is as good as any other of this holder's."""
    for _ in range(ATTEMPTS if not held.lost else 0):
        if record := _replaced(paths, held.record, labels):
            held.record = record
            return
        now = look(paths)
        if now is None or now.labels.get(LOCK) != held.name:
            break
        held.record = now
    held.lost = True
    raise CoffreError(LOST.format(paths.stack))


def _replaced(paths: StackPaths, record: Record, labels: Mapping[str, str]) -> Record | None:
    """The next version of the object, None where somebody else has made it."""
    spec = {"Name": name(paths), "Labels": dict(labels), "Data": CONTENT}
    try:
        ask("POST", f"/configs/{record.id}/update", spec, version=record.index)
    except CoffreError as error:
        if STALE in str(error) or "not found" in str(error):
            return None
        raise
    # The answer does not tell the version that it became; with another lock in it, it is somebody else's.
    after = look(paths)
    return after if after and after.labels.get(LOCK) == labels.get(LOCK) else None


def _taken(paths: StackPaths, record: Record | None, holder: str) -> Record | None:
    """The object with the lock in it, None where somebody else was first."""
    if record:
        return _replaced(paths, record, {**record.labels, LOCK: holder})
    try:
        ask(
            "POST",
            "/configs/create",
            {"Name": name(paths), "Labels": {STACK: paths.stack, LOCK: holder}, "Data": CONTENT},
        )
    except CoffreError as error:
        if "already exists" in str(error):
            return None
        raise
    return look(paths)


@contextmanager
def locked(paths: StackPaths, seconds: float) -> Iterator[bool]:
    """Hold the stack's lock on all managers; whether it was taken from somebody who is gone.

    Raises TimeoutError if others keep it too long, or CoffreError.
    """
    if paths.stack in _held:
        raise TimeoutError
    holder = f"{socket.gethostname()} {os.getpid()} {born(os.getpid())} {secrets.token_hex(8)}"
    record, left = _wait(paths, holder, seconds)
    held = _Held(holder, record)
    _held[paths.stack] = held
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(paths, held, ended), daemon=True)
    renewing.start()
    try:
        yield left
    finally:
        ended.set()
        renewing.join()
        del _held[paths.stack]
        if not held.lost:
            with suppress(CoffreError):  # whoever waits takes it when its time is over
                _replaced(paths, held.record, {key: each for key, each in held.record.labels.items() if key != LOCK})


def _wait(paths: StackPaths, holder: str, seconds: float) -> tuple[Record, bool]:
    """The object with the lock in it, and whether that was somebody's who is gone. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    seen, since = -1, time.monotonic()
    while True:
        record = look(paths)
        if record and record.index != seen:
            seen, since = record.index, time.monotonic()
        lock = record.labels.get(LOCK) if record else None
        free = lock is None or _gone(lock) or time.monotonic() - since >= GONE_SECONDS
        if free and (taken := _taken(paths, record, holder)) and taken.labels.get(LOCK) == holder:
            return taken, lock is not None
        if time.monotonic() >= deadline:
            raise TimeoutError
        time.sleep(POLL_SECONDS)


def born(pid: int) -> str:
    """When a process began, as no other one of any boot did; "" where none runs."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    # From the fields that proc(5) numbers 3 and 22: a process that was killed stays until its parent has heard of it.
    return "" if state in "ZX" else f"{boot}/{fields[18]}"


def _gone(holder: str) -> bool:
    """Whether a lock's holder was a process of this host, and ended without letting go."""
    host, *process = holder.split()
    return len(process) == 3 and host == socket.gethostname() and born(int(process[0])) != process[1]


def _renew(paths: StackPaths, held: _Held, ended: threading.Event) -> None:
    """Make a new version now and then, so that the others see that the holder lives."""
    while not ended.wait(RENEW_SECONDS):
        with held.guard, suppress(CoffreError):
            if held.lost:
                return
            _write(paths, held, held.record.labels)


def trail(paths: StackPaths) -> list[bytes]:
    """The last lines of the stack's audit trail, at most KEPT and KEPT_BYTES."""
    record = _look(f"{paths.stack}.trail")
    return record.labels[TRAIL].encode("ascii").splitlines(keepends=True) if record else []


def keep_trail(paths: StackPaths, lines: Sequence[bytes]) -> None:
    """Let these be the end of the trail, before they are written anywhere. The caller holds the lock.

    Raises CoffreError, for one that was lost too.
    """
    called, held = f"{paths.stack}.trail", _held[paths.stack]
    labels = {STACK: paths.stack, TRAIL: b"".join(_end(lines)).decode("ascii")}
    record = _look(called)
    with held.guard:
        _write(paths, held, held.record.labels)  # who lost the lock is told so here
    spec = {"Name": called, "Labels": labels, "Data": CONTENT}
    if record is None:
        ask("POST", "/configs/create", spec)
    else:
        ask("POST", f"/configs/{record.id}/update", spec, version=record.index)


def _end(lines: Sequence[bytes]) -> Sequence[bytes]:
    """As many of the last ones as the object may have, one at least."""
    found = lines[-KEPT:]
    while len(found) > 1 and sum(map(len, found)) > KEPT_BYTES:
        found = found[1:]
    return found


def remove(paths: StackPaths) -> None:
    """Remove the trail's object, and then that of the state, with the lock in it, which the caller holds."""
    for called in (f"{paths.stack}.trail", name(paths)):
        if record := _look(called):
            ask("DELETE", f"/configs/{record.id}")
