"""A strategy's context whose values lie in memory, and the two ways that a run goes through a strategy."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Generate, Secret
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Admin, Context, Strategy, Which

# Where a run dies: at one change or at two in a row, each before it is made or after.
DEATHS = [{first: made} for first in range(1, 6) for made in (False, True)]
DEATHS += [
    {first: made, first + 1: again} for first in range(1, 5) for made in (False, True) for again in (False, True)
]

SECRETS = {
    "client": Secret(
        "client",
        ("app", "host"),
        "keycloak_client",
        settings={"service": "keycloak", "realm": "iam", "client": "automation-cli"},
    ),
    "password": Secret(
        "password",
        ("host",),
        "keycloak_user",
        generate=Generate("random"),
        settings={"service": "keycloak", "realm": "master", "user": "admin"},
    ),
    "database": Secret(
        "database",
        ("keycloak",),
        "postgres_role",
        settings={"service": "postgres", "owner": "own", "roles": ["role_a", "role_b"]},
    ),
}


def free_port() -> int:
    """A port of the loopback address that nobody has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def container(service: str, bundle: str | None = None, address: str = "127.0.0.1") -> Container:
    """A running container."""
    return compose.parse(
        {
            "Id": f"id-{service}",
            "Name": f"/demo-{service}-1",
            "Config": {
                "Image": "",
                "Labels": {"com.docker.compose.service": service} | ({"coffre.bundle": bundle} if bundle else {}),
                "Healthcheck": {"Test": ["CMD", "probe"]},
            },
            "State": {"Status": "running", "ExitCode": 0, "Pid": 1, "Health": {"Status": "healthy"}},
            "Image": "",
            "Created": "",
            "HostConfig": {"RestartPolicy": {"Name": "no"}},
            "NetworkSettings": {"Networks": {"data": {"IPAddress": address}}},
        }
    )


@dataclass(frozen=True)
class Given(Context):
    """`values` has what is sealed; `admins` are the passwords that automation tries."""

    values: dict[Which, bytes] = field(default_factory=dict)
    admins: tuple[bytes, ...] = (b"admin-password",)
    running: tuple[Container, ...] = ()
    address: str = "127.0.0.1"  # of the verifier's container
    boots: list[bool] = field(default_factory=list)  # whether a container is starting, look by look; then none is

    def has(self, which: Which) -> bool:
        return which in self.values

    def value(self, which: Which) -> bytes:
        return self.values[which]

    def container(self, service: str) -> Container:
        return container(service, address=self.address)

    def all_of(self, service: str) -> list[Container]:
        return list(self.running) or [self.container(service)]

    def starting(self) -> bool:
        return self.boots.pop(0) if self.boots else False

    def adopters(self) -> list[Container]:
        return list(self.running)

    def passwords(self, name: str, service: str) -> tuple[bytes, ...]:  # noqa: ARG002
        return self.admins

    def admin(self) -> Admin:
        return Admin("admin", self.admins)


def given(name: str, old: bytes, **rest: Any) -> Given:
    """The change of a secret from version v1 to v2, in a run that begins now."""
    before = state.Version("v1", state.now(), {"role": "role_a"})
    after = state.Version("v2", state.now(), {"role": "role_b"})
    change = state.Change(SECRETS[name].strategy, before, after)
    st = state.State("demo", secrets={name: before})
    st.run = state.Run("r1", "play", "operator", state.now(), state.now(60), {name: change})
    return Given(StackPaths("demo"), Catalogue(SECRETS, {}), st, SECRETS[name], change, 1.0, {"old": old}, **rest)


def forward(strategy: Strategy, context: Given) -> None:
    """Every act of a run, in order; `step` says whether a withdrawal was begun."""
    if not context.has("new"):
        context.values["new"] = strategy.make(context)
    if context.change.step != "withdrawn":
        strategy.teach(context)
        strategy.prove(context, "new")
        context.change.step = "withdrawn"
    strategy.withdraw(context, "new", "old")
    strategy.refused(context, "old")


def back(strategy: Strategy, context: Given) -> None:
    """Every act of a run's way back."""
    strategy.withdraw(context, "old", "new")
    strategy.prove(context, "old")
    strategy.refused(context, "new")


def survive(strategy: Strategy, context: Given, way: Callable[[Strategy, Given], None]) -> bool:
    """Go forward until it fails and then `way` until it ends, but forward once a withdrawal was begun.

    Returns whether it went forward to the end.
    """
    attempt: Callable[[Strategy, Given], None] = forward
    for _ in range(4):
        try:
            attempt(strategy, context)
        except CoffreError as error:
            assert "gave no answer" in str(error)
            attempt = forward if context.change.step == "withdrawn" else way
        else:
            return attempt is forward
    raise AssertionError("it does not end")
