"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from ..context import Context
from ..unverified import agree, deployed
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


def blockers(context: Context) -> list[str]:
    """A service that cannot try keys, or does not get on with those that it has."""
    prove(context, "old")
    return []
