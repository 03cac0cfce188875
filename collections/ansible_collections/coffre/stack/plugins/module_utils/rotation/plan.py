"""What is to be rotated and whether it can be; opening a run, and taking over one that another left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .. import engines
from ..audit import trail as audit
from ..catalogue import HOST, Catalogue, Service
from ..engines.base import Container
from ..errors import Aside, CoffreError, SealError
from ..host import bundles, memory, restore, rings, state, tasks, tmpfs
from ..host.escrow import concerned, seal
from ..paths import RUN, StackPaths
from ..rollout import apply, firewall
from ..sources.base import Source
from ..strategies import loading
from ..strategies.context import Context
from ..values.lifetimes import due, end, parsed
from . import run as rotation
from .run import RotationSettings

PATIENCE = 5.0  # seconds that a service may take to be healthy before a run is open
COLUMNS = ("secret", "version", "age", "expires", "strategy", "rolls", "why")


@dataclass(frozen=True)
class RotationRequest:
    """What is asked for: `names`, or all that are due; `before_days` is how long before its end a value is due.

    `only_open`: nothing is begun. `take_over` is the id of an open run whose holder is known to be gone, though its
    lease is not over. `hosts` is how many rotate at once.
    """

    names: tuple[str, ...]
    before_days: int
    take_over: str = ""
    hosts: int = 1
    only_open: bool = False


@dataclass(frozen=True)
class Row:
    """One secret of a plan; times in UTC as ISO 8601, `age` in days. `rolls` are the services that will adopt it."""

    secret: str
    version: str
    age: int
    expires: str
    strategy: str
    rolls: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class RotationPlan:
    rows: list[Row]
    problems: list[str]
    unknown: list[str]
    asides: list[str]

    def table(self) -> str:
        lines = [COLUMNS] + [
            (
                row.secret,
                row.version[:8],
                f"{row.age} d",
                row.expires[:10] or "-",
                row.strategy,
                ", ".join(row.rolls) or "-",
                row.why,
            )
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        notes = [f"unknown until it is done: {each}" for each in self.unknown]
        return "\n".join([*text, *self.asides, *notes]) + "\n"


def present() -> datetime:
    return datetime.now(UTC)


def changes(
    catalogue: Catalogue, st: state.State, request: RotationRequest, source: Source, moment: datetime
) -> dict[str, tuple[state.Change, str]]:
    """The changes of a run and why, by secret, authorities first. Only of secrets that the host has.

    A key ring that has only a version to retire keeps its current one. An authority takes its certificates along.
    """
    found = {}
    reasons = {
        name: "named"
        if request.names
        else "due"
        if (date := due(secret, st.secrets[name], request.before_days, moment)) and date <= moment
        else ""
        for name, secret in catalogue.secrets.items()
        if name in st.secrets and (not request.names or name in request.names)
    }
    for name in [name for name, why in reasons.items() if why]:
        reasons |= {each: f"signed by {name}" for each in catalogue.certified(name) if each in st.secrets}
    for name in sorted(reasons, key=lambda name: not catalogue.certified(name)):
        secret, record, why = catalogue.secrets[name], st.secrets[name], reasons[name]
        if why:
            new = replace(record, version=source.version(), created=state.now())
            found[name] = (
                state.Change(secret.strategy, record, loading.load(secret.strategy).successor(secret, record, new)),
                why,
            )
        elif rings.retiring(secret, record, state.now()):
            found[name] = (state.Change(secret.strategy, record, record), "an old version retires")
    return found


def coming(catalogue: Catalogue, st: state.State, request: RotationRequest) -> tuple[datetime, str] | None:
    """When a secret, or an old version of one, is due next, and which secret."""
    dates = [
        (date, name)
        for name, secret in catalogue.secrets.items()
        if (record := st.secrets.get(name))
        for date in (
            due(secret, record, request.before_days, present()),
            *(parsed(each.retires) for each in record.ring if each.retires),
        )
        if date
    ]
    return min(dates, default=None)


def plan(
    paths: StackPaths,
    catalogue: Catalogue,
    st: state.State,
    request: RotationRequest,
    chosen: Mapping[str, tuple[state.Change, str]],
    source: Source,
) -> RotationPlan:
    """The rows of a run, and everything that blocks it. Reads only."""
    moment = present()
    rows, unknown = [], []
    problems = _requests(catalogue, st, request)
    for name, (change, why) in chosen.items():
        secret = catalogue.secrets[name]
        ends = end(secret, change.old)
        rolls = tuple(service for service in catalogue.services if service in secret.consumers)
        rows.append(
            Row(
                secret=name,
                version=change.old.version,
                age=(moment - parsed(change.old.created)).days,
                expires=ends.strftime("%Y-%m-%dT%H:%M:%SZ") if ends else "",
                strategy=secret.strategy,
                rolls=rolls,
                why=why,
            )
        )
        strategy = loading.load(secret.strategy)
        if strategy.UNKNOWN:
            unknown.append(f"{name}: {strategy.UNKNOWN}")
    rolling = [service for service in catalogue.services.values() if any(service.name in row.rolls for row in rows)]
    apart: set[str] | None = None  # services that cannot be asked; None: nobody can
    if chosen and st.services:
        amiss, unwell = _stack(paths, st, {each.name: None if each.everywhere else each.replicas for each in rolling})
        broken = _sealed(paths, st)
        problems += broken + amiss
        apart = None if broken else {*unwell, *_behind(catalogue, st)}
    asides = [told for each in rolling if (told := in_place(catalogue, each, paths.on_swarm))]
    asides += [
        f"{name}: its services roll twice, so that each container accepts the new key before one signs with it"
        for name, (change, _) in chosen.items()
        if change.old.version != change.new.version and rings.shared(catalogue, catalogue.secrets[name])
    ]
    refused: dict[str, str] = {}
    given = [
        Context(paths, catalogue, st, catalogue.secrets[name], change, PATIENCE, refused=refused)
        for name, (change, _) in chosen.items()
    ]
    for each in given:
        if apart is None or apart & {each.secret.settings.get("service"), *each.secret.consumers}:
            continue
        with each.near():
            found = loading.load(each.secret.strategy).blockers(each)
        asides += [f"{each.secret.name}: {line}" for line in found if isinstance(line, Aside)]
        problems += [line for line in found if not isinstance(line, Aside)]
    # What only loses an earlier version is no business of the source's.
    replaced = [each for each in given if each.change.old.version != each.change.new.version]
    problems += source.blockers(replaced, request.hosts)
    unknown += [source.unknown] if replaced and source.unknown else []
    return RotationPlan(rows, list(dict.fromkeys(problems)), unknown, asides)


def in_place(catalogue: Catalogue, service: Service, on_swarm: bool = False) -> str:
    """What becomes of requests to a service that is recreated in place for a secret, as a sentence; "" of others."""
    if service.adopt != "restart":
        return ""
    what, entries = f"{service.name} is recreated in place: ", catalogue.file.services
    own = {port for _, port in service.entry.published} if service.entry else set()
    theirs = {port for name in apply.needing(catalogue.file, service.name) for _, port in entries[name].published}
    until = f"wait until it has started, {firewall.HELD_SECONDS} s at most"
    if own and not on_swarm:
        return (
            f"{what}new connections to {_ports(own)} {until}; what it does not finish before it stops and what other "
            "containers ask of it meanwhile will be lost"
        )
    if theirs and not on_swarm:
        return f"{what}requests to {_ports(theirs)} {until}; what containers ask of it of their own will be lost"
    return (
        f"{what}requests will be lost while it starts (deploy.update_config.order: start-first in the Compose file "
        "puts a second container beside the first)"
    )


def _ports(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _requests(catalogue: Catalogue, st: state.State, request: RotationRequest) -> list[str]:
    """What is wrong with the request itself, and a catalogue that differs from what is deployed."""
    if not st.services:
        return [f"nothing of {st.stack} is deployed on this host: run playbooks/site.yml first"]
    problems = []
    if unknown := [name for name in request.names if name not in catalogue.secrets]:
        problems.append(
            f"the catalogue has no secret {', '.join(unknown)}: name some of {', '.join(catalogue.secrets)}"
        )
    if behind := _behind(catalogue, st):
        problems.append(f"{', '.join(behind)} has not adopted what the catalogue says: run playbooks/site.yml first")
    return problems


def _behind(catalogue: Catalogue, st: state.State) -> list[str]:
    """The services that have not adopted what the catalogue says."""
    waiting = [service for service, entry in st.services.items() if entry.next]
    lacking = [
        service.name
        for service in catalogue.receivers()
        if (entry := st.services.get(service.name, state.ServiceState())).current is None
        or not _fits(entry.bundles[entry.current], catalogue, service, st)
    ]
    return sorted({*waiting, *lacking})


def _fits(bundle: state.Bundle, catalogue: Catalogue, service: Service, st: state.State) -> bool:
    """Whether a bundle is what the catalogue says, as far as can be told without a value."""
    said = (rings.files(catalogue, service, st.secrets), service.uid, service.gid, service.adopt == "reload")
    return (bundle.files, bundle.uid, bundle.gid, bundle.reload) == said


def _sealed(paths: StackPaths, st: state.State) -> list[str]:
    """The sealed copies that do not open: with one of them nothing can be staged, neither forward nor back."""
    named = [(service, name) for service, entry in sorted(st.services.items()) for name in entry.named]
    with ThreadPoolExecutor() as pool:
        opened = pool.map(lambda each: _opens(paths, *each), named)
    return [
        f"the sealed copy of {service}'s bundle {name} does not open: run playbooks/site.yml first, which makes it "
        "anew or says what to do"
        for (service, name), well in zip(named, opened, strict=True)
        if not well
    ]


def _opens(paths: StackPaths, service: str, name: str) -> bool:
    try:
        bundles.unseal(paths, service, name)
    except SealError:
        return False
    return True


def _containers(number: int) -> str:
    return "one container" if number == 1 else f"{number} containers"


def _stack(paths: StackPaths, st: state.State, replicas: Mapping[str, int | None]) -> tuple[list[str], set[str]]:
    """Services that do not run, those that roll and are not well, and too little memory for a second container.

    The sentences, and the services. Of `replicas`, None is one on each node of a swarm.
    """
    running = [each for each in engines.of(paths).containers(paths.stack) if each.state == "running"]
    gone = sorted(set(st.services) - {HOST} - {each.service for each in running})
    problems = {service: f"{service} does not run" for service in gone}
    for service in sorted(set(replicas) & set(st.services) - set(gone)):
        entry = st.services[service]
        mine = [each for each in running if each.service == service]
        # The containers of a service that reloads name no bundle.
        sound = [each for each in mine if each.bundle in (entry.current, None) and _well(each)]
        number = replicas[service] or (len(mine) if paths.on_swarm else 1)
        if len(sound) != len(mine) or len(mine) != number:
            problems[service] = f"{service} does not run healthy, in {_containers(number)} with the bundle in force"
    told = [f"{'; '.join(problems.values())}: run playbooks/site.yml first"] if problems else []
    # On a swarm it is for the nodes that have room.
    rolling = [each for each in running if each.service in replicas and not paths.on_swarm]
    second = [each.memory for each in rolling if each.adopt == "start_first"]
    available = memory.available()
    if second and available < max(second):
        told.append(
            f"the host has {available >> 20} MiB of memory left and a second container may take "
            f"{max(second) >> 20} MiB: free some"
        )
    return told, set(problems)


def _well(container: Container) -> bool:
    """Whether a container serves. Right after a deploy the engine may not have asked it yet: then it is asked here."""
    return container.health in ("healthy", "") or (container.health == "starting" and not apply.failing(container))


def begin(
    paths: StackPaths,
    catalogue: Catalogue,
    st: state.State,
    chosen: Mapping[str, tuple[state.Change, str]],
    settings: RotationSettings,
) -> None:
    """Open a run for the chosen changes. Its old values are sealed first, so both are at hand whatever happens.

    Raises CoffreError for a name that the files of its values cannot have, or that another rotation had.
    """
    if not RUN.fullmatch(settings.holder):
        raise CoffreError(
            f"stack_run is {settings.holder!r}; nothing was changed: name a rotation by 1 to 40 of a-zA-Z0-9 and -."
        )
    if audit.rotation_known(paths, settings.holder):  # a vault would take its versions for this one's
        raise CoffreError(
            f"stack_run is {settings.holder}, as of an earlier rotation; nothing was changed: give each its own name."
        )
    for name, (change, _) in chosen.items():
        if change.old.version != change.new.version:
            value = bundles.value(paths, st, catalogue.secrets[name].consumers[0], name)
            seal(paths, settings.holder, name, "old", value)
    st.run = state.Run(
        id=settings.holder,
        holder=settings.holder,
        operator=settings.operator,
        started=state.now(),
        lease_until=state.now(settings.lease),
        lease=settings.lease,
        secrets={name: change for name, (change, _) in chosen.items()},
    )
    rotation.note(paths, st, settings, "opened")  # first: with a trail that cannot be continued nothing is opened
    state.save(paths, st)


def take_over(
    paths: StackPaths, st: state.State, request: RotationRequest, settings: RotationSettings, check: bool = False
) -> None:
    """Take over the open run, whose holder's lease is over; from then on its holder is refused.

    It goes forward if a withdrawal has begun, else back; with `check` only `st` tells so. Raises CoffreError within the
    lease.
    """
    run = st.run
    assert run
    if run.leased and request.take_over != run.id:
        raise CoffreError(
            f"{run.operator} has been rotating {', '.join(run.secrets)} since {run.started}, in run {run.id}; nothing "
            f"was changed: wait until it is done. If its play is known to be dead, run again after {run.lease_until}, "
            f"or at once with -e secret_rotation_take_over={run.id}."
        )
    if not rotation.lasting(run):
        run.direction = "back"
    if check:
        return
    if not paths.on_swarm:
        tmpfs.ensure(paths.run_root)
        restore.raise_bundles(paths, st)
    run.holder, run.lease = settings.holder, settings.lease
    run.renew()
    rotation.note(paths, st, settings, "taken over")
    state.save(paths, st)
    if paths.on_swarm:
        tasks.oust(paths.stack)


def services(catalogue: Catalogue, st: state.State) -> list[str]:
    """The services that the open run rolls."""
    return sorted(concerned(catalogue, st) & set(catalogue.services))


def images(paths: StackPaths) -> dict[str, str]:
    """The image of each service as it runs: a rotation rolls out no other."""
    return {each.service: each.image for each in engines.of(paths).containers(paths.stack)}


def refusal(problems: Sequence[str]) -> str:
    """All problems of a plan in one sentence; "" without any."""
    said = "; ".join(problem.removesuffix(".") for problem in problems)
    return f"The rotation cannot begin, and nothing was changed: {said}." if said else ""
