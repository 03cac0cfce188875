"""A login over the network by SCRAM, and the sessions of the containers that have the password."""

from __future__ import annotations

import time

from ...errors import CoffreError
from .. import consumers as inside
from ..context import POLL_SECONDS, Context, Which
from . import server as postgres
from .login_role import SERVICE, login_role


def prove(context: Context, which: Which) -> None:
    """Log in as the version's role and see what it may do. Raises CoffreError if that is not as it should be."""
    wanted = login_role(context, which)
    seen = postgres.login(context.container(SERVICE), wanted, context.value(which))
    if seen is None:
        raise CoffreError(f"PostgreSQL refuses the {which} password of {wanted.role}.")
    if not seen:
        raise CoffreError(f"The role {wanted.role} logs in, but roles, grants or the database are amiss: run site.yml.")


def confirm(context: Context, which: Which) -> None:
    """See each container work, and hold sessions of the version's role, by their addresses. Raises CoffreError."""
    container, name = context.container(SERVICE), login_role(context, which).role
    for each in inside.work(context, which):
        deadline = time.monotonic() + inside.PATIENCE_SECONDS
        while each.addresses.isdisjoint(postgres.sessions(container, name)):
            if time.monotonic() > deadline:
                raise CoffreError(f"The container {each.name} has no session as {name}: see `docker logs {each.name}`.")
            time.sleep(POLL_SECONDS)
