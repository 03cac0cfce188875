"""keycloak_user: the password of Keycloak's permanent admin, of which one alone lives at a time.

It is replaced when it is taught, so whoever logs in during the run tries both. Settings: `realm` master, `user`.
"""

from __future__ import annotations

from ..context import Context
from ..keycloak import admin as keycloak_admin
from ..keycloak import session as keycloak
from ..keycloak.administrator import looking
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = "whether the realm's password policy takes the new password"

__all__ = ["UNKNOWN", "blockers", "confirm", "deployed", "make", "prove", "refused", "successor", "teach", "withdraw"]


def deployed(context: Context) -> list[str]:
    """An admin that cannot log in, or is none any more."""
    with keycloak.answered(f"let {context.secret.settings['user']} log in"), looking(context) as found:
        return [found] if isinstance(found, str) else []


def blockers(context: Context) -> list[str]:
    """The same, or a realm that would not take the old password back."""
    user = context.secret.settings["user"]
    if context.secret.settings["realm"] != "master":
        return [
            f"{context.secret.name} is of realm {context.secret.settings['realm']}: only admins of master are rotated."
        ]
    with keycloak.answered(f"be ready for a new password of {user}"), looking(context) as found:
        return [found] if isinstance(found, str) else keycloak_admin.blockers(found)
