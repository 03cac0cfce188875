"""Append-only audit records, one chain for all instances that share the file.

A record is one line of JSON in canonical form: seq (1, 2, ...), time, instance, event and its details, previous, which
is the SHA-256 (hex) of the line before ("" in the first), and mac, the HMAC-SHA256 (hex) of all the rest under the
audit key. Writers hold a lock on the file, so restarts and instances side by side continue one chain, each signing with
the key it was given. `make verify-audit` checks it on the host, which has all keys; the app has the one in force.
"""

import errno
import fcntl
import hashlib
import hmac
import json
import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_TAIL = 64 * 1024  # more than any record is long


class AuditError(Exception):
    """One sentence that may be shown: it holds no value."""


@dataclass(frozen=True)
class Head:
    """The last record's number and digest; kept elsewhere, it proves later that nothing was cut off."""

    seq: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Verified:
    """A chain that is whole: how many records it has, how many of them the key in force has signed, the last ones.

    Each vouches for those before it, so the last that this key signed does so for all that other keys have.
    """

    records: int
    signed: int
    last: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class AuditLog:
    """The chain at `path`, continued with `key`."""

    path: Path
    key: bytes = field(repr=False)

    def append(self, event: str, details: Mapping[str, str | int]) -> Head:
        """Write one record and wait until it is on the disk. AuditError if that failed; the file is then as before."""
        with _opened(self.path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed
            head, size, torn = _last(file, self.path)
            if torn:
                # A write that power or disk space cut short never returned, so nobody relies on it.
                os.ftruncate(file, size)
                head, size = self._write(file, head, size, "audit-repaired", {"torn_bytes": torn})
            return self._write(file, head, size, event, details)[0]

    def check(self) -> None:
        """AuditError unless the file can be opened for writing."""
        with _opened(self.path):
            pass

    def verify(self, kept: Head, last: int = 8) -> Verified:
        """Read the chain from its beginning. AuditError at the first record that is not one, or not in its place.

        `kept` is the head of before, which must be among the records: else the file is another one, or was cut off.
        """
        head, signed, found, latest = Head(), 0, kept == Head(), deque[Mapping[str, Any]](maxlen=last)
        with _opened(self.path) as file, os.fdopen(os.dup(file), "rb") as lines:
            fcntl.flock(file, fcntl.LOCK_SH)
            lines.seek(0)
            for line in lines:
                record = _record(line)
                if record is None or (record["seq"], record.get("previous")) != (head.seq + 1, head.digest):
                    raise AuditError(f"Record {head.seq + 1} of the audit log is damaged: run make verify-audit.")
                mac = self._mac({key: value for key, value in record.items() if key != "mac"})
                signed += hmac.compare_digest(mac, str(record.get("mac", "")))
                head = Head(head.seq + 1, _digest(line))
                found |= head == kept
                latest.append(record)
        if not found:
            raise AuditError(
                f"Record {kept.seq} of the audit log is not the one that was written: run make verify-audit."
            )
        return Verified(head.seq, signed, list(reversed(latest)))

    def _mac(self, record: Mapping[str, Any]) -> str:
        return hmac.new(self.key, _canonical(record), hashlib.sha256).hexdigest()

    def _write(
        self, file: int, head: Head, size: int, event: str, details: Mapping[str, str | int]
    ) -> tuple[Head, int]:
        record = dict(details) | {
            "seq": head.seq + 1,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "instance": socket.gethostname(),
            "event": event,
            "previous": head.digest,
        }
        line = _canonical(record | {"mac": self._mac(record)}) + b"\n"
        try:
            if os.write(file, line) < len(line):
                raise OSError(errno.ENOSPC, "short write")
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
        return Head(head.seq + 1, _digest(line)), size + len(line)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            yield file
        finally:
            os.close(file)
    except OSError as error:
        reason = f"The audit log {path} cannot be written ({type(error).__name__}): check its volume, owner and space."
        raise AuditError(reason) from None


def _last(file: int, path: Path) -> tuple[Head, int, int]:
    """The last whole record's head, the file's size up to it, and how many bytes of a torn one follow."""
    size = os.fstat(file).st_size
    start = max(0, size - _TAIL)
    tail = os.pread(file, _TAIL, start)
    whole = tail[: tail.rfind(b"\n") + 1]
    torn = len(tail) - len(whole)
    if not whole and not start:
        return Head(), 0, torn
    line = whole[whole.rfind(b"\n", 0, -1) + 1 :]
    record = _record(line)
    if record is None:
        raise AuditError(f"The last record of the audit log {path} is damaged: move the file away and restart.")
    return Head(record["seq"], _digest(line)), size - torn, torn


def _record(line: bytes) -> dict[str, Any] | None:
    """A record, or None if the line is not exactly one."""
    try:
        record = json.loads(line)
        whole = line == _canonical(record) + b"\n"
    except (ValueError, RecursionError):
        return None
    return record if whole and isinstance(record, dict) and isinstance(record.get("seq"), int) else None


def _canonical(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
