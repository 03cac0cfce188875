"""key_ring: a key that its consumers themselves check, where the earlier ones still count for a while or for good.

Nobody has to be taught: a bundle brings the new key and the ring. Settings, beside those of `rings`: `probe`, the
command of the service's own program that tries keys (`rehearse` or `confirm` is appended, and the keys go to its
standard input), or `trail`, the `volume` and `file` in which a service keeps what it signs.
"""

from __future__ import annotations

from ..context import Context
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""

__all__ = ["UNKNOWN", "blockers", "confirm", "deployed", "make", "prove", "refused", "successor", "teach", "withdraw"]


def deployed(context: Context) -> list[str]:  # noqa: ARG001
    """Nothing: nobody but its services verifies it."""
    return []


def blockers(context: Context) -> list[str]:
    """A service that cannot try keys, or does not get on with those that it has."""
    prove(context, "old")
    return []
