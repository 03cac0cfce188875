"""Which role a version belongs to, and which server has it."""

from __future__ import annotations

from ...catalogue import HOST, Secret
from ...errors import CoffreError
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
    """The newest healthy PostgreSQL of the context's secret, or of another one, and who administers it.

    Raises CoffreError, also where that could only be its own psql and it runs on another machine.
    """
    settings = (secret or context.secret).settings
    service = str(settings["service"])
    found, user = context.container(service), _user(context, service)
    if found.elsewhere and user is None:
        raise CoffreError(
            f"PostgreSQL's container {found.name} runs on another host, where its psql cannot be used; nothing was "
            f"changed: add a secret of the strategy postgres_user for the service {service} (docs/rotation.md)."
        )
    return postgres.Database(found, str(settings.get("superuser", "postgres")), user)


def _user(context: Context, service: str) -> postgres.User | None:
    """Who administers over the network, if the catalogue has such a user of this service."""
    for name, secret in context.catalogue.secrets.items():
        if (secret.strategy, secret.verifier) == ("postgres_user", service):
            return postgres.User(str(secret.settings["user"]), context.passwords(name, HOST))
    return None
