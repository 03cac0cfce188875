"""Rotations as the trail tells of them: one of each, made of the records of its acts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

CLOSED = ("rotated", "undone")


@dataclass(frozen=True)
class Rotation:
    """One rotation on one host. `outcome` is rotated, undone, or open, and `ended` when its last act was recorded.

    `operators` are who ran the plays that did it: another one, after a take-over. `secrets` has by name the versions
    before and after, and `failed` the acts that did not work, as "SECRET: ACT". Times are ISO 8601, in UTC.
    """

    run: str
    operators: tuple[str, ...]
    began: str
    ended: str
    outcome: str
    secrets: Mapping[str, tuple[str, str]]
    failed: tuple[str, ...] = ()


def rotations(records: Iterable[Mapping[str, Any]], since: str) -> list[Rotation]:
    """The rotations whose last record is not from before a time, in the order of their first one."""
    by_run: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_run.setdefault(str(record["run"]), []).append(record)
    found = [_rotation(run, acts) for run, acts in by_run.items()]
    return [each for each in found if each.ended >= since]


def _rotation(run: str, acts: list[Mapping[str, Any]]) -> Rotation:
    closing = [str(each["outcome"]) for each in acts if each["outcome"] in CLOSED]
    failed = [f"{each['secret']}: {each['act']}" for each in acts if each["outcome"] == "failed"]
    return Rotation(
        run=run,
        operators=tuple(name for name, _ in groupby(str(each["operator"]) for each in acts)),
        began=str(acts[0]["time"]),
        ended=str(acts[-1]["time"]),
        outcome=closing[-1] if closing else "open",
        secrets={str(each["secret"]): (str(each["old"]), str(each["new"])) for each in acts},
        failed=tuple(dict.fromkeys(failed)),
    )
