"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from functools import partial

from ..base import Agreement
from ..context import Context
from ..keycloak import admin as keycloak_admin
from ..keycloak import session as keycloak
from ..keycloak.administrator import instance, looking, second_factor
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = "whether the realm's password policy takes the new password"

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
    """An admin that cannot log in, or is none any more."""
    with keycloak.answered(f"let {context.secret.settings['user']} log in"), looking(context) as found:
        return [found] if isinstance(found, str) else []


def agree(context: Context, dry: bool) -> Agreement:
    """`admin`, made or repaired; one-time admins that are `leftovers`; `realm` master without its guards."""
    user, password = str(context.secret.settings["user"]), context.value("old").decode()
    known = partial(second_factor, context, user)
    paths, asked = context.paths, instance(context)
    return Agreement(keycloak_admin.ensure_admin(paths, asked, user, password, dry, second_factor=known))


def blockers(context: Context) -> list[str]:
    """The same, or a realm that would not take the old password back."""
    user = context.secret.settings["user"]
    with keycloak.answered(f"be ready for a new password of {user}"), looking(context) as found:
        return [found] if isinstance(found, str) else keycloak_admin.blockers(found)
