"""What a strategy says of a value that nobody but its own services verifies."""

from __future__ import annotations

from .base import Agreement
from .context import Context


def deployed(context: Context) -> list[str]:  # noqa: ARG001
    """Nothing: there is nobody else to ask."""
    return []


def agree(context: Context, dry: bool) -> Agreement:  # noqa: ARG001
    """Nothing: there is nobody else to set right."""
    return Agreement()
