from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, restore, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths

CORE = Path(restore.__file__).parents[1]
# What the boot unit has: the system's Python and the core as a package.
BOOT = ("/usr/bin/python3", "-m", "coffre.host.restore")


def again(stack: Any) -> tuple[list[str], list[str]]:
    return restore.restore(stack.paths.run_root, stack.paths.lib_root)


def test_everything_comes_back(staged: Any) -> None:
    before = staged.tree()
    bundles.remove(staged.paths.run)
    raised, failures = again(staged)
    assert (len(raised), failures) == (4, [])
    assert staged.tree() == before
    assert again(staged) == ([], [])
    assert staged.stage()["changed"] is False


def test_a_host_that_died_in_a_rollout_gets_old_and_new(staged: Any) -> None:
    old = staged.folder("app").name
    staged.data["services"][0]["gid"] = 60690
    staged.stage()
    st = staged.state
    bundles.promote(staged.paths, st, "app")  # adopted, but the old container was not removed yet
    staged.data["services"][2]["gid"] = 60691
    staged.stage()
    before = staged.tree()
    bundles.remove(staged.paths.run)
    raised, failures = again(staged)
    assert failures == []
    assert f"demo/app/{old}" in raised
    assert staged.tree() == before
    proxy = staged.state.services["proxy"]
    assert proxy.next
    assert (staged.paths.service("proxy") / "current").readlink() == Path(str(proxy.current))


def truncate(stack: Any, service: str) -> None:
    seal = stack.paths.seal(service, stack.folder(service).name)
    seal.write_bytes(seal.read_bytes()[:100])


def remove(stack: Any, service: str) -> None:
    stack.paths.seal(service, stack.folder(service).name).unlink()


@pytest.mark.parametrize("fault", [truncate, remove])
@pytest.mark.parametrize("service", ["app", "proxy"])
def test_one_failure_keeps_no_other_service_down(staged: Any, fault: Callable[[Any, str], None], service: str) -> None:
    other = StackPaths("other", staged.paths.run_root, staged.paths.lib_root)
    with state.locked(other):
        other.state.write_text("{")
        other.compose.touch()
    bundle = staged.folder(service).name
    fault(staged, service)
    bundles.remove(staged.paths.run)
    raised, failures = again(staged)
    assert len(raised) == 3
    assert len(failures) == 2
    assert failures[0].startswith(f"{service} of stack demo is not restored: The sealed copy")
    assert failures[1].startswith("Stack other is not restored:")
    # Docker cannot make directories in here and start the service with them.
    with pytest.raises(NotADirectoryError):
        (staged.paths.bundle(service, bundle) / "api-key").mkdir(parents=True)


def test_what_failed_once_is_tried_again(staged: Any) -> None:
    before, bundle = staged.tree(), staged.folder("app").name
    seal = staged.paths.seal("app", bundle)
    content = seal.read_bytes()
    seal.write_bytes(b"")
    bundles.remove(staged.paths.run)
    assert len(again(staged)[1]) == 1
    seal.write_bytes(content)
    assert again(staged) == ([f"demo/app/{bundle}"], [])
    assert staged.tree() == before


def test_a_stack_that_was_torn_down_stays_sealed(staged: Any) -> None:
    staged.paths.compose.unlink()
    bundles.remove(staged.paths.run)
    assert again(staged) == ([], [])
    assert not staged.paths.run.exists()


def test_a_folder_that_is_no_stack_is_left_alone(staged: Any) -> None:
    (staged.paths.lib_root / "No Stack").mkdir()
    (staged.paths.lib_root / "No Stack" / "compose.yml").touch()
    assert again(staged) == ([], [])


@pytest.mark.skipif(not Path(BOOT[0]).exists(), reason="needs the system's Python")
@pytest.mark.parametrize("damaged", [False, True])
def test_the_boot_unit_needs_the_core_and_the_systems_python_only(staged: Any, tmp_path: Path, damaged: bool) -> None:
    shutil.copytree(CORE, tmp_path / "home" / "coffre")
    if damaged:
        truncate(staged, "app")
    script = (
        "from coffre.host import restore, tmpfs; from pathlib import Path; import sys;"
        "tmpfs.ensure = lambda root: root.mkdir(exist_ok=True);"
        f"restore.RUN_ROOT = Path({str(staged.paths.run_root)!r});"
        f"restore.LIB_ROOT = Path({str(staged.paths.lib_root)!r});"
        "sys.exit(restore.main())"
    )
    bundles.remove(staged.paths.run)
    done = subprocess.run(
        [BOOT[0], "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (3 if damaged else 0)
    assert done.stdout.count("restored demo/") == (3 if damaged else 4)
    assert done.stderr.startswith("app of stack demo is not restored: ") if damaged else done.stderr == ""


def test_running_the_module_does_nothing_where_there_is_no_stack(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unmounted: Callable[[], None],  # noqa: ARG001
) -> None:
    monkeypatch.setattr(restore, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(restore, "LIB_ROOT", tmp_path / "lib")
    assert restore.main() == 0
    assert sys.exc_info() == (None, None, None)
