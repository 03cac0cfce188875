"""One secret left, the one to keep."""

from __future__ import annotations

from ... import keycloak, keycloak_client
from ...errors import CoffreError
from ..administrator import administrator, server
from ..context import Context, Which
from .issue import begun


def withdraw(context: Context, keep: Which, drop: Which) -> None:
    """Make a secret the client's only one. Raises CoffreError.

    Where the new secret was not sealed, it is dropped only if Keycloak made it for this run: another's stays.
    """
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    kept = context.value(keep).decode()
    with administrator(context, f"end the {drop} secret of the client {client}") as admin:
        if context.has(drop) or keycloak_client.unfinished(admin, realm, client, kept, begun(context)):
            keycloak_client.settle(admin, realm, client, kept)


def refused(context: Context, drop: Which) -> None:
    """Ask for a token with the secret that was dropped. Raises CoffreError if Keycloak grants it."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    with keycloak.answered(f"refuse the {drop} secret of the client {client}"):
        if context.has(drop) and keycloak.granted(server(context), realm, client, context.value(drop).decode()):
            raise CoffreError(
                f"Keycloak still accepts the {drop} secret of the client {client} of realm {realm} after it was ended."
            )
