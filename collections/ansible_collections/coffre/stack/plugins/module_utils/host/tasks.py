"""A task of our own, as a service of Swarm's: so it may have its secrets, be in its networks, and run on any node."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..errors import CoffreError
from . import api, raft

NAMESPACE = "com.docker.stack.namespace"  # the label by which `docker stack` knows what is a stack's
OWNER = "coffre.owner"  # the label with the node and the process, and when that began, for which a service is there
TASK_SECONDS = 60.0
POLL_SECONDS = 0.1
ENDED = ("complete", "failed", "rejected")


@dataclass(frozen=True)
class Task:
    """A task that runs on this host: its service's id, its process, and its container's id."""

    service: str
    pid: int
    container: str


def start(stack: str, what: str, template: Mapping[str, Any]) -> Task:
    """Have a service of one task here, for this process alone; its name ends by chance, for others may have one, too.

    `template` is the engine API's TaskTemplate but for where it runs and what becomes of it. Raises CoffreError.
    """
    here = _here()
    sweep(stack, here)
    service, about = _reached(stack, what, template, here, here, "running")
    return Task(service, int(about["PID"]), str(about["ContainerID"]))


@contextmanager
def finished(stack: str, what: str, template: Mapping[str, Any], node: str) -> Iterator[str]:
    """As `start`, on any node: once the task has done its work, its service's id. Raises CoffreError where it fails."""
    service, _ = _reached(stack, what, template, _here(), node, "complete")
    try:
        yield service
    finally:
        stop(service)


def _here() -> str:
    return str(api.ask("GET", "/info")["Swarm"]["NodeID"])


def _reached(
    stack: str, what: str, template: Mapping[str, Any], here: str, node: str, state: str
) -> tuple[str, Mapping[str, Any]]:
    """A new service, and what the managers say of its task's container once it is in a state.

    Raises CoffreError, and no service is left.
    """
    own = {"Placement": {"Constraints": [f"node.id=={node}"]}, "RestartPolicy": {"Condition": "none"}}
    spec = {
        "Name": f"{stack}_{what}-{secrets.token_hex(4)}",
        "Labels": {raft.STACK: stack, OWNER: f"{here} {os.getpid()} {raft.born(os.getpid())}"},
        "TaskTemplate": {"LogDriver": {"Name": "none"}, **template, **own},
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    service = str(api.ask("POST", "/services/create", spec)["ID"])
    try:
        return service, _waited(service, state)
    except CoffreError as error:
        stop(service)
        raise CoffreError(f"The service {spec['Name']}, a help to work on {stack}, does not do: {error}.") from None


def _waited(service: str, state: str) -> Mapping[str, Any]:
    deadline = time.monotonic() + TASK_SECONDS
    while True:
        found = [each["Status"] for each in api.ask("GET", "/tasks", filters={"service": [service]})]
        for each in found:
            if each["State"] == state:
                return dict(each["ContainerStatus"])
        if time.monotonic() > deadline or any(each["State"] in ENDED for each in found):
            raise CoffreError(next((each.get("Err") or each["State"] for each in found), "it has no task"))
        time.sleep(POLL_SECONDS)


def stop(service: str) -> None:
    """End a service, if it is there."""
    with suppress(CoffreError):
        api.ask("DELETE", f"/services/{service}")


def sweep(stack: str, here: str) -> None:
    """End the services that nobody ended: of this node those that are gone, all of a node that is down."""
    for each in api.ask("GET", "/services", filters={"label": [f"{raft.STACK}={stack}"]}):
        node, pid, born = each["Spec"]["Labels"].get(OWNER, "- 0 0").split()
        if raft.born(int(pid)) != born if node == here else not _up(node):
            stop(each["ID"])


def oust(stack: str) -> None:
    """End the services of other nodes' processes: one was taken over, and no value is to stay mounted for it."""
    here = _here()
    for each in api.ask("GET", "/services", filters={"label": [f"{raft.STACK}={stack}"]}):
        if each["Spec"]["Labels"].get(OWNER, here).split()[0] != here:
            stop(each["ID"])


def _up(node: str) -> bool:
    """Whether a node may have processes: of some the managers do not know for a while, where another one leads."""
    return any(each["ID"] == node and each["Status"]["State"] != "down" for each in api.ask("GET", "/nodes"))
