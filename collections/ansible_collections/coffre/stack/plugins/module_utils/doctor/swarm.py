"""The doctor's check of a manager of a swarm: that it could lose another one, and comes back by itself after a boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..swarm import look, membership, plan
from .target import Target, verdict


def manager(_: Target) -> str:
    """This manager is in control, is locked at rest and can be unlocked; what is away of the others is a warning."""
    swarm = look.info().get("Swarm") or {}
    there = bool(swarm.get("ControlAvailable"))
    nodes = look.nodes() if there else []
    problems = list(amiss(swarm, bool(there and membership.comes_back())))
    managers = [node for node in nodes if node["role"] == "manager"]
    return verdict(problems, f"{len(managers)} managers and {len(nodes) - len(managers)} workers", away(nodes))


def amiss(swarm: Mapping[str, Any], opens: bool) -> Iterator[str]:
    """What is wrong with this manager; `opens` is whether the sealed key opens what is on its disk."""
    if not swarm.get("ControlAvailable"):
        yield f"it is not in control of the swarm ({swarm.get('LocalNodeState', 'no engine')})"
    elif not (swarm["Cluster"]["Spec"].get("EncryptionConfig") or {}).get("AutoLockManagers"):
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
