"""A login over the network by SCRAM, with the value of the run and with what automation's own bundle has."""

from __future__ import annotations

from ...catalogue import HOST
from ...errors import CoffreError
from ...host import bundles
from ..context import Context, Which
from . import user


def prove(context: Context, which: Which) -> None:
    """Log in with a value. Raises CoffreError if PostgreSQL refuses it."""
    _log_in(context, which, context.value(which))


def confirm(context: Context, which: Which) -> None:
    """Log in with the value of the host's bundle, which is the only one that has it. Raises CoffreError."""
    _log_in(context, which, bundles.value(context.paths, context.state, HOST, context.secret.name))


def _log_in(context: Context, which: Which, value: bytes) -> None:
    if not user.accepts(context, value):
        raise CoffreError(f"PostgreSQL refuses the {which} password of {user.name(context)}.")
