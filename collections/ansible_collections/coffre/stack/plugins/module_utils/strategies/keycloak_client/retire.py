"""One secret left, the one to keep."""

from __future__ import annotations

from ...errors import CoffreError
from ..context import Context, Which
from ..keycloak import client as keycloak_client
from ..keycloak import session as keycloak
from ..keycloak.administrator import administrator, instance


def withdraw(context: Context, keep: Which, drop: Which) -> None:
    """Make a secret the client's only one. Raises CoffreError.

    Where the new secret was not sealed, whatever Keycloak has in the place of the one to keep is ended.
    """
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    kept = context.value(keep).decode()
    with administrator(context, f"end the {drop} secret of the client {client}") as admin:
        if context.has(drop) or keycloak_client.unsettled(admin, realm, client, kept):
            keycloak_client.settle(admin, realm, client, kept)


def refused(context: Context, drop: Which) -> None:
    """Ask for a token with the secret that was dropped. Raises CoffreError if Keycloak grants it."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    with keycloak.answered(f"refuse the {drop} secret of the client {client}"):
        if context.has(drop) and keycloak.granted(instance(context).url, realm, client, context.value(drop).decode()):
            raise CoffreError(
                f"Keycloak still accepts the {drop} secret of the client {client} of realm {realm} after it was ended."
            )
