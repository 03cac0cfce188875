"""Finds the credentials of a Compose file, and leaves a mark where each stood."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import kinds
from .read import Found, Variable, environment, replaced

FILL_IN = "FILL-IN"
# Characters of the private use area: no file has them, and a URL's parts may.
MARK = re.compile("\ue000(\\d+)\ue001")
SECRETS = "/run/secrets/"


@dataclass(frozen=True)
class Sighting:
    """A credential in one place: of `variable` in `service`, or of a file. `label` is what it is called there."""

    service: str
    variable: str
    label: str
    value: str | None = field(default=None, repr=False)
    kind: str = ""  # the server that checks it
    part: str = ""  # `password` of a URL, or somewhere `within` the variable
    file: Path | None = None
    target: str = ""  # where a file is in the container

    @property
    def origin(self) -> dict[str, str]:
        """Where a host that runs the stack today has the value; nothing for one that cannot be cut out of its text."""
        if self.part == "within":
            return {}
        if self.file:
            return {"file": str(self.file)}
        return {"service": self.service, "variable": self.variable} | ({"part": self.part} if self.part else {})


@dataclass
class Looked:
    """Sightings by the number of their mark; by service, its variables, and the texts that have a mark."""

    sightings: list[Sighting] = field(default_factory=list)
    plain: dict[str, dict[str, str]] = field(default_factory=dict)
    marked: dict[str, dict[str, str]] = field(default_factory=dict)
    servers: dict[str, kinds.Image] = field(default_factory=dict)
    # What a person must decide, with the services that it is about.
    said: dict[str, list[str]] = field(default_factory=dict)
    # Of an earlier look: variables that are a credential somewhere, and are one everywhere; and their values.
    labels: frozenset[str] = frozenset()
    values: frozenset[str] = field(default=frozenset(), repr=False)

    def say(self, service: str, text: str) -> None:
        if (name := kinds.slug(service)) not in (services := self.said.setdefault(text, [])):
            services.append(name)

    def mark(self, sighting: Sighting) -> str:
        self.sightings.append(sighting)
        return f"\ue000{len(self.sightings) - 1}\ue001"


def look(found: Found) -> Looked:
    """Looks twice, because a later service may tell what a variable of an earlier one is."""
    first = _look(found, frozenset(), frozenset())
    values = {each.value for each in first.sightings if each.value}
    return _look(found, frozenset(each.label for each in first.sightings), frozenset(values))


def _look(found: Found, labels: frozenset[str], values: frozenset[str]) -> Looked:
    services: Mapping[str, Mapping[str, Any]] = found.data["services"]
    servers = {name: kinds.image(each.get("image")) for name, each in services.items()}
    looked = Looked(servers=servers, labels=labels, values=values)
    for name, service in services.items():
        looked.plain[name], looked.marked[name] = {}, {}
        texts, known = environment(found, service)
        for variable, raw in texts.items():
            if raw is None and variable not in known and not (kinds.credential(variable) or variable in labels):
                looked.say(name, f"takes ${variable} from the shell, if that has it: write the variable if it should")
            elif raw is not None or kinds.concerns(servers[name], variable):
                _variable(looked, name, variable, f"${{{variable}}}" if raw is None else raw, known)
    return looked


def _variable(looked: Looked, service: str, name: str, raw: str, known: Mapping[str, str]) -> None:
    taken: dict[str, Variable] = {}

    def take(variable: Variable) -> str:
        token = f"\ue002{len(taken)}\ue003"
        taken[token] = variable
        return token

    text = _urls(looked, service, name, replaced(raw, known, take), taken)
    for token, variable in taken.items():
        named = (
            kinds.credential(variable.name)
            or variable.name in looked.labels
            or (kinds.credential(name) and text == token)
        )
        if token in text and named and not kinds.SWITCH.fullmatch("?" if variable.value is None else variable.value):
            part = "" if text == token else "within"
            text = text.replace(token, looked.mark(_seen(looked, service, name, variable, part=part)))
    text = "".join(
        _resolved(looked, service, name, piece, taken, known) for piece in re.split("(\ue002\\d+\ue003)", text)
    )
    if not MARK.search(text) and _is_credential(looked, service, name, text):
        text = looked.mark(_seen(looked, service, name, Variable(name, text.replace("$$", "$"))))
    (looked.marked if MARK.search(text) else looked.plain)[service][name] = text


def _is_credential(looked: Looked, service: str, name: str, text: str) -> bool:
    if "PRIVATE KEY-----" in text:
        return True
    known = kinds.credential(name) or name in looked.labels or name in looked.servers[service].passwords
    return known and text != FILL_IN and not kinds.SWITCH.fullmatch(text) and not text.startswith("/")


def _urls(looked: Looked, service: str, name: str, text: str, taken: dict[str, Variable]) -> str:
    """Marks the password of each URL, however its variable is called."""

    def one(match: re.Match[str]) -> str:
        kind, password = kinds.scheme(match["scheme"]), match["password"]
        variable = taken.get(password) or Variable(name, None if "\ue002" in password else password)
        mark = looked.mark(_seen(looked, service, name, variable, kind, "password"))
        start, end = (position - match.start() for position in match.span("password"))
        return match[0][:start] + mark + match[0][end:]

    return kinds.URL.sub(one, text)


def _seen(looked: Looked, service: str, name: str, variable: Variable, kind: str = "", part: str = "") -> Sighting:
    return Sighting(service, name, variable.name, variable.value, kind or _kind(looked, service, name, variable), part)


def _kind(looked: Looked, service: str, name: str, variable: Variable) -> str:
    """The server that a credential is for: the service itself, or the only one of the file that its name speaks of."""
    own = looked.servers[service]
    if own.kind and (name in own.passwords or not own.passwords):
        return own.kind
    there = {each.kind for each in looked.servers.values()} - {""}
    words = f"{name} {variable.name}".upper()
    speaks = [kind for kind in there if any(kinds.WORDS[kind].search(word) for word in words.split())]
    return speaks[0] if len(speaks) == 1 else ""


def _resolved(
    looked: Looked, service: str, place: str, piece: str, taken: Mapping[str, Variable], known: Mapping[str, str]
) -> str:
    """A piece of a text; of a variable that is no credential, its value where it can be shown."""
    if (variable := taken.get(piece)) is None:
        return piece
    value = variable.value
    read = variable.name in known
    if value is not None and not (read and (value in looked.values or not kinds.harmless(variable.name, value))):
        return value.replace("$", "$$")
    why = "has no value here" if value is None else "has one in a file of variables, which was not copied"
    looked.say(service, f"needs ${variable.name} in {place}, which {why}: write it for {FILL_IN}{_hint(variable.name)}")
    return FILL_IN


def _hint(variable: str) -> str:
    if not kinds.ADDRESS.search(variable.upper()):
        return ""
    return (
        ", or, if it has a password, make a file of it (`files` in the catalogue) and name that in x-coffre.environment"
    )


def settled(looked: Looked, found: Found, service: str, value: Any, place: str) -> Any:
    """A part of a service other than its environment, with its variables resolved."""
    if isinstance(value, Mapping):
        return {
            key: settled(looked, found, service, each, f"{place}.{key}" if place else str(key))
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [settled(looked, found, service, each, place) for each in value]
    if not isinstance(value, str):
        return value

    def one(variable: Variable) -> str:
        if not kinds.credential(variable.name) and variable.name not in looked.labels:
            return _resolved(looked, service, place, "v", {"v": variable}, found.variables)
        looked.say(
            service,
            f"has the credential ${variable.name} in {place}, where everybody can read it: let it read a file of "
            f"{SECRETS} instead, and write what stands for {FILL_IN}",
        )
        return FILL_IN

    return replaced(kinds.URL.sub(_without_password, value), found.variables, one)


def _without_password(match: re.Match[str]) -> str:
    return match[0] if "$" in match["password"] else match[0].replace(f":{match['password']}@", f":{FILL_IN}@")
