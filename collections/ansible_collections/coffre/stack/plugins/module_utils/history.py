"""The words of a git repository: everything it holds, in a form that can be searched without carrying values to it."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import CoffreError

WORD = re.compile(rb"[!-~\x80-\xff]{12,}")
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\s+(?:[A-Za-z-]+: [^\n]*\s+)*[A-Za-z0-9+/=]{40}")


@dataclass(frozen=True)
class Collected:
    """How many objects a repository has, its distinct words, and the ids of the objects with a private key."""

    objects: int
    words: set[bytes]
    private_keys: list[str]


def collect(repository: Path) -> Collected | None:
    """Read every object, reachable or not; None if there is no repository. Raises CoffreError if git fails."""
    # The caller may be another user than the checkout's owner; nothing of it is run.
    git = ["git", "-c", "safe.directory=*", "-C", str(repository)]
    try:
        if subprocess.run([*git, "rev-parse", "--git-dir"], capture_output=True, check=False).returncode:
            return None
    except FileNotFoundError:
        return None
    words: set[bytes] = set()
    keys = []
    count = 0
    command = [*git, "cat-file", "--batch-all-objects", "--unordered", "--buffer", "--batch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout
        while header := child.stdout.readline().split():
            # Each object is `<id> <type> <size>`, its content, and a newline.
            name, kind, size = header
            content = child.stdout.read(int(size) + 1)
            count += 1
            if kind == b"tree":
                continue
            words.update(WORD.findall(content))
            if PRIVATE_KEY.search(content):
                keys.append(name.decode())
    if child.returncode:
        raise CoffreError(f"git cannot read all objects of {repository}: run `git fsck` there; nothing was changed.")
    return Collected(count, words, sorted(keys))


def write(path: Path, words: set[bytes]) -> None:
    """Write words to a compressed file, one a line, for its owner only."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file, gzip.open(file, "wb", compresslevel=6) as packed:
        packed.write(b"\n".join(sorted(words)))
