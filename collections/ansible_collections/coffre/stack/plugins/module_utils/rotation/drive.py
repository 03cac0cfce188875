"""A rotation from its plan to its end: which way it goes is decided here.

What goes forward and fails is turned back, and both ways end with the same phases. What neither can be finished nor
undone stays open, for the next play to take over.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from ..catalogue import Catalogue
from ..engines import compose
from ..errors import CoffreError
from ..host import progress, state
from ..host.escrow import collect, concerned
from ..host.outcome import guard
from ..paths import StackPaths
from ..staging.stage import StagingOptions
from . import plan as plans
from . import run as runs

# A key that several containers sign with is known to all before one does: that takes a rollout of its own.
BEGIN = ("issue", "prove", "publish", "introduce", "rollout")
END = ("adopt", "rollout", "retire")


@dataclass
class Drive:
    """What a play brings along: `seconds` is what each service has to become ready at the rollout.

    Where it deploys, what was left open is only in its way, and it brings all services to its own file and images: one
    that adopts a value may need the others as they are to be, not as the play that began found them.
    """

    paths: StackPaths
    catalogue: Catalogue
    settings: runs.RotationSettings
    staging: StagingOptions
    images: Mapping[str, str]  # by service: those that the play made, if it did
    seconds: float
    lines: list[str] = field(default_factory=list)  # what was done


def rotate(drive: Drive, request: plans.RotationRequest, check: bool) -> dict[str, Any]:
    """Take over what is open, or plan, open and drive a rotation; with `check` only look.

    Returns {changed, outcome: rotated undone nothing refused open, rows, next, diff, warnings, msg and failed where a
    person has to know}, and of a rotation its id, operator, started, direction, secrets. Raises CoffreError before
    anything changed.
    """
    paths = drive.paths
    with state.locked(paths) if state.begun(paths) else nullcontext():
        st = state.load(paths)
        collected = not check and collect(paths, st)
        if st.run is not None:
            plans.take_over(paths, st, request, drive.settings, check)
            told = f"the rotation of {', '.join(st.run.secrets)} that was left open: {st.run.direction}\n"
            progress.step(told.rstrip())
            result: dict[str, Any] = {
                "changed": True,
                "outcome": "open",
                "taken_over": True,
                "rows": [],
                "diff": {"prepared": told},
            }
        elif request.only_open:
            return {"changed": collected, "outcome": "nothing", "rows": [], "next": {}, "diff": {"prepared": ""}}
        else:
            result = _planned(drive, st, request, check) | {"taken_over": False}
            result["changed"] |= collected
        result |= runs.described(st.run) if st.run else {}
    if not check and st.run is not None:
        result |= _driven(drive, result)
    return result


def _planned(drive: Drive, st: state.State, request: plans.RotationRequest, check: bool) -> dict[str, Any]:
    """Plan, and open what is to be done. Raises CoffreError with all blockers; with `check` they are told."""
    source = drive.settings.source
    progress.look("looks at what is due, and for what blocks it")
    chosen = plans.changes(drive.catalogue, st, request, source, plans.present())
    plan = plans.plan(drive.paths, drive.catalogue, st, request, chosen, source)
    refusal = plans.refusal(plan.problems)
    if refusal and not check:
        raise CoffreError(refusal)
    following = None if chosen else plans.coming(drive.catalogue, st, request)
    if chosen and not check:
        plans.begin(drive.paths, drive.catalogue, st, chosen, drive.settings)
    text = plan.table() if chosen else "" if refusal else "nothing is due\n"
    for line in text.splitlines() if chosen and not check else ():
        progress.step(line)
    return {
        "changed": bool(chosen),
        "outcome": "refused" if refusal else "open" if chosen else "nothing",
        "rows": [asdict(row) for row in plan.rows],
        "next": {"secret": following[1], "date": f"{following[0]:%Y-%m-%d}"} if following else {},
        "diff": {"prepared": text},
        **({"failed": True, "msg": refusal} if refusal else {}),
    }


def _driven(drive: Drive, planned: Mapping[str, Any]) -> dict[str, Any]:
    """Drive the open rotation in its direction to its end, or to where it stays open."""
    result: dict[str, Any] = {"outcome": "open", "warnings": []}
    problems: list[str] = []
    if planned["direction"] == "forward":
        problems += _attempt(drive, BEGIN + END, result)
    if planned["direction"] == "back" or (problems and _turned(drive, problems)):
        problems += _attempt(drive, ("publish", *END), result)
    result["diff"] = {"prepared": planned["diff"]["prepared"] + "".join(drive.lines)}
    names = ", ".join(planned["secrets"])
    if result["outcome"] == "open":
        with suppress(CoffreError, OSError):
            _release(drive)
        said = " ".join(dict.fromkeys(problems))
        return result | {
            "failed": True,
            "msg": f"{said} The rotation {planned['id']} of {names} stays open: mend the cause, then run "
            "playbooks/rotate.yml, or site.yml, which finishes or undoes it.",
        }
    if result["outcome"] == "undone" and problems:
        return result | {
            "failed": True,
            "msg": f"The rotation of {names} is undone and all is as before, the old values were seen to work "
            f"everywhere: {problems[0]}",
        }
    return result


def _attempt(drive: Drive, steps: tuple[str, ...], result: dict[str, Any]) -> list[str]:
    """Go through steps and close: [], or why it could not be done. Whatever happens, the next play may take over."""
    _, problem = guard(lambda: _go(drive, steps, result))
    return [problem] if problem else []


def _go(drive: Drive, steps: tuple[str, ...], result: dict[str, Any]) -> dict[str, Any]:
    """Do steps of the open rotation, and close it. Raises CoffreError."""
    paths, catalogue, settings = drive.paths, drive.catalogue, drive.settings
    staged: dict[str, Any] = {}
    for step in steps:
        if step == "rollout" and not staged:
            continue
        if step == "rollout":  # it takes the lock itself
            names = None if drive.staging.deploys else concerned(catalogue, state.load(paths))
            lines = runs.roll(paths, catalogue, staged["bundles"], _images(drive), drive.seconds, settings, names)
        else:
            with state.locked(paths):
                lines = runs.perform(paths, catalogue, step, settings)
                if step in ("introduce", "adopt"):
                    staged = {}
                if step == "adopt" or (step == "introduce" and lines):
                    staged = runs.stage(paths, catalogue, settings, drive.staging)
                    lines += [f"{bundle}: staged" for bundle in staged["new"]]
                    result["warnings"] += staged["warnings"]
        drive.lines += [f"{step:<8} {line}\n" for line in lines]
    with state.locked(paths):
        result |= runs.close(paths, catalogue, settings)
    for name, each in result["secrets"].items():
        progress.step(f"{name} {each['old'][:8]} -> {each['new'][:8]}: {result['outcome']}")
    return result


def _turned(drive: Drive, problems: list[str]) -> bool:
    """Turn the open rotation back; False, with why, where it only goes forward or is another play's."""

    def turn() -> dict[str, Any]:
        with state.locked(drive.paths):
            runs.roll_back(drive.paths, drive.settings)
        return {}

    _, problem = guard(turn)
    problems += [problem] if problem else []
    return not problem


def _release(drive: Drive) -> None:
    """Let the next play take over at once."""
    with state.locked(drive.paths):
        runs.release(drive.paths, drive.settings)


def _images(drive: Drive) -> dict[str, str]:
    """The image of each service: that which runs, for a rotation rolls out no other, or the one it would have."""
    if drive.staging.deploys:
        return dict(drive.images)
    running = plans.images(drive.paths)
    if drive.paths.compose.exists() and set(drive.catalogue.services) - set(running):
        running = {name: each.image for name, each in compose.desired(drive.paths.compose).items()} | running
    return {**drive.images, **running}
