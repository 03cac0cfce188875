"""The examples of a schedule are sound, and the wrapper tells outcomes apart."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SCHEDULE = ROOT / "schedule"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose ansible-playbook ends as the file `status` says, and leaves what is in `outcomes`."""
    for folder in ("schedule", ".venv/bin", "outcomes", "inventory/demo"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(SCHEDULE / "rotate", tmp_path / "schedule")
    playbook = tmp_path / ".venv/bin/ansible-playbook"
    lines = [
        "#!/bin/sh",
        'echo "$@" > arguments',
        """cp outcomes/* "$(echo "$7" | sed 's/.*: "//; s/"}//')" 2>/dev/null""",
        "exit $(cat status)",
        "",
    ]
    playbook.write_text("\n".join(lines))
    playbook.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("status", "outcomes", "expected"),
    [
        (0, ["rotated"], 0),
        (0, ["rotated", "nothing"], 0),
        (0, ["nothing", "nothing"], 3),
        (2, ["undone"], 4),
        (2, ["undone", "rotated"], 4),
        (0, ["undone"], 4),
        (2, ["undone", "open"], 5),
        (2, ["refused"], 5),
        (2, ["rotated"], 5),
        (4, ["rotated"], 5),
        (4, [], 5),
        (1, [], 5),
        (0, [], 5),
    ],
)
def test_exit_codes(checkout: Path, status: int, outcomes: list[str], expected: int) -> None:
    (checkout / "status").write_text(str(status))
    for number, outcome in enumerate(outcomes):
        told = {"secrets": {"a": {"new": "1", "old": "2"}}, "run": "r", "outcome": outcome}
        (checkout / f"outcomes/host{number}.coffre.json").write_text(json.dumps(told) + "\n")
    done = subprocess.run([checkout / "schedule/rotate", "demo", "--limit", "a"], check=False)
    assert done.returncode == expected
    arguments = checkout / "arguments"
    folder = r'-e {"secret_rotation_report": "(.+)"}'
    given = re.fullmatch(rf"-i inventory/demo playbooks/rotate.yml --limit a {folder}\n", arguments.read_text())
    assert given and not Path(given[1]).exists()


@pytest.mark.parametrize("environment", ["", "mine"])
def test_an_environment_that_is_none(checkout: Path, environment: str) -> None:
    (checkout / "status").write_text("0")
    done = subprocess.run([checkout / "schedule/rotate", environment], capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert f'"{environment}" is no folder of inventory/; nothing was done' in done.stderr
    assert not (checkout / "arguments").exists()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in ("coffre-rotate.service", "coffre-rotate.timer"):
        text = (SCHEDULE / name).read_text().replace("/opt/coffre", str(ROOT)).replace("User=coffre", "User=root")
        (tmp_path / name).write_text(text)
    units = [tmp_path / "coffre-rotate.service", tmp_path / "coffre-rotate.timer"]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "coffre" in line]) == (0, [])


def test_the_ci_job_runs_what_a_shell_takes() -> None:
    job = yaml.safe_load((SCHEDULE / "rotate.workflow.yml").read_text())["jobs"]["rotate"]
    for step in job["steps"]:
        subprocess.run(["sh", "-n"], input=step["run"], text=True, check=True)
    subprocess.run(["sh", "-n", SCHEDULE / "rotate"], check=True)
