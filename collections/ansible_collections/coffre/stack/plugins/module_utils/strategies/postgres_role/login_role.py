"""Which role a version belongs to."""

from __future__ import annotations

from ...catalogue import Secret
from ...errors import CoffreError
from ...host import state
from ..context import Context, Which
from . import server as postgres

SERVICE = "postgres"


def role(version: state.Version, secret: Secret) -> str:
    """The role of a version. Raises CoffreError if it names none."""
    found = version.attributes.get("role")
    if found is None:
        raise CoffreError(
            f"The version in force of {secret.name} names no role; nothing was changed: "
            "give the secret the attribute `role` in the catalogue."
        )
    return found


def login_role(context: Context, which: Which) -> postgres.LoginRole:
    """The role, and what it logs in to, of the old or the new version. Raises CoffreError."""
    settings = context.secret.settings
    version: state.Version = getattr(context.change, which)
    database = settings.get("database") or settings["owner"]
    return postgres.LoginRole(database, settings["owner"], tuple(settings["roles"]), role(version, context.secret))
