"""Searches of the test machines for the values of a stack that is deployed on debian13."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from machines import KEYS, ROOT, STACK

TOOL = ROOT / "molecule" / "shared" / "leak_search.py"
# Where a controller writes: Ansible's folders, temporary files, logs, the checkout.
CONTROLLER = [str(Path.home() / ".ansible"), "/tmp", "/var/tmp", "/var/log", str(ROOT)]  # noqa: S108


def _command(stack: str) -> str:
    folder = "/root/leak-search"
    return f"python3 {folder}/leak_search.py --bundles /run/coffre/{stack} --permitted {folder}/permitted.json"


def search_host(host: Any, *arguments: str, since: float = 0, stack: str = STACK) -> tuple[int, str]:
    """Search a host's disk, processes and journal for a stack's values: (exit status, report)."""
    done = host.run(f"{_command(stack)} --since {since} --processes --journal {' '.join(arguments or ['/'])}")
    return int(done.rc), str(done.stdout + done.stderr)


def search_controller(since: float, *folders: Path, stack: str = STACK) -> tuple[int, str]:
    """Search this machine, and these folders too, for the host's values, on the host: they never leave it."""
    places = [*CONTROLLER, *map(str, folders)]
    pack = [sys.executable, str(TOOL), "--pack", "--processes", "--since", str(since), *places]
    there = ["ssh", "-F", str(KEYS / "ssh_config"), "ops@debian13", f"sudo {_command(stack)} --stdin controller"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    with subprocess.Popen(pack, stdout=subprocess.PIPE, env=environment) as packer:
        done = subprocess.run(there, stdin=packer.stdout, capture_output=True, text=True, check=False)
    assert packer.returncode == 0
    return done.returncode, done.stdout + done.stderr
