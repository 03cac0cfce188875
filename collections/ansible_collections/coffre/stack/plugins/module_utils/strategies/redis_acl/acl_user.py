"""The user of a secret, and how it is given its passwords."""

from __future__ import annotations

from ...catalogue import HOST
from ...errors import CoffreError
from ..context import Context
from . import server as redis

# What a user may do that is made here: one that administers itself all, another one what is not administration.
ADMIN_RULES = ("~*", "&*", "+@all")
USER_RULES = (*ADMIN_RULES, "-@admin")


def user(context: Context) -> str:
    return str(context.secret.settings["user"])


def server(context: Context) -> redis.Redis:
    """The newest healthy Redis with its admin, which may be the user itself. Raises CoffreError."""
    settings = context.secret.settings
    name = str(settings.get("admin", context.secret.name))
    admin = context.catalogue.secrets.get(name)
    if admin is None or (admin.strategy, admin.settings.get("service")) != ("redis_acl", settings["service"]):
        raise CoffreError(
            f"The setting `admin` of {context.secret.name} names {name}, which is no redis_acl secret of the service "
            f"{settings['service']}; nothing was changed: correct the catalogue."
        )
    port = int(settings.get("port", redis.PORT))
    return redis.Redis(context.verifier(), port, str(admin.settings["user"]), context.passwords(name, HOST))


def only(context: Context, found: redis.AclUser, value: bytes) -> list[str]:
    """The words of ACL SETUSER after which this password alone counts; rules only for a user that does not exist."""
    return [user(context), *_rules(context, found), "resetpass", f"#{redis.digest(value)}"]


def beside(context: Context, found: redis.AclUser, value: bytes) -> list[str]:
    """The words after which this password counts beside those that do."""
    return [user(context), *_rules(context, found), f"#{redis.digest(value)}"]


def _rules(context: Context, found: redis.AclUser) -> list[str]:
    if found.exists:
        return []
    settings = context.secret.settings
    return ["on", *settings.get("rules", USER_RULES if "admin" in settings else ADMIN_RULES)]
