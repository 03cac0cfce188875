"""A new password in the place of the old one."""

from __future__ import annotations

from ...catalogue import Secret
from ...host import state
from ...values import generate
from ..context import Context
from . import user


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:  # noqa: ARG001
    """Nothing but the value differs."""
    return new


def make(context: Context) -> bytes:
    """A random password; one that was never sealed is known to nobody."""
    return generate.random_value(context.secret)


def teach(context: Context) -> None:
    """Replace the password; the server gets a verifier only. Raises CoffreError."""
    user.replace(context, "new", "old")
