"""How long a version lives, and when it is time for the next one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..catalogue import Secret
from ..host import state

# By how much the clocks of a host and of a vault may differ: less than what a certificate is dated back by.
SKEW = timedelta(minutes=5)


def parsed(text: str) -> datetime:
    """A time as the state has it: UTC, ISO 8601."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def ahead(record: state.Version, moment: datetime) -> bool:
    """Whether a version is dated in the future, which a clock that was ahead has done."""
    return parsed(record.created) > moment + SKEW


def end(secret: Secret, record: state.Version) -> datetime | None:
    """When a version ends: by its age, or on the date that its source gives it, whichever comes first."""
    ends = [parsed(record.expires)] if record.expires else []
    if secret.max_age_days:
        ends.append(parsed(record.created) + timedelta(days=secret.max_age_days))
    return min(ends, default=None)


def due(secret: Secret, record: state.Version, before_days: int, moment: datetime) -> datetime | None:
    """When a version is to be replaced: so many days before its end, at most a quarter of its life; now, if it is dated
    in the future, because it would be due too late, and a certificate is not valid yet.

    What only its owner can make is never due: of that, doctor tells the end. Neither is what is never rotated.
    """
    ends = end(secret, record)
    if secret.strategy == "fixed" or (secret.strategy == "replace" and secret.generate is None):
        return None
    if ahead(record, moment):
        return moment
    if ends is None:
        return None
    return ends - margin(record, ends, before_days)


def margin(record: state.Version, ends: datetime, before_days: int) -> timedelta:
    """How long before its end a version is to be replaced."""
    return min(timedelta(days=before_days), (ends - parsed(record.created)) / 4)
