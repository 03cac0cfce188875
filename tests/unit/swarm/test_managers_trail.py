"""The audit trail between managers: whoever acts next goes on where the last one stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, objects, raft, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from tests.unit.swarm.managers import Managers

VERSION = "1" * 32
RUN = audit.Author("run-1", "kim")


@pytest.fixture(autouse=True)
def deployed(paths: StackPaths) -> None:
    """The host has the key."""
    bundle = state.Bundle({audit.KEY: [audit.KEY]}, {audit.KEY: VERSION}, "", 0, 0)
    known = state.ServiceState(current="0a1b2c3d4e5f", bundles={"0a1b2c3d4e5f": bundle})
    objects.keep(paths, {VERSION: b"key"})
    with state.locked(paths):
        state.save(paths, state.State("demo", services={"host": known}))


@pytest.fixture
def other(paths: StackPaths, tmp_path: Path) -> StackPaths:
    """The same stack on another manager."""
    return replace(paths, lib_root=tmp_path / "other")


def happens(paths: StackPaths, **event: Any) -> None:
    with state.locked(paths):
        audit.happened(paths, state.load(paths), RUN, [{"event": "rotation", **event}])


def verified(paths: StackPaths) -> int:
    """How many records this manager's own file has, each in its place and signed."""
    head = audit.verify(paths.audit, {VERSION: b"key"}).head
    assert head
    return head.seq


def test_another_manager_goes_on_where_the_last_one_stopped(paths: StackPaths, other: StackPaths) -> None:
    happens(paths)
    happens(paths)
    assert audit.head(other) == audit.head(paths) != ""
    assert not other.audit.exists()
    happens(other)
    assert verified(other) == 3
    happens(paths)
    assert verified(paths) == 4
    assert paths.audit.read_bytes().startswith(other.audit.read_bytes())


def test_a_record_that_a_crash_kept_from_the_file_comes_with_the_next(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    happens(paths)
    with monkeypatch.context() as crash, pytest.raises(KeyboardInterrupt):
        crash.setattr(audit, "_write", interrupted)
        happens(paths)
    assert verified(paths) == 1
    with paths.audit.open("ab") as file:
        file.write(b'{"act"')
    happens(paths)
    assert verified(paths) == 3


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_without_a_majority_there_is_no_record_anywhere(paths: StackPaths, managers: Managers) -> None:
    happens(paths)
    with state.locked(paths):
        st = state.load(paths)
        bundles.value(paths, st, "host", audit.KEY)
        managers.majority = False
        with pytest.raises(CoffreError, match="does not have a leader"):
            audit.happened(paths, st, RUN, [{"event": "rotation"}])
        managers.majority = True
    assert verified(paths) == 1
    assert len(raft.trail(paths)) == 1


def test_a_file_that_is_not_the_beginning_is_refused_and_left(paths: StackPaths, other: StackPaths) -> None:
    happens(paths)
    other.lib.mkdir(parents=True, exist_ok=True)
    other.audit.write_bytes(paths.audit.read_bytes().replace(b"kim", b"eve"))
    with pytest.raises(CoffreError, match="is not the beginning of the one that the managers keep"):
        happens(other)
    assert b"eve" in other.audit.read_bytes()
    assert len(raft.trail(paths)) == 1


@pytest.mark.parametrize(("bound", "most"), [("KEPT", 2), ("KEPT_BYTES", 1)])
def test_a_manager_that_lacks_more_than_is_kept_is_refused(
    bound: str, most: int, paths: StackPaths, other: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raft, bound, most)
    for _ in range(3):
        happens(paths)
    assert verified(paths) == 3
    with pytest.raises(CoffreError, match="copy the file from the manager that acted last"):
        happens(other)


def test_every_manager_keeps_the_trail_and_the_state(paths: StackPaths, other: StackPaths) -> None:
    happens(paths)
    happens(paths)
    assert audit.follow(other, check=True) == 2
    assert state.export(other, check=True)
    assert not other.lib.exists()
    assert audit.follow(other, check=False) == 2
    assert state.export(other, check=False)
    assert other.audit.read_bytes() == paths.audit.read_bytes()
    assert json.loads(other.state.read_bytes()) == asdict(state.load(paths))
    assert {path.stat().st_mode & 0o777 for path in (other.audit, other.state)} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (other.lib, other.lib_root)} == {0o700}
    assert audit.follow(other, check=False) == 0
    assert not state.export(other, check=False)
    happens(paths)
    assert audit.follow(other, check=False) == 1
    assert audit.follow(paths, check=False) == 0


