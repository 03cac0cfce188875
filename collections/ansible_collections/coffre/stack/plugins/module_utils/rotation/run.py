"""The rotation under way: its acts, its direction, its end.

A run goes forward through phases, and can turn back until the first value is withdrawn. Both ways end with the same
phases: publish what is to be in force, let the containers adopt it, retire the other value. Every act is recorded in
state before it is done, and can be done again, so whoever takes a run over simply goes through the phases of its
direction once more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from ..audit import trail as audit
from ..catalogue import Catalogue
from ..errors import CoffreError
from ..host import objects, progress, rings, state
from ..host.escrow import Which, collect, concerned, desired, seal
from ..paths import StackPaths
from ..rollout import apply as rollout
from ..sources import base as sources
from ..sources.base import Source, Writer
from ..staging import stage as staging
from ..strategies import loading
from ..strategies.context import Context, Strategy

# The acts of each phase, by direction.
PHASES: dict[str, dict[str, tuple[str, ...]]] = {
    "forward": {
        "issue": state.FORWARD[:2],
        "prove": state.FORWARD[2:3],
        "publish": state.FORWARD[3:4],
        "introduce": state.FORWARD[4:5],
        "adopt": state.FORWARD[5:6],
        "retire": state.FORWARD[6:],
    },
    "back": {"publish": state.BACK[:1], "adopt": state.BACK[1:2], "retire": state.BACK[2:]},
}

# What each act does, for whoever watches.
DOING = {
    "made": "makes the new value",
    "taught": "has it accepted beside the old one",
    "proved": "tries the value that is to be in force",
    "published": "publishes it to the source",
    "introduced": "makes it known to all before one uses it",
    "adopted": "hands it to its consumers",
    "confirmed": "tries it from inside the containers",
    "withdrawn": "withdraws the other value",
    "refused": "sees the other value refused",
}


@dataclass(frozen=True)
class RotationSettings:
    """`holder` is the play that asks. A lease that it takes lasts so many seconds; `patience` is what a service has to
    become healthy. `source` is where the values come from.
    """

    holder: str
    operator: str
    source: Source
    lease: float = 120.0
    patience: float = 180.0


def lasting(run: state.Run) -> bool:
    """Whether a withdrawal has begun, so that the run can only go forward."""
    return run.direction == "forward" and any(each.reached("withdrawn") for each in run.secrets.values())


def context(paths: StackPaths, st: state.State, catalogue: Catalogue, name: str, settings: RotationSettings) -> Context:
    """What the strategy of a secret of the open run is given. Raises CoffreError if the catalogue lost the secret."""
    assert st.run
    change = st.run.secrets[name]
    secret = catalogue.secrets.get(name)
    if secret is None or secret.strategy != change.strategy:
        raise CoffreError(
            f"The catalogue no longer has {name} as a secret of the strategy {change.strategy}, and its rotation is "
            "open; nothing was changed: put it back into the catalogue until the rotation is closed."
        )
    return Context(paths, catalogue, st, secret, change, settings.patience)


def perform(paths: StackPaths, catalogue: Catalogue, phase: str, settings: RotationSettings) -> list[str]:
    """Do one phase of the open run for all its secrets, each act for all of them before the next.

    Returns a line per secret. The caller holds the stack's lock. Raises CoffreError; the run then stays open as it is.
    """
    st = state.load(paths)
    run = state.require_holder(st, settings.holder)
    acts = PHASES[run.direction].get(phase, ())
    todo = [
        (act, name)
        for act in acts
        for name, change in run.secrets.items()
        if _applies(change, run.direction, act, acts) and (act != "introduced" or _shared(catalogue, name))
    ]
    done: dict[str, list[str]] = {name: [] for name in run.secrets}
    failed: dict[str, list[str]] = {}
    try:
        with settings.source.writer() if phase == "publish" and todo else nullcontext() as writer:
            for act, name in todo:
                _record(paths, st, run.secrets[name], act)
                failed = {name: [act]}
                progress.step(f"{name}: {DOING[act]}")
                _act(context(paths, st, catalogue, name, settings), act, settings.source, writer)
                failed = {}
                done[name].append(act)
    except BaseException:
        with suppress(CoffreError):  # what went wrong first is what has to be told
            _audit(paths, st, run, settings, [*_outcomes(done, "done"), *_outcomes(failed, "failed")])
        raise
    finally:
        _keep(paths, st, run)
    _audit(paths, st, run, settings, _outcomes(done, "done"))
    return [f"{_label(name, run.secrets[name])}: {', '.join(acts)}" for name, acts in done.items() if acts]


def stage(
    paths: StackPaths, catalogue: Catalogue, settings: RotationSettings, how: staging.StagingOptions
) -> dict[str, Any]:
    """Stage what the open run says is to be in force. Returns and raises as `staging.deliver`, in the lock as well."""
    state.require_holder(state.load(paths), settings.holder)

    def unasked(*_: Any) -> sources.Resolved:
        raise AssertionError("while a rotation is open, no source is asked")

    return staging.deliver(paths, catalogue, unasked, how, audit.Author(settings.holder, settings.operator))


def roll(
    paths: StackPaths,
    catalogue: Catalogue,
    staged: Mapping[str, Any],
    images: Mapping[str, str],
    seconds: float,
    settings: RotationSettings,
    names: Collection[str] | None,
) -> list[str]:
    """Let services, or all, adopt what is staged. Returns a line per service; takes the stack's lock.

    Raises CoffreError.
    """
    author = audit.Author(settings.holder, settings.operator)
    done = rollout.roll(paths, catalogue, staged, images, seconds, author, names=names, rotating=True)["services"]
    return [
        f"{each['name']}: {each['action']}" + (f", {each['why']}, {each['seconds']} s" if each["why"] else "")
        for each in done
    ]


def _outcomes(acts: dict[str, list[str]], outcome: str) -> list[tuple[str, str, str]]:
    return [(name, act, outcome) for name, each in acts.items() for act in each]


def _audit(
    paths: StackPaths,
    st: state.State,
    run: state.Run,
    settings: RotationSettings,
    outcomes: Sequence[tuple[str, str, str]],
) -> None:
    """Append a record per (secret, act, outcome) to the stack's audit trail."""
    events = [
        {
            "event": "rotation",
            "direction": run.direction,
            "secret": name,
            "old": run.secrets[name].old.version,
            "new": run.secrets[name].new.version,
            "act": act,
            "outcome": outcome,
        }
        for name, act, outcome in outcomes
    ]
    audit.happened(paths, st, audit.Author(run.id, settings.operator), events)


