"""Rotations on a test host: how the tests run them, hold them up, and judge what they leave."""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import testinfra
from machines import INVENTORY, MACHINE, ROOT, STACK, Play, core, described, on_machine, power_off, run_playbook

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Site:
    """A stack on a test host, with the inventory that deploys it and what the judge has to know of it."""

    stack: str
    inventory: Path
    url: str
    ca: str
    keyvault: dict[str, Any] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    # Arguments of every run, beside those of each.
    arguments: Sequence[str] = ()
    # The container that is the host which acts, the hosts of a run, and where `watch.py` finds the state.
    machine: str = MACHINE
    limit: str = "debian13"

    @property
    def watched(self) -> str:
        return f"/var/lib/coffre/{self.stack}"

    @cached_property
    def description(self) -> dict[str, Any]:
        """Its catalogue and its Compose file, as its runs take them."""
        return described(self.inventory, *self.arguments)

    def play(self, playbook: str, *arguments: str, timeout: int = 900) -> Play:
        """Run one of our playbooks on it, as an operator would."""
        words = ("--limit", self.limit, *self.arguments, *arguments)
        return run_playbook(*words, playbook=playbook, inventory=self.inventory, timeout=timeout)

    def rotate(self, *secrets: str, arguments: Sequence[str] = ()) -> Play:
        """Rotate secrets, or all that are due."""
        words = ("-e", f"secrets={','.join(secrets)}") if secrets else ()
        return self.play("rotate", *words, *arguments)

    def power_off(self) -> None:
        """Cut the power of the host that acts, and give it back."""
        power_off(testinfra.get_host(f"docker://{self.machine}"))

    def remember(self) -> None:
        """Keep the values that may come to be in force, on the host, for the judge to see them refused."""
        self._judge("remember")

    def forget(self) -> None:
        self._judge("forget")

    def judge(self) -> tuple[list[str], dict[str, Any]]:
        """What is amiss on the host, a sentence each, and what no rotation may change."""
        found = json.loads(self._judge("judge"))
        return found["problems"], found["facts"]

    def _judge(self, what: str) -> str:
        about = self.description | {name: getattr(self, name) for name in ("stack", "url", "ca", "keyvault")}
        told = {"PYTHONDONTWRITEBYTECODE": "1", **self.environment}
        command = f"{' '.join(f'{key}={shlex.quote(value)}' for key, value in told.items())} {core()}"
        script = (HERE / "judge.py").read_text()
        return on_machine(f"{command} - {what} {shlex.quote(json.dumps(about))}", script)


def demo(*arguments: str) -> Site:
    """The stack that all scenarios share, with arguments that every run has."""
    ca = f"/var/lib/coffre/{STACK}/ca.crt"
    return Site(STACK, INVENTORY, "https://localhost:8443", ca, arguments=arguments)


class Run:
    """A run of a playbook in a process group of its own, which can be killed as a whole."""

    def __init__(self, site: Site, playbook: str, *arguments: str) -> None:
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
        words = ["-i", str(site.inventory), f"playbooks/{playbook}.yml", "--limit", site.limit, *site.arguments]
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed at its end)
        self._process = subprocess.Popen(
            ["ansible-playbook", *words, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL the process group."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()

    def end(self, timeout: float = 900) -> Play:
        """Wait for its end."""
        status = self._process.wait(timeout)
        with self._output as file:
            file.seek(0)
            return Play(status, file.read())


class Watch:
    """What a run writes to the state, seen from outside; see watch.py. `labels` are the records so far."""

    def __init__(self, site: Site, label: str = "", occurrence: int = 1) -> None:
        script = (HERE / "watch.py").read_text()
        words = ["python3", "-c", script, site.watched, label, str(occurrence)]
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", site.machine, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.labels: list[str] = []
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._lines.get(timeout=60) == {"label": "watching"}

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def held(self, run: Run) -> bool:
        """Wait until the record comes at which the run is held up; False if the run ended before it came."""
        while not run.ended or not self._lines.empty():
            with suppress(queue.Empty):
                line = self._lines.get(timeout=0.2)
                self.labels.append(line["label"])
                if line["held"]:
                    return True
        return False

    def order(self, word: str) -> None:
        """`go`: let the module that is held up go on; `kill`: end it there."""
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def end(self) -> list[str]:
        """Stop watching; all records that were seen."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()
        while not self._lines.empty():
            self.labels.append(self._lines.get()["label"])
        return self.labels
