"""A ring withdraws nothing: staging leaves out what no longer counts, and the containers lose it as they adopt."""

from __future__ import annotations

from ..context import Context, Which


def withdraw(context: Context, keep: Which, drop: Which) -> None:
    """Nothing: an earlier key stays until its date, also one that an undone run put in force."""


def refused(context: Context, drop: Which) -> None:
    """Nothing that `confirm` has not tried: it also sees refused what the ring no longer has."""