def _label(name: str, change: state.Change) -> str:
    if change.old.version == change.new.version:
        return f"{name} {change.old.version[:8]}"
    return f"{name} {change.old.version[:8]} -> {change.new.version[:8] or 'new'}"


def _applies(change: state.Change, direction: str, act: str, phase: tuple[str, ...]) -> bool:
    """Whether an act is to be done. All acts of a phase are repeated while the last may have been cut short."""
    if change.old.version == change.new.version:
        return act in ("adopted", "confirmed")  # only the ring loses a version, which staging does
    if direction == "forward":
        return change.step == phase[-1] or not change.reached(phase[-1])
    return change.reached("published" if act == "published" else "made")


def _shared(catalogue: Catalogue, name: str) -> bool:
    return name in catalogue.secrets and rings.shared(catalogue, catalogue.secrets[name])


def _record(paths: StackPaths, st: state.State, change: state.Change, act: str) -> None:
    """Say in state that an act begins; a step that was reached is never taken back."""
    assert st.run
    if st.run.direction == "back":
        change.undo = max(change.undo or act, act, key=state.BACK.index)
    else:
        change.step = max(change.step or act, act, key=state.FORWARD.index)
    st.run.renew()
    state.save(paths, st)


def _keep(paths: StackPaths, st: state.State, run: state.Run) -> None:
    """Renew the lease where an act took so long that another play could take over before the next record."""
    if run.lease_until < state.now(run.lease / 2):
        run.renew()
        with suppress(OSError):
            state.save(paths, st)


def _act(given: Context, act: str, source: Source, writer: Writer | None) -> None:
    back = given.run.direction == "back"
    keep: Which = "old" if back else "new"
    drop: Which = "new" if back else "old"
    if act in ("introduced", "adopted"):
        return  # staging and rollout do that
    if act == "published":
        if writer:
            state.hold(given.paths)
            _publish(given, writer)
        return
    strategy = loading.load(given.secret.strategy)
    if act == "made":
        _make(given, strategy, source)
        return
    with given.near():
        state.hold(given.paths)
        match act:
            case "taught":
                strategy.teach(given)
            case "proved":
                strategy.prove(given, keep)
            case "confirmed":
                strategy.confirm(given, keep)
            case "withdrawn":
                strategy.withdraw(given, keep, drop)
            case "refused":
                if given.has(drop):
                    strategy.refused(given, drop)


