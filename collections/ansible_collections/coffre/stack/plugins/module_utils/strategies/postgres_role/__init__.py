"""postgres_role: the password of a database, whose versions belong to two login roles in turn.

Both act as one owner, so the old and the new container of a consumer work side by side. Settings: `owner`, `roles`
and, where it is not called as its owner, `database`. Each version has the attribute `role`.
"""

from __future__ import annotations

from ..context import Context
from . import server as postgres
from .issue import make, successor, teach
from .login_role import SERVICE, login_role
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""

__all__ = ["UNKNOWN", "blockers", "confirm", "deployed", "make", "prove", "refused", "successor", "teach", "withdraw"]


def deployed(context: Context) -> list[str]:
    """A role in force that cannot log in as it should."""
    problem = postgres.trouble(context.container(SERVICE), login_role(context, "old"), context.value("old"))
    return [problem] if problem else []


def blockers(context: Context) -> list[str]:
    """The same, and a next role that somebody uses."""
    if problems := deployed(context):
        return problems
    new = login_role(context, "new")
    if used := postgres.sessions(context.container(SERVICE), new.role):
        return [
            f"The role {new.role}, which is to come next, is in use from {', '.join(sorted(set(used)))}: stop that."
        ]
    return []
