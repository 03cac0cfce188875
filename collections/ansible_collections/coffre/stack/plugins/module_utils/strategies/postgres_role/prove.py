"""A login over the network by SCRAM, and the sessions of the containers that have the password."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...engines.base import Container
from ...errors import CoffreError
from .. import consumers as inside
from ..context import POLL_SECONDS, Context, Which
from . import server as postgres
from .login_role import login_role, server


def prove(context: Context, which: Which) -> None:
    """Log in as the version's role and see what it may do. Raises CoffreError if that is not as it should be."""
    wanted = login_role(context, which)
    seen = postgres.login(server(context), wanted, context.value(which))
    if seen is None:
        raise CoffreError(f"PostgreSQL refuses the {which} password of {wanted.role}.")
    if not seen:
        raise CoffreError(f"The role {wanted.role} logs in, but roles, grants or the database are amiss: run site.yml.")


def confirm(context: Context, which: Which) -> None:
    """See each container work, and hold sessions of the version's role, by their addresses. Raises CoffreError.

    Where sessions are optional the containers' own check is believed: a connection may live for one request.
    """
    found = inside.work(context, which)
    if optional(context):
        return
    if left := without_session(context, found, which, inside.PATIENCE_SECONDS):
        name = login_role(context, which).role
        raise CoffreError(f"The container {left[0].name} has no session as {name}: see `docker logs {left[0].name}`.")


def optional(context: Context) -> bool:
    """Whether a consumer may work without keeping a session open."""
    return bool(context.secret.settings.get("sessions") == "optional")


def without_session(context: Context, found: Sequence[Container], which: Which, seconds: float) -> list[Container]:
    """Those of some containers that hold no session as a version's role, once so many seconds are over."""
    name, deadline = login_role(context, which).role, time.monotonic() + seconds
    database = server(context)
    while True:
        seen = set(postgres.sessions(database, name)) if found else set()
        left = [each for each in found if each.addresses.isdisjoint(seen)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(POLL_SECONDS)
