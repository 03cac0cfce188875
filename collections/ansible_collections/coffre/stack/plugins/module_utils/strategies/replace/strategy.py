"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from ...values import certificates
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
    """A value that comes from elsewhere, such as a certificate that only its authority can sign."""
    if context.secret.generate is None:
        what = "key, certificate and chain" if certificates.names(context.secret) else "value"
        return [
            f"nothing generates {context.secret.name}: put the new {what} into the source and run playbooks/site.yml, "
            "which adopts it"
        ]
    return []
