"""How long a version lives, and when it is time for the next one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from . import state
from .catalogue import Secret


def parsed(text: str) -> datetime:
    """A time as the state has it: UTC, ISO 8601."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def end(secret: Secret, record: state.Secret) -> datetime | None:
    """When a version ends: by its age, or on the date that its source gives it, whichever comes first."""
    ends = [parsed(record.expires)] if record.expires else []
    if secret.max_age_days:
        ends.append(parsed(record.created) + timedelta(days=secret.max_age_days))
    return min(ends, default=None)


def due(secret: Secret, record: state.Secret, before_days: int) -> datetime | None:
    """When a version is to be replaced: so many days before its end, at most a quarter of its life.

    What only its owner can make is never due: of that, doctor tells the end.
    """
    ends = end(secret, record)
    if ends is None or (secret.strategy == "replace" and secret.generate is None):
        return None
    return ends - min(timedelta(days=before_days), (ends - parsed(record.created)) / 4)
