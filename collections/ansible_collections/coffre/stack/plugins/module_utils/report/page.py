"""The page: what all of its parts show, and the template that writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jinja2

from ..catalogue import Catalogue
from ..doctor.target import Check
from . import bars, rotations, told
from .axis import DAY, Axis, away, clock, date, parsed
from .given import Host
from .picture import Picture, picture

NAMED = 3  # hosts that are told by name
FIRST = 24  # rows that are shown at once
RECENT = 15  # rotations that are


@dataclass(frozen=True)
class Looked:
    """A host: the grade of the worst that was found on it, and that in words."""

    name: str
    stack: str
    grade: str
    words: str


@dataclass(frozen=True)
class Outcome:
    """What a check found on some hosts."""

    grade: str
    hosts: tuple[str, ...]
    texts: tuple[tuple[str, tuple[str, ...]], ...]
    remedy: str


@dataclass(frozen=True)
class Checked:
    check: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Paper:
    """A certificate on the hosts that have it."""

    secret: str
    names: tuple[str, ...]
    begins: str
    ends: str
    state: str
    word: str
    hosts: tuple[str, ...]
    beside: tuple[told.Beside, ...]


@dataclass(frozen=True)
class Drift:
    """A secret of which hosts have another version than the vault offers."""

    secret: str
    held: str
    offered: str
    since: str
    ends: str
    hosts: tuple[str, ...]
    beside: tuple[told.Beside, ...]


@dataclass(frozen=True)
class Stack:
    name: str
    hosts: tuple[str, ...]
    rows: list[bars.Row]
    near: int
    later: str
    picture: Picture
    services: list[tuple[str, list[told.Beside]]]
    checks: list[Checked]
    papers: list[Paper]
    vaulted: int
    drifts: list[Drift]


@dataclass(frozen=True)
class Page:
    env: str
    moment: str
    matters: list[told.Matter]
    counts: dict[str, int]
    hosts: list[Looked]
    stacks: list[Stack]
    around: list[Checked]
    axis: Axis
    today: float
    year: Axis
    rotations: list[rotations.Told]
    trails: list[tuple[str, tuple[str, ...]]]
    beside_vault: list[told.Beside]
    secrets: int


def page(env: str, now: datetime, hosts: Sequence[Host], around: Sequence[Check]) -> Page:
    """All that is shown of an environment."""
    found = told.matters(hosts, around)
    shown = bars.axis((life for host in hosts for life in host.lives), now)
    year = Axis(now - rotations.YEAR, now)
    names = list(dict.fromkeys(host.stack for host in hosts))
    stacks = [_stack(name, [host for host in hosts if host.stack == name], found, shown, now) for name in names]
    return Page(
        env=env,
        moment=clock(now),
        matters=found,
        counts={grade: sum(1 for each in found if each.grade == grade) for grade in told.GRADES},
        hosts=[_looked(host) for host in hosts],
        stacks=stacks,
        around=_checked([("", check) for check in around]),
        axis=shown,
        today=shown.at(now),
        year=year,
        rotations=rotations.told(hosts, year),
        trails=_grouped((text, host.name) for host in hosts for text in host.trail),
        beside_vault=_of_vault(found, stacks),
        secrets=sum(len({row.secret for row in stack.rows}) for stack in stacks),
    )


def _of_vault(found: Sequence[told.Matter], stacks: Sequence[Stack]) -> list[told.Beside]:
    """What is told of the vault and stands beside none of its secrets."""
    there = {each.text for stack in stacks for drift in stack.drifts for each in drift.beside}
    return [
        told.Beside(each.grade, each.check, sentence.text, each.remedy, each.id, sentence.hosts or tuple(each.hosts))
        for each in found
        if each.check.startswith("vault")
        for sentence in each.sentences
        if sentence.text not in there
    ]


def _stack(name: str, hosts: list[Host], matters: list[told.Matter], shown: Axis, now: datetime) -> Stack:
    catalogue = max((host.catalogue for host in hosts), key=lambda each: len(each.secrets))
    mine = [each for each in matters if each.stack == name]
    services = told.about(mine, catalogue.file.services)
    secrets = told.about(mine, catalogue.secrets)
    rows = bars.rows(hosts, catalogue, shown, now, secrets)
    near = max(FIRST, sum(1 for row in rows if row.state in (bars.ENDED, bars.DUE) or row.beside))
    return Stack(
        name=name,
        hosts=tuple(host.name for host in hosts),
        rows=rows,
        near=near if len(rows) > near + 6 else len(rows),
        later=_later(rows[near:]),
        picture=picture(catalogue, {service: _worst(beside) for service, beside in services.items()}),
        services=[(service, services[service]) for service in catalogue.file.services if service in services],
        checks=_checked([(host.name, check) for host in hosts for check in host.checks]),
        papers=_papers(hosts, now, secrets),
        vaulted=sum(1 for host in hosts if host.vault),
        drifts=_drifts(hosts, catalogue, secrets),
    )


def _later(rows: Sequence[bars.Row]) -> str:
    dates = [row.due or row.ends for row in rows if row.due or row.ends]
    return f"the first of them due on {dates[0]}" if dates else "none of them with an end"


def _worst(beside: Iterable[told.Beside]) -> str:
    return min((each.grade for each in beside), key=told.GRADES.index)


def _looked(host: Host) -> Looked:
    failed = sum(1 for check in host.checks if told.graded(check) == told.FAILED) + bool(host.distrust)
    warned = sum(1 for check in host.checks if told.graded(check) == told.WARNS)
    if host.silent:
        return Looked(host.name, host.stack, told.SILENCE, "gave no answer" if not host.reached else "not looked at")
    words = [f"{failed} failed"] if failed else []
    words += [f"{warned} to see to"] if warned else []
    grade = told.FAILED if failed else told.WARNS if warned else "ok"
    return Looked(host.name, host.stack, grade, ", ".join(words) or f"all {len(host.checks)} checks in order")


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """(text, hosts) of pairs of a text and a host."""
    found: dict[str, list[str]] = {}
    for text, host in pairs:
        found.setdefault(text, []).append(host)
    return [(text, tuple(hosts)) for text, hosts in found.items()]


def _checked(pairs: Sequence[tuple[str, Check]]) -> list[Checked]:
    """Each check with what it found, the worst first."""
    found: dict[str, dict[str, list[tuple[str, Check]]]] = {}
    for host, check in pairs:
        grade = told.graded(check) or ("skipped" if check.skipped else "ok")
        found.setdefault(check.check, {}).setdefault(grade, []).append((host, check))
    order = (told.FAILED, told.WARNS, "skipped", "ok")
    return [
        Checked(name, tuple(_outcome(grade, grades[grade]) for grade in order if grade in grades))
        for name, grades in found.items()
    ]


def _outcome(grade: str, parts: list[tuple[str, Check]]) -> Outcome:
    texts = [(text, host) for host, check in parts for text in check.findings or (check.message,)]
    return Outcome(grade, tuple(host for host, _ in parts), tuple(_grouped(texts)), parts[0][1].remedy)


def _papers(hosts: Sequence[Host], now: datetime, beside: Mapping[str, list[told.Beside]]) -> list[Paper]:
    found: dict[tuple[str, tuple[str, ...], str, str], list[str]] = {}
    for host in hosts:
        for life in host.lives:
            if life.certificate:
                each = life.certificate
                key = (life.secret, each.names, each.begins[:10], each.ends[:10])
                found.setdefault(key, []).append(host.name)
    papers = sorted(found.items(), key=lambda each: each[0][3])
    return [_paper(*key, tuple(names), now, tuple(beside.get(key[0], ()))) for key, names in papers]


def _paper(
    secret: str,
    names: tuple[str, ...],
    begins: str,
    ends: str,
    hosts: tuple[str, ...],
    now: datetime,
    beside: tuple[told.Beside, ...],
) -> Paper:
    begin, end = (parsed(f"{text}T00:00:00+00:00") for text in (begins, ends))
    state = bars.ENDED if end <= now else bars.SOON if end <= now + 30 * DAY else bars.FAR
    word = f"{'expired' if state == bars.ENDED else 'expires'} {away(end, now)}"
    mine = tuple(each for each in beside if each.check == "certificates" and set(each.hosts) & set(hosts))
    return Paper(secret, names, date(begin), date(end), state, word, hosts, mine)


def _drifts(hosts: Sequence[Host], catalogue: Catalogue, beside: Mapping[str, list[told.Beside]]) -> list[Drift]:
    found: dict[tuple[str, str, str, str, str], list[str]] = {}
    for host in hosts:
        for name in catalogue.secrets:
            each = host.vault.get(name)
            if each and each["held"] != each["offered"]:
                since, ends = (clock(parsed(text)) if (text := each[which]) else "" for which in ("since", "ends"))
                key = (name, each["held"] or "none", each["offered"] or "none", since, ends)
                found.setdefault(key, []).append(host.name)
    return [
        Drift(*key, tuple(names), tuple(each for each in beside.get(key[0], ()) if each.check.startswith("vault")))
        for key, names in found.items()
    ]


def named(hosts: Sequence[str]) -> str:
    """Hosts by name, or how many."""
    return ", ".join(hosts) if len(hosts) <= NAMED else f"{len(hosts)} hosts"


def render(env: str, now: datetime, hosts: Sequence[Host], around: Sequence[Check]) -> str:
    """The page as HTML."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["named"] = named
    template = environment.get_template("page.html.j2")
    return template.render(page=page(env, now, hosts, around), first=FIRST, recent=RECENT)
