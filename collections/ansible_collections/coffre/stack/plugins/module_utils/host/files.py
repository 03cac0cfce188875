"""Writing to disk so that a crash leaves the old content or the new, never a part."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def sync(directory: Path) -> None:
    """Make the entries of a directory survive a crash."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: bytes, mode: int) -> None:
    """Replace path by content, durably: temporary file beside it, fsync, rename, fsync of the directory."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)
    temporary.rename(path)
    sync(path.parent)


def add_line(path: Path, line: bytes, check: bool = False) -> bool:
    """Add a line to a file, with mode 0600, unless it is there; whether it was not. Raises OSError.

    The file has the lines of all who add some at once; they wait for each other by `.lock` beside it.
    """
    if line in _content(path).splitlines():
        return False
    if check:
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(".lock"), 30):
        before = _content(path)
        if line in before.splitlines():
            return False
        write(path, before + (b"" if before.endswith(b"\n") or not before else b"\n") + line + b"\n", 0o600)
    return True


def _content(path: Path) -> bytes:
    """What a file holds; nothing if it is not there."""
    if not path.exists():
        return b""
    if not path.is_file():
        raise OSError(errno.EINVAL, "it is no file")
    return path.read_bytes()


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock that a file stands for. Raises TimeoutError if others keep it too long, or another OSError."""
    deadline = time.monotonic() + seconds
    while (handle := _lock(path)) is None:
        if time.monotonic() >= deadline:
            raise TimeoutError(errno.ETIMEDOUT, f"others have held {path} for {seconds:.0f} s")
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(handle)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None while others hold it; makes the file and its folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been removed, with its folder, before it was ours: whoever comes next locks another one.
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None


@contextmanager
def opened(path: Path, directory: int | None = None) -> Iterator[tuple[os.stat_result, BinaryIO]]:
    """What a regular file of a single name is, and a stream of what it holds; links are not followed.

    `directory` is the descriptor of the directory that a relative path is in.
    Raises FileNotFoundError, or another OSError if it is no such file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            raise OSError("no regular file of a single name")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            yield about, stream
    finally:
        os.close(handle)


def read(path: Path, limit: int, directory: int | None = None) -> tuple[os.stat_result, bytes]:
    """What a regular file is, and up to `limit` bytes of what it holds; as `opened`."""
    with opened(path, directory) as (about, stream):
        return about, stream.read(limit)