def _make(given: Context, strategy: Strategy, source: Source) -> None:
    if given.has("new"):
        return
    value = source.offered(given) or _made(given, strategy)
    problem = sources.unfit(given.secret, value)
    if problem is None and given.has("old") and value == given.value("old"):
        problem = "is the old one"
    if problem:
        raise CoffreError(f"The new value of {given.secret.name} {problem}.")
    seal(given.paths, given.run.id, given.secret.name, "new", value)


def _made(given: Context, strategy: Strategy) -> bytes:
    with given.near():
        state.hold(given.paths)
        return strategy.make(given)


def _publish(given: Context, writer: Writer) -> None:
    """Let the source's latest version be the one that is to be in force, and the state name it."""
    change, st = given.change, given.state
    if given.run.direction == "forward":
        change.new = writer.publish(given)
    else:
        before, change.old = change.old, writer.take_back(given)
        if given.secret.strategy != rings.STRATEGY:  # a ring keeps what was signed under the former name
            if given.paths.on_swarm:  # where a value is an object that is called after its version
                objects.keep(given.paths, {change.old.version: given.value("old")})
            _rename(st, given.secret.name, before.version, change.old)
    state.save(given.paths, st)


def _rename(st: state.State, name: str, version: str, record: state.Version) -> None:
    """Let a version be called as the source calls the same value now, so that nothing has to roll for a name."""
    if st.secrets[name].version == version:
        st.secrets[name] = record
    for entry in st.services.values():
        for bundle in entry.bundles.values():
            if bundle.versions.get(name) == version:
                bundle.versions[name] = record.version


def roll_back(paths: StackPaths, settings: RotationSettings) -> None:
    """Turn the open run back, if it is not already.

    Raises CoffreError where it can only go forward. The caller holds the stack's lock.
    """
    st = state.load(paths)
    run = state.require_holder(st, settings.holder)
    if lasting(run):
        raise CoffreError(
            f"An old value of {', '.join(run.secrets)} is already withdrawn, so the rotation only goes forward."
        )
    if run.direction == "back":
        return
    run.direction = "back"
    run.renew()
    state.save(paths, st)
    note(paths, st, settings, "turned back")


def release(paths: StackPaths, settings: RotationSettings) -> None:
    """Give up the lease of a run that this play drives and leaves open, so that the next one takes over at once.

    The caller holds the stack's lock.
    """
    st = state.load(paths)
    if st.run and st.run.holder == settings.holder:
        st.run.lease_until = state.now()
        state.save(paths, st)


def close(paths: StackPaths, catalogue: Catalogue, settings: RotationSettings) -> dict[str, Any]:
    """Close the open run: every consumer has what it is to have, and works. The caller holds the stack's lock.

    Returns {outcome: rotated or undone, secrets: as of `described`}. Raises CoffreError, and the run stays open,
    if it is not so.
    """
    st = state.load(paths)
    run = state.require_holder(st, settings.holder)
    for name, change in run.secrets.items():
        record = desired(run, change)[1]
        behind = [
            service
            for service, entry in st.services.items()
            if (bundle := entry.bundles.get(entry.current or ""))
            and bundle.versions.get(name, record.version) != record.version
        ]
        if behind or st.secrets[name].version != record.version:
            raise CoffreError(f"{', '.join(behind) or 'The host'} has not adopted version {record.version} of {name}.")
    try:
        services = concerned(catalogue, st) & set(catalogue.services)
        progress.step("sees that all that runs stays ready")
        if problem := rollout.steady(paths, services, settings.patience):
            raise CoffreError(f"All have their values, but the stack does not work: {problem}.")
    finally:
        _keep(paths, st, run)
    outcome = "rotated" if run.direction == "forward" else "undone"
    note(paths, st, settings, outcome)
    st.run = None
    state.save(paths, st)
    # After the state: whatever a crash leaves behind belongs to no run, and the next play collects it.
    collect(paths, st)
    return {"outcome": outcome, "secrets": described(run)["secrets"]}


def note(paths: StackPaths, st: state.State, settings: RotationSettings, outcome: str) -> None:
    """Record what becomes of the open run as a whole, with the act that each secret had come to."""
    assert st.run
    acts = {name: each.undo or each.step or "none" for name, each in st.run.secrets.items()}
    _audit(paths, st, st.run, settings, [(name, act, outcome) for name, act in acts.items()])


def described(run: state.Run) -> dict[str, Any]:
    """A run for the module's result: names and versions only."""
    return {
        "id": run.id,
        "operator": run.operator,
        "started": run.started,
        "direction": run.direction,
        "secrets": {name: {"old": each.old.version, "new": each.new.version} for name, each in run.secrets.items()},
    }
