"""Time as a place from left to right, in percent; and times and their lengths as a person reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

DAY = timedelta(days=1)


def parsed(text: str) -> datetime:
    """A time as a module returns it: ISO 8601, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def date(moment: datetime) -> str:
    return f"{moment.day} {moment:%b %Y}"


def clock(moment: datetime) -> str:
    return f"{moment.day} {moment:%b %Y, %H:%M}"


def length(seconds: float) -> str:
    """How long something took."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60} min {whole % 60:02d} s"
    hours = round(seconds / 3600)
    return f"{hours} h" if hours < 48 else days(hours // 24)


def days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"


def away(moment: datetime, now: datetime) -> str:
    """How far a time is from now: "in 12 days", "today", "3 days ago"."""
    number = (moment.date() - now.date()).days
    if number == 0:
        return "today"
    return f"in {days(number)}" if number > 0 else f"{days(-number)} ago"


@dataclass(frozen=True)
class Tick:
    """The first of a month: where it is, and what to call it; `main` where there is little room, too.

    `shift` is how far its name is drawn to the left, in percent of itself, so that none leaves the line.
    """

    at: float
    label: str
    main: bool

    @property
    def shift(self) -> int:
        return 0 if self.at < 4 else -100 if self.at > 96 else -50


@dataclass(frozen=True)
class Axis:
    """From `begins` to `ends`, as 0 to 100 percent."""

    begins: datetime
    ends: datetime

    def at(self, moment: datetime) -> float:
        """Where a time is; what is outside is at the edge."""
        share = (moment - self.begins) / (self.ends - self.begins)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def ticks(self) -> list[Tick]:
        """Up to a dozen months' beginnings, of which up to four are main ones, with their year."""
        firsts = _months(self.begins, self.ends)
        step = -(-len(firsts) // 13)
        shown = [each for each in firsts if (each.month - 1) % step == 0] if step > 1 else firsts
        wide = max(1, -(-len(shown) // 4))
        main = shown[wide // 2 :: wide]
        return [Tick(self.at(each), f"{each:%b %Y}" if each in main else f"{each:%b}", each in main) for each in shown]


def _months(begins: datetime, ends: datetime) -> list[datetime]:
    found: list[datetime] = []
    year, month = begins.year, begins.month
    while True:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        if (first := datetime(year, month, 1, tzinfo=UTC)) >= ends:
            return found
        found.append(first)
