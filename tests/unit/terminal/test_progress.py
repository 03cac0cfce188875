"""The steps that a module tells while it works, and what is shown of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.action.progress import QUIET_SECONDS, Teller
from ansible_collections.coffre.stack.plugins.module_utils.host import progress


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    progress.end()


def test_steps_are_there_to_read_while_the_work_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "coffre-demo.progress"
    path.write_text("another run\nits step\n")
    progress.begin(path, "r1")
    assert path.read_text() == "another run\nits step\n"  # who has nothing to tell writes nothing
    progress.step("app: starts its container")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("r1\napp: starts its container\n", 0o600)
    progress.step("app: is ready")
    assert path.read_text().splitlines()[1:] == progress.end() == ["app: starts its container", "app: is ready"]
    assert not path.exists()


def test_a_place_that_cannot_be_written_hinders_nobody(tmp_path: Path) -> None:
    progress.begin(tmp_path / "none" / "coffre-demo.progress", "r1")
    progress.step("a")
    progress.step("b")
    assert progress.end() == ["a", "b"]


def test_nothing_is_kept_where_nobody_listens() -> None:
    progress.step("a")
    assert progress.end() == []


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "coffre-demo.progress", tmp_path / "other"
    other.write_text("mine")
    path.symlink_to(other)
    progress.begin(path, "r1")
    progress.step("a")
    assert (other.read_text(), path.read_text()) == ("mine", "r1\na\n")


def test_each_step_is_shown_once_and_the_last_again_while_it_goes_on() -> None:
    teller = Teller(100.0)
    assert teller.lines([], 100.0 + QUIET_SECONDS) == [f"looks at what there is ({QUIET_SECONDS:.0f} s)"]
    assert teller.lines(["a", "b"], 110.0) == ["a", "b"]
    assert teller.lines(["a", "b"], 110.0 + QUIET_SECONDS - 0.1) == []
    assert teller.lines(["a", "b"], 120.0) == ["b (10 s)"]
    assert teller.lines(["a", "b"], 121.0) == []
    assert teller.lines(["a", "b"], 130.0) == ["b (20 s)"]
    assert teller.lines(["a", "b", "c"], 131.0) == ["c"]
    assert teller.lines([], 132.0) == []  # one look that failed forgets nothing
    assert teller.lines(["a", "b", "c", "d"], 133.0) == ["d"]
