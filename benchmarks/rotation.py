#!/usr/bin/env python3
"""Times rotations on this machine under load, and counts what was lost; needs root, and deploys the demo if it must.

Four measurements: runs of `make quickstart` that change nothing; the secret of a Keycloak client by `make
rotate-secret`, some times under load; the app recreated in place by Compose, under the same load; and all secrets that
are due in one run, for which their ages in the state are set back. Other checkouts that are named, older ones, are
measured first, on the same stack, which each that comes after brings up to date.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.load import Load, Result

ROOT = Path(__file__).resolve().parents[1]
STACK, SECRET = "coffre-demo", "keycloak-service-client-secret"
LIB = Path("/var/lib/coffre") / STACK
STATE = LIB / "state.json"
URL, LEAST, LONGEST = "https://localhost:8443", 5000, 900.0
# Each client's wait between two requests: without it they take both cores, and the load is what is timed. With it they
# are about 140 requests a second, which take a third of two slow cores.
PAUSE = 0.05
AGE_DAYS, UNCHANGED_RUNS, CLIENT_RUNS = 400, 5, 3


@dataclass
class Timed:
    """A command's seconds, and within it what took how long: by task of Ansible, and by record in the state.

    `cpu` are the seconds of a processor that it took, without containers and engine: others at work change them less.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    tasks: list[tuple[str, float]] = field(default_factory=list)
    acts: list[tuple[str, float]] = field(default_factory=list)


def state() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STATE.read_bytes())
    return found


def act() -> str:
    """The act that each secret of the open rotation has begun last; "" without one."""
    run = state()["run"]
    return "" if run is None else ", ".join(sorted({each["step"] or "opened" for each in run["secrets"].values()}))


def spent() -> float:
    """The seconds of a processor that the commands of this benchmark took so far."""
    times = os.times()
    return times.children_user + times.children_system


def make(tree: Path, target: str, *arguments: str) -> Timed:
    """Run a make target of a checkout to its end and time what it does. Stops the benchmark where it fails."""
    began, before = time.monotonic(), spent()
    timed, lines = Timed(), []
    marks: list[tuple[str, float]] = [("make, Python and Ansible start", began)]
    done = threading.Event()

    def watch() -> None:
        last, since = "", began
        while not done.wait(0.02):
            if STATE.exists() and (now := act()) != last:
                moment = time.monotonic()
                if last:
                    timed.acts.append((last, moment - since))
                last, since = now, moment

    watcher = threading.Thread(target=watch)
    watcher.start()
    with subprocess.Popen(
        ["make", target, *arguments],
        cwd=tree,
        # With skipped tasks hidden Ansible names a task only once it has a result. Each checkout has roles of its own.
        env={**os.environ, "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true", "ANSIBLE_CONFIG": str(tree / "ansible.cfg")},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            if task := re.match(r"(?:TASK|PLAY|RUNNING HANDLER) \[?(.*?)\]? \*+$", line):
                marks.append((task[1], time.monotonic()))
    ended = time.monotonic()
    done.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"make {target} failed:\n{''.join(lines)[-5000:]}")
    timed.seconds, timed.cpu = ended - began, spent() - before
    moments = [moment for _, moment in marks[1:]] + [ended]
    timed.tasks = [(name, after - moment) for (name, moment), after in zip(marks, moments, strict=True)]
    return timed


@contextmanager
def load(least: int) -> Iterator[list[Result]]:
    """Clients that ask for readiness, hold a session and post meanwhile, and go on until so many requests were sent."""
    ca = LIB / "ca.crt"
    loads = [
        Load(f"{URL}/ready", ca, clients=3, seconds=LONGEST, pause=PAUSE),
        Load(f"{URL}/session", ca, clients=3, seconds=LONGEST, pause=PAUSE, session=True),
        Load(f"{URL}/session", ca, clients=2, seconds=LONGEST, pause=PAUSE, body=b'{"value": 1}'),
    ]
    results: list[Result] = []
    for each in loads:
        each.start()
    try:
        yield results
        until = time.monotonic() + LONGEST
        while sum(each.result.requests for each in loads) < least and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        results += [each.stop() for each in loads]


def recreate_in_place() -> None:
    """What a deploy without Coffre does: Compose ends the container and starts another."""
    file = str(LIB / "compose.yml")
    words = ["up", "--detach", "--no-deps", "--no-build", "--force-recreate", "--wait", "app"]
    subprocess.run(["docker", "compose", "--file", file, *words], check=True, capture_output=True)


def age() -> None:
    """Let every secret have been made long ago."""

    def earlier(text: str) -> str:
        return (datetime.fromisoformat(text) - timedelta(days=AGE_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")

    known = state()
    for secret in known["secrets"].values():
        secret["created"] = earlier(secret["created"])
    STATE.write_text(json.dumps(known))


def show(title: str, timed: Timed) -> None:
    print(f"\n{title}: {timed.seconds:.1f} s, {timed.cpu:.1f} s of a processor")
    for name, seconds in timed.tasks:
        print(f"  {seconds:>6.1f}  {name}")
    if timed.acts:
        print("  from record to record in the state:")
    for name, seconds in timed.acts:
        print(f"  {seconds:>6.1f}  {name}")


def middle(runs: Iterable[Timed]) -> Timed:
    """The middle one by its time."""
    found = sorted(runs, key=lambda each: each.seconds)
    return found[len(found) // 2]


def measure(tree: Path) -> None:
    make(tree, "quickstart")
    unchanged = middle(make(tree, "quickstart") for _ in range(UNCHANGED_RUNS))
    with load(LEAST) as results:
        client = middle(make(tree, "rotate-secret", f"SECRET={SECRET}") for _ in range(CLIENT_RUNS))
    requests, failed = (sum(getattr(each, name) for each in results) for name in ("requests", "failed"))
    with load(0) as in_place:
        recreate_in_place()
    before = {name: entry["version"] for name, entry in state()["secrets"].items()}
    age()
    due = make(tree, "rotate-secret")
    rotated = sum(entry["version"] != before[name] for name, entry in state()["secrets"].items())

    print(f"\n== {tree}")
    show(f"make quickstart that changes nothing, the middle one of {UNCHANGED_RUNS}", unchanged)
    show(f"{SECRET}, under load, the middle one of {CLIENT_RUNS}", client)
    show(f"all {rotated} secrets that are due", due)
    failures = dict(sum((each.failures for each in results), Counter[str]()))
    print(f"\nunder load: {', '.join(each.line() for each in results)} {failures or ''}")
    print(f"in place: {', '.join(each.line() for each in in_place)}")
    print(
        f"unchanged={unchanged.seconds:.1f} seconds={client.seconds:.1f} failed={failed} requests={requests} "
        f"failed_in_place={sum(each.failed for each in in_place)} "
        f"requests_in_place={sum(each.requests for each in in_place)} "
        f"all_due_seconds={due.seconds:.1f} all_due={rotated}"
    )


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("This benchmark deploys a stack on this machine and sets its state back: run it as root.")
    for tree in [*(Path(each).resolve() for each in sys.argv[1:]), ROOT]:
        measure(tree)


if __name__ == "__main__":
    main()
