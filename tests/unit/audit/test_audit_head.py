"""What a play keeps of an audit trail on the controller, seen with real plays."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import yaml

from ansible_collections.coffre.stack.plugins.module_utils.host import files

ROOT = Path(__file__).parents[3]
FIRST, SECOND = "7 0a1b 2026-01-31T12:00:00.000+00:00 r1", "9 2c3d 2026-02-01T12:00:00.000+00:00 r2"


def keep(folder: Path, path: Path, *heads: str, check: bool = False) -> tuple[dict[str, int], str]:
    """Keep these heads in one play, whose host does not exist: the counts of its recap, and all it printed."""
    tasks = [{"coffre.stack.audit_head": {"path": str(path), "head": head}} for head in heads]
    book = folder / "play.yml"
    book.write_text(yaml.safe_dump([{"hosts": "nowhere.invalid", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "nowhere.invalid,", book, *(["--check"] * check)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = " ".join(f"{done.stdout} {done.stderr}".split())
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", output.rpartition("RECAP")[2])}, output


def test_a_head_is_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "made/demo.heads"
    counts, output = keep(tmp_path, path, FIRST, check=True)
    assert (counts["changed"], path.parent.exists()) == (1, False), output
    counts, output = keep(tmp_path, path, FIRST, SECOND, FIRST, SECOND)
    assert (counts["ok"], counts["changed"], path.read_text()) == (4, 2, f"{FIRST}\n{SECOND}\n"), output
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_there_stays_whatever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "demo.heads"
    path.write_bytes(b"\xff" + FIRST.encode())
    path.chmod(0o644)
    counts, output = keep(tmp_path, path, SECOND)
    assert (counts["changed"], path.read_bytes()) == (1, b"\xff" + f"{FIRST}\n{SECOND}\n".encode()), output
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == [".lock", "demo.heads", "play.yml"]


def test_a_head_that_cannot_be_kept_is_told_in_a_sentence(tmp_path: Path) -> None:
    counts, output = keep(tmp_path, tmp_path, FIRST)
    assert counts["failed"] == 1
    assert f"could not be kept in {tmp_path} on the controller (it is no file); what the play did is not" in output
    counts, output = keep(tmp_path, tmp_path / "demo.heads", f"{FIRST}\n{SECOND}")
    assert (counts["failed"], "is not one line, so it was not kept" in output) == (1, True), output


PLAYS, HEADS = 4, 25


def _play(path: Path, play: int, begin: Barrier) -> None:
    for number in range(HEADS):
        begin.wait(60)
        assert files.add_line(path, f"{play} {number}".encode())


def test_plays_that_keep_heads_at_once_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "demo.heads"
    processes = multiprocessing.get_context("fork")
    begin = processes.Barrier(PLAYS)
    plays = [processes.Process(target=_play, args=(path, play, begin)) for play in range(PLAYS)]
    for play in plays:
        play.start()
    for play in plays:
        play.join(120)
    assert [play.exitcode for play in plays] == [0] * PLAYS
    assert sorted(path.read_text().splitlines()) == sorted(
        f"{play} {number}" for play in range(PLAYS) for number in range(HEADS)
    )


def test_a_play_that_holds_the_lock_is_not_waited_for_without_end(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with files.locked(lock, 0), pytest.raises(TimeoutError, match=r"held .*\.lock for 0 s"), files.locked(lock, 0):
        pass
