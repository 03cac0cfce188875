"""One password left, the one to keep."""

from __future__ import annotations

from ...errors import CoffreError
from ..context import Context, Which
from . import server as redis
from .acl_user import only, server, user


def withdraw(context: Context, keep: Which, drop: Which) -> None:
    """Make a value the user's only password; connections that are open stay so. Raises CoffreError."""
    asked = server(context)
    found = redis.look(asked, user(context))
    what = f"take the {drop} password of {user(context)} away"
    redis.change(asked, found, what, only(context, found, context.value(keep)))


def refused(context: Context, drop: Which) -> None:
    """Try to log in with the password that was dropped. Raises CoffreError if Redis lets it in."""
    if context.has(drop) and redis.accepts(server(context), user(context), context.value(drop)):
        raise CoffreError(f"Redis still accepts the {drop} password of {user(context)} after it was taken away.")
