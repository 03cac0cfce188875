"""Writing to disk so that a crash leaves the old content or the new, never a part."""

from __future__ import annotations

import os
import stat
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
