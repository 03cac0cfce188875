#!/usr/bin/env python3
"""Search a machine for the values of secrets, in every usual encoding, and never show one.

    leak_search.py --bundles /run/coffre/demo --permitted leak_permitted.json --processes / ...
    leak_search.py --pack ~/.ansible /tmp | ssh host leak_search.py --bundles /run/coffre/demo --stdin controller

The values are read at run time by path: from the files below --bundles, and from the files that --values lists
as `name=path`, separated by NUL. Each finding is one line: the secret, the encoding, the place. Exit status 0:
nothing found but where it is permitted; 1: something found, or something could not be searched; 2: bad call.

Stdlib only, Python 3.11 or later; the file leaks.py of the collection's module_utils lies beside this one or on
the path.
"""

from __future__ import annotations

import argparse
import bz2
import fnmatch
import io
import itertools
import json
import lzma
import multiprocessing
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

try:
    from ansible_collections.coffre.stack.plugins.module_utils.scan import leaks
except ImportError:  # on a host that is searched, where the two files lie side by side
    import leaks  # type: ignore[import-not-found,no-redef]

BLOCK = 1 << 20
DEEPEST = 5  # archives within archives
LARGEST = 1 << 29  # of a zip that has to be held in memory, in bytes
BOMB = 1 << 34  # of what one archive may unpack to, in bytes
# Pieces this long are found also where a line of base64 is wrapped, or a message is cut short.
PIECE = 24


class Finding(NamedTuple):
    """A value at a place: `where` is a path, with `!` between an archive and what is in it."""

    secret: str
    encoding: str
    where: str


@dataclass
class Result:
    """What a search found, what it could not search, and how much it read."""

    findings: list[Finding] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    places: int = 0
    size: int = 0

    def add(self, other: Result) -> None:
        self.findings += other.findings
        self.unread += other.unread
        self.places += other.places
        self.size += other.size


# --- values -----------------------------------------------------------------------------------------------


# What bundles have beside secrets.
PLAIN = frozenset({"haproxy.cfg"})


def values_below(bundles: Path) -> Iterator[tuple[str, bytes]]:
    """(service/file, value) of each bundle; of a composed `key=value` file the values of its secret keys only."""
    for path in sorted(bundles.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.name in PLAIN:
            continue
        relative = path.relative_to(bundles)
        name = f"{relative.parts[0]}/{relative.name}"
        content = path.read_bytes()
        if path.suffix != ".conf":
            yield name, content
            continue
        for line in content.splitlines():
            key, separator, value = line.partition(b"=")
            if separator and re.search(rb"password|secret|key|token", key):
                yield f"{name}:{key.strip().decode()}", value.strip()


def values_listed(listing: bytes) -> Iterator[tuple[str, bytes]]:
    """The values of a list of `name=path`, separated by NUL."""
    for entry in listing.split(b"\0"):
        if entry.strip():
            name, _, path = entry.strip().decode().partition("=")
            yield name, Path(path).read_bytes()


def parts(values: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """What to search for: a short value and a line of PEM (which may begin as others do) whole, else its two ends."""
    for name, value in values:
        for part in leaks.secret_parts(value):
            if len(part) > PIECE * 4 // 3 and b"PRIVATE KEY-----" not in value:
                yield name, part[:PIECE]
                yield name, part[-PIECE:]
            else:
                yield name, part


# --- streams and archives ---------------------------------------------------------------------------------


class Searched(io.RawIOBase):
    """A stream that is searched as it is read, by whoever reads it; values across blocks are found too."""

    def __init__(self, source: IO[bytes], where: str, finder: leaks.Finder, result: Result) -> None:
        self.source, self.where, self.finder, self.result = source, where, finder, result
        self.tail = b""
        self.seen: set[tuple[str, str]] = set()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self.source.read(len(buffer))
        if block:
            self.result.size += len(block)
            data = self.tail + block
            for hit in self.finder.find(data):
                if (hit.secret, hit.encoding) not in self.seen:
                    self.seen.add((hit.secret, hit.encoding))
                    self.result.findings.append(Finding(hit.secret, hit.encoding, self.where))
            self.tail = data[-self.finder.longest :]
        buffer[: len(block)] = block
        return len(block)


def search_stream(source: IO[bytes], where: str, finder: leaks.Finder, result: Result, depth: int = 0) -> None:
    """Search all of a stream and, where it is an archive, what is in it."""
    result.places += 1
    stream = io.BufferedReader(Searched(source, where, finder, result), BLOCK)
    head = stream.peek(BLOCK)[:512]
    unpack = _unpacker(head)
    if unpack and depth >= DEEPEST:
        result.unread.append(f"{where}: archives nested more than {DEEPEST} deep")
    elif unpack:
        # What only looks like an archive, or is cut short, has been searched as it is.
        try:
            unpack(stream, where, finder, result, depth + 1)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError):
            pass
        except (OSError, RuntimeError, ValueError) as error:
            if str(error) != "Invalid data stream":  # which is bz2's way to say that it is none
                result.unread.append(f"{where}: {type(error).__name__} in the archive")
    while stream.read(BLOCK):
        pass


class Unpacked(io.RawIOBase):
    """The unpacked side of a compressed stream, up to BOMB bytes; of a damaged one all that comes before the damage."""

    def __init__(self, source: IO[bytes], make: Callable[[], Any]) -> None:
        self.source, self.make, self.decompressor = source, make, make()
        self.rest = self.output = b""
        self.left = BOMB

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.output:
            block = self.rest or self.source.read(1 << 13)
            if not block:
                return 0
            if self.decompressor.eof:
                self.decompressor = self.make()
            self.output = self.decompressor.decompress(block)
            self.rest = self.decompressor.unused_data
        block, self.output = self.output[: len(buffer)], self.output[len(buffer) :]
        self.left -= len(block)
        if self.left < 0:
            raise ValueError("unpacks to too much")
        buffer[: len(block)] = block
        return len(block)


Unpacker = Callable[[IO[bytes], str, leaks.Finder, Result, int], None]


def _unpacker(head: bytes) -> Unpacker | None:
    """What opens an archive that begins with head, None for anything else."""
    if head[257:262] == b"ustar":
        return _tar
    for magic, unpack in MAGIC:
        if head.startswith(magic):
            return unpack
    return None


def _compressed(make: Callable[[], Any]) -> Unpacker:
    def unpack(stream: IO[bytes], where: str, finder: leaks.Finder, result: Result, depth: int) -> None:
        search_stream(io.BufferedReader(Unpacked(stream, make), BLOCK), f"{where}!", finder, result, depth)

    return unpack


def _tar(stream: IO[bytes], where: str, finder: leaks.Finder, result: Result, depth: int) -> None:
    with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK) as archive:
        for member in archive:
            inner = f"{where}!{member.name}"
            names = (member.name, member.linkname, *member.pax_headers.values())
            search_name(inner, "\0".join(names), finder, result)
            content = archive.extractfile(member) if member.isfile() else None
            if content:
                search_stream(content, inner, finder, result, depth)


