"""A new password in the place of the old one."""

from __future__ import annotations

from ...catalogue import Secret
from ...host import state
from ...values import generate
from ..context import Context, Which
from ..keycloak import admin as keycloak_admin
from ..keycloak import session as keycloak
from ..keycloak.administrator import instance


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:  # noqa: ARG001
    """Nothing but the value differs."""
    return new


def make(context: Context) -> bytes:
    """A random password; one that was never sealed is known to nobody."""
    return generate.random_value(context.secret)


def teach(context: Context) -> None:
    """Replace the password, whichever of both the admin has."""
    give(context, "new", "old")


def give(context: Context, which: Which, other: Which) -> None:
    """Make one value the admin's password. Raises CoffreError."""
    user = context.secret.settings["user"]
    before = [context.value(other).decode()] if context.has(other) else []
    with keycloak.answered(f"give {user} its {which} password"):
        container = instance(context)
        keycloak_admin.set_password(context.paths, container, user, context.value(which).decode(), before)
