"""postgres_role: the password of a database, whose versions belong to two login roles in turn.

Both act as one owner, so the old and the new container of a consumer work side by side. Settings: `owner`, `roles`
and, where it is not called as its owner, `database`. Each version has the attribute `role`.
"""

from __future__ import annotations

from ... import postgres
from ..context import Context
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw
from .target import SERVICE, target

UNKNOWN = ""

__all__ = ["UNKNOWN", "confirm", "hinders", "make", "prove", "refused", "successor", "teach", "withdraw"]


def hinders(context: Context) -> list[str]:
    """A role in force that cannot log in as it should, and a next role that somebody uses."""
    container, old, new = context.container(SERVICE), target(context, "old"), target(context, "new")
    if not postgres.login(container, old, context.value("old")):
        return [f"PostgreSQL refuses the deployed password of {old.role}, or its roles are amiss: run site.yml."]
    if used := postgres.sessions(container, new.role):
        return [
            f"The role {new.role}, which is to come next, is in use from {', '.join(sorted(set(used)))}: stop that."
        ]
    return []
