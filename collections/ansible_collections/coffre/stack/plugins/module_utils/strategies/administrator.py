"""Keycloak's admin, as a strategy in the middle of a run has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keycloak import KeycloakAdmin

from .. import keycloak, keycloak_admin
from .context import Context


@contextmanager
def administrator(context: Context, what: str) -> Iterator[KeycloakAdmin]:
    """A session of the permanent admin, repaired where no password of the run logs it in. Raises CoffreError.

    `what` completes "Keycloak answered ... when asked to".
    """
    admin, container = context.admin(), context.container(keycloak.SERVICE)
    passwords = [password.decode() for password in admin.passwords]
    with (
        keycloak.answered(what),
        keycloak_admin.administrator(context.paths.compose, container, admin.user, passwords) as keeper,
    ):
        yield keeper


def server(context: Context) -> str:
    """The URL of the newest healthy Keycloak. Raises CoffreError."""
    return keycloak.url(context.container(keycloak.SERVICE))
