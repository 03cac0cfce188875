"""What the probe says that a host lacks, on this machine with a few files of the test's own in the place of its."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROBE = ROOT / "roles/docker_host/files/probe.sh"
SOURCES = "/etc/apt/sources.list.d/coffre-trixie.sources"
PINS = "/etc/apt/preferences.d/coffre-trixie"
OLD, NEW = "Suites: trixie\n", "Suites: trixie\nSuites: trixie-security\n"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and mounts of its own"
)


def lacks(
    folder: Path,
    release: str,
    files: dict[str, str],
    live_restore: str = "False",
    swarm: str = "False",
    docker: str = "exit 1",
) -> set[str]:
    """The lines of the probe on a Debian of that release with those files below /etc/apt, and with such a `docker`."""
    mounts = []
    for place in ("/etc/apt/sources.list.d", "/etc/apt/preferences.d"):
        here = folder / Path(place).name
        here.mkdir()
        mounts.append(f"mkdir -p {place} && mount --bind {here} {place}")
        for path, text in files.items():
            if Path(path).parent == Path(place):
                (here / Path(path).name).write_text(text)
    (folder / "os-release").write_text(f'ID=debian\nVERSION_ID="{release}"\n')
    mounts.append(f"mount --bind {folder / 'os-release'} $(readlink -f /etc/os-release)")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    (programs / "docker").chmod(0o755)
    script = " && ".join([*mounts, f"exec sh {PROBE} 0 {live_restore} {swarm}"])
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", script],
        input="",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    assert done.stdout, done.stderr
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("release", "files", "said"),
    [
        ("12", {}, {"source"}),
        ("12", {SOURCES: OLD, PINS: OLD}, {"source without security"}),
        ("12", {SOURCES: NEW, PINS: OLD}, {"source without security"}),
        ("12", {SOURCES: NEW, PINS: NEW}, set()),
        ("13", {}, set()),
        ("13", {SOURCES: NEW, PINS: NEW}, {f"stale {SOURCES}", f"stale {PINS}"}),
        ("13", {PINS: OLD}, {f"stale {PINS}"}),
    ],
)
def test_what_debian_12_needs_and_debian_13_is_rid_of(
    release: str, files: dict[str, str], said: set[str], tmp_path: Path
) -> None:
    told = lacks(tmp_path, release, files)
    assert {line for line in told if line.startswith(("source", "stale"))} == said


@pytest.mark.parametrize(("wanted", "told"), [("True", True), ("False", False)])
def test_an_engine_without_live_restore_lacks_it_where_it_is_wanted(wanted: str, told: bool, tmp_path: Path) -> None:
    assert ("live-restore" in lacks(tmp_path, "13", {}, wanted)) == told


@pytest.mark.parametrize(("wanted", "told"), [("True", True), ("False", False)])
def test_an_engine_without_a_swarms_settings_lacks_them_where_it_is_one(
    wanted: str, told: bool, tmp_path: Path
) -> None:
    assert ("swarm" in lacks(tmp_path, "13", {}, swarm=wanted)) == told


# What `docker info` prints for the probe's template, and how it ends; without an engine by the client's version.
@pytest.mark.parametrize(
    ("docker", "said"),
    [
        ("exit 1", {"engine", "live-restore", "swarm"}),
        ('echo " false []"; exit 1', {"engine", "live-restore", "swarm"}),
        ('echo " false []"', {"engine", "live-restore", "swarm"}),
        ('echo "26.1.5 false [name=seccomp]"', {"live-restore", "swarm"}),
        ('echo "26.1.5 true [name=seccomp name=no-new-privileges]"', {"swarm"}),
    ],
)
def test_an_engine_that_gives_no_answer_is_lacking(docker: str, said: set[str], tmp_path: Path) -> None:
    told = lacks(tmp_path, "13", {}, "True", "True", docker)
    assert told & {"engine", "live-restore", "swarm"} == said


def test_a_packet_filter_that_is_not_loaded_is_lacking(tmp_path: Path) -> None:
    assert "firewall" in lacks(tmp_path, "13", {})


def test_what_a_host_runs_of_the_core_is_brought_to_it(tmp_path: Path) -> None:
    utils = ROOT / "collections/ansible_collections/coffre/stack/plugins/module_utils"
    role = ROOT / "roles/docker_host"
    listed = re.search(r"__docker_host_core: >-\n((?:  .*\n)+)", (role / "vars/main.yml").read_text(encoding="utf-8"))
    assert listed
    names = [
        *re.findall(r"'([a-z_/]+\.py)'", listed[1]),
        *(f"host/{each.name}" for each in (utils / "host").glob("*.py")),
    ]
    for name in names:
        (tmp_path / "coffre" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(utils / name, tmp_path / "coffre" / name)
    said = "".join(path.read_text(encoding="utf-8") for path in role.rglob("*") if path.is_file())
    run = {*re.findall(r"-m (coffre[\w.]+)", said)}
    assert run == {"coffre.host.restore", "coffre.rollout.firewall"}
    for module in run:
        subprocess.run(
            [sys.executable, "-c", f"import {module}"], env={"PYTHONPATH": str(tmp_path)}, check=True, timeout=20
        )
