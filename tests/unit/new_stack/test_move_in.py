"""Present values are laid into a directory of root's, by reference, and what still holds them is named."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.sources.move_in import Moved, move_in

CANARY = "canary-0123456789"
RANDOM = {"type": "random", "bytes": 32}
Move = Callable[..., Moved]


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """The folder of a stack that runs."""
    folder = tmp_path / "stack"
    folder.mkdir()
    (folder / "compose.yaml").write_text("services: {}\n")
    (folder / ".env").write_text(f"DB_PASSWORD='{CANARY}'\nPIN=1234 # short\nPORT=12345\n")
    (folder / "tls.key").write_text(f"{CANARY}-file\n")
    (folder / "notes.txt").write_text("nothing, 1234 times")
    return folder


@pytest.fixture
def move(stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Moves in with what Compose says of the variables of `web`; the status is that of docker."""

    def moves(environment: dict[str, Any], origins: dict[str, Any], *entries: dict[str, Any], **more: Any) -> Moved:
        said = json.dumps({"services": {"web": {"environment": environment}, "none": {"environment": None}}})
        (tmp_path / "said").write_text(said)
        docker = tmp_path / "bin/docker"
        docker.parent.mkdir(exist_ok=True)
        status = more.get("status", 0)
        docker.write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/said\ncat {tmp_path}/said >&2\nexit {status}\n'
        )
        docker.chmod(0o755)
        monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
        listed = list(entries) or [{"name": name} for name in origins]
        return move_in(stack / "compose.yaml", origins, listed, tmp_path / "taken", more.get("check", False))

    return moves


def variable(name: str, **more: str) -> dict[str, str]:
    return {"service": "web", "variable": name, **more}


@pytest.mark.parametrize(
    ("said", "origin", "value"),
    [
        (CANARY, variable("A"), CANARY),
        ("a$$b", variable("A"), "a$b"),
        (f"postgresql://me:{CANARY}@db/x", variable("A", part="password"), CANARY),
        ("redis://:p%40ss@cache/0", variable("A", part="password"), "p@ss"),
    ],
)
def test_a_variable_as_it_runs_today(move: Move, tmp_path: Path, said: str, origin: dict[str, str], value: str) -> None:
    assert move({"A": said}, {"one": origin}).taken == ["one"]
    assert (tmp_path / "taken/one").read_text() == value
    assert (tmp_path / "asked").read_text().split()[:2] == ["compose", "--file"]


def test_a_file_is_taken_byte_for_byte_and_what_is_missing_is_made(move: Move, stack: Path, tmp_path: Path) -> None:
    origin = {"file": str(stack / "tls.key")}
    moved = move({}, {"tls-key": origin}, {"name": "tls-key"}, {"name": "audit", "generate": RANDOM})
    assert (moved.taken, moved.made) == (["tls-key"], ["audit"])
    assert (tmp_path / "taken/tls-key").read_text() == f"{CANARY}-file\n"
    assert len((tmp_path / "taken/audit").read_bytes()) >= 32
    assert stat.S_IMODE((tmp_path / "taken").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "taken").iterdir()} == {0o400}


def test_it_names_the_files_that_still_hold_them(move: Move, stack: Path) -> None:
    origins = {"db": variable("A"), "pin": variable("B"), "tls": {"file": str(stack / "tls.key")}}
    moved = move({"A": CANARY, "B": "1234"}, origins)
    assert moved.holders == {str(stack / ".env"): ["db", "pin"], str(stack / "tls.key"): ["db", "tls"]}
    assert CANARY not in repr(moved)


def test_check_mode_writes_nothing(move: Move, tmp_path: Path) -> None:
    assert move({"A": CANARY}, {"one": variable("A")}, check=True).taken == ["one"]
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize(
    ("environment", "origins", "entries", "sentence"),
    [
        ({}, {"one": variable("A")}, [], "one should be in A of the service web, which has no value"),
        ({"A": CANARY}, {"one": variable("A", part="password")}, [], "one should be the password in A"),
        ({}, {"one": {"file": "/nowhere"}}, [], "one should be in /nowhere, which is no regular file"),
        ({}, {}, [{"name": "tls"}], "tls is in no place that stack_move_in names, and cannot be made"),
        ({"A": CANARY}, {"one": variable("A")}, [{"name": "other", "generate": RANDOM}], "one is no secret of"),
        ({"A": CANARY}, {"one": {"service": "gone", "variable": "A"}}, [], "A of the service gone, which has no value"),
    ],
)
def test_what_is_refused_changes_nothing_and_shows_nothing(
    move: Move, tmp_path: Path, environment: dict[str, Any], origins: dict[str, Any], entries: list[Any], sentence: str
) -> None:
    with pytest.raises(SourceError, match="nothing was changed") as refused:
        move(environment, origins, *entries)
    assert sentence in str(refused.value) and CANARY not in str(refused.value)
    assert not (tmp_path / "taken").exists()


def test_a_file_that_compose_refuses_is_not_quoted(move: Move) -> None:
    with pytest.raises(SourceError, match="config --quiet") as refused:
        move({"A": CANARY}, {"one": variable("A")}, status=1)
    assert CANARY not in str(refused.value)


def test_a_directory_that_is_there_stays_as_it_is(move: Move, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/one").write_text("before")
    with pytest.raises(SourceError, match="is there, and nothing was changed"):
        move({"A": CANARY}, {"one": variable("A")})
    assert (tmp_path / "taken/one").read_text() == "before"
