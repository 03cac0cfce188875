"""One password, the one to keep."""

from __future__ import annotations

from ...errors import CoffreError
from ..context import Context, Which
from . import user


def withdraw(context: Context, keep: Which, drop: Which) -> None:
    """Make a value the user's password; automation's own sessions ended with what they were for. Raises CoffreError."""
    user.replace(context, keep, drop)


def refused(context: Context, drop: Which) -> None:
    """Try to log in with the password that was dropped. Raises CoffreError if PostgreSQL lets it in."""
    if context.has(drop) and user.accepts(context, context.value(drop)):
        raise CoffreError(
            f"PostgreSQL still accepts the {drop} password of {user.name(context)} after it was replaced."
        )
