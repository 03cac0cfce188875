"""What a Compose file and the files of variables beside it have. Values stay in memory: compared, never shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import CoffreError

# $$, ${NAME}, ${NAME:-default} with a default that may have one of its own, $NAME.
TOKEN = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:?[-+?])((?:[^{}]|\{[^{}]*\})*))?\}|([A-Za-z_]\w*))")
LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*?)\s*")
# What stands in for a file of variables that a repository does not keep.
EXAMPLES = ("", ".example", ".sample", ".template", ".dist")


@dataclass(frozen=True)
class Variable:
    """A variable in a text of the file; its value is None where neither the file nor .env has one."""

    name: str
    value: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Found:
    """A Compose file, where it lies, and the variables of its .env. `notes` are what a person should know."""

    path: Path
    data: Mapping[str, Any] = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    notes: list[str] = field(default_factory=list)


def read(path: Path) -> Found:
    """Raises CoffreError for a file that is missing, no YAML or without services; the sentence has nothing of it."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CoffreError(f"{path} cannot be read ({error.strerror}): name a Compose file.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise CoffreError(f"{path} is no YAML, or has tags of its own: name a plain Compose file.") from None
    services = data.get("services") if isinstance(data, dict) else None
    if not isinstance(services, dict) or not all(isinstance(each, dict) for each in services.values()) or not services:
        raise CoffreError(f"{path} has no services: name a Compose file, with the key `services`.")
    notes: list[str] = []
    return Found(path.resolve(), data, variables(path.resolve().parent / ".env", notes), notes)


def variables(path: Path, notes: list[str]) -> dict[str, str]:
    """The variables of a file such as .env, or of the example of it that a repository keeps; none without either."""
    for ending in EXAMPLES:
        candidate = path.with_name(path.name + ending)
        try:
            text = candidate.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if ending:
            notes.append(f"{path.name} is not there: the names were taken from {candidate.name}.")
        return dict(_assignments(text))
    return {}


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if (match := LINE.fullmatch(line)) and not line.lstrip().startswith("#"):
            value = match[2]
            quoted = re.match(r"(['\"])(.*?)\1", value)
            yield match[1], quoted[2] if quoted else re.sub(r"(^|\s+)#.*", "", value)


def replaced(text: str, variables: Mapping[str, str], by: Callable[[Variable], str]) -> str:
    """A text with what `by` gives for each variable in it; $$ stays."""

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return "$$"
        name = match[2] or match[5]
        return by(Variable(name, _value(variables.get(name), match[3] or "", match[4] or "", variables)))

    return TOKEN.sub(one, text)


def _value(known: str | None, operator: str, other: str, variables: Mapping[str, str]) -> str | None:
    """What Compose would make of it, or None where that needs what only the person's shell has."""
    present = bool(known) if operator.startswith(":") else known is not None
    if operator.endswith("+"):
        return _plain(other, variables) if present else ""
    if operator.endswith("-") and not present:
        return _plain(other, variables)
    return known


def _plain(text: str, variables: Mapping[str, str]) -> str:
    return replaced(text, variables, lambda variable: variable.value or "")


def mapping(entries: Any) -> dict[str, str | None]:
    """An `environment` in either syntax; None is a variable that the shell hands on."""
    if isinstance(entries, Mapping):
        return {str(name): None if value is None else _text(value) for name, value in entries.items()}
    pairs = (str(entry).partition("=") for entry in entries or [])
    return {name: value if equals else None for name, equals, value in pairs}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def environment(found: Found, service: Mapping[str, Any]) -> tuple[dict[str, str | None], dict[str, str]]:
    """(a service's variables as texts of the file, what the files have by variable).

    A variable of an env_file is as one that the file takes from elsewhere.
    """
    entries = service.get("env_file") or []
    files = [each.get("path") if isinstance(each, dict) else each for each in _list(entries)]
    known: dict[str, str] = {}
    for name in filter(None, files):
        known |= variables(found.path.parent / str(name), found.notes)
    return dict.fromkeys(known) | mapping(service.get("environment")), {**found.variables, **known}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
