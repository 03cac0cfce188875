"""The doctor's checks of a stack on a swarm: what runs of it, what the managers have of it, and what lies on a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..compose_file import LABEL_BUNDLE
from ..engines import swarm
from ..engines.swarm import courier, deploy
from ..errors import CoffreError
from ..host import bundles, objects, tmpfs
from ..host import state as states
from ..host.api import ask
from ..swarm import look, membership, plan
from .target import Target, verdict

BLOCK = 8 << 20  # bytes of a file that are searched at once, and
OVERLAP = 1 << 16  # those of the one before it


def manager(_: Target) -> str:
    """This manager is in control, is locked at rest and can be unlocked; what is away of the others is a warning."""
    about = look.info().get("Swarm") or {}
    there = look.in_control(about)
    nodes = look.nodes() if there else []
    problems = list(amiss(about, bool(there and membership.comes_back())))
    managers = [node for node in nodes if node["role"] == "manager"]
    return verdict(problems, f"{len(managers)} managers and {len(nodes) - len(managers)} workers", away(nodes))


def amiss(about: Mapping[str, Any], opens: bool) -> Iterator[str]:
    """What is wrong with this manager; `opens` is whether the sealed key opens what is on its disk."""
    if not look.in_control(about):
        yield f"it is not in control of the swarm ({about.get('LocalNodeState', 'no engine')})"
    elif not (about["Cluster"]["Spec"].get("EncryptionConfig") or {}).get("AutoLockManagers"):
        yield "the swarm is not locked at rest"
    elif not opens:
        yield "the unlock key that is sealed here does not open what is on this manager's disk"


def away(nodes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The nodes that are down, and how many managers may still be lost."""
    managers = [node for node in nodes if node["role"] == "manager"]
    there = sum(node["reachability"] == "reachable" for node in managers)
    if there < len(managers):
        spare = there - len(managers) // 2 - 1
        more = f"{spare} more may be lost" if spare else "the next one that is lost stops all changes"
        yield f"{there} of {len(managers)} managers are reachable, and {more}: bring the others back, or replace them"
    if down := sorted(plan.name(node) for node in nodes if node["role"] == "worker" and node["state"] != "ready"):
        yield f"{', '.join(down)} {'is' if len(down) == 1 else 'are'} not ready: bring back or remove (docs/swarm.md)"


def memory(_: Target) -> str:
    """Swarm keeps the secrets of a task in memory that may be swapped."""
    if areas := tmpfs.swaps_in_clear():
        raise CoffreError(f"the secrets of a task could be swapped to {', '.join(areas)}, which is not encrypted")
    return "no swap in clear, to which the secrets of a task could go"


def values(target: Target) -> str:
    """The swarm has each secret object that the state names, and no other of this stack."""
    there, st = objects.there(target.paths), target.state
    of_the_run = {
        called for called, each in there.items() if st.run and each["Spec"]["Labels"].get(objects.RUN) == st.run.id
    }
    wanted = bundles.wanted(st)
    problems = [f"the secret {target.paths.stack}.{called} is missing" for called in sorted(wanted - set(there))]
    left = [f"{target.paths.stack}.{called}" for called in sorted(set(there) - wanted - of_the_run)]
    warning = f"nothing needs {', '.join(left)} any more: playbooks/site.yml removes what no task has"
    return verdict(problems, f"the swarm has the {len(wanted)} secrets that the state names", [warning] if left else [])


def services(target: Target) -> str:
    """Each service's tasks run, with the bundle in force."""
    stack = target.paths.stack
    there, running, nodes = swarm.services(stack), swarm.tasks(stack), ask("GET", "/nodes")
    # By service of the swarm, whose bundle it has; a proxy has none, which its courier has for it.
    known = {name: "" if each.adopt == "reload" else name for name, each in target.catalogue.services.items()}
    known |= {courier.called(name): name for name, bundle in known.items() if not bundle}
    problems = [
        f"the service {name} is not in the Compose file: docker service rm {stack}_{name} removes it"
        for name in sorted(set(there) - set(known))
    ]
    problems += [f"{name} has no service" for name in sorted(set(known) - set(there))]
    for name in sorted(set(known) & set(there)):
        spec = (there[name]["Spec"].get("Labels") or {}).get(swarm.SPEC, "")
        now = deploy.standing(there[name], running, spec)
        current = target.state.services.get(known[name], states.ServiceState()).current
        given = there[name]["Spec"]["TaskTemplate"]["ContainerSpec"].get("Labels") or {}
        if given.get(LABEL_BUNDLE) != current:
            problems.append(f"{name} has the bundle {given.get(LABEL_BUNDLE)}, not the current {current}")
        said = target.catalogue.services.get(name)
        if said and "Replicated" in there[name]["Spec"]["Mode"] and now.wanted != said.replicas:
            problems.append(f"{name} is to have {now.wanted} tasks where the Compose file says {said.replicas}")
        if now.update in deploy.PAUSED and not now.settled:
            problems.append(f"Swarm has paused the last update of {name}")
        if not now.settled:
            why = now.pending or now.last or "they are starting"
            problems.append(f"{now.right} of {now.wanted} tasks of {name} run as they should ({why})")
    return verdict(
        problems, f"the tasks of {len(known)} services run with their current bundles", _lonely(target, there, nodes)
    )


def _lonely(target: Target, there: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The services that only one node can run, because their volumes are on it."""
    label = f"coffre.{target.paths.stack}.data"
    bound = [
        name
        for name, each in sorted(there.items())
        if f"node.labels.{label}==true" in (each["Spec"]["TaskTemplate"].get("Placement") or {}).get("Constraints", [])
    ]
    holders = [node for node in nodes if label in (node["Spec"].get("Labels") or {})]
    for node in holders if bound else ():
        name = (node["Spec"].get("Labels") or {}).get(plan.LABEL_HOST) or node["Description"]["Hostname"]
        yield (
            f"the volumes of {', '.join(bound)} are on {name} alone, and would be gone with it: back them up, and in "
            "production have a database outside of the swarm"
        )


def disk(target: Target) -> str:
    """No value in clear in what the engine keeps of the swarm on this node's disk."""
    root = Path(look.info().get("DockerRootDir") or "/var/lib/docker") / "swarm"
    size, problems = 0, []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
        for block in _blocks(path):
            size += len(block)
            problems += [f"the value of {name} stands in {path}" for name in target.finder.names(block)]
    return verdict(problems, f"no value in {size >> 10} KiB below {root}")


def _blocks(path: Path) -> Iterator[bytes]:
    """A file in blocks that overlap, so that a value is whole in one of them."""
    with path.open("rb") as file:
        last = b""
        while block := file.read(BLOCK):
            yield last + block
            last = block[-OVERLAP:]
