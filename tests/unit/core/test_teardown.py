"""A teardown removes what is the stack's own, under the stack's lock, and nothing else."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import firewall
from ansible_collections.coffre.stack.plugins.module_utils.rollout import teardown as core
from tests.unit.core.conftest import Stack

LABEL = "label=com.docker.compose.project=demo"


class Engine:
    """An engine that has something of every kind; `refuses` is how a command begins that fails."""

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.refuses = ""
        self.label = LABEL
        self.containers = "c1\nc2\n"

    def __call__(self, command: list[str]) -> str:
        words = " ".join(command[1:])
        if self.refuses and words.startswith(self.refuses):
            raise CoffreError(f"`docker {self.refuses}` failed.")
        if "--filter" in command:
            assert command[-1] == self.label
            return {"ps": self.containers, "network": "n1\n", "volume": "v1\n"}[command[1]]
        self.removed.append(" ".join(command))
        return ""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unmounted: Callable[[], None]) -> Engine:  # noqa: ARG001
    """The host's engine; what would be the memory's mount is none, nor is there a packet filter."""
    found = Engine()
    monkeypatch.setattr(firewall, "RULES", tmp_path / "filter/firewall.nft")
    monkeypatch.setattr(tmpfs, "options", lambda _: None)
    monkeypatch.setattr(core, "call", found)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/docker")
    return found


@pytest.fixture
def neighbour(staged: Stack) -> Path:
    """Another stack's file in each of the two roots, beside the stack's own."""
    for root in (staged.paths.run_root, staged.paths.lib_root):
        (root / "demo-2").mkdir()
        (root / "demo-2" / "file").touch()
    return staged.paths.run_root / "demo-2"


def rotate(paths: StackPaths, lease: float) -> None:
    """Open a rotation whose lease ends `lease` seconds from now."""
    st = state.load(paths)
    st.run = state.Run("r1", "play", "ann", state.now(), state.now(lease), {})
    state.save(paths, st)


@pytest.mark.usefixtures("neighbour")
def test_the_stack_goes_and_its_seals_stay(staged: Stack, engine: Engine) -> None:
    before = staged.tree()
    staged.paths.people.mkdir()
    (staged.paths.people / "kim").touch()
    told = core.teardown(staged.paths)
    assert not staged.paths.people.exists()
    assert told["changed"] and told["warnings"] == []
    assert told["removed"] == [
        "2 containers",
        "1 networks",
        str(staged.paths.run),
        str(staged.paths.people),
        str(staged.paths.compose),
    ]
    assert engine.removed == ["docker stop c1 c2", "docker rm --force --volumes c1 c2", "docker network rm n1"]
    gone = {path for path in before if path not in staged.tree()}
    assert all(path.startswith(str(staged.paths.run)) or path == str(staged.paths.compose) for path in gone)
    assert not staged.paths.run.exists() and (staged.paths.run_root / "demo-2/file").exists()


@pytest.mark.usefixtures("neighbour")
def test_for_good(staged: Stack, engine: Engine) -> None:
    assert core.teardown(staged.paths, "demo")["changed"]
    assert engine.removed[-1] == "docker volume rm v1"
    left = {path.name for root in (staged.paths.run_root, staged.paths.lib_root) for path in root.iterdir()}
    assert left == {"demo-2"}


@pytest.mark.parametrize("destroy", ["", "demo"])
def test_the_packet_filter_forgets_the_stack_and_no_other(staged: Stack, engine: Engine, destroy: str) -> None:
    role, rollout = firewall.files_of(staged.paths)
    role.parent.mkdir(parents=True)
    for path in (firewall.RULES, role, role.with_name("demo-2.nft"), rollout):
        path.write_text("add rule\n")
    core.teardown(staged.paths, destroy)
    assert engine.removed[-1] == f"nft --file {firewall.RULES}"
    assert not role.exists() and not rollout.exists() and role.with_name("demo-2.nft").exists()


def test_no_folder_is_made_for_a_stack_that_has_none(root: Path, engine: Engine) -> None:
    core.teardown(StackPaths("demo", root / "run", root / "lib"), "demo")
    assert engine.removed[-1] == "docker volume rm v1" and list(root.iterdir()) == []


def test_check_mode_only_tells(staged: Stack, engine: Engine) -> None:
    before = staged.tree()
    told = core.teardown(staged.paths, "demo", check=True)
    assert told["removed"][-2:] == [str(staged.paths.run), str(staged.paths.lib)]
    assert staged.tree() == before and engine.removed == []


@pytest.mark.parametrize("destroy", ["another", " ", "demo ", "Demo", "demo\n", "None", "True", "['demo']"])
def test_another_name_removes_nothing(staged: Stack, engine: Engine, destroy: str) -> None:
    before = staged.tree()
    with pytest.raises(
        CoffreError, match="not the name of this stack; nothing was removed: say -e teardown_destroy=demo"
    ):
        core.teardown(staged.paths, destroy)
    assert staged.tree() == before and engine.removed == []


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "a/b", "../demo", "demo/", "a b", "Demo", "1a", "demo\n", "a" * 41, None, 1, True, ["a"]],
)
def test_no_stack_has_such_a_name(name: str) -> None:
    with pytest.raises(CoffreError, match="is ill-formed"):
        StackPaths(name)


def test_a_rotation_that_is_alive_is_left_alone(staged: Stack, engine: Engine) -> None:
    rotate(staged.paths, 60)
    before = staged.tree()
    with pytest.raises(CoffreError, match=r"ann has been rotating .* nothing was removed: wait until it is done"):
        core.teardown(staged.paths, "demo")
    assert staged.tree() == before and engine.removed == []


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("lease", [-1, 86400], ids=["over", "by a clock that was ahead"])
def test_a_rotation_that_is_dead_hinders_nobody(staged: Stack, lease: float) -> None:
    rotate(staged.paths, lease)
    core.teardown(staged.paths)
    assert staged.state.run


def test_it_waits_for_the_lock(staged: Stack, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = state.locked
    monkeypatch.setattr(state, "locked", lambda paths: locked(paths, 0.1))
    with locked(staged.paths), pytest.raises(CoffreError, match="Another run has been working on stack demo"):
        core.teardown(staged.paths, "demo")
    assert engine.removed == [] and staged.paths.run.exists()


def test_a_lock_that_was_removed_is_nobodys(staged: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A teardown for good came between the opening of the file and its locking."""
    flock, lost = fcntl.flock, [staged.paths.lock]

    def late(handle: int, operation: int) -> None:
        if lost:
            lost.pop().unlink()
        flock(handle, operation)

    staged.paths.lock.touch()
    monkeypatch.setattr(fcntl, "flock", late)
    with state.locked(staged.paths), pytest.raises(CoffreError), state.locked(staged.paths, 0.1):
        pass
    assert staged.paths.lock.exists()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_a_broken_state_hinders_nobody(staged: Stack, damage: Callable[[Path], None]) -> None:
    damage(staged.paths.state)
    (warning,) = core.teardown(staged.paths, "demo")["warnings"]
    assert "Whether a rotation is open is not known" in warning
    assert not staged.paths.lib.exists()


