"""Writing to disk so that a crash leaves the old content or the new, never a part."""

from __future__ import annotations

import os
from pathlib import Path


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
