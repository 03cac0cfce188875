"""Tags of container images by what they are made from, so that equal content has one tag and is built once."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CoffreError

DIGITS = 16
ARCHIVE = re.compile(r"(?P<name>[a-z0-9-]+)-(?P<tag>[0-9a-f]{16})\.(?P<id>[0-9a-f]{64})\.tar\.gz")
IGNORED = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache"})


@dataclass(frozen=True)
class Image:
    """What an image is made from: paths under the root (files, or directories with all they hold), build arguments,
    and the image of ours it starts from."""

    name: str
    paths: tuple[str, ...]
    args: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None


def files(root: Path, paths: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Every file below the paths as (its name relative to root, where it is), in the order of the names.

    What tools leave behind is passed over. CoffreError for a path that is missing and for anything but files,
    directories and links.
    """
    found: dict[str, Path] = {}
    for path in paths:
        top = root / path
        if not top.exists():
            raise CoffreError(f"{top} is missing, which an image is made from; nothing was changed: restore it.")
        below = (Path(folder, name) for folder, _, names in os.walk(top) for name in names)
        for each in below if top.is_dir() else [top]:
            if IGNORED.isdisjoint(each.relative_to(root).parts) and each.suffix != ".pyc":
                found[each.relative_to(root).as_posix()] = each
    for name in sorted(found):
        if not (found[name].is_file() or found[name].is_symlink()):
            raise CoffreError(f"{found[name]} is neither a file nor a link; nothing was changed: remove it.")
        yield name, found[name]


def _entry(name: str, path: Path) -> tarfile.TarInfo:
    """A file's header without what differs between checkouts: owner, time, and all of the mode but executable."""
    entry = tarfile.TarInfo(name)
    if path.is_symlink():
        entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
    else:
        entry.size = path.stat().st_size
        entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    return entry


def _write(root: Path, paths: Iterable[str], archive: tarfile.TarFile) -> None:
    for name, path in files(root, paths):
        entry = _entry(name, path)
        archive.addfile(entry, None if entry.issym() else io.BytesIO(path.read_bytes()))


def tags(root: Path, images: Sequence[Image]) -> dict[str, str]:
    """The tag of each image by name: hexadecimal digits of a SHA-256 over content, arguments and the base's tag.

    An image comes after its base. CoffreError for one that does not, and as `files` does.
    """
    result: dict[str, str] = {}
    for image in images:
        if image.base is not None and image.base not in result:
            raise CoffreError(f"The image {image.name} starts from {image.base}, which must be listed before it.")
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
            _write(root, image.paths, archive)
        others = json.dumps([sorted(image.args.items()), image.base and result[image.base]])
        result[image.name] = hashlib.sha256(content.getvalue() + others.encode()).hexdigest()[:DIGITS]
    return result


def archives(folder: Path, tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """By image, the archive of its tag in a folder, {file, id}: `NAME-TAG.ID.tar.gz`, where the id says what is in it.

    Of two for one tag, which plays at once have built, it is the same one for all.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.tar.gz")):
        named = ARCHIVE.fullmatch(path.name)
        if named and tags.get(named["name"]) == named["tag"]:
            found.setdefault(named["name"], {"file": path.name, "id": f"sha256:{named['id']}"})
    return found


def pack(root: Path, images: Sequence[Image], target: Path) -> None:
    """Write all that the images are made from into one tar.gz at target, which appears only when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    part = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            _write(root, sorted({path for image in images for path in image.paths}), archive)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
