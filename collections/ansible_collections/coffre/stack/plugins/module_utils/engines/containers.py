"""Which container of a service to talk to, and where the host reaches it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import CoffreError
from ..host import bundles, state
from ..paths import StackPaths
from . import of
from .base import Container


def healthy(paths: StackPaths, service: str) -> Container:
    """The newest healthy container of a service, on this machine if there is one.

    During a roll there are two, and the old one is about to leave.
    One that a rollout has just found ready may still be `starting` to the engine, which looks only every few seconds;
    one without a health check is healthy as long as it runs.
    Raises CoffreError when there is none.
    """
    running = [
        each for each in of(paths).containers(paths.stack) if each.service == service and each.state == "running"
    ]
    known = ("", "starting", "healthy")
    found = sorted(
        (each for each in running if each.health in known),
        key=lambda each: (known.index(each.health), not each.elsewhere),
    )
    if not found:
        raise CoffreError(
            f"No healthy container of service {service} runs in stack {paths.stack}; nothing was changed: "
            f"see `docker ps --all` and the log of its container, then run site.yml again."
        )
    return found[-1]


def address(container: Container) -> str:
    """An IPv4 address of a running container, which is reached `near` the stack. Raises CoffreError without one."""
    if not container.addresses:
        raise CoffreError(f"The container {container.name} has no address on any network; run site.yml again.")
    return min(container.addresses)


@contextmanager
def program(paths: StackPaths, found: Sequence[Container]) -> Iterator[Container]:
    """Where to run the program of a service with these containers: in one on this machine, or else in one beside.

    Raises CoffreError.
    """
    if here := [each for each in found if not each.elsewhere]:
        yield here[-1]
        return
    with of(paths).beside(paths, found[0].service) as beside:
        yield beside


def to_come(paths: StackPaths, st: state.State, service: str, consumer: str, secret: str) -> bool:
    """Whether a deploy would first have to start the service, or to stage the secret for its consumer.

    A check then has nobody to ask, and tells that the deploy would see to it.
    """
    try:
        bundles.in_force(st, consumer, secret)
        healthy(paths, service)
    except CoffreError:
        return True
    return secret not in st.secrets
