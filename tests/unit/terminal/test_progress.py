"""The steps that a module tells while it works, and what is shown of them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action.normal import ActionModule as Normal
from ansible.utils.display import Display

from ansible_collections.coffre.stack.plugins.action.progress import QUIET_SECONDS, ActionModule, Teller
from ansible_collections.coffre.stack.plugins.callback.terminal import SPEAKING
from ansible_collections.coffre.stack.plugins.module_utils.host import progress

PLUGINS = Path(progress.__file__).parents[2]


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    progress.end()


def test_steps_are_there_to_read_while_the_work_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "coffre-demo.progress"
    path.write_text("another run\nits step\n")
    progress.begin(path, "r1")
    assert path.read_text() == "r1\n"
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


def test_a_look_is_shown_only_if_it_takes_long() -> None:
    teller, looks = Teller(0.0), ["? app: sees that it runs", "? proxy: sees that it runs"]
    assert teller.lines(looks[:1], 1.0) == []
    assert teller.lines(looks, 2.0) == []
    assert teller.lines(looks, 12.0) == ["proxy: sees that it runs (10 s)"]
    assert teller.lines([*looks, "app: starts"], 13.0) == ["app: starts"]


def test_the_modules_that_tell_their_steps_are_those_whose_steps_are_shown() -> None:
    meta = yaml.safe_load((PLUGINS.parent / "meta/runtime.yml").read_text())["plugin_routing"]["modules"]
    telling = {path.stem for path in (PLUGINS / "modules").glob("*.py") if "progress.begin(" in path.read_text()}
    assert telling == {name for name, each in meta.items() if each["action_plugin"] == "coffre.stack.progress"}
    assert {f"coffre.stack.{name}" for name in telling} == SPEAKING


def test_steps_are_shown_while_the_module_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: queue.Queue[str] = queue.Queue()
    looks = iter([["r0", "of another run"], [], None, ["r1", "a"], ["r1", "a", "b"]])
    seen: list[str] = []

    def module(*_: Any) -> dict[str, Any]:
        seen.extend(shown.get(timeout=10) for _ in range(2))
        return {"changed": True, "progress": ["a", "b", "? c", "d"]}

    def connected(_: ActionModule, command: str) -> dict[str, Any]:
        assert command == "cat /run/coffre-demo.progress"
        if (lines := next(looks, [])) is None:
            raise AnsibleConnectionFailure("The second connection is cut.")
        return {"stdout_lines": lines}

    monkeypatch.setattr("ansible_collections.coffre.stack.plugins.action.progress.LOOK_SECONDS", 0.001)
    monkeypatch.setattr(Normal, "run", module)
    monkeypatch.setattr(ActionModule, "_low_level_execute_command", connected)
    monkeypatch.setattr(Display, "display", lambda _, line: shown.put(line))
    action: Any = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(args={"stack": "demo", "run": "r1"})
    action._connection = SimpleNamespace(become=None)
    assert action.run(None, {"inventory_hostname": "h", "ansible_play_hosts_all": ["h", "i"]}) == {"changed": True}
    assert (seen, shown.get_nowait(), shown.empty()) == (["  [h] a", "  [h] b"], "  [h] d", True)
