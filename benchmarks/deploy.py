#!/usr/bin/env python3
"""Times the demo on this machine: a cold quickstart, an unchanged run, and the adoption of a changed app bundle.

Cold means that the environment, the images, the builder's cache, the downloads and the stack are all gone; Docker
Engine stays if it is there, and the last line says so. It needs root, and refuses where a stack already is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.load import Load

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT, STACK = "demo", "coffre-demo"
RUN, LIB, CACHE = Path("/run/coffre"), Path("/var/lib/coffre"), Path("/var/cache/coffre")
CONTROLLER_CACHE = Path.home() / ".cache/coffre/images"
OUTSIDE = re.compile(r"^(?!lo|docker|br-|veth)")
CLIENTS, LOAD_SECONDS = 8, 120.0
# Each client's wait between two requests: without it they take both cores, and the load is what is timed.
PAUSE = 0.02


def received() -> int:
    """Bytes that this machine's outer interfaces received since boot."""
    total = 0
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, counters = line.strip().partition(":")
        if OUTSIDE.match(name):
            total += int(counters.split()[0])
    return total


def make(target: str, *arguments: str) -> tuple[float, str]:
    """Run a make target to its end: (seconds, what it printed). Stops the benchmark where it fails."""
    began = time.monotonic()
    done = subprocess.run(["make", target, *arguments], cwd=ROOT, text=True, capture_output=True, check=False)
    took = time.monotonic() - began
    if done.returncode:
        sys.exit(f"make {target} failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return took, done.stdout


def changed(output: str) -> int:
    return sum(map(int, re.findall(r"\bchanged=(\d+)", output)))


def empty_caches() -> None:
    """Remove what an earlier run kept: the environment, images, the builder's cache and downloads."""
    for path in (ROOT / ".venv", CACHE, CONTROLLER_CACHE):
        shutil.rmtree(path, ignore_errors=True)
    if shutil.which("dockerd"):
        images = subprocess.run(
            ["docker", "image", "ls", "--quiet", "coffre/*"], capture_output=True, text=True, check=False
        ).stdout.split()
        if images:
            subprocess.run(["docker", "image", "rm", "--force", *set(images)], capture_output=True, check=False)
        subprocess.run(["docker", "builder", "prune", "--all", "--force"], capture_output=True, check=False)


def app_state() -> dict[str, str | None]:
    """The app's `current` and `next` bundle, as the host's state has them."""
    entry = json.loads((LIB / STACK / "state.json").read_text())["services"]["app"]
    return {name: entry[name] for name in ("current", "next")}


def spoil_the_apps_bundle() -> None:
    """Lose a file of the app's bundle on tmpfs: the next run stages a new bundle from the sealed copy."""
    (RUN / STACK / "app" / str(app_state()["current"]) / "flask-secret-key").unlink()


def watch_adoption(seconds: list[float]) -> None:
    """Append the seconds from the moment state names a next bundle of the app to the moment it is adopted."""
    give_up = time.monotonic() + LOAD_SECONDS
    staged = 0.0
    while time.monotonic() < give_up:
        waiting = app_state()["next"] is not None
        if waiting and not staged:
            staged = time.monotonic()
        elif staged and not waiting:
            seconds.append(time.monotonic() - staged)
            return
        time.sleep(0.05)


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("This benchmark installs a stack on this machine: run it as root.")
    if (LIB / STACK).exists():
        sys.exit(
            f"The stack {STACK} is on this machine; nothing was changed: remove it and its data first with "
            f"make teardown ARGS='-e teardown_destroy={STACK}'."
        )
    engine = "present" if shutil.which("dockerd") else "installed"
    empty_caches()
    before = received()
    cold, _ = make("quickstart")
    downloaded = (received() - before) / 1e6

    unchanged, output = make("quickstart")
    unchanged_changes = changed(output)

    spoil_the_apps_bundle()
    url = "https://localhost:8443/ready"
    load = Load(
        url, ROOT / ".coffre" / ENVIRONMENT / "localhost.crt", clients=CLIENTS, seconds=LOAD_SECONDS, pause=PAUSE
    ).start()
    seconds: list[float] = []
    watcher = threading.Thread(target=watch_adoption, args=(seconds,))
    watcher.start()
    command, output = make("quickstart")
    result = load.stop()
    watcher.join()
    adopt = seconds[0] if seconds else float("nan")

    print(f"{'what':<44}{'seconds':>10}")
    print(f"{f'cold quickstart ({downloaded:.0f} MB received)':<44}{cold:>10.1f}")
    print(f"{f'unchanged run (changed={unchanged_changes})':<44}{unchanged:>10.1f}")
    print(f"{'app bundle replaced: staged to adopted':<44}{adopt:>10.1f}")
    print(f"{'app bundle replaced: the whole command':<44}{command:>10.1f}")
    print(
        f"cold={cold:.1f} downloaded_mb={downloaded:.0f} engine={engine} unchanged={unchanged:.1f} "
        f"changed={unchanged_changes} adopt={adopt:.1f} adopt_command={command:.1f} "
        f"requests={result.requests} failed={result.failed}"
    )


if __name__ == "__main__":
    main()
