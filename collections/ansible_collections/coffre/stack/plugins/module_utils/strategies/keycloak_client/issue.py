"""A new secret beside the old one, by Keycloak's own rotation."""

from __future__ import annotations

from ...catalogue import Secret
from ...host import state
from ..context import Context
from ..keycloak import client as keycloak_client
from ..keycloak.administrator import administrator
from .prove import prove


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:  # noqa: ARG001
    """Nothing but the value differs."""
    return new


def make(context: Context) -> bytes:
    """Keycloak's new secret, which is live at once; one that was never sealed is ended first, for nobody knows it."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    old = context.value("old").decode()
    with administrator(context, f"give the client {client} its next secret") as admin:
        return keycloak_client.rotate(admin, realm, client, old).encode()


def teach(context: Context) -> None:
    """Keycloak knows the secret that it made. What has to be seen is that the old one lives on beside it."""
    prove(context, "old")
