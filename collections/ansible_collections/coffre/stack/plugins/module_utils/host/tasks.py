"""A task of our own on this manager, as a service of Swarm's: so it may have its secrets and be in its networks."""

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


@dataclass(frozen=True)
class Task:
    """A task that runs on this host: its process, and its container's id."""

    pid: int
    container: str


def start(stack: str, called: str, template: Mapping[str, Any]) -> Task:
    """Have a service of one task here, in the place of any of that name.

    `template` is the engine API's TaskTemplate but for where it runs and what becomes of it. Raises CoffreError.
    """
    stop(called)
    node = api.ask("GET", "/info")["Swarm"]["NodeID"]
    own = {
        "Placement": {"Constraints": [f"node.id=={node}"]},
        "RestartPolicy": {"Condition": "none"},
        "LogDriver": {"Name": "none"},
    }
    spec = {
        "Name": called,
        "Labels": {raft.STACK: stack},
        "TaskTemplate": {**template, **own},
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    service = api.ask("POST", "/services/create", spec)["ID"]
    deadline = time.monotonic() + TASK_SECONDS
    while True:
        found = api.ask("GET", "/tasks", filters={"service": [service]})
        for each in found:
            about = each["Status"].get("ContainerStatus") or {}
            if each["Status"]["State"] == "running" and about.get("PID"):
                return Task(int(about["PID"]), str(about["ContainerID"]))
        ended = any(each["Status"]["State"] in ("rejected", "failed", "complete") for each in found)
        if ended or time.monotonic() > deadline:
            why = next((each["Status"].get("Err") or each["Status"]["State"] for each in found), "it has no task")
            raise CoffreError(
                f"The service {called}, which works for {stack} on this manager, does not start ({why}): see "
                f"`docker service ps {called}`, then run again."
            )
        time.sleep(POLL_SECONDS)


def stop(called: str) -> None:
    """End a service, if it is there."""
    with suppress(CoffreError):
        api.ask("DELETE", f"/services/{called}")
