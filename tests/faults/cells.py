"""The cells of the table: what happens to the rotation of which secret at which record, and what is left afterwards.

A cell is one run that is harmed and then one ordinary run, of rotate.yml or of site.yml in turn. After that the judge
must find nothing amiss, whatever the two runs did.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from machines import Play
from rotations import Run, Site, Watch

from .kinds import Fault

# A run that is dead holds its lease no longer than this, and a service that is down is not waited for.
BRIEFLY = ("-e", "secret_rotation_lease_seconds=1", "-e", "secret_rotation_timeout=15")
# From outside two records that come at once can look like one: such a rotation ends well, and the next is tried. So is
# a run that comes within a lease.
ATTEMPTS = 8
KILLED, HEADLESS, POWER = "killed", "controller killed", "power cut"


@dataclass(frozen=True)
class Cell:
    """`how` is KILLED, HEADLESS, POWER or a fault; it happens at the `occurrence`-th record that is called `label`."""

    secret: str
    label: str
    how: str | Fault
    occurrence: int = 1
    why: str = ""
    patience: int = 240  # seconds that a new container has to become ready in the harmed run
    next: str = ""  # the ordinary run: rotate or site; in turn, where it does not matter

    def __str__(self) -> str:
        what = self.how if isinstance(self.how, str) else self.how.what
        again = f" ({self.occurrence})" if self.occurrence > 1 else ""
        return f"{self.secret:<31}{self.label + again:<21} {what}"


@dataclass(frozen=True)
class Verdict:
    """`problems` is empty where all is well. `first` and `second` tell what the two runs came to."""

    first: str
    second: str
    problems: Sequence[str]
    seconds: float


def records(site: Site, secret: str) -> list[tuple[str, int]]:
    """Each record that an undisturbed rotation writes to the state, with its occurrence."""
    watch = Watch(site)
    play = site.rotate(secret)
    labels = watch.end()
    assert play.status == 0, play.output
    seen: Counter[str] = Counter()
    found = []
    for label in labels:
        seen[label] += 1
        found.append((label, seen[label]))
    return found


def kills(site: Site, secret: str) -> list[Cell]:
    """The run killed after every record that it writes; a power cut of the host after a third of them."""
    every = records(site, secret)
    killed = [Cell(secret, label, KILLED, occurrence) for label, occurrence in every]
    return killed + [Cell(secret, label, POWER, occurrence) for label, occurrence in every[1::3]]


def play(site: Site, cell: Cell, ordinary: str, facts: dict[str, Any]) -> Verdict:
    """Play one cell. The stack is well before, and is to be so afterwards."""
    began = time.monotonic()
    site.forget()
    fault = cell.how if isinstance(cell.how, Fault) else None
    try:
        if fault:
            fault.prepare(site)
        first, problems = _harmed(site, cell)
        second = _ordinary(site, cell.next or ordinary)
        if second.status != 0:
            problems.append(f"the ordinary run failed: {second.output[-2500:]}")
    finally:
        if fault:
            fault.restore(site)
    amiss, left = site.judge()
    if left != facts:
        amiss.append(f"what no rotation may change has changed: {left} was {facts}")
    return Verdict(first, _outcome(second), [*problems, *amiss], time.monotonic() - began)


def _harmed(site: Site, cell: Cell) -> tuple[str, list[str]]:
    """The run that is harmed: what it came to, and what went wrong with the cell itself."""
    words = ("-e", f"secrets={cell.secret}", "-e", f"stack_services_timeout={cell.patience}", *BRIEFLY)
    for again in range(ATTEMPTS):
        watch = Watch(site, cell.label, cell.occurrence)
        run = Run(site, "rotate", *words)
        if watch.held(run):
            break
        said = run.end()
        watch.end()
        if said.status or again == ATTEMPTS - 1:
            return _outcome(said), [f"the record {cell.label} never came: {said.output[-1500:]}"]
    site.remember()
    first, problems = _harm(site, cell, run, watch)
    if cell.how == POWER:
        site.remember()  # the host has forgotten
    return first, problems


def _harm(site: Site, cell: Cell, run: Run, watch: Watch) -> tuple[str, list[str]]:
    """Let it happen, and the run come to its end: what that was, and what it should have said and did not."""
    if isinstance(cell.how, Fault):
        try:
            cell.how.do(site)
            watch.order("go")
            said = run.end()
            watch.end()
        finally:
            cell.how.mend(site)
        told = cell.how.says in " ".join(said.output.split())
        return _outcome(said), [] if told else [f"it does not say {cell.how.says!r}: {said.output[-1500:]}"]
    if cell.how == POWER:
        site.power_off()
        run.kill()
        watch.end()
        return cell.how, []
    run.kill()
    watch.order("go" if cell.how == HEADLESS else "kill")
    watch.end()
    return cell.how, []


def _ordinary(site: Site, playbook: str) -> Play:
    """A run that is not refused, which changes nothing: what a dead run's module still did renews its short lease."""
    for _ in range(ATTEMPTS):
        said = site.rotate() if playbook == "rotate" else site.play(playbook)
        told = " ".join(said.output.split())
        if said.status == 0 or not any(each in told for each in ("has been rotating", "has been working on")):
            break
    return said


def _outcome(said: Play) -> str:
    """What a run says that it came to."""
    text = " ".join(said.output.split())
    for sentence, outcome in (
        ("is undone and all is as before", "undone"),
        ("stays open", "open"),
        ("was left open: back", "undone by the next"),
        ("was left open: forward", "finished by the next"),
        ("UNREACHABLE", "unreachable"),
        ("FAILED", "failed"),
    ):
        if sentence in text:
            return outcome
    return "done" if said.status == 0 else f"status {said.status}"