def test_no_engine_is_installed(staged: Stack, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert core.teardown(staged.paths)["removed"] == [str(staged.paths.run), str(staged.paths.compose)]
    assert engine.removed == []


def test_an_engine_that_does_not_answer(staged: Stack, engine: Engine) -> None:
    engine.refuses = "ps"
    before = staged.tree()
    with pytest.raises(CoffreError, match="The Docker engine does not answer; nothing was removed"):
        core.teardown(staged.paths, "demo")
    assert staged.tree() == before


def test_what_does_not_go_is_told_and_the_secrets_stay(staged: Stack, engine: Engine) -> None:
    engine.refuses = "network rm"
    with pytest.raises(CoffreError, match=r"is not wholly removed: `docker network rm` failed. Mend that and run"):
        core.teardown(staged.paths)
    assert staged.paths.run.exists()


@pytest.mark.usefixtures("engine")
def test_a_link_is_removed_and_not_what_it_leads_to(staged: Stack, neighbour: Path) -> None:
    staged.paths.run.rename(neighbour / "moved")
    staged.paths.run.symlink_to(neighbour)
    core.teardown(staged.paths)
    assert not staged.paths.run.is_symlink() and (neighbour / "moved").exists()


@pytest.mark.parametrize("alone", [True, False])
def test_memory_that_no_other_stack_uses_is_unmounted(
    staged: Stack, engine: Engine, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tmpfs, "options", lambda _: {"rw"})
    if not alone:
        (staged.paths.run_root / "demo-2").mkdir()
    told = core.teardown(staged.paths)
    assert (f"umount {staged.paths.run_root}" in engine.removed) == alone
    assert (f"the mount of {staged.paths.run_root}" in told["removed"]) == alone


@pytest.mark.parametrize("ends", [True, False])
def test_of_a_node_of_a_swarm_goes_what_is_its_own(
    staged: Stack, engine: Engine, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The managers have removed the services, and the lock is theirs; the node itself ends their containers."""
    engine.label = "label=com.docker.stack.namespace=demo"
    monkeypatch.setattr(core, "GONE_SECONDS", 60.0 if ends else 0.0)
    monkeypatch.setattr(time, "sleep", lambda _: setattr(engine, "containers", ""))
    with state.locked(staged.paths):
        told = core.teardown(replace(staged.paths, engine="swarm"), "demo")
    ended = [] if ends else ["docker stop c1 c2", "docker rm --force --volumes c1 c2"]
    assert engine.removed == [*ended, "docker volume rm v1"]
    assert not staged.paths.lib.exists() and told["warnings"] == []
