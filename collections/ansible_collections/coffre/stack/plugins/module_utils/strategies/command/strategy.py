"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from ..base import Agreement
from ..context import Context
from .issue import make, successor, teach
from .operators import run, succeeds
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = "whether the operator's commands do what they are for"

__all__ = [
    "UNKNOWN",
    "agree",
    "blockers",
    "confirm",
    "deployed",
    "make",
    "prove",
    "refused",
    "successor",
    "teach",
    "withdraw",
]


def deployed(context: Context) -> list[str]:
    """A value with which the operator's command does not succeed."""
    if succeeds(context, "prove", "old"):
        return []
    return [
        f"The command `prove` of {context.secret.name} does not succeed with the deployed value in the container of "
        f"{context.secret.settings['service']}: run site.yml, which lets the value be taught again, or see the command."
    ]


def blockers(context: Context) -> list[str]:
    """The same."""
    return deployed(context)


def agree(context: Context, dry: bool) -> Agreement:
    """`value`, one with which `prove` did not succeed; it is taught as it was the first time. Raises CoffreError."""
    if succeeds(context, "prove", "old"):
        return Agreement()
    if not dry:
        run(context, "agree" if "agree" in context.secret.settings else "teach", "old")
        prove(context, "old")
    return Agreement(["value"])
