"""Keycloak's admin, as a strategy in the middle of a run has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from keycloak import KeycloakAdmin

from ...errors import CoffreError
from ..context import Context
from . import admin as keycloak_admin
from . import session as keycloak


@contextmanager
def administrator(context: Context, what: str) -> Iterator[KeycloakAdmin]:
    """A session of the permanent admin, repaired where no password of the run logs it in. Raises CoffreError.

    `what` completes "Keycloak answered ... when asked to".
    """
    admin, asked = context.admin(), instance(context)
    passwords = [password.decode() for password in admin.passwords]
    with (
        keycloak.answered(what),
        keycloak_admin.administrator(context.paths, asked, admin.user, passwords) as keeper,
    ):
        yield keeper


@contextmanager
def looking(context: Context) -> Iterator[KeycloakAdmin | str]:
    """A session of the permanent admin for a look, or a sentence why there is none; Keycloak is asked but once."""
    admin = context.admin()
    who = f"{context.secret.settings['service']}/{admin.user}"
    if known := context.refused.get(who):
        yield known
        return
    asked, password = instance(context), admin.passwords[0].decode()
    factor = partial(second_factor, context, admin.user)
    with keycloak_admin.looking(context.paths, asked, admin.user, password, factor) as found:
        if isinstance(found, str):
            context.refused[who] = found
        yield found


def second_factor(context: Context, user: str) -> bool:
    """Whether Keycloak's database knows a second factor of a user of realm master; False, too, if it cannot be asked.

    Keycloak answers as to a wrong password, and tells it to admins only, of which there is none.
    """
    for secret in context.catalogue.secrets.values():
        if secret.strategy == "postgres_role" and context.secret.settings["service"] in secret.consumers:
            from ..postgres_role.login_role import server  # late, as in `admin`

            with suppress(CoffreError):
                name = str(secret.settings.get("database") or secret.settings["owner"])
                return keycloak_admin.second_factor(server(context, secret), name, user)
    return False


def instance(context: Context) -> keycloak.Instance:
    """The newest healthy Keycloak. Raises CoffreError."""
    return keycloak.Instance(context.verifier(), int(context.secret.settings.get("port", keycloak.PORT)))
