"""A rollout on a swarm: each service by Swarm's own update, one after another, as `apply.roll` does it on one host."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..audit import trail as audit
from ..catalogue import Catalogue
from ..compose_file import LABEL_BUNDLE
from ..engines import swarm
from ..engines.base import DesiredService
from ..engines.swarm import deploy, file
from ..errors import CoffreError
from ..host import files
from ..host import state as states
from ..paths import StackPaths
from . import shim
from .apply import (
    FIRST_SECONDS,
    HEADERS,
    Agree,
    Done,
    Stack,
    Step,
    _collect,
    _done,
    _foreseen,
    _order,
    _report,
)


def roll(
    paths: StackPaths,
    catalogue: Catalogue,
    images: Mapping[str, str],
    seconds: float,
    run: audit.Author,
    agree: Agree | None = None,
    *,
    by_hand: Callable[[states.State], str] = lambda _: "",
    names: Collection[str] | None = None,
    check: bool = False,
    rotating: bool = False,
) -> dict[str, Any]:
    """As `apply.roll`; what is staged is the state's, which all managers have."""
    if problems := file.problems(catalogue):
        raise CoffreError(f"Swarm cannot run this Compose file, and nothing was changed: {'; '.join(problems)}.")
    names = [name for name in catalogue.services if names is None or name in names]
    if check and not states.begun(paths):
        new = [Step(DesiredService(name, "", "", None, None, "", ""), "create", "the stack is new") for name in names]
        return _report([Done(step) for step in new], True, [], [])
    with states.locked(paths):
        st = states.load(paths)
        (states.require_holder if rotating else states.admit)(st, run.name)
        whole = file.rendered(
            paths.stack, catalogue.file, st, images, catalogue.file.plain_networks, shim.of(images, check)
        )
        content = json.dumps(whole, indent=1) + "\n"
        before = paths.compose.read_text(encoding="utf-8", errors="replace") if paths.compose.exists() else ""
        stack = Stack(paths, catalogue, st, None, seconds)
        steps = _steps(stack, whole, names)
        if (check or any(step.acts for step in steps)) and (problem := by_hand(st)):
            raise CoffreError(problem)
        diff = [_diff(steps)]
        if content != before:
            diff.insert(0, {"before": before, "after": content} | dict.fromkeys(HEADERS, str(paths.compose)))
        if check:
            return _report([_foreseen(stack, step, agree) for step in steps], False, [], diff)
        late = audit.adopted(paths, stack.state, run)
        done = []
        try:
            for step in steps:
                done.append(_done(stack, step, run, agree, lambda stack, step: _carry_out(stack, whole, step)))
        finally:
            stack.renew()
        files.write(paths.compose, content.encode(), 0o600)
        return _report(done, late, _collect(stack), diff)


def _steps(stack: Stack, whole: Mapping[str, Any], names: Sequence[str]) -> list[Step]:
    """What each service needs. Raises CoffreError for one that is not in the file."""
    there, running = swarm.services(stack.paths.stack), swarm.tasks(stack.paths.stack)
    steps = []
    for name in _order(stack.catalogue, names, set(there)):
        rendered = whole["services"][name]
        service = DesiredService(
            name,
            deploy.spec_of(whole, name),
            rendered["image"],
            None,
            stack.entry(name).staged,
            stack.catalogue.services[name].adopt,
            "",
        )
        found = [
            _step(
                replace(service, config_hash=spec),
                deploy.standing(there.get(part), running, spec),
                there.get(part),
                whole["services"][part]["deploy"].get("replicas"),
            )
            for part in file.parts(whole, name)
            for spec in [deploy.spec_of(whole, part)]
        ]
        steps.append(_gravest(found))
    return steps


def _gravest(found: Sequence[Step]) -> Step:
    """What a service needs, of what its parts need: its own part is the last, and a proxy that stays reloads."""
    *others, own = found
    acting = next((each for each in others if each.acts), None)
    if own.acts or acting is None:
        return next((each for each in (own, *others) if each.action != "nothing"), own)
    return replace(own, action="reload", why=acting.why)


