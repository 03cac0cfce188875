"""The operator's own login, and the own check of the containers that have the value."""

from __future__ import annotations

from .. import consumers as inside
from ..context import Context, Which
from .operators import run


def prove(context: Context, which: Which) -> None:
    """Let the command log in with a value. Raises CoffreError if it cannot."""
    run(context, "prove", which)


def confirm(context: Context, which: Which) -> None:
    """Let each container log in by its own readiness check. Raises CoffreError if one cannot."""
    inside.work(context, which)
