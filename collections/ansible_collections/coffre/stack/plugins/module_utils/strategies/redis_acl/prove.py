"""A login over the network, and the own check of the containers that have the password."""

from __future__ import annotations

from ...errors import CoffreError
from .. import consumers as inside
from ..context import Context, Which
from . import server as redis
from .acl_user import server, user


def prove(context: Context, which: Which) -> None:
    """Log in with a value, where not every value would do. Raises CoffreError."""
    asked = server(context)
    if not redis.accepts(asked, user(context), context.value(which)):
        raise CoffreError(f"Redis refuses the {which} password of {user(context)}.")
    if redis.trusting(asked, user(context)):
        raise CoffreError(f"Redis lets anybody in, so a login of {user(context)} proves nothing: run site.yml.")


def confirm(context: Context, which: Which) -> None:
    """Let each container log in by its own readiness check. Raises CoffreError if one cannot."""
    inside.work(context, which)
