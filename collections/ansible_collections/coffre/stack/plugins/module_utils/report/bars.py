"""The lives of a stack's secrets as bars: made, due, end, and what a ring keeps of the versions before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..catalogue import HOST, Catalogue, Secret
from ..doctor.lives import Life
from .axis import DAY, Axis, away, date, days, parsed
from .given import Host
from .told import Beside

BACK, AHEAD = timedelta(days=365), timedelta(days=365)  # the most that an axis shows
LEAST = timedelta(days=60)
LINES = 3  # versions of a ring that have a line each
DIFFERENT = 3  # lives of one secret on several hosts that have a row each
ALIKE = timedelta(days=7)  # lives whose dates are no further apart share one

ENDED, DUE, SOON, FAR, NEVER = "ended", "due", "soon", "far", "never"
ORDER = (ENDED, DUE, SOON, FAR, NEVER)


@dataclass(frozen=True)
class Bar:
    """Places in percent. The version in force lasts from `begins` to `due`, and may last on to `ends`.

    `endless` has no end, and `clipped` an end beyond the axis. `kept` has (from, to) of versions of the ring.
    """

    begins: float
    due: float
    ends: float
    endless: bool
    clipped: bool
    kept: tuple[tuple[float, float], ...]
    label: str


@dataclass(frozen=True)
class Row:
    """A secret on the hosts on which its life is alike: what is told is that of the one where it is due first."""

    secret: str
    hosts: tuple[str, ...]
    everywhere: bool
    strategy: str
    consumers: tuple[str, ...]
    verifier: str
    made: str
    due: str
    ends: str
    state: str
    word: str
    ring: str
    bar: Bar
    more: str
    beside: tuple[Beside, ...]


def axis(lives: Iterable[Life], now: datetime) -> Axis:
    """One for all secrets of an environment, so that their bars can be compared."""
    times = [parsed(text) for life in lives for text in _times(life)]
    begins = max(now - BACK, min([*times, now - LEAST]))
    return Axis(begins - 3 * DAY, min(now + AHEAD, max([*times, now + LEAST])) + 3 * DAY)


def _times(life: Life) -> list[str]:
    ring = [text for each in life.ring for text in (each.created, each.retires) if text]
    return [text for text in (life.created, life.due, life.ends, *ring) if text]


def rows(
    hosts: Sequence[Host], catalogue: Catalogue, shown: Axis, now: datetime, beside: Mapping[str, Sequence[Beside]]
) -> list[Row]:
    """The secrets of one stack, what ends first first. Of those that no host has, nothing is known."""
    deployed = sum(1 for host in hosts if host.lives)
    found: dict[str, list[tuple[str, Life]]] = {}
    for host in hosts:
        for life in host.lives:
            found.setdefault(life.secret, []).append((host.name, life))
    told = [
        row
        for name, lives in found.items()
        if (secret := catalogue.secrets.get(name))
        for row in _of_secret(secret, _alike(lives, now), deployed, shown, now, tuple(beside.get(name, ())))
    ]
    return [row for _, row in sorted(told, key=lambda each: each[0])]


def _alike(lives: list[tuple[str, Life]], now: datetime) -> list[list[tuple[str, Life]]]:
    """Groups of (host, life) that a bar can show as one, what is due first first."""
    groups: list[list[tuple[str, Life]]] = []
    for each in sorted(lives, key=lambda one: _first(one[1], now)):
        if groups and _near(groups[-1][0][1], each[1]):
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def _near(one: Life, other: Life) -> bool:
    pairs = ((one.created, other.created), (one.due, other.due), (one.ends, other.ends))
    return len(one.ring) == len(other.ring) and all(
        a == b or (a and b and abs(parsed(a) - parsed(b)) <= ALIKE) for a, b in pairs
    )


def _apart(group: list[tuple[str, Life]]) -> str:
    """How far the lives of a group are from each other."""
    dates = [parsed(life.created) for _, life in group]
    number = (max(dates) - min(dates)).days
    return f"{days(number)} apart at most, the first of them here" if number else ""


def _of_secret(
    secret: Secret,
    groups: list[list[tuple[str, Life]]],
    deployed: int,
    shown: Axis,
    now: datetime,
    beside: tuple[Beside, ...],
) -> list[tuple[tuple[int, str, str], Row]]:
    rest = [name for group in groups[DIFFERENT:] for name, _ in group]
    found = []
    for number, group in enumerate(groups[:DIFFERENT]):
        last = number == DIFFERENT - 1 and rest
        later = f"{len(rest)} more hosts have later dates" if last else ""
        more = "; ".join(filter(None, [_apart(group), later]))
        life, names = group[0][1], tuple(sorted(name for name, _ in group))
        mine = beside if number == 0 else ()
        row = _row(secret, life, names, len(names) == deployed, shown, now, more, mine)
        found.append(((*_first(life, now), secret.name), row))
    return found


def _first(life: Life, now: datetime) -> tuple[int, str]:
    """Sorts what needs somebody first."""
    return ORDER.index(_state(life, now)), life.due or life.ends or life.created


def _state(life: Life, now: datetime) -> str:
    if life.ends is None:
        return NEVER
    if parsed(life.ends) <= now:
        return ENDED
    due = parsed(life.due or life.ends)
    return DUE if due <= now else SOON if due <= now + 30 * DAY else FAR


def _row(
    secret: Secret,
    life: Life,
    names: tuple[str, ...],
    everywhere: bool,
    shown: Axis,
    now: datetime,
    more: str,
    beside: tuple[Beside, ...],
) -> Row:
    state = _state(life, now)
    return Row(
        secret=secret.name,
        hosts=names,
        everywhere=everywhere,
        strategy=secret.strategy,
        consumers=tuple("automation" if each == HOST else each for each in secret.consumers),
        verifier=secret.verifier,
        made=date(parsed(life.created)),
        due=date(parsed(life.due)) if life.due else "",
        ends=date(parsed(life.ends)) if life.ends else "",
        state=state,
        word=_word(state, life, now),
        ring=_ring(life),
        bar=_bar(secret, life, shown, now),
        more=more,
        beside=beside,
    )


def _word(state: str, life: Life, now: datetime) -> str:
    if state == NEVER:
        return "no end"
    if state == ENDED:
        return f"ended {away(parsed(life.ends or ''), now)}"
    moment = parsed(life.due or life.ends or "")
    return f"due since {date(moment)}" if state == DUE else f"due {away(moment, now)}"


def _ring(life: Life) -> str:
    """What a ring keeps, in words."""
    if not life.ring:
        return ""
    number = len(life.ring)
    last = [each.retires for each in life.ring]
    until = "for good" if None in last else f"until {date(parsed(max(filter(None, last))))}"
    return f"{number} earlier version{'' if number == 1 else 's'} kept {until}"


def _bar(secret: Secret, life: Life, shown: Axis, now: datetime) -> Bar:
    ends = parsed(life.ends) if life.ends else None
    due = parsed(life.due) if life.due else ends
    kept = [(shown.at(parsed(each.created)), shown.at(_retires(each.retires, shown))) for each in life.ring]
    words = [f"made {date(parsed(life.created))}"]
    words += [f"due {date(due)}, ends {date(ends)}"] if ends and due else ["no end"]
    return Bar(
        begins=shown.at(parsed(life.created)),
        due=shown.at(due or shown.ends),
        ends=shown.at(ends or shown.ends),
        endless=ends is None,
        clipped=bool(ends and ends > shown.ends),
        kept=tuple(kept[:LINES]),
        label=f"{secret.name}: {', '.join(filter(None, [*words, _ring(life), _word(_state(life, now), life, now)]))}",
    )


def _retires(text: str | None, shown: Axis) -> datetime:
    return parsed(text) if text else shown.ends
