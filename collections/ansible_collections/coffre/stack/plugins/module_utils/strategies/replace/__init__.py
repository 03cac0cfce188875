"""replace: a value that nobody verifies but those who use it, so it must be what they can use.

Of a certificate that is its key, its chain, its names and its dates. Settings: `names`, which it must be for, where
the catalogue does not generate it, and `port`, at which its services show it.
"""

from __future__ import annotations

from ... import certificates
from ..context import Context
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""

__all__ = ["UNKNOWN", "confirm", "hinders", "make", "prove", "refused", "successor", "teach", "withdraw"]


def hinders(context: Context) -> list[str]:
    """A certificate that only its owner can have signed."""
    if context.secret.generate is None and certificates.names(context.secret):
        return [
            f"nothing generates {context.secret.name}: put the new key, certificate and chain into the source and run "
            "playbooks/site.yml, which adopts them if they agree"
        ]
    return []
