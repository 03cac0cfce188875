"""One value left, the one to keep, by the operator's command."""

from __future__ import annotations

from ...errors import CoffreError
from ..context import Context, Which
from .operators import run, succeeds


def withdraw(context: Context, keep: Which, drop: Which) -> None:  # noqa: ARG001
    """Let the verifier accept one value only; the command finds the other one as `other`. Raises CoffreError."""
    run(context, "withdraw", keep)


def refused(context: Context, drop: Which) -> None:
    """See a value refused: by the command for that, or as `prove` fails with it. Raises CoffreError."""
    if not context.has(drop):
        return
    if "refused" in context.secret.settings:
        run(context, "refused", drop)
    elif succeeds(context, "prove", drop):
        raise CoffreError(
            f"The verifier of {context.secret.name} still accepts the {drop} value: see what its `withdraw` does."
        )
