"""The tests' watcher of a stack's state tells its records, and holds up at one whoever wrote it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WATCH = Path(__file__).parents[3] / "molecule" / "shared" / "watch.py"
ACTS = ("made", "taught", "proved")
# Writes a record per line of its input, as the core does.
WRITER = """
import fcntl, pathlib, sys
folder = pathlib.Path(sys.argv[1])
with (folder / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    for line in sys.stdin:
        (folder / ".state.json.new").write_text(line)
        (folder / ".state.json.new").rename(folder / "state.json")
        print(flush=True)
"""


def record(step: str) -> str:
    change: dict[str, Any] = {"old": {}, "new": {}, "step": step, "undo": ""}
    run = {"holder": "h", "direction": "forward", "exposed": [], "secrets": {"one": change}}
    return json.dumps({"run": run, "services": {}})


@pytest.mark.parametrize(("order", "status"), [("go", 0), ("kill", -signal.SIGKILL)])
def test_who_writes_a_record_is_held_up_there(tmp_path: Path, order: str, status: int) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "state.json").write_text(record(""))

    def started(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    # The watcher ends first, and lets go of whom it holds.
    with started("-c", WRITER, str(tmp_path)) as writer, started(str(WATCH), str(tmp_path), "taught") as watch:
        assert watch.stdin and watch.stdout and writer.stdin and writer.stdout

        def told() -> dict[str, Any]:
            assert watch.stdout
            found: dict[str, Any] = json.loads(watch.stdout.readline())
            return found

        assert told() == {"label": "watching"}
        for act in ACTS[:2]:
            writer.stdin.write(record(act) + "\n")
            writer.stdin.flush()
            assert told() == {"label": act, "held": act == "taught"}
        assert os.waitid(os.P_PID, writer.pid, os.WSTOPPED) is not None  # returns when it is
        watch.stdin.write(f"{order}\n")
        watch.stdin.close()
        writer.stdin.close()
        assert writer.wait(timeout=60) == status
