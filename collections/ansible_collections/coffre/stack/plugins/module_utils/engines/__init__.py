"""What runs containers: one protocol, base.Engine, and who keeps to it."""

from __future__ import annotations

from ..paths import StackPaths
from . import compose
from .base import Engine


def of(_: StackPaths) -> Engine:
    """The engine that runs a stack."""
    return compose