def _zip(stream: IO[bytes], where: str, finder: leaks.Finder, result: Result, depth: int) -> None:
    content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("too large")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            inner = f"{where}!{member.filename}"
            search_name(inner, member.filename, finder, result)
            if member.flag_bits & 1:
                result.unread.append(f"{inner}: encrypted")
            elif not member.is_dir():
                with archive.open(member) as opened:
                    search_stream(opened, inner, finder, result, depth)


def _zstd(stream: IO[bytes], where: str, finder: leaks.Finder, result: Result, depth: int) -> None:
    if not shutil.which("zstd"):
        raise ValueError("no zstd")
    with subprocess.Popen(
        ["zstd", "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdin and child.stdout

        def feed(target: IO[bytes]) -> None:
            try:
                shutil.copyfileobj(stream, target, BLOCK)
                target.close()
            except BrokenPipeError:
                pass

        feeder = threading.Thread(target=feed, args=(child.stdin,))
        feeder.start()
        search_stream(child.stdout, f"{where}!", finder, result, depth)
        feeder.join()


MAGIC: list[tuple[bytes, Unpacker]] = [
    (b"\x1f\x8b\x08", _compressed(lambda: zlib.decompressobj(31))),
    (b"BZh", _compressed(bz2.BZ2Decompressor)),
    (b"\xfd7zXZ\0", _compressed(lzma.LZMADecompressor)),
    (b"PK\x03\x04", _zip),
    (b"\x28\xb5\x2f\xfd", _zstd),
]


# --- where to look ----------------------------------------------------------------------------------------


class Source(NamedTuple):
    """A place to look at: the text of its name, and, of a regular file, the path to its content."""

    where: str
    name: str
    path: str | None


def _mounts(kinds: set[str]) -> set[str]:
    """The places where file systems of these kinds are mounted."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mount, _, rest = line.partition(" - ")
        if rest.split()[0] in kinds:
            found.add(mount.split()[4].encode().decode("unicode_escape"))
    return found


def walk(roots: Iterable[str], since: float, unread: list[str]) -> Iterator[Source]:
    """Everything below roots, each inode's content once, of files changed since then (s since 1970).

    Without the kernel's own file systems, and without overlays, whose layers are there anyhow.
    """
    kernel = {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "debugfs", "tracefs", "bpf", "mqueue", "nsfs"}
    skipped = _mounts(kernel | {"overlay"})
    seen: set[tuple[int, int]] = set()
    stack = list(roots)
    while stack:
        place = stack.pop()
        try:
            info = os.lstat(place)
            content = None
            target = str(Path(place).readlink()) if stat.S_ISLNK(info.st_mode) else ""
            if stat.S_ISDIR(info.st_mode):
                with os.scandir(place) as entries:
                    stack += [entry.path for entry in entries if entry.path not in skipped]
            elif stat.S_ISREG(info.st_mode) and (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                content = place if max(info.st_mtime, info.st_ctime) >= since else None
            yield Source(place, f"{place}\0{target}", content)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            unread.append(f"{place}: {os.strerror(error.errno or 0)}")


def processes(unread: list[str], proc: Path = Path("/proc")) -> Iterator[Source]:
    """Arguments and environment of every process, and the deleted files that they hold open."""
    seen: set[tuple[int, int]] = set()
    for process in sorted(proc.glob("[0-9]*")):
        try:
            name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            for kind in ("cmdline", "environ"):
                yield Source(f"{process / kind} ({name})", "", str(process / kind))
            for link in (process / "fd").iterdir():
                target = str(link.readlink())
                info = link.stat()
                if " (deleted)" in target and stat.S_ISREG(info.st_mode) and (info.st_dev, info.st_ino) not in seen:
                    seen.add((info.st_dev, info.st_ino))
                    yield Source(f"{link} ({name}: {target})", target, str(link))
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError as error:
            unread.append(f"{process}: {os.strerror(error.errno or 0)}")


def record(folder: Path, pause: float = 0.05) -> NoReturn:
    """Keep the arguments and environment of every process that comes by, as files of a folder, until ended."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    young: dict[str, float] = {}
    kept: set[str] = set()
    while True:
        present = {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - twenty times a second
        now = time.monotonic()
        young = {name: first for name, first in young.items() if name in present}
        for name in present:
            # Between fork and exec a process is its parent's image: so it is looked at more than once.
            if now - young.setdefault(name, now) > 1:
                continue
            for kind in ("cmdline", "environ"):
                try:
                    told = Path(f"/proc/{name}/{kind}").read_bytes()
                except OSError:
                    continue
                program = told.partition(b"\0")[0].rpartition(b"/")[2].decode(errors="replace")[:20]
                label = f"{name}.{kind}.{zlib.crc32(told):08x}{f'.{program}' if kind == 'cmdline' else ''}"
                if told and label not in kept:
                    kept.add(label)
                    (folder / label).write_bytes(told)
        time.sleep(pause)


# --- searching --------------------------------------------------------------------------------------------


def search_name(where: str, text: str, finder: leaks.Finder, result: Result) -> None:
    """Names of files and targets of links can hold a value too."""
    result.findings += [Finding(name, "name", where) for name in finder.names(os.fsencode(text))]


def shown(line: str, finder: leaks.Finder) -> str:
    """A line of the report, cut off where a name in it holds a value."""
    data = os.fsencode(line)
    first = min((hit.offset for hit in finder.find(data)), default=len(data))
    return os.fsdecode(data[:first]) + ("(a value)" if first < len(data) else "")


def search_file(path: str, where: str, finder: leaks.Finder) -> Result:
    """Search one regular file; one that has vanished is no error."""
    result = Result()
    try:
        with Path(path).open("rb", buffering=0) as file:
            search_stream(file, where, finder, result)
    except (FileNotFoundError, ProcessLookupError):
        pass
    except OSError as error:
        result.unread.append(f"{where}: {os.strerror(error.errno or 0)}")
    return result


_finder: leaks.Finder | None = None


def _worker(source: tuple[str, str]) -> Result:
    assert _finder
    return search_file(*source, _finder)


def search(sources: Iterable[Source], finder: leaks.Finder, result: Result) -> None:
    """Search all sources, on all processors."""
    global _finder  # children inherit it by fork: values go through no pipe
    _finder = finder

    def contents() -> Iterator[tuple[str, str]]:
        for source in sources:
            search_name(source.where, source.name, finder, result)
            if source.path:
                yield source.path, source.where

    with multiprocessing.get_context("fork").Pool() as pool:
        for found in pool.imap_unordered(_worker, contents(), chunksize=32):
            result.add(found)


class Padded:
    """A file that keeps the size it had, whatever becomes of it meanwhile."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def read(self, size: int = 0, /) -> bytes:
        return self.file.read(size).ljust(size, b"\0")


def pack(sources: Iterable[Source], output: IO[bytes]) -> None:
    """Write all sources as a tar, for a search on the machine that has the values: those never leave it."""
    with tarfile.open(fileobj=output, mode="w|", bufsize=BLOCK) as archive:
        for source in sources:
            entry = tarfile.TarInfo(source.where.lstrip("/"))
            entry.pax_headers = {"comment": source.name.replace("\0", " ")}
            try:
                if source.path is None:
                    archive.addfile(entry)
                    continue
                with Path(source.path).open("rb") as file:
                    entry.size = os.fstat(file.fileno()).st_size
                    if source.path.startswith("/proc/") and not entry.size:
                        told = file.read()
                        entry.size = len(told)
                        archive.addfile(entry, io.BytesIO(told))
                    else:
                        archive.addfile(entry, Padded(file))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue


def search_journal(finder: leaks.Finder, result: Result) -> None:
    """Search what journalctl exports: in the journal's files long fields are compressed."""
    if shutil.which("journalctl"):
        with subprocess.Popen(
            ["journalctl", "--all", "--output=export"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            assert child.stdout
            search_stream(child.stdout, "journal", finder, result)


# --- the program ------------------------------------------------------------------------------------------


def permitted(finding: Finding, rules: Iterable[dict[str, str]]) -> bool:
    """Whether a rule names this secret at this place; both are globs, and `*` also matches `/`."""
    return any(
        fnmatch.fnmatchcase(finding.secret, rule["secret"]) and fnmatch.fnmatchcase(finding.where, rule["where"])
        for rule in rules
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Search a machine for the values of secrets; never shows one.")
    parser.add_argument("roots", nargs="*", help="files and folders to search")
    parser.add_argument("--processes", action="store_true", help="arguments, environments, deleted open files")
    parser.add_argument("--journal", action="store_true", help="what journalctl exports")
    parser.add_argument("--stdin", metavar="NAME", help="search standard input, called so in the report")
    parser.add_argument("--since", type=float, default=0.0, help="only files changed since then, in s since 1970")
    parser.add_argument("--bundles", type=Path, action="append", default=[], help="a stack's folder of bundles")
    parser.add_argument("--values", type=Path, action="append", default=[], help="a list of name=path, NUL between")
    parser.add_argument("--permitted", type=Path, help="JSON: [{secret, where, why}], where values belong")
    parser.add_argument("--pack", action="store_true", help="search nothing, and write what would be searched as a tar")
    parser.add_argument(
        "--record", metavar="FOLDER", type=Path, help="keep what processes are started with, until ended"
    )
    options = parser.parse_args(arguments)

    if options.record:
        record(options.record)
    result = Result()
    places = walk([os.path.abspath(root) for root in options.roots], options.since, result.unread)  # noqa: PTH100 - as is
    sources = itertools.chain(places, processes(result.unread) if options.processes else ())
    if options.pack:
        pack(sources, sys.stdout.buffer)
        return 0
    try:
        values = [pair for folder in options.bundles for pair in values_below(folder)]
        values += [pair for listing in options.values for pair in values_listed(listing.read_bytes())]
        if not values:
            raise ValueError("there is no value to search for: name a folder with --bundles, or a list with --values")
        finder = leaks.Finder(parts(values))
        rules = json.loads(options.permitted.read_text(encoding="utf-8")) if options.permitted else []
    except (OSError, ValueError) as error:
        print(f"leak_search: {error}", file=sys.stderr)
        return 2

    if options.stdin:
        search_stream(sys.stdin.buffer, options.stdin, finder, result)
    search(sources, finder, result)
    if options.journal:
        search_journal(finder, result)
    return report(result, finder, rules, len({name for name, _ in values}))


def report(result: Result, finder: leaks.Finder, rules: list[dict[str, str]], secrets: int) -> int:
    """Print what was found, a line each; the exit status."""
    findings = set(result.findings)
    found = sorted(finding for finding in findings if not permitted(finding, rules))
    unread = sorted(set(result.unread))
    for finding in found:
        print(shown(f"LEAK {finding.secret} ({finding.encoding}) in {finding.where}", finder))
    for line in unread:
        print(shown(f"UNREAD {line}", finder))
    print(
        f"searched {result.places} places and {result.size} bytes for {secrets} secrets: "
        f"{len(found)} leaks, {len(findings) - len(found)} permitted, {len(unread)} unread"
    )
    return 1 if found or unread else 0


if __name__ == "__main__":
    sys.exit(main())
