"""One password, the one to keep, and nobody logged in with the other."""

from __future__ import annotations

from ...errors import CoffreError
from ..context import Context, Which
from ..keycloak import admin as keycloak_admin
from ..keycloak import session as keycloak
from ..keycloak.administrator import instance
from .issue import give


def withdraw(context: Context, keep: Which, drop: Which) -> None:
    """Make a value the admin's password, and log the sessions out that the old one began. Raises CoffreError.

    On the way back they stay: nobody but this run had the new password.
    """
    give(context, keep, drop)
    if keep == "new":
        user = context.secret.settings["user"]
        with keycloak.answered(f"log {user} out"):
            keycloak_admin.end_sessions(instance(context), user, context.value(keep).decode())


def refused(context: Context, drop: Which) -> None:
    """Try to log in with the password that was dropped. Raises CoffreError if Keycloak lets it in."""
    user = context.secret.settings["user"]
    with keycloak.answered(f"refuse the {drop} password of {user}"):
        if not context.has(drop):
            return
        if keycloak_admin.logs_in(instance(context), user, context.value(drop).decode()):
            raise CoffreError(f"Keycloak still accepts the {drop} password of {user} after it was replaced.")
