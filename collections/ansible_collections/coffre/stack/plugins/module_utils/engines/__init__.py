"""What runs containers: one protocol, base.Engine, and who keeps to it."""

from __future__ import annotations

from ..paths import StackPaths
from . import compose
from .base import Engine


def of(paths: StackPaths) -> Engine:
    """The engine that runs a stack."""
    if paths.on_swarm:
        from . import swarm  # late: a host's boot needs no more of this folder than Compose

        return swarm
    return compose
