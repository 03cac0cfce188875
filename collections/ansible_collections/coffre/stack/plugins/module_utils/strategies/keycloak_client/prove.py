"""A client-credentials grant: from the host, and by the containers that have the secret."""

from __future__ import annotations

from ...errors import CoffreError
from .. import consumers as inside
from ..context import Context, Which
from ..keycloak import session as keycloak
from ..keycloak.administrator import instance


def prove(context: Context, which: Which) -> None:
    """Obtain a token from the host. Raises CoffreError if Keycloak refuses the secret."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    with keycloak.answered(f"let the client {client} authenticate"):
        if not keycloak.granted(instance(context).url, realm, client, context.value(which).decode()):
            raise CoffreError(f"Keycloak refuses the {which} secret of the client {client} of realm {realm}.")


def confirm(context: Context, which: Which) -> None:
    """Let each container obtain a token by its own readiness check. Raises CoffreError if one cannot."""
    inside.work(context, which)