def _step(
    service: DesiredService, now: deploy.Standing, there: Mapping[str, Any] | None, replicas: int | None = None
) -> Step:
    """Decide for one service, which is to have so many tasks; None is one on each node."""
    if there is None:
        return Step(service, "create", "it has no service")
    way = "start_first" if service.adopt == "start_first" else "restart"
    if now.spec != service.config_hash:
        return Step(service, way, _differs(service, there))
    # Who scales a service by hand leaves its labels as they are.
    if replicas != (there["Spec"]["Mode"].get("Replicated") or {}).get("Replicas", replicas):
        return Step(service, way, "number of tasks")
    if now.settled:
        return Step(service, "nothing")
    # What Swarm is at it also takes back by itself, unless the same is asked of it again.
    if now.update in deploy.PAUSED or (now.others and now.update not in deploy.GOING):
        return Step(service, "finish", "an earlier rollout was cut short")
    return Step(service, "wait", now.pending or "its tasks are starting")


def _differs(service: DesiredService, there: Mapping[str, Any]) -> str:
    """In what a service is not what is desired, in words joined by commas."""
    container = there["Spec"]["TaskTemplate"]["ContainerSpec"]
    found = []
    named = (container.get("Labels") or {}).get(LABEL_BUNDLE)
    if named != service.bundle and (named or service.adopt != "reload"):
        found.append("bundle")
    if container["Image"] != service.image:
        found.append("image")
    return ", ".join(found or ["configuration"])


def _diff(steps: Sequence[Step]) -> dict[str, str]:
    """A line per service that changes."""
    after = "".join(
        f"{step.service.name}: image {step.service.image}"
        + (f", bundle {step.service.bundle}" if step.service.bundle else "")
        + f" ({step.action}: {step.why})\n"
        for step in steps
        if step.acts
    )
    return {"before": "", "after": after}


def _carry_out(stack: Stack, whole: Mapping[str, Any], step: Step) -> None:
    for part in file.parts(whole, step.service.name):
        if problem := _brought(stack, whole, step, part):
            raise CoffreError(_refused(stack, step, problem))
        stack.adopted(step.service.name, anew=step.acts)


def _brought(stack: Stack, whole: Mapping[str, Any], step: Step, part: str) -> str:
    """Bring a service of the rendered file to what it is to be: "", or why it was taken back."""
    spec = deploy.spec_of(whole, part)
    if step.action == "wait":
        return deploy.wait(stack.paths.stack, part, spec, stack.seconds)
    now = deploy.look(stack.paths.stack, part, spec) if step.acts else None
    tasks = whole["services"][part]["deploy"].get("replicas")
    if now is None or (now.settled and now.spec == spec and tasks in (None, now.wanted)):
        return ""
    seconds = stack.seconds if now.exists else max(stack.seconds, FIRST_SECONDS)
    log = stack.paths.failed_log(step.service.name)
    return deploy.deploy(stack.paths.stack, whole, part, seconds, log, lambda: states.hold(stack.paths))


def _refused(stack: Stack, step: Step, problem: str) -> str:
    """Let go of what was to be adopted; what to say of it."""
    if step.acts:
        stack.refused(step.service.name)
    bundle = f" with bundle {step.service.bundle}" if step.service.bundle else ""
    return (
        f"{step.service.name} could not adopt {step.service.image}{bundle}: {problem}. Mend the cause, then "
        f"{stack.again}."
    )


def steady(paths: StackPaths, services: Collection[str], seconds: float) -> str:
    """As `apply.steady`: that all tasks of the named services run and go on running for a moment."""
    there = swarm.services(paths.stack)
    problems = [f"{name} has no service" for name in sorted(set(services) - set(there))]
    deadline = time.monotonic() + seconds
    for name in sorted(set(services) & set(there)):
        spec = (there[name]["Spec"].get("Labels") or {}).get(swarm.SPEC, "")
        if problem := deploy.wait(paths.stack, name, spec, max(deadline - time.monotonic(), 0.0)):
            problems.append(f"{name}: {problem}")
    return "; ".join(problems)
