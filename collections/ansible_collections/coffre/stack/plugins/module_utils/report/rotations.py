"""The rotations of the last year on a line of time, one for all hosts on which it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..audit.history import Rotation
from .axis import Axis, clock, date, length, parsed
from .given import Host

YEAR = timedelta(days=366)
BIN = 2.6  # percent of the line that a mark takes where there is little room
PILED = 10  # marks above each other
OUTCOMES = ("open", "undone", "rotated")  # what a run is of which one host has the first


@dataclass(frozen=True)
class Told:
    """A rotation, and where its mark is: percent from the left, and how many are below it."""

    run: str
    stack: str
    hosts: tuple[str, ...]
    outcome: str
    began: str
    day: str
    operators: tuple[str, ...]
    length: str
    secrets: tuple[str, ...]
    failed: tuple[str, ...]
    at: float
    level: int


def told(hosts: Sequence[Host], shown: Axis) -> list[Told]:
    """All rotations, the latest first."""
    runs: dict[tuple[str, str], list[tuple[str, Rotation]]] = {}
    for host in hosts:
        for each in host.rotations:
            runs.setdefault((host.stack, each.run), []).append((host.name, each))
    piles: Counter[int] = Counter()
    found = []
    for (stack, run), parts in sorted(runs.items(), key=lambda each: min(one.began for _, one in each[1])):
        at = shown.at(parsed(min(one.began for _, one in parts)))
        found.append(_told(run, stack, parts, at, piles[int(at / BIN)]))
        piles[int(at / BIN)] += 1
    return found[::-1]


def _told(run: str, stack: str, parts: list[tuple[str, Rotation]], at: float, level: int) -> Told:
    outcome = min((one.outcome for _, one in parts), key=OUTCOMES.index)
    began = parsed(min(one.began for _, one in parts))
    took = (parsed(max(one.ended for _, one in parts)) - began).total_seconds()
    return Told(
        run=run,
        stack=stack,
        hosts=tuple(name for name, _ in parts),
        outcome=outcome,
        began=clock(began),
        day=date(began),
        operators=_distinct(name for _, one in parts for name in one.operators),
        length=length(took) if outcome != "open" else f"{length(took)} so far",
        secrets=_distinct(name for _, one in parts for name in one.secrets),
        failed=_distinct(act for _, one in parts for act in one.failed),
        at=at,
        level=min(level, PILED),
    )


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
