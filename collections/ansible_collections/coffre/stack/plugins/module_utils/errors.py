"""The errors of the core: one small hierarchy, whose texts may always be shown."""

from __future__ import annotations


class CoffreError(Exception):
    """A sentence for a person: what happened, what is unchanged, what to do next. Never a value."""


class CatalogueError(CoffreError):
    """The catalogue or another input makes no sense; raised before anything changes."""


class SourceError(CoffreError):
    """The source of the secrets cannot be used as it is; raised before anything changes."""


class VaultUnavailable(SourceError):
    """The vault, or what proves an identity to it, gave no answer within the time limit."""


class SealError(CoffreError):
    """A sealed copy cannot be written or opened on this host."""


class Aside(str):
    """A sentence on what is amiss that a rotation itself puts right, so that it blocks none."""


class ByHand(str):
    """A sentence on what is amiss that site.yml cannot mend, so that it stops at it before it touches a service."""
