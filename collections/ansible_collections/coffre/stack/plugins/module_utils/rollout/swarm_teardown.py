"""Removes a stack from a swarm: what its managers have of it. What lies on the nodes is each node's own to remove."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from ..engines import swarm
from ..errors import CoffreError
from ..host import raft, state
from ..host.api import ask
from ..paths import StackPaths
from ..swarm import plan
from .teardown import admit, require_name

GONE_SECONDS = 180.0  # that tasks may take to end, and networks to be left
POLL_SECONDS = 0.5
# In the managers' refusals that pass: of what a task that ends has still, and of what somebody else just changed.
BUSY = ("in use", "active endpoints", raft.STALE)


def teardown(paths: StackPaths, destroy: str, check: bool, hosts: Collection[str]) -> dict[str, Any]:
    """As `teardown.teardown`, of the swarm that this host is in control of; `hosts` are those that the play reaches.

    Without `destroy` the stack's values, state and trail stay, and the labels of the nodes. Raises CoffreError.
    """
    require_name(paths, destroy)
    with state.locked(paths) if state.begun(paths) else nullcontext():
        warnings = admit(paths)
        found = _found(paths, bool(destroy))
        labelled = _labelled(paths)
        if not check:
            _remove(paths, found, labelled if destroy else [])
            if destroy:
                raft.remove(paths)  # last: it is the lock, and as long as it is there, there is something to remove
    removed = [f"{len(ids)} {kind}" for kind, ids in found.items()]
    removed += [f"the labels of {len(labelled)} nodes"] if labelled and destroy else []
    away = sorted({_name(node) for node in labelled} - set(hosts))
    warnings += [
        f"What {each} has of it stays there, for this play does not reach it: run again once it does." for each in away
    ]
    return {"changed": bool(removed), "removed": removed, "warnings": warnings}


def _found(paths: StackPaths, destroy: bool) -> dict[str, list[str]]:
    """By kind, in the order in which they go, the ids of what the managers have; kinds without any are left out."""
    of_file, ours = f"{swarm.NAMESPACE}={paths.stack}", f"{raft.STACK}={paths.stack}"
    kinds = {
        "services": _ids("services", of_file) + _ids("services", ours),
        "networks": _ids("networks", of_file),
        "configs": _ids("configs", of_file) + (_ids("configs", ours) if destroy else []),
        "secrets": _ids("secrets", of_file) + (_ids("secrets", ours) if destroy else []),
    }
    return {kind: ids for kind, ids in kinds.items() if ids}


def _ids(kind: str, label: str) -> list[str]:
    found = ask("GET", f"/{kind}", filters={"label": [label]})
    return [str(each.get("ID") or each["Id"]) for each in found]


def _remove(paths: StackPaths, found: Mapping[str, list[str]], labelled: Sequence[Mapping[str, Any]]) -> None:
    """What runs goes before what it has, the labels of these nodes last. Raises CoffreError at what does not go."""
    kept = {record.id for record in (raft.look(paths),) if record}
    try:
        for kind, ids in found.items():
            for each in ids:
                if each not in kept:
                    _until(functools.partial(ask, "DELETE", f"/{kind}/{each}"))
            if kind == "services":
                _until(functools.partial(_all_gone, paths))
        for node in labelled:
            _until(functools.partial(_unlabel, paths, node["ID"]))
    except CoffreError as error:
        raise CoffreError(
            f"The stack {paths.stack} is not wholly removed: {error} Mend that and run playbooks/teardown.yml again."
        ) from None


def _until(act: Callable[[], Any]) -> None:
    """Do what something that passes still hinders. Raises CoffreError where it does so for too long."""
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        try:
            act()
            return
        except CoffreError as error:
            if "not found" in str(error):
                return
            if time.monotonic() > deadline or not any(word in str(error) for word in BUSY):
                raise
        time.sleep(POLL_SECONDS)


def _all_gone(paths: StackPaths) -> None:
    """Raises CoffreError as long as a node that is up has a task of the stack."""
    names = {node["ID"]: _name(node) for node in ask("GET", "/nodes") if node["Status"]["State"] == "ready"}
    if there := {names[each["NodeID"]] for each in swarm.tasks(paths.stack) if each.get("NodeID") in names}:
        raise CoffreError(f"{', '.join(sorted(there))} has tasks of it that do not end, so it is in use.")


def _labelled(paths: StackPaths) -> list[dict[str, Any]]:
    """The nodes that bear labels of the stack."""
    return [node for node in ask("GET", "/nodes") if f"coffre.{paths.stack}" in (node["Spec"].get("Labels") or {})]


def _unlabel(paths: StackPaths, id: str) -> None:
    """Take the stack's labels off a node, if it is as it was just read."""
    mine = {f"coffre.{paths.stack}", f"coffre.{paths.stack}.data"}
    for node in _labelled(paths):
        if node["ID"] == id:
            labels = {key: value for key, value in node["Spec"]["Labels"].items() if key not in mine}
            spec = {**node["Spec"], "Labels": labels}
            ask("POST", f"/nodes/{id}/update", spec, version=node["Version"]["Index"])


def _name(node: Mapping[str, Any]) -> str:
    """What the inventory calls a node."""
    return str((node["Spec"].get("Labels") or {}).get(plan.LABEL_HOST) or node["Description"]["Hostname"])
