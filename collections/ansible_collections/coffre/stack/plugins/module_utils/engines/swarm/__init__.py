"""Docker Swarm: what runs of a stack on all its nodes, and the services that it is made of."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...compose_file import LABEL_ADOPT, LABEL_BUNDLE, LABEL_READY
from ...errors import CoffreError
from ...host import tasks as own
from ...host.api import ask
from ...host.objects import near as near
from ...host.tasks import NAMESPACE as NAMESPACE
from ...paths import StackPaths
from .. import compose
from ..base import Container, Place

SERVICE = "com.docker.swarm.service.name"  # the label of a container with its service's, STACK_SERVICE
SPEC = "coffre.spec"  # the label with the hash of a rendered service
# What a task's state is in the words of a container's. One that is `running` has passed its health check.
STATES = {
    "starting": "running",
    "running": "running",
    "complete": "exited",
    "shutdown": "exited",
    "failed": "exited",
    "rejected": "dead",
    "orphaned": "dead",
    "remove": "dead",
}
TAIL = 64 << 10  # bytes
GRACE = 10_000_000_000  # ns that a task has to stop unless it says otherwise


def services(stack: str) -> dict[str, dict[str, Any]]:
    """What the managers say of each service of a stack, by its name in the file."""
    found = ask("GET", "/services", filters={"label": [f"{NAMESPACE}={stack}"]})
    return {each["Spec"]["Name"].removeprefix(f"{stack}_"): each for each in found}


def tasks(stack: str) -> list[dict[str, Any]]:
    """What the managers say of each task of a stack, those of before too, oldest first."""
    found: list[dict[str, Any]] = ask("GET", "/tasks", filters={"label": [f"{NAMESPACE}={stack}"]})
    return sorted(found, key=lambda each: str(each["CreatedAt"]))


def node() -> str:
    """The id of this node. Raises CoffreError where it has no part in a swarm."""
    return str(ask("GET", "/info")["Swarm"]["NodeID"])


def places(stack: str, service: str, target: int) -> list[Place]:
    """Where the nodes that run a service publish a port of its containers; not one that the managers do not reach.

    The service says which port of the nodes it is: what a task says of it is forgotten where another manager leads.
    """
    found = services(stack).get(service)
    if found is None:
        return []
    said = (found["Spec"].get("EndpointSpec") or {}).get("Ports") or []
    ports = [int(each["PublishedPort"]) for each in said if each["TargetPort"] == target and each.get("PublishedPort")]
    addresses_of = {each["ID"]: each["Status"]["Addr"] for each in ask("GET", "/nodes")}
    return sorted(
        (addresses_of[each["NodeID"]], port)
        for each in tasks(stack)
        if each["ServiceID"] == found["ID"]
        if each["DesiredState"] == each["Status"]["State"] == "running"
        for port in ports
    )


def mounted(container: Mapping[str, Any]) -> dict[str, bytes]:
    """The secrets that a container of this node has, by their objects' ids, where the engine put them in memory.

    `container` is as `docker inspect` tells it.
    """
    folder = Path(container["HostnamePath"]).parent / "mounts/secrets"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}


def containers(stack: str) -> list[Container]:
    """The tasks of a stack that are to run, on every node, oldest first; none of a courier, which serves nobody."""
    names = {each["ID"]: name for name, each in services(stack).items()}
    here = node()
    found = [
        container(each, names[each["ServiceID"]], here)
        for each in tasks(stack)
        if each["DesiredState"] == "running" and each["ServiceID"] in names
    ]
    return [each for each in found if each.adopt != "reload" or each.bundle is None]


def container(task: Mapping[str, Any], service: str, here: str) -> Container:
    """A task in the words of a container. On another node than `here` it has no process that could be looked at."""
    spec, status = task["Spec"]["ContainerSpec"], task["Status"]
    about = status.get("ContainerStatus") or {}
    labels: dict[str, str] = spec.get("Labels") or {}
    check = tuple((spec.get("Healthcheck") or {}).get("Test") or ())
    mine = task.get("NodeID") == here
    state = STATES.get(status["State"], "created")
    health = "healthy" if status["State"] == "running" else "starting"
    limits = (task["Spec"].get("Resources") or {}).get("Limits") or {}
    return Container(
        id=about.get("ContainerID") or task["ID"],
        name=f"{service}.{task.get('Slot') or task.get('NodeID', '')}.{task['ID']}",
        service=service,
        config_hash=labels.get(SPEC, ""),
        image=spec["Image"],
        image_id=spec["Image"],
        bundle=labels.get(LABEL_BUNDLE),
        state=state,
        health=health if check and state == "running" else "",
        exit_code=int(about.get("ExitCode") or 0),
        out_of_memory=False,
        restarts=0,
        created=task["CreatedAt"],
        pid=int(about.get("PID") or 0) if mine else 0,
        stop_seconds=int(spec.get("StopGracePeriod") or GRACE) // 1_000_000_000,
        restart="",
        health_check=check,
        ready=tuple(shlex.split(labels.get(LABEL_READY, ""))),
        addresses=addresses(task),
        mounts=(),
        adopt=labels.get(LABEL_ADOPT, ""),
        arguments=tuple(spec.get("Args") or ()),
        memory=int(limits.get("MemoryBytes") or 0),
        elsewhere=not mine,
        task=task["ID"],
        node=task.get("NodeID", ""),
    )


def addresses(task: Mapping[str, Any]) -> frozenset[str]:
    """Where other tasks of its networks reach a task."""
    return frozenset(
        address.partition("/")[0]
        for each in task.get("NetworksAttachments") or []
        if not each["Network"]["Spec"].get("Ingress")
        for address in each.get("Addresses") or []
    )


@contextmanager
def beside(paths: StackPaths, service: str) -> Iterator[Container]:
    """A container on this node that is as those of a service and sleeps. Raises CoffreError where it does not start.

    It has the service's files and networks; nobody finds it there by the service's name.
    """
    found = services(paths.stack).get(service)
    if found is None:
        raise CoffreError(f"The stack {paths.stack} has no service {service}; nothing was changed: run site.yml.")
    task = own.start(paths.stack, "beside", sleeping(found["Spec"]["TaskTemplate"]))
    try:
        yield replace(compose.inspect([task.container])[0], service=service)
    finally:
        own.stop(task.service)


def end_of(paths: StackPaths, container: Container, volume: str, file: str) -> bytes:
    """The end of a file in a volume that a container on another node has, TAIL bytes at most. Raises CoffreError.

    It takes a task there, in which the `tail` of the service's image says it to its log.
    """
    found = services(paths.stack)[container.service]["Spec"]["TaskTemplate"]["ContainerSpec"]
    mount = {"Type": "volume", "Source": f"{paths.stack}_{volume}", "Target": "/volume", "ReadOnly": True}
    spec = {
        "Image": found["Image"],
        "User": found.get("User", ""),
        "Command": ["tail", "-c", str(TAIL), f"/volume/{file}"],
        "Healthcheck": {"Test": ["NONE"]},
        "Mounts": [mount],
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
    }
    template = {"ContainerSpec": spec, "LogDriver": {"Name": "json-file"}}
    with own.finished(paths.stack, "reads", template, container.node) as service:
        return compose.call(["docker", "service", "logs", "--raw", service]).encode()


def sleeping(template: Mapping[str, Any]) -> dict[str, Any]:
    """A service's TaskTemplate for a task that is as its own and does nothing: without its check and its volumes."""
    spec = {key: each for key, each in template["ContainerSpec"].items() if key not in ("Args", "Labels")}
    asleep = {
        "Command": ["sleep", "infinity"],
        "Healthcheck": {"Test": ["NONE"]},
        "Mounts": [each for each in spec.get("Mounts") or [] if each["Type"] == "tmpfs"],
        "StopGracePeriod": 0,
    }
    return {
        "ContainerSpec": {**spec, **asleep},
        "Networks": [{"Target": each["Target"]} for each in template.get("Networks") or []],
        "Resources": {"Limits": (template.get("Resources") or {}).get("Limits") or {}},
    }
