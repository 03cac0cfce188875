"""The present values of a stack that already runs, laid into an operator's directory, from which they are staged."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import SourceError
from ..host import files
from ..scan import leaks
from ..values import generate
from .base import DIRECTORY_MODE, FILE_MODES, LARGEST

# What is looked through afterwards: a file of more bytes is no file of settings.
MOST_BYTES = 1 << 20
MOST_FILES = 20000
SKIPPED = {".git", "node_modules", "__pycache__"}
FAILED = "The Compose file {path} cannot be read as it runs today; nothing was changed: "


@dataclass(frozen=True)
class Moved:
    """What was taken and what was made, by name; `holders` has the files that still hold a value, with its secrets."""

    taken: list[str]
    made: list[str]
    holders: dict[str, list[str]] = field(default_factory=dict)


def move_in(
    compose: Path,
    origins: Mapping[str, Mapping[str, str]],
    entries: Sequence[Mapping[str, Any]],
    directory: Path,
    check: bool,
) -> Moved:
    """Read each value where it is today, and write it as a file of the directory, root's alone.

    `origins` has by secret {file: path} or {service, variable} with `part: password` of a URL; `entries` are the
    catalogue's secrets, of which those without an origin are made. Raises SourceError with all that is wrong.
    """
    values, problems = _present(compose, origins)
    made: dict[str, bytes] = {}
    for entry in entries:
        name, how = str(entry["name"]), entry.get("generate") or {}
        if name in origins:
            continue
        if how.get("type") == "random":
            made[name] = generate.random_text(int(how.get("bytes", 32)))
        else:
            problems.append(f"{name} is in no place that stack_move_in names, and cannot be made")
    known = {str(entry["name"]) for entry in entries}
    problems += [f"{name} is no secret of the catalogue" for name in origins if name not in known]
    if problems:
        raise SourceError(f"The stack cannot move in, and nothing was changed: {'; '.join(problems)}.")
    if not check:
        _write(directory, values | made)
    return Moved(sorted(values), sorted(made), holders(compose.parent, origins, values))


def _present(compose: Path, origins: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, bytes], list[str]]:
    """(the values by secret, what is wrong)."""
    values: dict[str, bytes] = {}
    problems: list[str] = []
    variables = _variables(compose) if any("variable" in origin for origin in origins.values()) else {}
    for name, origin in origins.items():
        try:
            values[name] = _file(Path(origin["file"])) if "file" in origin else _variable(variables, origin)
        except ValueError as error:
            problems.append(f"{name} {error}")
    return values, problems


def _file(path: Path) -> bytes:
    """Raises ValueError with the rest of a sentence that begins with a name."""
    try:
        _, value = files.read(path, LARGEST + 1)
    except OSError:
        raise ValueError(f"should be in {path}, which is no regular file of a single name") from None
    if not 0 < len(value) <= LARGEST:
        raise ValueError(f"should be in {path}, which is empty or longer than {LARGEST} bytes")
    return value


def _variable(variables: Mapping[str, Mapping[str, Any]], origin: Mapping[str, str]) -> bytes:
    """Raises ValueError with the rest of a sentence that begins with a name."""
    where = f"{origin['variable']} of the service {origin['service']}"
    text = variables.get(origin["service"], {}).get(origin["variable"])
    if not text:
        raise ValueError(f"should be in {where}, which has no value")
    if origin.get("part") != "password":
        return str(text).encode()
    try:
        password = urlsplit(str(text)).password
    except ValueError:
        password = None
    if not password:
        raise ValueError(f"should be the password in {where}, which is no URL with one")
    return unquote(password).encode()


def _variables(compose: Path) -> dict[str, dict[str, Any]]:
    """By service, what its environment is today: Compose itself resolves .env, env_file and defaults."""
    command = ["docker", "compose", "--file", str(compose), "config", "--format", "json"]
    try:
        done = subprocess.run(command, cwd=compose.parent, capture_output=True, check=False)
    except OSError:
        raise SourceError(FAILED.format(path=compose) + "see that it is there, and that docker compose is.") from None
    if done.returncode != 0:  # what it says may quote the file
        raise SourceError(
            FAILED.format(path=compose)
            + f"run 'docker compose --file {compose} config --quiet' there, and mend what it says."
        )
    services = json.loads(done.stdout)["services"]
    # Its output could be read again, so that a dollar is doubled.
    return {
        name: {key: text.replace("$$", "$") for key, text in (each.get("environment") or {}).items() if text}
        for name, each in services.items()
    }


def _write(directory: Path, values: Mapping[str, bytes]) -> None:
    """Make the directory whole; raises SourceError, the directory as before, if it has anything."""
    try:
        directory.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        directory.mkdir(mode=DIRECTORY_MODE)
    except FileExistsError:
        raise SourceError(
            f"The directory {directory} is there, and nothing was changed: the stack has moved in, or it was cut "
            "short; remove the directory to take the present values again."
        ) from None
    try:
        for name, value in values.items():
            files.write(directory / name, value, FILE_MODES[0])
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def holders(
    folder: Path, origins: Mapping[str, Mapping[str, str]], values: Mapping[str, bytes]
) -> dict[str, list[str]]:
    """The files in the stack's folder, and those that were read, which hold a value in the clear: by path the secrets.

    A value that is too short to be looked for everywhere counts where it is assigned, or a URL's password.
    """
    parts = [(name, part) for name, value in values.items() for part in leaks.secret_parts(value.strip())]
    finder = leaks.Finder([(name, part) for name, part in parts if len(part) >= leaks.SHORTEST])
    short = {name: _assigned(part) for name, part in parts if len(part) < leaks.SHORTEST}
    found: dict[str, set[str]] = {}
    for path in _files(folder):
        content = path.read_bytes()
        names = {*finder.names(content), *(name for name, pattern in short.items() if pattern.search(content))}
        if names:
            found[str(path)] = names
    for name, origin in origins.items():
        if "file" in origin:
            found.setdefault(origin["file"], set()).add(name)
    return {path: sorted(names) for path, names in sorted(found.items())}


def _assigned(value: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?m)(?:[=:]\s*[\"']?|:-)" + re.escape(value) + rb"(?:[\"']?\s*(?:#.*)?$|@|\})")


def _files(folder: Path) -> Iterator[Path]:
    """The regular files below a folder that could be of settings."""
    count = 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - SKIPPED)
        for path in (Path(here) / name for name in sorted(names)):
            count += 1
            if count > MOST_FILES:
                return
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST_BYTES:
                yield path
