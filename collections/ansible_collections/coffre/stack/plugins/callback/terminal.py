"""What a run shows: Ansible's own output, a sign of life at least every ten seconds, and what matters in the end."""

from __future__ import annotations

DOCUMENTATION = """
name: terminal
type: stdout
short_description: Ansible's own output, which also shows that a long task lives, and ends with what matters
version_added: 0.1.0
description:
  - Shows the name of a task when it begins, also where skipped hosts are not shown, unless it may be skipped.
  - Names a task, and the hosts that it waits for, every ten seconds.
  - Ends, after the recap, with the lines that the play left under C(told) by M(ansible.builtin.set_stats), or, if it
    failed, with the sentences of what failed.
extends_documentation_fragment: [default_callback, result_format_callback]
requirements: [set as stdout_callback in ansible.cfg]
author: [Coffre]
"""

import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.inventory.host import Host
from ansible.playbook.task import Task
from ansible.plugins.callback import default

QUIET_SECONDS = 9.0  # looked at each second, a line comes at least every ten
LINES = 6  # the most that the end of a run says
# These show their own steps.
SPEAKING = frozenset({"coffre.stack.rotation", "coffre.stack.stack_rollout"})


@dataclass
class Waiting:
    """A task that runs on a host: its name, since when, and when it was last heard of, in seconds of one clock."""

    name: str
    began: float
    heard: float


def signs(waiting: Mapping[tuple[str, str], Waiting], many: bool, now: float) -> list[str]:
    """A line for each task that nothing was heard of for QUIET_SECONDS; these count as heard of now.

    `waiting` is by host and task; `many`: whether the run has several hosts, which are then named.
    """
    quiet: dict[str, list[str]] = {}
    for (host, task), each in waiting.items():
        if now - each.heard >= QUIET_SECONDS:
            each.heard = now
            quiet.setdefault(task, []).append(host)
    told = []
    for task, hosts in quiet.items():
        first = waiting[hosts[0], task]
        told.append(f"  {f'[{some(hosts)}] ' if many else ''}{first.name} ({now - first.began:.0f} s)")
    return told


def some(hosts: Sequence[str], most: int = 3) -> str:
    """Hosts by name, or a few of them and how many more."""
    more = f" and {len(hosts) - most + 1} more" if len(hosts) > most else ""
    return ", ".join(hosts[: most - 1] if more else hosts) + more


def sentence(result: Mapping[str, Any], task: str) -> str:
    """What a failed task's result says: of a command, also which task it was and the last that it printed."""
    failed = next((each for each in result.get("results", []) if each.get("failed")), result)
    said = " ".join(str(failed.get("msg", "it failed")).split())
    if "rc" not in failed:
        return said
    printed = str(failed.get("stderr") or failed.get("stdout") or "").splitlines()
    last = next((line.strip() for line in reversed(printed) if line.strip()), "")
    return f"{task}: {said.rstrip('.')}" + (f": {last}" if last else "")


def ending(lines: Mapping[str, Iterable[str]], most: int = LINES) -> list[str]:
    """The lines of all hosts, each once; what several hosts say otherwise has their names before it."""
    by_line: dict[str, list[str]] = {}
    for host, each in lines.items():
        for line in each:
            by_line.setdefault(line, []).append(host)
    told = [line if len(hosts) == len(lines) else f"{some(hosts)}: {line}" for line, hosts in by_line.items()]
    return told if len(told) <= most else [*told[: most - 1], f"and {len(told) - most + 1} more, which stand above."]


def successful(left: Mapping[str, Mapping[str, list[str]]], changed: bool) -> list[str]:
    """The end of a run that went well, from what its plays left by host: what they `told`, then what is `next`."""
    first = [] if changed else ["Nothing was changed."]
    last = list(dict.fromkeys(line for each in left.values() for line in each.get("next", [])))
    told = ending({host: each.get("told", []) for host, each in left.items()}, LINES - len(first + last))
    return [*first, *told, *last]


Default: Any = default.CallbackModule  # which has no types


class CallbackModule(Default):  # type: ignore[misc]
    """Adds to the default output; a thread of it looks each second which tasks are quiet."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "coffre.stack.terminal"

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[tuple[str, str], Waiting] = {}
        self._hosts: set[str] = set()
        self._failed: dict[str, list[str]] = {}
        self._lock = threading.RLock()
        self._ended = threading.Event()
        # In a pipe, such as a CI's log, lines would come by the eight kilobytes.
        with suppress(AttributeError):
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def v2_playbook_on_start(self, playbook: Any) -> None:
        super().v2_playbook_on_start(playbook)
        threading.Thread(target=self._watch, daemon=True).start()

    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        super().v2_runner_on_start(host, task)
        with self._lock:
            self._hosts.add(host.name)
            if not task.when and not task.loop and self._last_task_banner != task._uuid:
                self._print_task_banner(task)
            if task.action not in SPEAKING:
                now = time.monotonic()
                self._waiting[host.name, task._uuid] = Waiting(
                    self._last_task_name or task.get_name().strip(), now, now
                )

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._done(result)
        super().v2_runner_on_ok(result)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        self._done(result)
        super().v2_runner_on_skipped(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._done(result)
        if not ignore_errors:
            self._remember(result)
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        self._done(result)
        self._remember(result)
        super().v2_runner_on_unreachable(result)

    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        self._heard(result)
        super().v2_runner_item_on_ok(result)

    def v2_runner_retry(self, result: CallbackTaskResult) -> None:
        """Says nothing, for a task that waits by trying again has not failed; -v shows it."""
        if self._display.verbosity:
            super().v2_runner_retry(result)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        self._ended.set()
        super().v2_playbook_on_stats(stats)
        failed = {host: said for host, said in self._failed.items() if stats.failures.get(host) or stats.dark.get(host)}
        if failed:
            width = self._display.columns if sys.stdout.isatty() else 0
            for line in ending(failed):
                told = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) if width else line
                self._display.display(told, color=C.COLOR_ERROR)  # type: ignore[attr-defined]
            return
        for line in successful(stats.custom, not context.CLIARGS["check"] and any(stats.changed.values())):
            self._display.display(line)

    def _done(self, result: CallbackTaskResult) -> None:
        with self._lock:
            self._waiting.pop((result.host.name, result.task._uuid), None)

    def _heard(self, result: CallbackTaskResult) -> None:
        with self._lock:
            if each := self._waiting.get((result.host.name, result.task._uuid)):
                each.heard = time.monotonic()

    def _remember(self, result: CallbackTaskResult) -> None:
        """Keep why a host failed. Where a block is rescued, what its rescue says in the end stands for it."""
        said = self._failed.setdefault(result.host.name, [])
        if getattr(result.task._parent, "rescue", None):
            said.clear()
        said.append(sentence(result.result, self._last_task_name or result.task_name))

    def _watch(self) -> None:
        while not self._ended.wait(1):
            with self._lock:
                for line in signs(self._waiting, len(self._hosts) > 1, time.monotonic()):
                    self._display.display(line)
