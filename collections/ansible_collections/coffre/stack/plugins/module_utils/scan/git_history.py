"""The words of a git repository: everything it holds, in a form that can be searched without carrying values to it.

A word is a run of text as `leaks.words` cuts it: it has blanks in it, and ends at a line's end.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..errors import CoffreError
from . import leaks

LARGEST = 256 << 20  # bytes of an object that is read
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\s+(?:[A-Za-z-]+: [^\n]*\s+)*[A-Za-z0-9+/=]{40}")
# Of a tree, by the length of an object's id.
ENTRY = {digits: re.compile(rb"([0-7]+) ([^\0]+)\0.{%d}" % (digits // 2), re.DOTALL) for digits in (40, 64)}
SUBMODULE = b"160000"
POINTER = re.compile(rb"\Aversion https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
WRAPPED = re.compile(rb"(?:[A-Za-z0-9+/_-]{40,}\r?\n)+[A-Za-z0-9+/_=-]*")  # base64 in lines
BYTE_ORDERS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
OBJECTS = {"objects", "lfs", "modules"}  # folders of git's that are read otherwise, or not at all


@dataclass
class Collected:
    """What a repository holds: how many objects were read, its distinct words, and the ids of the objects with a
    private key; and, each as the rest of a sentence, what it has or may have that was not searched.
    """

    objects: int = 0
    words: set[bytes] = field(default_factory=set)
    private_keys: list[str] = field(default_factory=list)
    unsearched: list[str] = field(default_factory=list)

    def add(self, content: bytes) -> None:
        """Take in the words of a content, also as base64 without its line ends, and as UTF-16."""
        encoding = BYTE_ORDERS.get(content[:2])
        text = content.decode(encoding, "replace").encode() if encoding else content
        self.words.update(leaks.words(text))
        for lines in WRAPPED.findall(text):
            self.words.update(leaks.words(b"".join(lines.split())))


def collect(repository: Path) -> Collected | None:
    """Read every object, reachable or not, and what git keeps beside them; None if there is no repository.

    Raises CoffreError if git fails on a repository that it can open.
    """
    # The caller may be another user than the checkout's owner; nothing of it is run.
    git = ["git", "--no-replace-objects", "-c", "safe.directory=*", "-C", str(repository)]
    try:
        found = _ask(git, "rev-parse", "--absolute-git-dir", "--git-common-dir", "--is-shallow-repository")
    except FileNotFoundError:
        return Collected(unsearched=["its history, because git is not installed on the controller"])
    if found.returncode:
        if b"not a git repository" in found.stderr and not os.path.lexists(repository / ".git"):
            return None
        return Collected(unsearched=[f"its history, because git refuses {repository}: `git status` there says why"])
    folder, common, shallow = map(os.fsdecode, found.stdout.splitlines())
    collected = Collected()
    if shallow == "true":
        collected.unsearched.append("what lies before this shallow clone: `git fetch --unshallow` fetches it")
    if _ask(git, "config", "--get-regexp", r"^(extensions\.partialclone|remote\..*\.promisor)$").returncode == 0:
        collected.unsearched.append("what this partial clone left out: `git fetch --refetch --no-filter` fetches it")
    submodules, pointers = _read(git, collected)
    if submodules:
        collected.unsearched.append("its submodules, which have histories of their own")
    shared = (repository / common).resolve()
    _beside(collected, {Path(folder), shared})
    _lfs(collected, shared / "lfs" / "objects", pointers)
    collected.private_keys.sort()
    return collected


def _ask(git: list[str], *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*git, *words], capture_output=True, env=_environment(), check=False)


def _environment() -> dict[str, str]:
    """None of the caller's settings of git: they may name another repository, and fetch what is missing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}


def _read(git: list[str], collected: Collected) -> tuple[bool, set[str]]:
    """Take in all objects: (whether a tree has a submodule, the contents that lie in LFS, by their SHA-256)."""
    command = [*git, "cat-file", "--batch-all-objects", "--unordered", "--buffer", "--batch"]
    submodules, pointers, large = False, set(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()) as child:
        assert child.stdout
        for name, kind, content in _objects(child.stdout):
            collected.objects += 1
            if content is None:
                large += 1
            elif kind == b"tree":
                entries = ENTRY[len(name)].findall(content)
                collected.words.update(word for _, path in entries for word in leaks.words(path))
                submodules = submodules or any(mode == SUBMODULE for mode, _ in entries)
            else:
                collected.add(content)
                if PRIVATE_KEY.search(content):
                    collected.private_keys.append(name)
                if pointer := POINTER.match(content[:1024]):
                    pointers.add(pointer[1].decode())
    if child.returncode:
        raise CoffreError(f"git cannot read all objects of {git[-1]}: run `git fsck` there; nothing was changed.")
    if large:
        collected.unsearched.append(f"{large} objects of more than {LARGEST >> 20} MiB")
    return submodules, pointers


def _objects(stream: IO[bytes]) -> Iterator[tuple[str, bytes, bytes | None]]:
    """(id, type, content) of what `git cat-file --batch` prints: `<id> <type> <size>`, the content, a newline.

    The content is None where it is too large to be read.
    """
    while header := stream.readline().split():
        name, kind, size = header[0].decode(), header[1], int(header[2])
        if size <= LARGEST:
            yield name, kind, stream.read(size + 1)[:-1]
            continue
        left = size + 1
        while left and (block := stream.read(min(left, 1 << 20))):
            left -= len(block)
        yield name, kind, None


def _beside(collected: Collected, folders: set[Path]) -> None:
    """Take in what git keeps beside its objects: names of branches and tags, logs and settings."""
    unread = 0
    for top in folders:
        for folder, below, names in os.walk(top):
            if Path(folder) == top:
                below[:] = set(below) - OBJECTS
            for path in (Path(folder, name) for name in names if name != "index"):
                collected.words.update(leaks.words(os.fsencode(path.relative_to(top))))
                unread += not _file(collected, path)
    if unread:
        collected.unsearched.append(f"{unread} files in git's folder that cannot be read")


def _lfs(collected: Collected, folder: Path, pointers: set[str]) -> None:
    """Take in the contents that lie in LFS, by their SHA-256."""
    absent = sum(not _file(collected, folder / digest[:2] / digest[2:4] / digest) for digest in pointers)
    if absent:
        collected.unsearched.append(f"{absent} contents in LFS that are not here: `git lfs fetch --all` fetches them")


def _file(collected: Collected, path: Path) -> bool:
    """Take in a file's words; whether it could be read."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return False
        collected.add(path.read_bytes())
    except OSError:
        return False
    return True


def write(path: Path, words: set[bytes]) -> None:
    """Write words to a compressed file, one a line, for its owner only; it is the old one or the new one, whole."""
    # The same words are the same bytes, so that of two plays at once either may be the last.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            packed.write(b"\n".join(sorted(words)))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
