"""The user of a secret, what logs it in, and how it is given another password."""

from __future__ import annotations

from ...errors import CoffreError
from ..context import Context, Which
from ..postgres_role import server as postgres


def name(context: Context) -> str:
    return str(context.secret.settings["user"])


def accepts(context: Context, password: bytes) -> bool:
    """Whether PostgreSQL lets the user in with a password. Raises CoffreError when no answer can be had."""
    connection = postgres.connect(postgres.Database(context.verifier()), "postgres", name(context), password)
    if connection is None:
        return False
    connection.close()
    return True


def give(context: Context, password: bytes, *before: bytes) -> None:
    """Make a password the user's, who has that one or one of those before. Raises CoffreError."""
    server = postgres.Database(context.verifier(), user=postgres.User(name(context), (password, *before)))
    postgres.administer(server, postgres.password_script(name(context), password), f"give {name(context)} a password")


def replace(context: Context, which: Which, other: Which) -> None:
    """Make one value of a run the user's password, whichever of both it has. Raises CoffreError."""
    give(context, context.value(which), *([context.value(other)] if context.has(other) else []))


def initial(context: Context) -> tuple[bytes, ...]:
    """The password that the server makes the user with, where there is one.

    Raises CoffreError for a wrong setting, and where the server has not been given it yet: nothing is known then.
    """
    wanted = context.secret.settings.get("initial")
    if wanted is None:
        return ()
    secret = context.catalogue.secrets.get(wanted)
    if secret is None or secret.strategy != "fixed":
        raise CoffreError(
            f"The setting `initial` of {context.secret.name} names {wanted}, which is no fixed secret of the "
            "catalogue; nothing was changed: correct it."
        )
    return context.passwords(wanted, secret.consumers[0])
