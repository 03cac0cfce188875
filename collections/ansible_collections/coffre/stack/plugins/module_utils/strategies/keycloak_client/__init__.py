"""keycloak_client: a client's secret in Keycloak, where the old one and the new one live side by side for a while.

Keycloak itself makes the new value. Settings: `realm` and `client`, the client's id as it authenticates.
"""

from __future__ import annotations

from ..context import Context
from ..keycloak import client as keycloak_client
from ..keycloak import session as keycloak
from ..keycloak.administrator import looking, server
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""

__all__ = ["UNKNOWN", "blockers", "confirm", "deployed", "make", "prove", "refused", "successor", "teach", "withdraw"]


def deployed(context: Context) -> list[str]:
    """A client that gets no token, or gets it by a secret that is on its way out."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    with keycloak.answered(f"let the client {client} authenticate"), looking(context) as found:
        admin = None if isinstance(found, str) else found
        return keycloak_client.trouble(server(context), admin, realm, client, context.value("old").decode())


def blockers(context: Context) -> list[str]:
    """The same, an admin that cannot log in, a realm without the policy, a second secret that is not ours."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    with keycloak.answered(f"be ready for a new secret of the client {client}"), looking(context) as found:
        if isinstance(found, str):
            return [found]
        return keycloak_client.blockers(found, realm, client, context.value("old").decode())
