"""A password for the role that is not in force."""

from __future__ import annotations

from ...catalogue import Secret
from ...host import state
from ...values import generate
from ..alternate import following
from ..context import Context
from . import server as postgres
from .login_role import login_role, server


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:
    """The new version belongs to the next role. Raises CoffreError if there is none."""
    return following(secret, old, new, "role", secret.settings["roles"])


def make(context: Context) -> bytes:
    """A random password; one that was never sealed is known to nobody."""
    return generate.random_value(context.secret)


def teach(context: Context) -> None:
    """Let the next role log in with the new password; the server gets a verifier only."""
    postgres.ensure(server(context), login_role(context, "new"), context.value("new"))
