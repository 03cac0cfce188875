"""A login of the admin, with the value of the run and with what automation's own bundle has."""

from __future__ import annotations

from ...catalogue import HOST
from ...errors import CoffreError
from ...host import bundles
from ..context import Context, Which
from ..keycloak import admin as keycloak_admin
from ..keycloak import session as keycloak
from ..keycloak.administrator import instance


def prove(context: Context, which: Which) -> None:
    """Log in with a value. Raises CoffreError if Keycloak refuses it."""
    _log_in(context, which, context.value(which))


def confirm(context: Context, which: Which) -> None:
    """Log in with the value of the host's bundle, which is the only one that has it. Raises CoffreError."""
    _log_in(context, which, bundles.value(context.paths, context.state, HOST, context.secret.name))


def _log_in(context: Context, which: Which, value: bytes) -> None:
    user = context.secret.settings["user"]
    with keycloak.answered(f"let {user} log in"):
        if not keycloak_admin.logs_in(instance(context), user, value.decode()):
            raise CoffreError(f"Keycloak refuses the {which} password of {user}.")
