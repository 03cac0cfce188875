"""A task of our own, as a service of Swarm's: so it may have its secrets, be in its networks, and run on any node."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import CoffreError
from . import api, raft

NAMESPACE = "com.docker.stack.namespace"  # the label by which `docker stack` knows what is a stack's
TASK_SECONDS = 60.0
POLL_SECONDS = 0.1
ENDED = ("complete", "failed", "rejected")


@dataclass(frozen=True)
class Task:
    """A task that runs on this host: its process, and its container's id."""

    pid: int
    container: str


def start(stack: str, called: str, template: Mapping[str, Any]) -> Task:
    """Have a service of one task here, in the place of any of that name.

    `template` is the engine API's TaskTemplate but for where it runs and what becomes of it. Raises CoffreError.
    """
    about = _reached(stack, called, template, api.ask("GET", "/info")["Swarm"]["NodeID"], "running")
    return Task(int(about["PID"]), str(about["ContainerID"]))


def finish(stack: str, called: str, template: Mapping[str, Any], node: str) -> None:
    """As `start`, on any node, and wait until the task has done its work. Raises CoffreError where it fails."""
    _reached(stack, called, template, node, "complete")


def _reached(stack: str, called: str, template: Mapping[str, Any], node: str, state: str) -> Mapping[str, Any]:
    """What the managers say of the container of a new service's task once it is in a state. Raises CoffreError."""
    stop(called)
    own = {"Placement": {"Constraints": [f"node.id=={node}"]}, "RestartPolicy": {"Condition": "none"}}
    spec = {
        "Name": called,
        "Labels": {raft.STACK: stack},
        "TaskTemplate": {"LogDriver": {"Name": "none"}, **template, **own},
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    service = api.ask("POST", "/services/create", spec)["ID"]
    deadline = time.monotonic() + TASK_SECONDS
    while True:
        found = [each["Status"] for each in api.ask("GET", "/tasks", filters={"service": [service]})]
        for each in found:
            if each["State"] == state:
                return dict(each["ContainerStatus"])
        if time.monotonic() > deadline or any(each["State"] in ENDED for each in found):
            why = next((each.get("Err") or each["State"] for each in found), "it has no task")
            raise CoffreError(
                f"The service {called}, which works for {stack} on the swarm, does not do it ({why}): see "
                f"`docker service ps {called}`, then run again."
            )
        time.sleep(POLL_SECONDS)


def stop(called: str) -> None:
    """End a service, if it is there."""
    with suppress(CoffreError):
        api.ask("DELETE", f"/services/{called}")
