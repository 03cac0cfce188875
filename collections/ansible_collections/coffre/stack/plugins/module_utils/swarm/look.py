"""What a host is to a swarm, and what it has that a swarm needs: read only, by the standard library and `docker`.

A look is {hostname, address, offset, engine, state, node, control, cluster, labels, nodes, swaps, lacks}: `offset` is
how many seconds the host's clock is ahead of the one it was told; `state` is the engine's (inactive pending active
locked error); `node`, `cluster` and `labels` are the ids of node and swarm, and the swarm's labels, "" and {} where the
engine does not tell; `nodes` is what a manager in control lists; `lacks` is of esp and vxlan what the kernel has not.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..host import tmpfs

SECONDS = 30
# What Debian's package docker.io is, where no engine is installed yet.
OF_DEBIAN = {"12": "20.10", "13": "26.1"}
# As the engine asks the kernel for an encrypted overlay network (libnetwork: encryption.go).
KERNEL = {
    "esp": "ip xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 1 reqid 1 mode transport "
    f"aead rfc4106(gcm(aes)) 0x{'00' * 20} 64",
    "vxlan": "ip link add coffre0 type vxlan id 1 dstport 4789",
}


def look(address: str, told: float) -> dict[str, Any]:
    """The look at this host; `address` is where the others are to reach it, "" for the one of its default route."""
    offset = time.time() - told
    said = _led()
    swarm = said.get("Swarm") or {}
    cluster = swarm.get("Cluster") or {}
    control = in_control(swarm)
    return {
        "hostname": os.uname().nodename,
        "address": address or _own_address(),
        "offset": round(offset, 1),
        "engine": said.get("ServerVersion") or _of_debian(),
        "state": swarm.get("LocalNodeState") or "inactive",
        "node": swarm.get("NodeID") or "",
        "control": control,
        "cluster": cluster.get("ID") or "",
        "labels": (cluster.get("Spec") or {}).get("Labels") or {},
        "nodes": nodes() if control else [],
        "swaps": tmpfs.swaps_in_clear(),
        "lacks": [name for name, command in KERNEL.items() if not _in_namespace(command)],
    }


def in_control(swarm: Mapping[str, Any]) -> bool:
    """Whether a manager is in control: one that finds no leader says so, too, and then nothing of the swarm."""
    return bool(swarm.get("ControlAvailable") and swarm.get("Cluster"))


def _docker(*words: str) -> str:
    """What a docker command prints, "" without an engine that answers."""
    if not shutil.which("docker"):
        return ""
    try:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def info() -> dict[str, Any]:
    """What the engine says of itself; {} without one. Join tokens are no part of it."""
    found: dict[str, Any] = json.loads(_docker("info", "--format", "{{json .}}") or "{}")
    return found


def _led() -> dict[str, Any]:
    """As `info`; a manager that finds no leader is given a while to find one."""
    deadline = time.monotonic() + SECONDS
    while True:
        said = info()
        swarm = said.get("Swarm") or {}
        if not swarm.get("ControlAvailable") or swarm.get("Cluster") or time.monotonic() > deadline:
            return said
        time.sleep(1)


def nodes() -> list[dict[str, Any]]:
    """Every node that the swarm knows, as a manager has it; [] where the swarm finds no leader in time."""
    deadline = time.monotonic() + SECONDS
    while not (ids := _docker("node", "ls", "--quiet").split()) and time.monotonic() < deadline:
        time.sleep(1)
    return [parse(each) for each in json.loads(_docker("node", "inspect", *ids) or "[]")] if ids else []


def parse(data: dict[str, Any]) -> dict[str, Any]:
    """What `docker node inspect` says of a node; `reachability` is that of a manager, "" for a worker."""
    spec, status, manager = data["Spec"], data["Status"], data.get("ManagerStatus") or {}
    return {
        "id": data["ID"],
        "hostname": data["Description"].get("Hostname", ""),
        "role": spec["Role"],
        "availability": spec["Availability"],
        "state": status["State"],
        "address": (manager.get("Addr") or status.get("Addr") or "").rpartition(":")[0] or status.get("Addr", ""),
        "reachability": manager.get("Reachability", ""),
        "labels": spec.get("Labels") or {},
    }


def _of_debian(release: Path = Path("/etc/os-release")) -> str:
    """The version of the engine that docker_host would install; "" on what it does not know."""
    text = release.read_text(encoding="utf-8") if release.is_file() else ""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return OF_DEBIAN.get(values.get("VERSION_ID", "").strip("\"'"), "")


def _own_address() -> str:
    """This host's address towards its default route; nothing is sent. "" without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(asked.getsockname()[0])


def _in_namespace(command: str) -> bool:
    """Whether a command of iproute2 succeeds in a network of its own, which goes with it."""
    try:
        done = subprocess.run(["unshare", "--net", *command.split()], capture_output=True, timeout=SECONDS, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
