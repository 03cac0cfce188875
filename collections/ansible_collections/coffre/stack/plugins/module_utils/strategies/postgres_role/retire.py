"""One role that can log in, the one to keep."""

from __future__ import annotations

from ...errors import CoffreError
from ..context import Context, Which
from . import server as postgres
from .login_role import login_role, server

# The container that left had its grace period; its sessions end with it.
PATIENCE_SECONDS = 60.0


def withdraw(context: Context, keep: Which, drop: Which) -> None:  # noqa: ARG001
    """Shut a version's role, once nobody is logged in as it. Raises CoffreError, the role as it was, if somebody is."""
    postgres.shut(server(context), login_role(context, drop).role, PATIENCE_SECONDS)


def refused(context: Context, drop: Which) -> None:
    """Try to log in with the password that was dropped. Raises CoffreError if PostgreSQL lets it in."""
    dropped = login_role(context, drop)
    if context.has(drop) and postgres.login(server(context), dropped, context.value(drop)) is not None:
        raise CoffreError(f"PostgreSQL still accepts the {drop} password of {dropped.role} after it was taken away.")
