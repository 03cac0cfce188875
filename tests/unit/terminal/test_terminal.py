"""What a run shows beside Ansible's own output, from what the callback is told."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.callback.terminal import (
    LINES,
    QUIET_SECONDS,
    Waiting,
    ending,
    sentence,
    signs,
    some,
)


def test_a_quiet_task_gives_a_sign_of_life_at_least_every_ten_seconds() -> None:
    waiting = {("a", "t"): Waiting("Build", 0.0, 0.0)}
    seen = [second for second in range(61) if signs(waiting, False, float(second))]
    assert all(later - earlier <= 10 for earlier, later in zip([0, *seen], [*seen, 61], strict=True))
    assert signs({("a", "t"): Waiting("Build", 0.0, 0.0)}, False, 42.0) == ["  Build (42 s)"]


def test_hosts_are_told_apart_where_there_are_several() -> None:
    waiting = {(host, "t"): Waiting("Build", 0.0, heard) for host, heard in (("a", 0.0), ("b", 5.0), ("c", 0.0))}
    assert signs(waiting, True, QUIET_SECONDS) == ["  [a, c] Build (9 s)"]
    assert [some(list("abcd")[:number]) for number in (1, 3, 4)] == ["a", "a, b, c", "a, b and 2 more"]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"msg": "It cannot be.\nSo  there."}, "It cannot be. So there."),
        (
            {"msg": "non-zero return code", "rc": 2, "stderr": "a\nno such file\n\n"},
            "non-zero return code: no such file",
        ),
        ({"msg": "non-zero return code", "rc": 2, "stderr": "", "stdout": "bad"}, "non-zero return code: bad"),
        ({"msg": "One or more items failed", "results": [{"msg": "fine"}, {"msg": "bad", "failed": True}]}, "bad"),
        ({}, "it failed"),
    ],
)
def test_the_sentence_of_a_failure(result: dict[str, Any], said: str) -> None:
    assert sentence(result) == said


def test_the_end_says_each_thing_once_and_at_most_six() -> None:
    assert ending({"a": ["healthy", "next"]}) == ["healthy", "next"]
    assert ending({"a": ["rolled app", "next"], "b": ["nothing", "next"]}) == ["a: rolled app", "next", "b: nothing"]
    many = {f"h{number}": [f"line {number}"] for number in range(20)}
    told = ending(many)
    assert len(told) == LINES == 6
    assert told[-1] == "and 15 more, which stand above."