def test_a_record_of_another_manager_that_a_crash_cut_short_is_mended(paths: StackPaths, other: StackPaths) -> None:
    happens(paths)
    audit.follow(other, check=False)
    happens(paths)
    with other.audit.open("ab") as file:
        file.write(paths.audit.read_bytes().splitlines()[1][:40])
    assert audit.follow(other, check=False) == 1
    assert other.audit.read_bytes() == paths.audit.read_bytes()


def test_another_managers_file_that_was_changed_is_left_and_told(paths: StackPaths, other: StackPaths) -> None:
    happens(paths)
    audit.follow(other, check=False)
    other.audit.write_bytes(other.audit.read_bytes().replace(b"kim", b"eve"))
    happens(paths)
    with pytest.raises(CoffreError, match="is not the beginning of the one that the managers keep"):
        audit.follow(other, check=False)
    assert b"eve" in other.audit.read_bytes()


def test_a_stack_that_no_manager_has_is_not_kept(tmp_path: Path) -> None:
    none = StackPaths("none", tmp_path / "run", tmp_path / "none", engine="swarm")
    assert audit.follow(none, check=False) == 0
    assert not state.export(none, check=False)
    assert not none.lib.exists()


def test_whoever_acts_next_verifies_what_the_managers_keep_too(paths: StackPaths, other: StackPaths) -> None:
    happens(paths)
    audit.follow(other, check=False)
    happens(paths)
    found = audit.examine(other, [audit.head(paths)], [])
    assert "2 records in order, 1 kept heads among them" in found["trails"][0]["said"]
    assert verified(other) == 1
    with pytest.raises(CoffreError, match="ends at record 2, before the kept head 3"):
        audit.examine(other, [audit.head(paths).replace("2 ", "3 ", 1)], [])


def test_a_record_that_was_changed_among_what_the_managers_keep_is_told(
    paths: StackPaths, other: StackPaths, managers: Managers
) -> None:
    happens(paths)
    for each in managers.configs.values():
        if (kept := each["Spec"]["Labels"]).get(raft.TRAIL):
            kept[raft.TRAIL] = kept[raft.TRAIL].replace("kim", "eve")
    with pytest.raises(CoffreError, match=r"Record 1 of the audit trail .* was changed"):
        audit.examine(other, [], [])


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trail that an app's task writes on this node, whose key changed after two records."""
    path = tmp_path / "app.jsonl"
    lines, digest = [], ""
    for seq, key in enumerate((b"old", b"old", b"new"), start=1):
        record = {"seq": seq, "time": "t", "event": "load", "instance": key.decode(), "previous": digest}
        line = audit._canonical(record | {"mac": audit._mac(key, record)}) + b"\n"
        digest = hashlib.sha256(line).hexdigest()
        lines.append(line)
    path.write_bytes(b"".join(lines))
    monkeypatch.setattr(audit.Trail, "path", lambda *_: path)
    return path


APP = audit.Trail("app", "app-audit", "audit.jsonl", "audit-key")


def node(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch, mounts: dict[str, bytes], here: bool = True
) -> dict[str, Any]:
    """What a node that does not act says, whose task of the app mounts this."""

    def call(command: list[str]) -> str:
        if command[1] == "volume":
            return "demo_app-audit\n" if here else ""
        if command[1] == "ps":
            assert "label=com.docker.swarm.service.name=demo_app" in command
            return "c1\n" if mounts else ""
        return json.dumps([{"HostnamePath": str(paths.lib_root / "c1/hostname")}])

    folder = paths.lib_root / "c1/mounts/secrets"
    folder.mkdir(parents=True)
    for name, value in mounts.items():
        (folder / name).write_bytes(value)
    monkeypatch.setattr(compose, "call", call)
    return audit.examine(paths, [], [APP], acts=False)


def test_a_node_checks_the_trail_of_its_task_by_the_key_that_it_mounts(
    paths: StackPaths, trail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = node(paths, monkeypatch, {"id1": b"of something else", "id2": b"new"})
    assert [each["said"] for each in found["trails"]] == [f"{trail}: 3 records in order, 0 kept heads among them."]


def test_a_changed_record_on_a_node_is_told(paths: StackPaths, trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trail.write_bytes(trail.read_bytes().replace(b"load", b"sell", 1))
    with pytest.raises(CoffreError, match="does not follow the one before it"):
        node(paths, monkeypatch, {"id2": b"new"})


def test_a_node_without_a_task_says_that_it_did_not_check(
    paths: StackPaths, trail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = node(paths, monkeypatch, {})
    assert found["trails"] == []
    assert found["warnings"] == [f"{trail} was not checked: no task of app runs here, which would have its key."]


@pytest.mark.usefixtures("trail")
def test_a_node_without_the_volume_has_nothing_to_check(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert node(paths, monkeypatch, {}, here=False) == {"trails": [], "warnings": []}
