"""What a person is told: each sentence of the doctor, where it was found, and what it is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..doctor.target import Check
from .given import SILENT, Host

FAILED, WARNS, SILENCE = "failed", "warns", "silent"
GRADES = (SILENCE, FAILED, WARNS)
TRAIL = "audit trail"
ANSWER = "answer"
VAULT = "the vault itself"
MANY = 4  # more names than that in one sentence, and it is not repeated beside each


@dataclass(frozen=True)
class Sentence:
    """What is wrong or to be seen to, and on which hosts, where it is not on all of its matter's."""

    text: str
    hosts: tuple[str, ...] = ()


@dataclass
class Matter:
    """A check that needs a person, on all hosts of a stack on which it does. `id` is its anchor in the page."""

    id: str
    grade: str
    check: str
    stack: str
    remedy: str
    found: dict[str, list[str]] = field(default_factory=dict)  # text: hosts
    hosts: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> list[Sentence]:
        return [Sentence(text, () if hosts == self.hosts else tuple(hosts)) for text, hosts in self.found.items()]

    def add(self, host: str, findings: Iterable[str]) -> None:
        self.hosts.append(host)
        for text in findings:
            self.found.setdefault(text, []).append(host)


@dataclass(frozen=True)
class Beside:
    """A sentence beside what it is about."""

    grade: str
    check: str
    text: str
    remedy: str
    matter: str
    hosts: tuple[str, ...] = ()


def matters(hosts: Sequence[Host], around: Sequence[Check]) -> list[Matter]:
    """All that needs a person: first who gave no answer, then what failed, then what is to be seen to."""
    found: dict[tuple[str, str, str, str], Matter] = {}
    for host, stack, grade, check in _graded(hosts, around):
        key = (stack, check.check, grade, check.remedy)
        if key not in found:
            found[key] = Matter(f"m{len(found) + 1}", grade, check.check, stack, check.remedy)
        found[key].add(host, check.findings or (check.message,))
    return sorted(found.values(), key=lambda each: GRADES.index(each.grade))


def _graded(hosts: Sequence[Host], around: Sequence[Check]) -> Iterator[tuple[str, str, str, Check]]:
    """(host, stack, grade, check) of each check that needs a person."""
    for host in hosts:
        if host.silent:
            remedy = SILENT if not host.reached else ""
            yield host.name, host.stack, SILENCE, Check(ANSWER, False, False, host.silent, remedy=remedy)
        if host.distrust:
            yield host.name, host.stack, FAILED, Check(TRAIL, False, False, host.distrust)
    for name, stack, check in [(each.name, each.stack, check) for each in hosts for check in each.checks] + [
        (VAULT, "", check) for check in around
    ]:
        if grade := graded(check):
            yield name, stack, grade, check


def graded(check: Check) -> str:
    """The grade of a check that needs a person, "" for one that does not, or was not made."""
    return "" if check.skipped else FAILED if not check.ok else WARNS if check.warn else ""


def about(found: Iterable[Matter], names: Iterable[str]) -> dict[str, list[Beside]]:
    """By name, the sentences that name it; of one that names many, only where it stands."""
    wanted = sorted(names, key=len, reverse=True)
    told: dict[str, list[Beside]] = {}
    if not wanted:
        return told
    words = re.compile(rf"(?<![\w.@-])(?:{'|'.join(map(re.escape, wanted))})(?![\w-])")
    for matter in found:
        for sentence in matter.sentences:
            named = list(dict.fromkeys(words.findall(sentence.text)))
            text = sentence.text if len(named) <= MANY else f"one of {len(named)} that this check names"
            for name in named:
                hosts = sentence.hosts or tuple(matter.hosts)
                beside = Beside(matter.grade, matter.check, text, matter.remedy, matter.id, hosts)
                told.setdefault(name, []).append(beside)
    return told
