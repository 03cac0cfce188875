"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from ..base import Agreement
from ..context import Context
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""

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


def deployed(context: Context) -> list[str]:  # noqa: ARG001
    """Nothing: nobody but its services verifies it."""
    return []


def agree(context: Context, dry: bool) -> Agreement:  # noqa: ARG001
    """Nothing: nobody but its services verifies it."""
    return Agreement()


def blockers(context: Context) -> list[str]:
    """A service that cannot try keys, or does not get on with those that it has."""
    prove(context, "old")
    return []
