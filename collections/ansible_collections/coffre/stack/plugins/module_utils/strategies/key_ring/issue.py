"""A random key."""

from __future__ import annotations

from ...catalogue import Secret
from ...host import state
from ...values import generate
from ..context import Context


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:  # noqa: ARG001
    """Nothing but the value differs; staging keeps the ring."""
    return new


def make(context: Context) -> bytes:
    """A random value of the secret's kind."""
    return generate.random_value(context.secret)


def teach(context: Context) -> None:
    """Nobody: whoever checks the key has it from its own bundle."""
