"""What rollout, rotation, staging and doctor ask of an engine, whichever it is, and what it tells them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..paths import StackPaths

Place = tuple[str, int]  # (address, port) of the host, over TCP; "" is every address


@dataclass(frozen=True)
class DesiredService:
    """One service of a compose file: what a container of it must be like."""

    name: str
    config_hash: str
    image: str
    image_id: str | None  # None: not on this host
    bundle: str | None
    adopt: str  # start_first restart reload
    restart: str  # restart policy, as the engine names it
    variables: frozenset[str] = frozenset()  # names of those that it is given, not those of its image


@dataclass(frozen=True)
class Container:
    """One container of a project, running or not."""

    id: str
    name: str
    service: str
    config_hash: str
    image: str
    image_id: str
    bundle: str | None
    state: str  # created running restarting paused exited dead
    health: str  # healthy unhealthy starting, or "" without a health check
    exit_code: int
    out_of_memory: bool
    restarts: int
    created: str  # RFC 3339, sorts by time
    pid: int
    stop_seconds: int
    restart: str  # restart policy
    health_check: tuple[str, ...]  # as the engine has it: CMD word... or CMD-SHELL line
    ready: tuple[str, ...]  # a command that must succeed too before the container counts as ready
    addresses: frozenset[str]
    mounts: tuple[tuple[str, str], ...]  # bind mounts: source on the host, path in the container
    adopt: str = ""  # as its label says
    arguments: tuple[str, ...] = ()  # what its program is given
    memory: int = 0  # the most that it may take, in bytes; 0 is no limit
    published: frozenset[str] = frozenset()  # ports of the host, as 8443/tcp
    places: frozenset[Place] = frozenset()  # where it listens on the host
    proxies: frozenset[str] = frozenset()  # names of variables of a proxy, which may be its image's
    networks: frozenset[str] = frozenset()  # names of those that it is on
    elsewhere: bool = False  # it runs on another machine, where nothing can be run in it
    task: str = ""  # what a swarm calls it
    node: str = ""  # the id of the swarm's node that it runs on


class Engine(Protocol):
    """A folder or file of this one's: functions, each of a stack by its name. Raises CoffreError without an answer."""

    def containers(self, stack: str, /) -> list[Container]:
        """All containers of a stack, on every machine, stopped ones too, oldest first."""

    def near(self, paths: StackPaths, /) -> AbstractContextManager[None]:
        """Have the calling thread where the addresses of a stack's containers are reached, on whichever machine."""

    def beside(self, paths: StackPaths, service: str, /) -> AbstractContextManager[Container]:
        """A container on this machine with the image, files and networks of a service's, in which nothing runs yet."""
