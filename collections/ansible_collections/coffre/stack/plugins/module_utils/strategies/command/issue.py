"""A random value, made known by the operator's command."""

from __future__ import annotations

from ...catalogue import Secret
from ...host import state
from ...values import generate
from ..alternate import following
from ..context import Context
from .operators import run


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:
    """Nothing but the value differs; where there are `users`, it belongs to the next one. Raises CoffreError."""
    users = secret.settings.get("users")
    return following(secret, old, new, "user", users) if users else new


def make(context: Context) -> bytes:
    """A random value; one that was never sealed is known to nobody."""
    return generate.random_value(context.secret)


def teach(context: Context) -> None:
    """Let the verifier accept the new value. Raises CoffreError."""
    run(context, "teach", "new")
