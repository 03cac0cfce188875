"""Nobody has to be told: who has adopted the one value no longer has the other."""

from __future__ import annotations

from ...errors import CoffreError
from ..context import Context, Which
from .prove import services, shows


def withdraw(context: Context, keep: Which, drop: Which) -> None:
    """Nothing."""


def refused(context: Context, drop: Which) -> None:
    """See that no service still shows a certificate that was dropped. Raises CoffreError."""
    if "port" in context.secret.settings and context.has(drop):
        for service in services(context):
            if any(shows(context, service, drop)):
                raise CoffreError(f"{service} still shows the {drop} {context.secret.name}.")
