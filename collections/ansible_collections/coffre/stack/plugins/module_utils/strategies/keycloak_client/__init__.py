"""keycloak_client: a client's secret in Keycloak, where the old one and the new one live side by side for a while.

Keycloak itself makes the new value. Settings: `realm` and `client`, the client's id as it authenticates.
"""

from __future__ import annotations

from ... import keycloak, keycloak_client
from ..administrator import server
from ..context import Context
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""

__all__ = ["UNKNOWN", "confirm", "hinders", "make", "prove", "refused", "successor", "teach", "withdraw"]


def hinders(context: Context) -> list[str]:
    """An admin or a client that cannot log in, a realm without the policy, a second secret that is not ours."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    admin = context.admin()
    with (
        keycloak.answered(f"be ready for a new secret of the client {client}"),
        keycloak.session(server(context), admin.user, admin.passwords[0].decode()) as keeper,
    ):
        if keeper is None:
            return [f"Keycloak refuses its admin {admin.user}: run site.yml, which repairs it."]
        return keycloak_client.obstacles(keeper, realm, client, context.value("old").decode())
