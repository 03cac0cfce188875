"""Which role a version belongs to, and which server has it."""

from __future__ import annotations

from ...catalogue import Secret
from ...host import state
from ..alternate import holder
from ..context import Context, Which
from . import server as postgres


def login_role(context: Context, which: Which) -> postgres.LoginRole:
    """The role, and what it logs in to, of the old or the new version. Raises CoffreError."""
    settings = context.secret.settings
    version: state.Version = getattr(context.change, which)
    database = settings.get("database") or settings["owner"]
    return postgres.LoginRole(
        database, settings["owner"], tuple(settings["roles"]), holder(version, context.secret, "role")
    )


def server(context: Context, secret: Secret | None = None) -> postgres.Database:
    """The newest healthy PostgreSQL of the context's secret, or of another one. Raises CoffreError."""
    settings = (secret or context.secret).settings
    return postgres.Database(context.container(str(settings["service"])), str(settings.get("superuser", "postgres")))
