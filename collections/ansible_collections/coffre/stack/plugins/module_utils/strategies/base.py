"""What a strategy declares of itself, and how the values of its settings are checked. Imports no library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..catalogue import reachable as reachable
from ..compose_file import NAME

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Agreement:
    """What `agree` repaired, or would repair, in words of the strategy; and what somebody may have wanted otherwise."""

    repaired: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Declaration:
    """What the catalogue may say of a secret of a strategy.

    `host` is whether automation itself needs the value, `first` whether other secrets of the same verifier are set
    right with it, `makes` whether the verifier makes the new value itself, `by_hand` whether `deployed` may tell what
    only a person can mend. `problems` has a clause for each value of a setting that makes no sense, given where the
    settings stand; which settings are missing or unknown is not its business.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    host: bool = False
    first: bool = False
    makes: bool = False
    by_hand: bool = False
    problems: Callable[[str, Settings], list[str]] = field(default=lambda _where, _settings: [])


def number(where: str, settings: Settings, name: str, low: int, high: int) -> list[str]:
    """A setting that is no whole number from `low` to `high`."""
    value = settings.get(name, low)
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [f"{where}.{name} must be a whole number from {low} to {high}"]


def port(where: str, settings: Settings) -> list[str]:
    return number(where, settings, "port", 1, 65535)


def choice(where: str, settings: Settings, name: str, choices: tuple[object, ...]) -> list[str]:
    """A setting that is none of the choices, of which the first one is its default."""
    value = settings.get(name, choices[0])
    if any(value is each or (value == each and type(value) is type(each)) for each in choices):
        return []
    return [f"{where}.{name} is {value!r}: use one of {', '.join(map(str, choices))}"]


def text(where: str, settings: Settings, *names: str) -> list[str]:
    """Those of these settings that are there and no text, or an empty one."""
    wrong = [name for name in names if name in settings and not (isinstance(settings[name], str) and settings[name])]
    return [f"{where}.{name} must be a text" for name in wrong]


def service(where: str, settings: Settings) -> list[str]:
    """A verifier that is no name of a service. Whether the stack has it is for whoever knows the services."""
    value = settings.get("service", "x")
    if isinstance(value, str) and NAME.fullmatch(value):
        return []
    return [f"{where}.service must name the service that checks the value"]


def words(where: str, settings: Settings, name: str, what: str, fits: Callable[[str], object] = bool) -> list[str]:
    """A setting that is there and no list of texts that fit."""
    if name not in settings:
        return []
    value = settings[name]
    if not isinstance(value, list) or not value:
        return [f"{where}.{name} must be a list of {what}"]
    return [
        f"{where}.{name} has an ill-formed entry {each!r}"
        for each in value
        if not isinstance(each, str) or not fits(each)
    ]
