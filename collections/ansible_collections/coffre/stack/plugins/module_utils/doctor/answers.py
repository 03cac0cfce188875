"""The doctor's questions to the running stack, and to what starts it when the machine boots."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..engines import compose
from ..errors import CoffreError
from ..rollout import apply as rollout
from ..rollout import endpoints as asked
from ..rollout import proxies
from ..strategies import agree
from ..swarm import membership
from .target import Target, verdict

LOGIN_SECONDS = 5.0  # that a service may take to be healthy


def endpoints(target: Target) -> str:
    """The stack answers where the inventory says, over TLS as a client checks it; on a swarm each proxy does."""
    at = proxies.places(target.paths, target.catalogue.file.data["services"]) if target.endpoints else []
    problems = asked.problems(target.endpoints, target.trusting(), at)
    where = f" at {', '.join(f'{address}:{port}' for address, port in at)}" if at else ""
    note = f"{', '.join(target.endpoints)} answer{where}" if target.endpoints else "the inventory names no endpoint"
    return verdict(problems, note)


def readiness(target: Target) -> str:
    """Each container's own check passes now, which also says what is missing: its readiness command or health check."""
    problems, asked, without = [], 0, []
    for each in sorted(map(compose.parse, target.inspected), key=lambda each: each.name):
        _, command = rollout.probe(each)
        if not command:
            without.append(each.name)
        elif each.state == "running":
            asked += 1
            ready, says = compose.checked(each, command)
            problems += [] if ready else [f"{each.name} is not ready ({says or 'it says nothing'})"]
    warnings = [
        f"without a health check, so that it counts as healthy when it has run for a while: {', '.join(without)}"
    ]
    return verdict(problems, f"{asked} containers pass their own check", warnings if without else [])


def logins(target: Target) -> str:
    """Each value that another service verifies is tried, and counts for good."""
    try:
        found = agree.refusals(target.paths, target.catalogue, target.state, LOGIN_SECONDS)
    except ModuleNotFoundError:
        raise CoffreError("the modules' Python is not on this host: playbooks/site.yml makes it") from None
    problems = [f"{name}: {each}" for name, told in found.items() for each in told]
    return verdict(problems, f"accepted as deployed: {', '.join(found) or 'nothing that others verify'}")


def boot(_: Target) -> str:
    """What raises the secrets when the machine starts."""
    if not Path("/run/systemd/system").is_dir():
        return "PID 1 is not systemd: after a reboot, run playbooks/site.yml"
    problems = []
    for unit in (
        "coffre-restore.service",
        "docker.service",
        *(["coffre-swarm-unlock.service"] if membership.SEAL.exists() else []),
    ):
        done = subprocess.run(["systemctl", "is-enabled", unit], capture_output=True, text=True, check=False)
        if done.stdout.strip() != "enabled":
            problems.append(
                f"{unit} is {done.stdout.strip() or 'not there'}, so a reboot would not bring the stack back"
            )
    return verdict(problems, "the boot unit is enabled")
