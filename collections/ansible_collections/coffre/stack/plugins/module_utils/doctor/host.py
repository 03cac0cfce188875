"""The doctor's checks of what the role docker_host set up: the packet filter, and where packages come from."""

from __future__ import annotations

import re
from pathlib import Path

from ..engines import compose
from ..errors import CoffreError
from ..rollout import firewall
from .target import Target, verdict

ENGINE = Path("/etc/docker/daemon.json")
ENGINE_PID = Path("/run/docker.pid")
# In the engine's configuration or in its arguments, whose separators are NUL.
NO_IPTABLES = re.compile(r'\biptables"?\s*[:=]\s*false|\bfirewall-backend"?[\s:=\0]*"?nftables')
RELEASE = Path("/etc/os-release")
PINS = Path("/etc/apt/preferences.d/coffre-trixie")


def packet_filter(target: Target) -> str:
    """Our table is loaded as its files have it and knows the stack's networks, and the engine's own rules are there."""
    problems = []
    if (loaded := firewall.loaded()) != firewall.intended():
        problems.append(
            f"the loaded table inet coffre is {'not that of' if loaded else 'none, in spite of'} {firewall.RULES}"
        )
    ids = compose.call(["docker", "network", "ls", "-q", "--no-trunc", "--filter", f"label={target.label}"]).split()
    ports = {port for data in target.inspected for port in compose.published(data)}
    rules = firewall.of_stack(target.ask("network", ids), ports)
    if rules != firewall.kept(target.paths) or not all(rule in loaded for rule in firewall.shown(rules)):
        problems.append("it does not have the stack's networks, from which the host's own services can be reached")
    if not _engine_has_rules(target):
        problems.append(
            "the engine's own rules are gone, so that its networks are not kept apart and no container can be made: "
            "restart it first (systemctl restart docker)"
        )
    return verdict(problems, f"{len(ids)} networks reach neither the host's own services nor a cloud's metadata")


def _engine_has_rules(target: Target) -> bool:
    """Whether the engine's rules are loaded, or it was told to make none with iptables."""
    try:
        compose.call(["iptables", "--wait", "--numeric", "--list", "DOCKER-USER"])
    except CoffreError:
        told = [ENGINE]
        if ENGINE_PID.exists():
            told.append(target.proc / ENGINE_PID.read_text().strip() / "cmdline")
        return any(NO_IPTABLES.search(path.read_text(errors="replace")) for path in told if path.exists())
    return True


def packages(_: Target) -> str:
    """Nothing of ours keeps the host's own packages away."""
    release = re.search(r'^VERSION_ID="?(\d+)', RELEASE.read_text(), re.MULTILINE)
    problems = []
    if PINS.exists() and release and release[1] != "12":
        problems.append(
            f"{PINS} is left from Debian 12, and keeps every package of Debian 13 away, security updates too"
        )
    return verdict(problems, "no pin of ours keeps packages away")
