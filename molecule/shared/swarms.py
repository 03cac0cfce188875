"""The test hosts that are one swarm: three managers and a worker, with the demo's stack on them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import testinfra
from machines import KEYS, Play, run_playbook
from rotations import Run, Site

INVENTORY = Path(__file__).parents[1] / "swarm" / "inventory"
STACK = "coffre-swarm"
# What no rotation of all secrets is about: another CA is somebody's decision, and this password has had its use.
NEVER = {"demo-ca", "postgres-initial-password"}
CA = f"/var/lib/coffre/{STACK}/ca.crt"
MANAGERS = ("swarm1", "swarm2", "swarm3")
HOSTS = (*MANAGERS, "swarm4")
SITE = Site(STACK, INVENTORY, "https://localhost:8443", CA, machine="coffre-test-swarm1", limit="all")


def machine(name: str) -> Any:
    return testinfra.get_host(
        f"ansible://{name}", ansible_inventory=str(INVENTORY), ssh_config=str(KEYS / "ssh_config")
    )


def play(playbook: str, *arguments: str) -> Play:
    return run_playbook(*arguments, playbook=playbook, inventory=INVENTORY)


def on(name: str, command: str) -> str:
    """Run a shell command as root of a host, not by SSH."""
    words = ["docker", "exec", f"coffre-test-{name}", "sh", "-ec", command]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout.strip()


def nodes(host: Any) -> dict[str, dict[str, Any]]:
    """What the swarm knows of each node, by the name of its host."""
    listed = json.loads(host.check_output("docker node inspect $(docker node ls --quiet)"))
    return {each["Description"]["Hostname"]: each for each in listed}


def wait_for_control(name: str, seconds: int = 180) -> None:
    """Wait until a manager is in control of the swarm, which it is not while it is locked, or finds no leader."""
    deadline = time.monotonic() + seconds
    # Not by SSH, which a host that comes up does not have yet.
    words = ["docker", "exec", f"coffre-test-{name}", "docker", "node", "ls"]
    while subprocess.run(words, capture_output=True, timeout=120).returncode:
        assert time.monotonic() < deadline, f"{name} is not in control after {seconds} s"
        time.sleep(1)


def state(name: str) -> dict[str, Any]:
    """The stack's state, as a manager tells it."""
    label = '{{index .Spec.Labels "coffre.state"}}'
    found: dict[str, Any] = json.loads(on(name, f"docker config inspect --format '{label}' {STACK}.state"))
    return found


def tasks(service: str) -> dict[str, str]:
    """By node, the container of a service's task that runs there."""
    found = on("swarm1", f"docker service ps --no-trunc --filter desired-state=running --format json {STACK}_{service}")
    running = [json.loads(line) for line in found.splitlines()]
    return {
        each["Node"]: on(
            "swarm1", f"docker inspect --format '{{{{.Status.ContainerStatus.ContainerID}}}}' {each['ID']}"
        )
        for each in running
        if each["CurrentState"].startswith("Running")
    }


def wait_for_act(rotation: Run, name: str, act: str, seconds: int = 180) -> None:
    """Wait until a rotation has recorded an act, as a manager that does not drive it sees."""
    deadline = time.monotonic() + seconds
    while True:
        run = state(name)["run"]
        if run and act in {each["step"] for each in run["secrets"].values()}:
            return
        assert not rotation.ended, f"the rotation ended before it recorded {act}"
        assert time.monotonic() < deadline, f"no rotation recorded {act} in {seconds} s"
