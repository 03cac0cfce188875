"""keycloak_user: the password of Keycloak's permanent admin, of which one alone lives at a time.

It is replaced when it is taught, so whoever logs in during the run tries both. Settings: `realm` master, `user`.
"""

from __future__ import annotations

from ... import keycloak, keycloak_admin
from ..context import Context
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = "whether the realm's password policy takes the new password"

__all__ = ["UNKNOWN", "confirm", "hinders", "make", "prove", "refused", "successor", "teach", "withdraw"]


def hinders(context: Context) -> list[str]:
    """An admin that cannot log in, or a realm that would not take the old password back."""
    user = context.secret.settings["user"]
    if context.secret.settings["realm"] != "master":
        return [
            f"{context.secret.name} is of realm {context.secret.settings['realm']}: only admins of master are rotated."
        ]
    with keycloak.answered(f"be ready for a new password of {user}"):
        container = context.container(keycloak.SERVICE)
        return keycloak_admin.obstacles(container, user, context.value("old").decode())
