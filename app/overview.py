"""What operators are shown: the secrets that the app was given, its audit records and its parts. No value."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.audit import AuditError, Verified
from app.config.settings import Given, given
from app.runtime import Runtime


@dataclass(frozen=True)
class Part:
    """A part of the app, and what is wrong with it: "" is nothing."""

    name: str
    does: str
    problem: str


@dataclass(frozen=True)
class Board:
    """`records` is None where they could not be verified, and `records_problem` says why."""

    secrets: Sequence[Given]
    records: Verified | None
    records_problem: str
    parts: Sequence[Part]

    @property
    def problems(self) -> int:
        """How many parts are not as they should be."""
        return sum(bool(part.problem) for part in self.parts)


def look(now: Runtime) -> Board:
    """Look at everything; of Keycloak an answer of the last seconds serves."""
    records, problem = _records(now)
    missing = ", ".join(name for name, state in now.secrets().items() if state == "missing")
    parts = [
        Part("Secrets", "what was read at the start is still there", missing and f"missing: {missing}"),
        Part("Audit log", "it can be written, and its records are whole", now.audit_problem() or problem),
        Part("Keycloak", "it accepts the app's own secret", now.token.get(outside=True) or ""),
    ]
    return Board(given(now.sources), records, problem, parts)


def _records(now: Runtime) -> tuple[Verified | None, str]:
    if now.audit is None:
        return None, "the app could not write it"
    try:
        return now.audit.verify(now.head), ""
    except AuditError as error:
        return None, str(error)


def ago(moment: str) -> str:
    """How long ago a time (ISO 8601) is, in its largest unit; "" for none."""
    try:
        passed = datetime.now(UTC) - datetime.fromisoformat(moment)
    except (ValueError, TypeError):
        return ""
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if (count := passed // length) > 0:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def clock(moment: str | datetime) -> str:
    """A time (ISO 8601) in UTC, to the minute; "" for none."""
    try:
        read = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
        return read.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return ""
