"""Rotations as they are made of the records of their acts."""

from __future__ import annotations

from typing import Any

from ansible_collections.coffre.stack.plugins.module_utils.audit import history

SINCE = "2026-01-01T00:00:00Z"


def record(run: str, time: str, outcome: str, act: str = "none", about: str = "key", operator: str = "kim") -> Any:
    act_of = {"event": "rotation", "run": run, "operator": operator, "time": f"2026-05-01T{time}.000+00:00"}
    return act_of | {"secret": about, "old": "1", "new": "2" if act != "none" else "", "act": act, "outcome": outcome}


def test_a_rotation_from_its_opening_to_its_end() -> None:
    (found,) = history.rotations(
        [
            record("r1", "08:00:00", "opened"),
            record("r1", "08:00:00", "opened", about="other"),
            record("r1", "08:00:09", "done", "made"),
            record("r1", "08:00:30", "rotated", "refused"),
        ],
        SINCE,
    )
    assert (found.run, found.outcome, found.operators, found.failed) == ("r1", "rotated", ("kim",), ())
    assert (found.began[11:19], found.ended[11:19]) == ("08:00:00", "08:00:30")
    assert found.secrets == {"key": ("1", "2"), "other": ("1", "")}


def test_one_that_failed_and_was_taken_over() -> None:
    (found,) = history.rotations(
        [
            record("r1", "08:00:00", "opened"),
            record("r1", "08:00:09", "failed", "proved"),
            record("r1", "08:00:10", "failed", "proved"),
            record("r1", "09:00:00", "taken over", "proved", operator="lee"),
            record("r1", "09:00:01", "turned back", "proved", operator="lee"),
            record("r1", "09:01:00", "undone", "refused", operator="lee"),
        ],
        SINCE,
    )
    assert (found.outcome, found.operators, found.failed) == ("undone", ("kim", "lee"), ("key: proved",))


def test_one_that_is_open_and_one_that_is_too_old() -> None:
    records = [
        record("r1", "08:00:00", "opened"),
        record("r2", "09:00:00", "opened"),
        record("r1", "08:01:00", "undone"),
    ]
    assert [(each.run, each.outcome) for each in history.rotations(records, SINCE)] == [
        ("r1", "undone"),
        ("r2", "open"),
    ]
    assert [each.run for each in history.rotations(records, "2026-05-01T08:30:00Z")] == ["r2"]
    assert history.rotations(records, "2026-06-01T00:00:00Z") == []
