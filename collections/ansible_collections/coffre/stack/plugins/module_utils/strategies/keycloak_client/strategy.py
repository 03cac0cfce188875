"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from ..base import Agreement
from ..context import Context
from ..keycloak import client as keycloak_client
from ..keycloak import session as keycloak
from ..keycloak.administrator import instance, looking
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""

__all__ = [
    "UNKNOWN",
    "agree",
    "blockers",
    "confirm",
    "deployed",
    "make",
    "prove",
    "refused",
    "successor",
    "teach",
    "withdraw",
]


def deployed(context: Context) -> list[str]:
    """A client that gets no token, or gets it by a secret that is on its way out."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    with keycloak.answered(f"let the client {client} authenticate"), looking(context) as found:
        admin = None if isinstance(found, str) else found
        return keycloak_client.trouble(instance(context).url, admin, realm, client, context.value("old").decode())


def agree(context: Context, dry: bool) -> Agreement:
    """`realm` and `client` that were gone or disabled, the `secret`, the `profiles` and `policies` of rotation."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    admin, secret = context.admin(), context.value("old").decode()
    keeper = (admin.user, admin.passwords[0].decode())
    paths, asked = context.paths, instance(context)
    return Agreement(*keycloak_client.ensure_client(paths, asked, realm, client, secret, keeper, dry=dry))


def blockers(context: Context) -> list[str]:
    """The same, an admin that cannot log in, a realm without the policy, a second secret that is not ours."""
    realm, client = context.secret.settings["realm"], context.secret.settings["client"]
    with keycloak.answered(f"be ready for a new secret of the client {client}"), looking(context) as found:
        if isinstance(found, str):
            return [found]
        return keycloak_client.blockers(found, realm, client, context.value("old").decode())
