"""Append-only audit records, one chain for all instances that share the file.

A record is one line of JSON: seq (1, 2, ...), time, instance, event and its details, previous (the MAC of the record
before, empty in the first) and mac, the HMAC-SHA256 (hex) of all the rest under the audit key. Writers hold a lock on
the file, so restarts and instances side by side continue one chain, each signing with the key it was given; `verify`
tries each key of a ring.
"""

import errno
import fcntl
import hashlib
import hmac
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """The last record's number and MAC; kept elsewhere, it proves later that nothing was cut off."""

    seq: int = 0
    mac: str = ""


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
                head, size = self._write(file, head, size, "audit-mended", {"torn_bytes": torn})
            return self._write(file, head, size, event, details)[0]

    def check(self) -> None:
        """AuditError unless the file can be opened for writing."""
        with _opened(self.path):
            pass

    def _write(
        self, file: int, head: Head, size: int, event: str, details: Mapping[str, str | int]
    ) -> tuple[Head, int]:
        record = dict(details) | {
            "seq": head.seq + 1,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "instance": socket.gethostname(),
            "event": event,
            "previous": head.mac,
        }
        mac = _mac(self.key, record)
        line = _canonical(record | {"mac": mac}) + b"\n"
        try:
            if os.write(file, line) < len(line):
                raise OSError(errno.ENOSPC, "short write")
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
        return Head(head.seq + 1, mac), size + len(line)


def verify(path: Path, keys: Sequence[bytes], heads: Iterable[Head] = ()) -> Head:
    """Check every record and that each kept head is in the chain; return the present head.

    AuditError names the first record that is wrong. Without a kept head, records cut off at the end go unnoticed.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        reason = f"The audit log {path} cannot be read ({type(error).__name__})."
        raise AuditError(reason) from None
    head = Head()
    kept = {each.seq: each.mac for each in heads}
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is None:
            raise AuditError(f"Line {number} of the audit log {path} is not a whole record.")
        mac = record.pop("mac")
        if not any(hmac.compare_digest(mac, _mac(key, record)) for key in keys):
            raise AuditError(f"Record {number} of the audit log {path} was changed, or signed with an unknown key.")
        if record["seq"] != number or record["previous"] != head.mac:
            raise AuditError(f"Record {number} of the audit log {path} does not follow the one before it.")
        head = Head(number, mac)
        if kept.pop(number, mac) != mac:
            raise AuditError(f"Record {number} of the audit log {path} is not the one whose head was kept.")
    if kept:
        raise AuditError(f"The audit log {path} ends at record {head.seq}, before the kept head {max(kept)}.")
    return head


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
    record = _parse(whole[whole.rfind(b"\n", 0, -1) + 1 :])
    if record is None:
        raise AuditError(f"The last record of the audit log {path} is damaged: move the file away and restart.")
    return Head(record["seq"], record["mac"]), size - torn, torn


def _parse(line: bytes) -> dict[str, Any] | None:
    """A record, or None if the line is not exactly one."""
    try:
        record = json.loads(line)
        whole = line == _canonical(record) + b"\n"
    except (ValueError, RecursionError):
        return None
    if whole and isinstance(record, dict) and isinstance(record.get("seq"), int):
        return record if all(isinstance(record.get(name), str) for name in ("mac", "previous")) else None
    return None


def _canonical(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _mac(key: bytes, record: Mapping[str, Any]) -> str:
    return hmac.new(key, _canonical(record), hashlib.sha256).hexdigest()
