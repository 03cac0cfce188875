"""What a strategy is given, and what it must be able to do."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from .. import engines
from ..catalogue import HOST, Catalogue, Secret
from ..engines import containers
from ..engines.base import Container
from ..errors import CoffreError
from ..host import bundles
from ..host import state as states
from ..host.escrow import Which as Which  # the strategies take it from here
from ..host.escrow import has, unseal
from ..paths import StackPaths
from ..rollout import apply as rollout
from . import DECLARED
from .base import Agreement

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Admin:
    """Keycloak's admin of realm master. During a rotation of its password either of the passwords may be live."""

    user: str
    passwords: tuple[bytes, ...]


@dataclass(frozen=True)
class Context:
    """One secret's change on one host. Values are read when they are asked for, and stay where they are read.

    `seconds` is the patience for a service to become healthy. A strategy reads `state` and changes nothing in it.
    """

    paths: StackPaths
    catalogue: Catalogue
    state: states.State
    secret: Secret
    change: states.Change
    seconds: float
    # By SERVICE/USER why a look had a login refused; its contexts share this: a second try could get the user locked.
    refused: dict[str, str] = field(default_factory=dict, kw_only=True)

    @property
    def run(self) -> states.Run:
        """The run, which is open from `make` on."""
        assert self.state.run
        return self.state.run

    @property
    def made_by_verifier(self) -> bool:
        """Whether who checks it makes the new value, so that none can be given."""
        return DECLARED[self.secret.strategy].makes

    def has(self, which: Which) -> bool:
        """Whether a value is there: a crash can have come before the new one was sealed."""
        run = self.state.run
        if run is None:
            return which == "old"
        return has(self.paths, run.id, self.secret.name, which)

    def value(self, which: Which) -> bytes:
        """The old or the new value. Before the run is open the old one comes from a bundle. Raises CoffreError."""
        run = self.state.run
        if run is None:
            return bundles.value(self.paths, self.state, self.secret.consumers[0], self.secret.name)
        return unseal(self.paths, run.id, self.secret.name, which)

    def container(self, service: str) -> Container:
        """The newest healthy container of a service, waited for. Raises CoffreError."""
        deadline = time.monotonic() + self.seconds
        while True:
            try:
                found = containers.healthy(self.paths, service)
                # Right after a boot it runs, and answers errors.
                if found.health == "healthy" or not (problem := _trouble(found, deadline - time.monotonic())):
                    return found
                raise CoffreError(
                    f"{service} does not become ready: {problem}: see `docker logs {found.name}`, or, once it is "
                    f"rolled back, {self.paths.failed_log(service)}."
                )
            except CoffreError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(POLL_SECONDS)

    def near(self) -> AbstractContextManager[None]:
        """Where the addresses of the stack's containers are reached: what a strategy does is done there."""
        return engines.of(self.paths).near(self.paths)

    def all_of(self, service: str) -> list[Container]:
        """The running containers of a service, on whichever machine, once one is healthy. Raises CoffreError."""
        first = self.container(service)
        found = engines.of(self.paths).containers(self.paths.stack)
        return [each for each in found if each.service == service and each.state == "running"] or [first]

    def verifier(self) -> Container:
        """The newest healthy container of the service that checks the secret, waited for. Raises CoffreError."""
        return self.container(str(self.secret.settings["service"]))

    def starting(self) -> bool:
        """Whether a container of the stack is still coming up."""
        return any(each.health == "starting" for each in engines.of(self.paths).containers(self.paths.stack))

    def adopters(self) -> list[Container]:
        """The running containers, of the bundles in force, that have the secret."""
        bundles_in_force = {
            entry.current
            for service in self.secret.consumers
            if service != HOST and (entry := self.state.services.get(service))
        }
        found = engines.of(self.paths).containers(self.paths.stack)
        return [each for each in found if each.state == "running" and each.bundle in bundles_in_force]

    def passwords(self, name: str, service: str) -> tuple[bytes, ...]:
        """The values of another secret by which somebody logs in, from a service's bundle, the likeliest first.

        During a rotation of it either of both may be live. Raises CoffreError.
        """
        run = self.state.run
        if run is None or name not in run.secrets:
            return (bundles.value(self.paths, self.state, service, name),)
        wanted: list[Which] = ["new", "old"] if run.direction == "forward" else ["old", "new"]
        there = [which for which in wanted if has(self.paths, run.id, name, which)]
        return tuple(unseal(self.paths, run.id, name, which) for which in there)

    def admin(self) -> Admin:
        """Keycloak's admin. Raises CoffreError."""
        admins = [
            each
            for each in self.catalogue.secrets.values()
            if each.strategy == "keycloak_user" and each.settings.get("service") == self.secret.settings["service"]
        ]
        if not admins:
            raise CoffreError(
                f"The catalogue has no keycloak_user secret of the service {self.secret.settings['service']}, by which "
                f"{self.secret.name} is rotated; nothing was changed: add one."
            )
        return Admin(str(admins[0].settings["user"]), self.passwords(admins[0].name, HOST))


def _trouble(container: Container, seconds: float) -> str:
    """Why a container does not become ready: "" if it does. Of one on another machine, what its engine says now."""
    return rollout.failing(container) if container.elsewhere else rollout.wait_ready(container, seconds)


class Strategy(Protocol):
    """The functions of a strategy's folder. Each can be repeated after a crash in its middle; a CoffreError stops it.

    The way back is the same road: withdraw(context, keep="old", drop="new") after the old bundles are in force again.
    """

    UNKNOWN: str
    """What `blockers` cannot find out without writing, as a clause ("whether ..."), or ""."""

    def successor(self, secret: Secret, old: states.Version, new: states.Version) -> states.Version:
        """The record of the new version, from one that has a fresh version and the old one's attributes. Pure."""

    def deployed(self, context: Context) -> list[str]:
        """Why the old value is not accepted, or not for good, as sentences; reads only.

        They tell what site.yml mends, but for a `ByHand`. Raises CoffreError when no answer can be had.
        """

    def agree(self, context: Context, dry: bool) -> Agreement:
        """Make the verifier accept the old value, which is the deployed one; repair only what no longer authenticates.

        With `dry` only tell. The caller holds the stack's lock, and no run is open. Raises CoffreError.
        """

    def blockers(self, context: Context) -> list[str]:
        """What would make the rotation fail, as sentences; reads only. There is no new value yet.

        What the rotation puts right by itself is an `Aside`.
        """

    def make(self, context: Context) -> bytes:
        """The new value, which is sealed next. After a crash in between it is called again."""

    def teach(self, context: Context) -> None:
        """Let the verifier accept the new value beside the old one."""

    def prove(self, context: Context, which: Which) -> None:
        """Authenticate with a value, from the host. Raises CoffreError if it is not accepted."""

    def confirm(self, context: Context, which: Which) -> None:
        """Authenticate from inside the containers that have adopted the value. Raises CoffreError."""

    def withdraw(self, context: Context, keep: Which, drop: Which) -> None:
        """Let the verifier accept `keep` only. `keep` is proved; `drop` may never have been taught."""

    def refused(self, context: Context, drop: Which) -> None:
        """See that a value is refused by its verifier. Raises CoffreError if it is still accepted."""
