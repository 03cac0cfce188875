"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from ..base import Agreement
from ..context import Context
from . import server as postgres
from .issue import make, successor, teach
from .login_role import login_role, server
from .prove import confirm, optional, prove, without_session
from .retire import refused, withdraw

UNKNOWN = ""
# Seconds in which a consumer that keeps sessions has one, in a look.
PATIENCE_SECONDS = 5.0

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
    """A role in force that cannot log in as it should."""
    problem = postgres.trouble(server(context), login_role(context, "old"), context.value("old"))
    return [problem] if problem else []


def agree(context: Context, dry: bool) -> Agreement:
    """`roles`, which stands for roles, grants and database too, and `verifier`, the password's."""
    return Agreement(postgres.ensure(server(context), login_role(context, "old"), context.value("old"), dry=dry))


def blockers(context: Context) -> list[str]:
    """The same, a next role that somebody uses, and a consumer without the session that the rotation waits for."""
    if problems := deployed(context):
        return problems
    new = login_role(context, "new")
    if used := postgres.sessions(server(context), new.role):
        return [
            f"The role {new.role}, which is to come next, is in use from {', '.join(sorted(set(used)))}: stop that."
        ]
    if optional(context):
        return []
    role = login_role(context, "old").role
    return [
        f"The container {each.name} holds no session as {role}, for which a rotation of {context.secret.name} would "
        "wait in vain: see that it is connected; where its connections live for one request only, set `sessions: "
        "optional` in the secret's settings."
        for each in without_session(context, context.adopters(), "old", min(context.seconds, PATIENCE_SECONDS))
    ]
