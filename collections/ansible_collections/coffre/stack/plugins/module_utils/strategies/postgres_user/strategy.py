"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from ...errors import ByHand, CoffreError
from ..base import Agreement
from ..context import Context
from ..postgres_role import server as postgres
from . import user
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""
# What the user lacks of the rights that it is for, or "".
LACKING = """
SELECT concat_ws(' ', CASE WHEN NOT rolcreaterole THEN 'CREATEROLE' END, CASE WHEN NOT rolcreatedb THEN 'CREATEDB' END)
  FROM pg_roles WHERE rolname = current_user AND NOT rolsuper"""

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
    """A user that cannot log in, or may not administer."""
    name, value = user.name(context), context.value("old")
    if user.accepts(context, value):
        return _lacking(context, name, value)
    if any(user.accepts(context, each) for each in user.initial(context)):
        return [
            f"PostgreSQL's user {name} still has its first password: run site.yml, which gives it the deployed one."
        ]
    first = context.secret.settings.get("initial")
    what = f"the value of {first}, which PostgreSQL's container has," if first else "that password"
    return [
        ByHand(
            f"PostgreSQL refuses the deployed password of its user {name}: let a superuser make that user (`CREATE "
            f"ROLE {name} LOGIN CREATEROLE CREATEDB`) and give it {what} (psql's `\\password {name}`), then run "
            "site.yml."
        )
    ]


def _lacking(context: Context, name: str, password: bytes) -> list[str]:
    server = postgres.Database(context.verifier(), user=postgres.User(name, (password,)))
    lacking = postgres.administer(server, [LACKING], f"tell the rights of {name}")
    said = f"PostgreSQL's user {name} may not administer: let a superuser say `ALTER ROLE {name} {lacking}`"
    return [ByHand(f"{said}, then run again.")] if lacking else []


def blockers(context: Context) -> list[str]:
    """The same."""
    return deployed(context)


def agree(context: Context, dry: bool) -> Agreement:
    """`password`, of a user that has the one still that it was made with. Raises CoffreError for any other trouble."""
    problems = deployed(context)
    if not problems:
        return Agreement()
    if isinstance(problems[0], ByHand):
        raise CoffreError(problems[0])
    if not dry:
        user.give(context, context.value("old"), *user.initial(context))
    return Agreement(["password"])
