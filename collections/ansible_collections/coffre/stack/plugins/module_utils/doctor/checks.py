"""The examination of a stack on its host: all checks, read only, each with a line on what is wrong and what to do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from ..host.outcome import guard
from ..swarm import membership
from . import answers as doctor_answers
from . import containers as doctor_containers
from . import files as doctor_files
from . import host as doctor_host
from . import leaks as doctor_leaks
from . import swarm as doctor_swarm
from . import times as doctor_times
from . import vault as doctor_vault
from .target import ACTING, HOST, NODE, Check, Target, judge

OF_THE_STACK = (HOST, ACTING)
SITE = "run playbooks/site.yml"
ROTATE = "rotate it (make rotate-secret)"


@dataclass(frozen=True)
class Examination:
    """A check, the checks without which it makes no sense where they are made, and what to do when it fails."""

    name: str
    run: Callable[[Target], str]
    needs: tuple[str, ...]
    remedy: str
    places: tuple[str, ...] = (HOST, ACTING, NODE)  # where it is made


EXAMINATIONS = (
    Examination("state", doctor_files.staged, (), SITE, OF_THE_STACK),
    Examination("engine", doctor_containers.engine, (), f"start it (systemctl start docker), or {SITE}"),
    Examination("boot unit", doctor_answers.boot, (), SITE),
    Examination("packages", doctor_host.packages, (), f"{SITE}, which removes it"),
    Examination(
        "memory",
        doctor_files.memory,
        (),
        f"{SITE}; swap must be off or encrypted where the kernel has no noswap",
        (HOST,),
    ),
    Examination(
        "permissions",
        doctor_files.permissions,
        ("state",),
        f"{SITE}; from what is not Coffre's, take the rights of others (chown root, chmod go-w), or remove it",
    ),
    Examination(
        "bundles", doctor_files.content, ("state",), f"{SITE}, which mends them from the sealed copies", (HOST,)
    ),
    Examination(
        "seals",
        doctor_files.sealed,
        ("state",),
        f"{SITE}, which seals anew what it can, and names what it cannot",
        (HOST,),
    ),
    Examination(
        "ages", doctor_times.ages, ("state",), f"{ROTATE}, or give the source a new value, and {SITE}", OF_THE_STACK
    ),
    Examination(
        "values", doctor_times.values, ("state",), f"{ROTATE}, or give the source a new value, and {SITE}", OF_THE_STACK
    ),
    Examination(
        "certificates",
        doctor_times.certificates,
        ("state",),
        f"{ROTATE}, or give the source a new certificate, and {SITE}",
        OF_THE_STACK,
    ),
    Examination("containers", doctor_containers.containers, ("engine", "state"), SITE, (HOST,)),
    Examination("images", doctor_containers.images, ("engine", "state"), SITE),
    Examination(
        "hardening",
        doctor_containers.hardening,
        ("engine", "state"),
        f"{SITE} and see what else starts or changes containers",
    ),
    Examination("packet filter", doctor_host.packet_filter, ("engine", "state"), SITE),
    Examination(
        "docker metadata", doctor_leaks.metadata, ("engine", "state"), "replace the secret, then what shows it"
    ),
    Examination("environment", doctor_leaks.environment, ("engine", "state"), "replace the secret, then what shows it"),
    Examination("container logs", doctor_leaks.logs, ("engine", "state"), "replace the secret, then what logs it"),
    Examination(
        "endpoints",
        doctor_answers.endpoints,
        ("engine", "state"),
        f"see docker logs of the services, or {SITE}",
        OF_THE_STACK,
    ),
    Examination(
        "readiness", doctor_answers.readiness, ("engine", "state"), f"see docker logs of that container, or {SITE}"
    ),
    Examination(
        "logins",
        doctor_answers.logins,
        ("engine", "state"),
        f"{SITE}, unless it says another thing above",
        OF_THE_STACK,
    ),
    Examination(
        "git history", doctor_leaks.git_history, (), "replace the secret; what was pushed once is known", OF_THE_STACK
    ),
)
# Where the source is a Key Vault.
OF_THE_VAULT = (
    Examination("vault", doctor_vault.reachable, (), "the running stack does not need the vault, the next run does"),
    Examination("vault versions", doctor_vault.drift, ("state", "vault"), f"put the vault right, and {SITE}"),
    Examination("vault expiry", doctor_vault.expiry, ("state", "vault"), f"{ROTATE}, or put a new version, and {SITE}"),
    Examination("vault protection", doctor_vault.protection, ("vault",), "fill the vault with make ensure-secrets"),
)
# Where the host is a node of a swarm.
OF_A_NODE = (
    Examination("swap", doctor_swarm.memory, (), "switch it off, or encrypt it", (ACTING, NODE)),
    Examination(
        "secrets", doctor_swarm.values, ("engine", "state"), f"{SITE}, which makes anew what it can", (ACTING,)
    ),
    Examination(
        "services", doctor_swarm.services, ("engine", "state"), f"see docker service ps of it, or {SITE}", (ACTING,)
    ),
    Examination(
        "swarm disk", doctor_swarm.disk, ("engine", "state"), "replace the secret, then what shows it", (ACTING, NODE)
    ),
)
# Where it is a manager.
OF_A_MANAGER = (
    Examination(
        "swarm",
        doctor_swarm.manager,
        ("engine",),
        "run systemctl start coffre-swarm-unlock where it is locked, then playbooks/swarm.yml (docs/swarm.md)",
    ),
)


def examine(target: Target) -> list[Check]:
    """All checks, in order. Nothing that a check stumbles over keeps the others from running."""
    found: dict[str, Check] = {}
    of_a_manager = OF_A_MANAGER if membership.SEAL.exists() else ()
    of_the_vault = OF_THE_VAULT if target.source.vault and target.acts else ()
    for each in EXAMINATIONS + OF_A_NODE + of_a_manager + of_the_vault:
        if target.place not in each.places:
            continue
        if missing := [need for need in each.needs if need in found and not _usable(found[need], target)]:
            found[each.name] = Check(each.name, False, False, f"not checked, because of: {', '.join(missing)}", True)
            continue
        found[each.name] = judge(each.name, each.remedy, functools.partial(each.run, target))
    return list(found.values())


def _usable(check: Check, target: Target) -> bool:
    """Whether what rests on a check can be done: a state that is not in order is one nevertheless."""
    if check.check == "state" and not check.ok:
        result, _ = guard(lambda: {"there": bool(target.state.services)})
        return bool(result and result["there"])
    return check.ok
