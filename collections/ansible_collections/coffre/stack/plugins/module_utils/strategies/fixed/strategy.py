"""The strategy as one: a rotation is refused before it begins, so that of its acts none is ever reached."""

from __future__ import annotations

from ...catalogue import Secret
from ...errors import CoffreError
from ...host import state
from ..context import Context, Which
from ..unverified import agree as agree
from ..unverified import deployed as deployed

UNKNOWN = ""
WHY = "data are encrypted under it"


def blockers(context: Context) -> list[str]:
    """That it is never rotated, and why."""
    return [_refusal(context)]


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:  # noqa: ARG001
    """As if there were one: that there is none is for `blockers` to say, beside what else it finds."""
    return new


def make(context: Context) -> bytes:
    """Refused. Raises CoffreError."""
    raise CoffreError(_refusal(context))


def teach(context: Context) -> None:
    """Refused. Raises CoffreError."""
    raise CoffreError(_refusal(context))


def prove(context: Context, which: Which) -> None:
    """The old value is the one in force; a new one is refused. Raises CoffreError."""
    if which == "new":
        raise CoffreError(_refusal(context))


def confirm(context: Context, which: Which) -> None:
    """As `prove`. Raises CoffreError."""
    prove(context, which)


def withdraw(context: Context, keep: Which, drop: Which) -> None:  # noqa: ARG001
    """The old value is never withdrawn. Raises CoffreError."""
    prove(context, keep)


def refused(context: Context, drop: Which) -> None:
    """Nobody verifies it, and nobody has had a new one."""


def _refusal(context: Context) -> str:
    name, why = context.secret.name, context.secret.settings.get("why", WHY)
    return (
        f"{name} is never rotated, because {str(why).removesuffix('.')}: where it has to be another one, take the data "
        "over by the means of the service itself, change the value at its source, and deploy once with the strategy "
        "replace in the catalogue."
    )
