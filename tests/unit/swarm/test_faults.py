"""What the fault table of a swarm calls amiss in a stack's state."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.swarm import stored

BEFORE = {"one": {"version": "a", "ring": []}}
BUNDLE: dict[str, Any] = {"current": "x", "next": None, "bundles": {"x": {}}}


def word(outcome: str) -> dict[str, dict[str, str]]:
    """The end of a trail that takes `one` from a to b."""
    return {"one": {"outcome": outcome, "old": "a", "new": "b"}}


@pytest.mark.parametrize(
    ("version", "last", "amiss"),
    [
        ("a", {}, ""),
        ("a", word("undone"), ""),
        ("b", word("rotated"), ""),
        ("b", {}, "one is undone, and has the version b"),
        ("b", word("undone"), "one is undone, and has the version b"),
        ("a", word("rotated"), "one is rotated, and has the version a"),
        ("a", word("taken over"), "the trail leaves one taken over"),
    ],
)
def test_a_version_is_the_one_that_the_trail_ends_with(version: str, last: Any, amiss: str) -> None:
    state = {"run": None, "services": {"app": BUNDLE}, "secrets": {"one": BEFORE["one"] | {"version": version}}}
    assert list(stored(state, last, BEFORE)) == ([amiss] if amiss else [])


def test_an_undone_rotation_leaves_its_key_ring_as_it_was() -> None:
    state = {"run": None, "services": {}, "secrets": {"one": {"version": "a", "ring": ["b"]}}}
    assert list(stored(state, word("undone"), BEFORE)) == ["one is undone, and not as before"]


@pytest.mark.parametrize("more", [{"next": "y"}, {"bundles": {"x": {}, "y": {}}}])
def test_a_bundle_that_is_left_is_amiss(more: dict[str, Any]) -> None:
    found = list(stored({"run": None, "services": {"app": BUNDLE | more}, "secrets": {}}, {}, {}))
    assert len(found) == 1 and found[0].startswith("app has the bundles")


def test_an_open_run_is_amiss() -> None:
    run = {"id": "r", "secrets": {"one": {}}}
    assert list(stored({"run": run, "services": {}, "secrets": {}}, {}, {})) == ["the run r of one is open"]
