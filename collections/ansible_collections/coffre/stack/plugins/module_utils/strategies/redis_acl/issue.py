"""A second password of the user."""

from __future__ import annotations

from ...catalogue import Secret
from ...host import state
from ...values import generate
from ..context import Context
from . import server as redis
from .acl_user import beside, server, user


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:  # noqa: ARG001
    """Nothing but the value differs."""
    return new


def make(context: Context) -> bytes:
    """A random password; one that was never sealed is known to nobody."""
    return generate.random_value(context.secret)


def teach(context: Context) -> None:
    """Let the user log in with the new password, too; the server gets its digest only. Raises CoffreError."""
    asked = server(context)
    found = redis.look(asked, user(context))
    what = f"give {user(context)} its new password"
    redis.change(asked, found, what, beside(context, found, context.value("new")))
