"""What a run shows beside Ansible's own output, from what the callback is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible import context
from ansible.executor.stats import AggregateStats
from ansible.plugins.callback.default import CallbackModule as Default

from ansible_collections.coffre.stack.plugins.callback.terminal import (
    LINES,
    QUIET_SECONDS,
    CallbackModule,
    Waiting,
    ending,
    sentence,
    signs,
    some,
    successful,
)

ROOT = Path(__file__).parents[3]


def leaving(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the tasks of plays or blocks leave for the end of their run."""
    found = [entry["ansible.builtin.set_stats"] for entry in entries if "ansible.builtin.set_stats" in entry]
    inside = [entry.get(part, []) for entry in entries for part in ("tasks", "block", "always")]
    return found + [each for tasks in inside for each in leaving(tasks)]


def test_every_playbook_leaves_lines_for_its_end() -> None:
    for path in (*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")):
        left = leaving(yaml.safe_load(path.read_text()))
        # The role that rotates has it.
        assert left or path.parent.name == "tasks" or path.stem == "rotate", path
        for each in left:
            assert each["per_host"] is True and set(each["data"]) <= {"told", "next"}
            for lines in each["data"].values():
                assert isinstance(lines, str) or all(isinstance(line, str) for line in lines), path


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
        ({"msg": "It failed.", "rc": 2, "stderr": "a\nworse\n\n", "stdout": "b"}, "Build: It failed: worse"),
        ({"msg": "It failed.", "rc": 2, "stderr": "", "stdout": "b"}, "Build: It failed: b"),
        ({"msg": "It failed.", "rc": 2}, "Build: It failed"),
        ({"msg": "One or more items failed", "results": [{"msg": "fine"}, {"msg": "bad", "failed": True}]}, "bad"),
        ({}, "it failed"),
    ],
)
def test_the_sentence_of_a_failure(result: dict[str, Any], said: str) -> None:
    assert sentence(result, "Build") == said


def test_the_end_says_each_thing_once_and_at_most_six() -> None:
    assert ending({"a": ["healthy", "next"]}) == ["healthy", "next"]
    assert ending({"a": ["rolled app", "next"], "b": ["nothing", "next"]}) == ["a: rolled app", "next", "b: nothing"]
    many = {f"h{number}": [f"line {number}"] for number in range(20)}
    told = ending(many)
    assert len(told) == LINES == 6
    assert told[-1] == "and 15 more, which stand above."


def test_a_run_that_went_well_ends_with_what_is_next() -> None:
    left = {"a": {"told": ["healthy"], "next": ["Next: doctor"]}, "b": {"told": ["healthy"], "next": ["Next: doctor"]}}
    assert successful(left, True) == ["healthy", "Next: doctor"]
    assert successful({}, False) == ["Nothing was changed."]
    many = {f"h{number}": {"told": [f"line {number}"], "next": ["Next: doctor"]} for number in range(20)}
    told = successful(many, False)
    assert (len(told), told[0], told[-1]) == (LINES, "Nothing was changed.", "Next: doctor")


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> CallbackModule:
    """The callback, which shows nothing but what it adds."""
    for name in ("v2_runner_on_start", "v2_runner_on_ok", "v2_runner_on_failed", "v2_playbook_on_stats"):
        monkeypatch.setattr(Default, name, lambda *_: None)
    monkeypatch.setattr(Default, "_print_task_banner", lambda self, task: self._display.display(f"TASK {task._uuid}"))
    monkeypatch.setattr(context, "CLIARGS", {"check": False})
    return CallbackModule()


def result(host: str, task: Any, **told: Any) -> Any:
    return SimpleNamespace(host=SimpleNamespace(name=host), task=task, task_name=task.get_name(), result=told)


def task(name: str, when: list[str] | None = None, rescue: list[str] | None = None) -> Any:
    parent, told = SimpleNamespace(rescue=rescue or []), {"_uuid": name, "when": when or [], "loop": None}
    return SimpleNamespace(get_name=lambda: name, action="command", _parent=parent, **told)


def ended(callback: CallbackModule, **figures: dict[str, Any]) -> None:
    stats = AggregateStats()
    vars(stats).update(figures)
    callback.v2_playbook_on_stats(stats)


def test_a_task_is_named_when_it_begins_unless_it_may_be_skipped(
    callback: CallbackModule, capsys: pytest.CaptureFixture[str]
) -> None:
    host: Any = SimpleNamespace(name="a")
    callback.v2_runner_on_start(host, task("builds"))
    callback.v2_runner_on_start(host, task("perhaps", when=["changed"]))
    assert capsys.readouterr().out == "TASK builds\n"
    assert [each.name for each in callback._waiting.values()] == ["builds", "perhaps"]
    callback.v2_runner_on_ok(result("a", task("builds")))
    callback.v2_runner_on_failed(result("a", task("perhaps")))
    assert not callback._waiting


def test_a_failed_run_ends_with_its_sentences(callback: CallbackModule, capsys: pytest.CaptureFixture[str]) -> None:
    callback.v2_runner_on_failed(result("a", task("ignored"), msg="never mind"), True)
    callback.v2_runner_on_failed(result("a", task("start", rescue=["say"]), msg="no engine", rc=1))
    callback.v2_runner_on_failed(result("a", task("say", rescue=["say"]), msg="Docker does not start on a."))
    callback.v2_runner_on_failed(result("b", task("mended", rescue=["mend"]), msg="mended"))
    ended(callback, failures={"a": 1}, custom={"b": {"told": ["fine"]}}, changed={"b": 1})
    assert capsys.readouterr().out == "Docker does not start on a.\n"


def test_a_run_that_went_well_ends_with_what_its_plays_left(
    callback: CallbackModule, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(callback, custom={"a": {"told": ["fine"], "next": ["Next: doctor"]}}, changed={"a": 1})
    assert capsys.readouterr().out == "fine\nNext: doctor\n"
