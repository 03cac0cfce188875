"""A stack as a picture: its services as boxes with the secrets that they consume, and a line from each secret to the
service that verifies it. Hand-made SVG: positions are computed here, in the units of its view box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..catalogue import HOST, Catalogue, Secret

WIDTH = 440
LINE = 22  # the height of a secret's line
HEAD = 34  # the height of a box's title
GAP = 16  # between boxes
LANE = 14  # between the lines that lead to verifiers
LETTER = 7.2  # the width of a letter, at most
MOST = 6  # secrets of one kind that have a line each in a box
AUTOMATION = "automation"


@dataclass(frozen=True)
class Line:
    """A secret in a box, or several; `lane` is where a line leads to its verifier, None where nobody else checks it."""

    y: int
    text: str
    full: str
    lane: float | None


@dataclass(frozen=True)
class Box:
    name: str
    title: str
    y: int
    height: int
    lines: tuple[Line, ...]
    note: str
    problem: str


@dataclass(frozen=True)
class Lane:
    """The upright line of one verifier, and where it enters its box."""

    x: float
    top: int
    bottom: int
    arrow: int


@dataclass(frozen=True)
class Picture:
    height: int
    left: int
    boxes: tuple[Box, ...] = ()
    lanes: tuple[Lane, ...] = ()
    told: tuple[str, ...] = field(default=())
    width: int = WIDTH


def picture(catalogue: Catalogue, problems: Mapping[str, str]) -> Picture:
    """The services from the last to the first that comes up, so that lines lead down. `problems` are grades."""
    verifiers = [name for name in reversed(catalogue.file.services) if catalogue.verified_by(name)]
    lanes = {name: 10 + LANE * number for number, name in enumerate(verifiers)}
    left = 14 + LANE * len(lanes)
    boxes, y = [], 1
    for name in _services(catalogue):
        box = _box(catalogue, name, y, lanes, left, problems.get(name, ""))
        boxes.append(box)
        y += box.height + GAP
    found = tuple(_lane(name, x, boxes) for name, x in lanes.items())
    return Picture(max(y - GAP + 1, 1), left, tuple(boxes), found, _told(catalogue))


def _services(catalogue: Catalogue) -> list[str]:
    return ([HOST] if catalogue.consumed(HOST) else []) + list(reversed(catalogue.file.services))


def _box(catalogue: Catalogue, name: str, y: int, lanes: Mapping[str, float], left: int, problem: str) -> Box:
    checked = len(catalogue.verified_by(name))
    lines = _lines(catalogue, name, y + HEAD, lanes, left)
    title = AUTOMATION if name == HOST else name
    note = f"verifies {checked}" if checked else "" if lines else "no secret"
    return Box(name, title, y, HEAD + LINE * len(lines) + (6 if lines else 0), tuple(lines), note, problem)


def _lines(catalogue: Catalogue, name: str, y: int, lanes: Mapping[str, float], left: int) -> list[Line]:
    groups: dict[str, list[Secret]] = {each: [] for each in [*lanes, ""]}
    for secret in map(catalogue.secrets.__getitem__, catalogue.consumed(name)):
        groups[secret.verifier if secret.verifier in lanes else ""].append(secret)
    found: list[Line] = []
    for verifier, secrets in groups.items():
        shown = secrets if len(secrets) <= MOST + 1 else secrets[:MOST]
        texts = [each.name for each in shown]
        if rest := [each.name for each in secrets[len(shown) :]]:
            texts.append(f"and {len(rest)} more")
        for text in texts:
            found.append(Line(y + LINE * len(found) + 12, shortened(text, left), text, lanes.get(verifier)))
    return found


def shortened(text: str, left: int) -> str:
    """A text that fits into a box; what is too long loses its middle."""
    most = int((WIDTH - left - 28) / LETTER)
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[: most - 1 - half]}…{text[-half:]}"


def _lane(name: str, x: float, boxes: list[Box]) -> Lane:
    arrow = next(box.y + HEAD // 2 for box in boxes if box.name == name)
    ends = [line.y for box in boxes for line in box.lines if line.lane == x] + [arrow]
    return Lane(x, min(ends), max(ends), arrow)


def _told(catalogue: Catalogue) -> tuple[str, ...]:
    """The same in words."""
    told = []
    for name in _services(catalogue):
        title = AUTOMATION if name == HOST else name
        consumed = catalogue.consumed(name)
        verified = [each.name for each in catalogue.verified_by(name)]
        parts = [f"consumes {_listed(consumed)}"] if consumed else []
        parts += [f"verifies {_listed(verified)}"] if verified else []
        told.append(f"{title} {' and '.join(parts) or 'has no secret'}.")
    return tuple(told)


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 2 * MOST else f"{len(names)} secrets"
