"""Shows the steps of a module that takes long while it runs: what its `host/progress.py` writes down on the host.

Ansible hands on what a module says only when it has ended, so a second connection looks meanwhile.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action.normal import ActionModule as Normal
from ansible.utils.display import Display

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host.progress import LOOK
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths

LOOK_SECONDS = 2.0
QUIET_SECONDS = 9.0  # looked at each second, a line comes at least every ten


@dataclass
class Teller:
    """What is to be shown next: the steps that are new, or after QUIET_SECONDS that the last still goes on."""

    began: float
    step: str = "looks at what there is"
    shown: int = 0
    spoke: float = field(init=False)

    def __post_init__(self) -> None:
        self.spoke = self.began

    def lines(self, steps: Sequence[str], now: float) -> list[str]:
        """`steps`: all so far; `now` in seconds of the clock that `began` is of."""
        new = list(steps[self.shown :])
        if new:
            self.shown, self.step, self.began = len(steps), new[-1].removeprefix(LOOK), now
        if told := _worth(new):
            self.spoke = now
            return told
        if now - self.spoke >= QUIET_SECONDS:
            self.spoke = now
            return [f"{self.step} ({now - self.began:.0f} s)" if now - self.began >= 1 else self.step]
        return []

    def rest(self, steps: Sequence[str]) -> list[str]:
        """What is to be shown in the end."""
        return _worth(steps[self.shown :])


def _worth(steps: Sequence[str]) -> list[str]:
    return [each for each in steps if not each.startswith(LOOK)]


class ActionModule(Normal):
    """Runs the module as any other is run; the steps that nobody has read yet are taken from its result."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        known = task_vars or {}
        self._host = f"[{known['inventory_hostname']}] " if len(known.get("ansible_play_hosts_all", ())) > 1 else ""
        self._teller, self._ended, self._lock = Teller(time.monotonic()), threading.Event(), threading.Lock()
        # A look may take long, on a busy host say, and no sign of life waits for it.
        threads = [
            threading.Thread(target=self._watch, args=how, daemon=True)
            for how in ((LOOK_SECONDS, self._look), (1.0, list))
        ]
        for thread in threads:
            thread.start()
        try:
            result: dict[str, Any] = super().run(tmp, task_vars)  # type: ignore[no-untyped-call]
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()
        self._show(self._teller.rest(result.pop("progress", [])))
        return result

    def _watch(self, seconds: float, look: Callable[[], list[str]]) -> None:
        """Until the module has ended, show every so many seconds what there is to be shown."""
        while not self._ended.wait(seconds):
            steps = look()
            with self._lock:
                self._show(self._teller.lines(steps, time.monotonic()))

    def _look(self) -> list[str]:
        """All steps so far. A look that fails only sees nothing new."""
        with suppress(AnsibleError, CoffreError, KeyError):
            return self._steps()
        return []

    def _steps(self) -> list[str]:
        """All steps that it has written down so far. Raises AnsibleError, and what arguments that are none raise."""
        path, run = StackPaths(self._task.args["stack"]).progress, self._task.args["run"]
        told = self._beside()._low_level_execute_command(f"cat {shlex.quote(str(path))}")
        first, *steps = told["stdout_lines"] or [""]
        return steps if first == run else []

    def _beside(self) -> ActionModule:
        """This action over a connection of its own: what Ansible waits for as it becomes root is kept in there."""
        beside = copy(self)
        beside._connection = copy(self._connection)
        beside._connection.become = copy(self._connection.become)
        return beside

    def _show(self, lines: Sequence[str]) -> None:
        for line in lines:
            Display().display(f"  {self._host}{line}")
