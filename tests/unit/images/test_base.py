"""The Debian that images and test hosts are made from: made in a second try where the first one fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
# Fails the first time, when it has written half of its file, and writes the whole of it the second time.
MMDEBSTRAP = """#!/bin/sh
for word; do case $word in *.tar) tar=$word ;; esac; done
echo try >>"$TRIES"
[ "$(wc -l <"$TRIES")" -ge "$SUCCEEDS" ] && echo whole >"$tar" && exit
echo half >"$tar"
exit 25
"""


def tasks(node: Any) -> list[dict[str, Any]]:
    """All tasks of a file of tasks, those in blocks too."""
    found = []
    for task in node:
        found += [task, *tasks(task.get("block", []))]
    return found


def run(task: dict[str, Any], folder: Path, succeeds: int) -> subprocess.CompletedProcess[str]:
    """Run one task with programs of the test's own, of which mmdebstrap succeeds at that try."""
    programs = {
        "mmdebstrap": MMDEBSTRAP,
        "apt-get": "#!/bin/sh\\necho http://mirror.example/debian/\\n".replace("\\n", "\n"),
        "docker": f'#!/bin/sh\ncat "$4" >{folder}/imported\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    variables = {
        "ansible_python_interpreter": sys.executable,
        "__container_images_build": {"path": str(ROOT / "images")},
        "container_images_tagged": {"bases": {"coffre/base:t": "base"}},
        "__container_images_bases": ["coffre/base:t"],
        "build": {"image": "debian", "suite": "trixie"},
        "mirrors": {"stdout_lines": ["http://mirror.example/debian/"]},
        "test_host_packages": ["systemd"],
    }
    task = {key: value for key, value in task.items() if key != "delay"} | {"delay": 0}
    if "cmd" in task.get("ansible.builtin.command", {}):
        task["ansible.builtin.command"]["cmd"] = f"sh rootfs.sh {folder}/rootfs.tar"
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": [task]}]
    (folder / "play.yml").write_text(yaml.safe_dump(play))
    environment = {
        **os.environ,
        "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TRIES": str(folder / "tries"),
        "SUCCEEDS": str(succeeds),
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(folder / "play.yml")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("file", "word", "made"),
    [
        ("roles/container_images/tasks/build.yml", "rootfs.sh", "rootfs.tar"),
        ("molecule/shared/tasks/build.yml", "mmdebstrap --quiet", "imported"),
    ],
)
def test_a_failure_is_tried_once_more(file: str, word: str, made: str, tmp_path: Path) -> None:
    (task,) = (
        task
        for task in tasks(yaml.safe_load((ROOT / file).read_text()))
        if word in str(task.get("ansible.builtin.command", task.get("ansible.builtin.shell")))
    )
    done = run(task, tmp_path, succeeds=2)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / made).read_text() == "whole\n"
    assert (tmp_path / "tries").read_text().count("try") == 2
    assert run(task, tmp_path, succeeds=9).returncode != 0
