"""Bring services to what the compose file and the state say, each by its way of adopting.

`plan` decides from what is desired and what runs, and touches nothing. `roll` does it. Every step can be repeated:
a run that was killed leaves at most one more container of a service beside the old one, and the next run finishes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from .. import compose_file, engines
from ..audit import trail as audit
from ..catalogue import Catalogue
from ..engines import compose
from ..engines.base import Container, DesiredService, Place
from ..errors import CoffreError
from ..host import bundles, files, progress, rings
from ..host import state as states
from ..paths import StackPaths
from . import firewall, proxies, shim

POLL_SECONDS = 0.25
STABLE_SECONDS = 0.5  # between two looks: readiness that flashes and goes again does not count
BUSY_TIMES = 4  # the most that a wait takes on a busy host, in times its patience
# A first start may fill a database, and one that is cut short can leave it so that no later start succeeds.
FIRST_SECONDS = 600.0
# Who needs a service that was away works again within this time, or its clients wait no longer for that.
RESUME_SECONDS = 20.0
HEADERS = ("before_header", "after_header")  # of a diff, for Ansible
# What each action does, for whoever watches.
DOING = {
    "nothing": "sees that it has what it is to have",
    "wait": "waits for it",
    "create": "starts its container",
    "start_first": "starts a container beside the old one",
    "restart": "puts a new container in the place of the old one",
    "reload": "has it read its new files",
    "finish": "finishes an earlier rollout",
    "heal": "puts a new container in the place of the broken one",
}


@dataclass(frozen=True)
class Step:
    """What one service needs: `keep` is the container that is to serve, if it is there, `others` are to leave."""

    service: DesiredService
    action: str  # nothing wait create start_first restart reload finish heal
    why: str = ""
    keep: Container | None = None
    others: tuple[Container, ...] = ()
    last: bool = True  # of the steps of its service, which has adopted its bundle when all are done

    @property
    def acts(self) -> bool:
        return self.action not in ("nothing", "wait")


def plan(
    service: DesiredService, actual: Sequence[Container], broken: frozenset[str] = frozenset(), due: bool = False
) -> Step:
    """Decide for one service.

    `actual`: its containers, oldest first; `broken`: ids of those with a mount that is not what it was;
    `due`: a bundle waits to be adopted by a reload.
    """
    fitting = [each for each in actual if not (_differs(service, each) or each.id in broken)]
    sound = [each for each in fitting if each.state in ("running", "created") and each.health != "unhealthy"]
    # Beside one that differs, even one in a bad way is the new one of a roll cut short, and gets its chance to fail.
    choice = sound or (fitting if any(_differs(service, each) for each in actual) else [])
    keep = max(choice, key=lambda each: (each.state == "running", each.health == "healthy", each.created), default=None)
    others = tuple(each for each in actual if each is not keep)
    if not actual:
        return Step(service, "create", "it has no container")
    if keep is None:
        last = actual[-1]
        if why := _differs(service, last):
            return Step(service, "start_first" if service.adopt == "start_first" else "restart", why, None, others)
        return Step(service, "heal", "a mounted file is missing" if last.id in broken else _health(last), None, others)
    if others or keep.state == "created":
        return Step(service, "finish", "an earlier rollout was cut short", keep, others)
    if due:
        return Step(service, "reload", "bundle", keep)
    if keep.health == "starting":
        return Step(service, "wait", "it is starting", keep)
    return Step(service, "nothing", "", keep)


def plans(
    service: DesiredService,
    actual: Sequence[Container],
    broken: frozenset[str] = frozenset(),
    due: bool = False,
    replicas: int = 1,
) -> list[Step]:
    """Decide for each replica of a service, as of `plan`."""
    groups = _groups(service, actual, broken, replicas)
    steps = [plan(service, group, broken, due) for group in groups]
    return [replace(step, last=step is steps[-1]) for step in steps]


def _groups(
    service: DesiredService, actual: Sequence[Container], broken: frozenset[str], replicas: int
) -> list[list[Container]]:
    """The containers of each replica: one that fits, or one that is to leave for it; what is left over leaves too."""
    if replicas == 1:
        return [list(actual)]
    fitting = [
        each
        for each in actual
        if each.state in ("running", "created") and not (_differs(service, each) or each.id in broken)
    ]
    kept = fitting[:replicas]
    left = [each for each in actual if each not in kept]
    lacking = replicas - len(kept)
    groups = [[each] for each in kept] + [left[number : number + 1] for number in range(lacking)]
    # The newest that fits may have come in beside one that was to leave, in a roll cut short; if none fits, the last.
    groups[len(kept) - 1] = [*left[lacking:], *groups[len(kept) - 1]]
    return groups


def _differs(service: DesiredService, container: Container) -> str:
    """In what a container is not what is desired: "", or words joined by commas."""
    found = []
    if service.bundle != container.bundle:
        found.append("bundle")
    if service.image != container.image or service.image_id != container.image_id:
        found.append("image")
    if container.proxies - service.variables:
        found.append("a proxy in its environment")
    # A roll in place that was cut short leaves the policy changed, with which a container would not survive a reboot.
    if not found and (service.config_hash, service.restart) != (container.config_hash, container.restart):
        found.append("configuration")
    return ", ".join(found)


def _health(container: Container) -> str:
    """The state of a container in words."""
    if container.state == "running":
        return f"it is {container.health}" if container.health else "it is running"
    if container.state in ("exited", "dead"):
        return f"it exited with code {container.exit_code}"
    return f"it is {container.state}"


def probe(container: Container) -> tuple[str, list[str]]:
    """What tells whether a container may serve, and its command for docker exec, [] without one.

    Its readiness check, which has to say no wherever its health check does, or else that.
    """
    if container.ready:
        return "readiness check", list(container.ready)
    match container.health_check:
        case ("CMD", *words):
            return "health check", list(words)
        case ("CMD-SHELL", line):
            return "health check", ["/bin/sh", "-c", line]
    return "health check", []


def failing(container: Container) -> str:
    """Which check of a container's own fails now, inside it: "" is none.

    Of one on another machine its engine tells that.
    """
    if container.elsewhere:
        return "" if container.health in ("", "healthy") else "health check"
    what, command = probe(container)
    return what if command and not compose.succeeds(container.id, command) else ""


@dataclass(frozen=True)
class Agreed:
    """What the strategies of the secrets that a service checks had to set right: by secret, and what to say of it."""

    repaired: Mapping[str, list[str]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Done:
    step: Step
    seconds: float = 0.0
    agreed: Agreed = field(default_factory=Agreed)


@dataclass(frozen=True)
class Stack:
    """One stack on this host while a rollout works on it, its lock held."""

    paths: StackPaths
    catalogue: Catalogue
    state: states.State
    proxy: str | None  # the service whose HAProxy says which containers it sends requests to
    seconds: float  # patience per service

    def entry(self, service: str) -> states.ServiceState:
        return self.state.services.get(service) or states.ServiceState()

    def expose(self, service: str) -> None:
        """Record that a container is about to have what is staged for a service, if that is a rotation's new values."""
        run = self.state.run
        if run and run.direction == "forward" and self.entry(service).next and service not in run.exposed:
            run.exposed.append(service)
            states.save(self.paths, self.state)

    def renew(self) -> None:
        """Renew the lease of an open rotation, which a rollout may well outlast."""
        if self.state.run:
            self.state.run.renew()
            with suppress(OSError):
                states.save(self.paths, self.state)

    @property
    def undoing(self) -> bool:
        """Whether a rotation is going back."""
        return bool(self.state.run and self.state.run.direction == "back")

    def undone(self, container: Container) -> bool:
        """Whether a container has a new value of a rotation that is going back."""
        bundle = self.entry(container.service).bundles.get(container.bundle or "")
        changes = self.state.run.secrets.items() if self.state.run and self.undoing and bundle else ()
        return any(
            bundle and bundle.versions.get(name) == each.new.version != each.old.version for name, each in changes
        )

    @property
    def again(self) -> str:
        """What to do once the cause is repaired."""
        return "rotate again" if self.state.run else "run playbooks/site.yml"

    def adopted(self, service: str, anew: bool = False) -> None:
        """Record that the containers of a service have its staged bundle; `anew`: a new container has come in.

        The log of one that failed is kept until then: it tells why a rotation was undone.
        """
        if staged := self.entry(service).next:
            bundles.promote(self.paths, self.state, service)
        if (staged or anew) and not self.undoing:
            self.paths.failed_log(service).unlink(missing_ok=True)

    def refused(self, service: str) -> None:
        """Let go of the staged bundle of a service; without an adopted one it stays, for the next attempt."""
        if self.entry(service).current:
            bundles.discard_next(self.paths, self.state, service)


# Lets a service's strategies make it accept what is deployed; with True, only tells. See strategies.agree.
Agree = Callable[[states.State, str, bool], Agreed]


def roll(
    paths: StackPaths,
    catalogue: Catalogue,
    staged: Mapping[str, compose_file.Bundle],
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
    """Bring the services, in the order of `_order`, to what is desired, and record what they adopted or refused.

    `staged` has the bundle of each service, `images` the references of the stack's own images. Where `names` are given,
    those alone are rolled. `agree` is asked after each service, and `by_hand` before any is touched: what it says ends
    the rollout. `check`: only say what it would do; `rotating`: it is a step of the rotation that `run` drives.

    Returns {changed, services: [{name, action, why, seconds, agreed}], removed: [service/bundle], warnings, diff}.
    Raises CoffreError when a service could not adopt: those before it have, its old container goes on, those behind it
    are as they were; or when Compose does not understand the file: then nothing was changed.
    """
    if paths.on_swarm:
        from . import on_swarm  # late: it takes what is said here

        return on_swarm.roll(
            paths, catalogue, images, seconds, run, agree, by_hand=by_hand, names=names, check=check, rotating=rotating
        )
    run_file = compose_file.run_file(paths.stack, catalogue.file, staged, images, shim.of(images, check))
    content = json.dumps(run_file, indent=1) + "\n"
    names = [name for name in catalogue.services if names is None or name in names]
    if check and not paths.compose.exists():
        new = [Step(DesiredService(name, "", "", None, None, "", ""), "create", "the stack is new") for name in names]
        return _report([Done(step) for step in new], True, [], [])
    with states.locked(paths):
        st = states.load(paths)
        (states.require_holder if rotating else states.admit)(st, run.name)
        before = paths.compose.read_text(encoding="utf-8", errors="replace") if paths.compose.exists() else ""
        try:
            desired = compose.desired(paths.compose, content)
        except CoffreError as error:
            raise CoffreError(f"The stack's Compose file cannot be used, and nothing was changed: {error}") from None
        proxy = proxies.service(catalogue.file.data.get("services") or {}) or None
        stack = Stack(paths, catalogue, st, proxy, seconds)
        steps = _plans(stack, desired, names, check)
        if (check or any(step.acts for step in steps)) and (problem := by_hand(st)):
            raise CoffreError(problem)
        diff = [_diff(stack, steps)]
        rewritten = content != before
        if rewritten:
            diff.insert(0, {"before": before, "after": content} | dict.fromkeys(HEADERS, str(paths.compose)))
        if check:
            return _report([_foreseen(stack, step, agree) for step in steps], rewritten, [], diff)
        late = audit.adopted(paths, stack.state, run)
        if rewritten:
            files.write(paths.compose, content.encode(), 0o600)
        done = []
        try:
            for step in steps:
                done.append(_done(stack, step, run, agree))
        finally:
            stack.renew()
        # Also where nothing was rolled; and a port that was given up is the host's again.
        covered = firewall.cover(paths)
        return _report(done, late or rewritten or covered, _collect(stack), diff)


def _done(
    stack: Stack,
    step: Step,
    run: audit.Author,
    agree: Agree | None,
    carry_out: Callable[[Stack, Step], None] | None = None,
) -> Done:
    """Carry out a step, and have its service accept what is deployed."""
    name, began = step.service.name, time.monotonic()
    _recorded(stack, step, run, carry_out)
    if step.action != "nothing":
        progress.step(f"{name}: is ready, after {time.monotonic() - began:.0f} s")
    progress.look(f"{name}: has it accept the values that are deployed")
    agreed = agree(stack.state, name, False) if agree and step.last else Agreed()
    return Done(step, round(time.monotonic() - began, 1), agreed)


def _foreseen(stack: Stack, step: Step, agree: Agree | None) -> Done:
    """A step that would be done, with what would have to be set right; who does not run yet cannot be asked."""
    asked = agree and step.last and step.action != "create"
    return Done(step, agreed=agree(stack.state, step.service.name, True) if agree and asked else Agreed())


def _recorded(
    stack: Stack, step: Step, run: audit.Author, carry_out: Callable[[Stack, Step], None] | None = None
) -> None:
    """Carry out a step, and record the bundle that was adopted or refused in it."""
    name, before = step.service.name, replace(stack.entry(step.service.name))
    try:
        if step.acts:
            stack.expose(name)
        tell = progress.step if step.why else progress.look
        tell(f"{name}: {DOING[step.action]}" + (f" ({step.why})" if step.why else ""))
        (carry_out or _carry_out)(stack, step)
    except CoffreError:
        with suppress(CoffreError, OSError):  # the next run makes up for it; what went wrong has to be told
            if before.next and not stack.entry(name).next and stack.entry(name).current == before.current:
                audit.refused(stack.paths, stack.state, run, name, before.next)
            else:
                audit.adopted(stack.paths, stack.state, run, {name})
            _collect(stack)
        raise
    if stack.entry(name).current != before.current:
        audit.adopted(stack.paths, stack.state, run, {name})


def _collect(stack: Stack) -> list[str]:
    """Remove the bundles that nobody uses any more."""
    in_use = {each.bundle for each in engines.of(stack.paths).containers(stack.paths.stack) if each.bundle}
    return bundles.collect(stack.paths, stack.state, in_use)


def _report(
    done: Sequence[Done], changed: bool, removed: Sequence[str], diff: Sequence[dict[str, str]]
) -> dict[str, Any]:
    return {
        "changed": changed or bool(removed) or any(each.step.acts or each.agreed.repaired for each in done),
        "services": [
            {
                "name": each.step.service.name,
                "action": each.step.action,
                "why": each.step.why,
                "seconds": each.seconds,
                "agreed": each.agreed.repaired,
            }
            for each in done
        ],
        "removed": list(removed),
        "warnings": [warning for each in done for warning in each.agreed.warnings],
        "diff": list(diff),
    }


def _diff(stack: Stack, steps: Sequence[Step]) -> dict[str, str]:
    """A line per container that changes, with its image and bundle, `before` and `after`."""
    before = after = ""
    for step in steps:
        if step.acts:
            entry = stack.entry(step.service.name)
            old = [step.keep] if step.action == "reload" and step.keep else step.others
            before += "".join(_line(each.name, each.image, each.bundle or entry.current) for each in old)
            staged = step.service.bundle or entry.staged
            after += _line(step.service.name, step.service.image, staged, f" ({step.action}: {step.why})")
    return {"before": before, "after": after}


def _line(name: str, image: str, bundle: str | None, note: str = "") -> str:
    return f"{name}: image {image}" + (f", bundle {bundle}" if bundle else "") + f"{note}\n"


def _order(catalogue: Catalogue, names: Sequence[str], running: Collection[str]) -> list[str]:
    """The order of a rollout: the catalogue's, but of a key ring who only verifies goes before who signs.

    Else what is signed with a new key would be refused meanwhile. That counts among `running` services alone, which
    have containers, and more than `depends_on`, which is about coming up at all.
    """
    known: dict[str, set[str]] = {name: set() for name in names}  # by signer, those that must know its key before
    for secret in catalogue.secrets.values():
        if secret.strategy == rings.STRATEGY:
            for signer in set(rings.signers(secret)) & set(names) & set(running):
                known[signer] |= set(rings.verifiers(secret)) & set(running)
    left, done = list(names), list[str]()
    while left:
        done.append(_next(catalogue, left, known))
        left.remove(done[-1])
    return done


def _next(catalogue: Catalogue, left: Sequence[str], known: Mapping[str, set[str]]) -> str:
    """The first that waits for nobody; else a verifier that a signer waits for; else two rings are at odds."""
    ready = [name for name in left if not known[name] & set(left)]
    after = {name: set(entry.after) if (entry := catalogue.services[name].entry) else set() for name in left}
    free = [name for name in ready if not after[name] & set(left)]
    awaited = [name for name in ready if any(name in known[each] for each in left)]
    return (free or awaited or left)[0]


def _plans(stack: Stack, desired: dict[str, DesiredService], names: Sequence[str], check: bool) -> list[Step]:
    """Plan all named services; refuse what cannot be brought up before anything changes.

    With `check` images and bundles that a run would have made are not there, and that is no reason to refuse.
    """
    paths = stack.paths
    actual = compose.containers(paths.stack)
    broken = frozenset(each.id for each in actual if compose.broken_mount(each, paths.run_root))
    steps = []
    for name in _order(stack.catalogue, names, {each.service for each in actual}):
        if name not in desired:
            raise CoffreError(
                f"{paths.compose} has no service {name} and nothing was changed: "
                f"name some of {', '.join(sorted(desired))}."
            )
        service, entry = desired[name], stack.entry(name)
        if not check:
            _refuse_what_is_missing(paths, service, entry)
        due = service.adopt == "reload" and entry.next is not None
        mine = [each for each in actual if each.service == name]
        steps += plans(service, mine, broken, due, stack.catalogue.services[name].replicas)
    return steps


def _refuse_what_is_missing(paths: StackPaths, service: DesiredService, entry: states.ServiceState) -> None:
    """Raises CoffreError where the image or the bundle that a service is to have is not on this host."""
    if service.image_id is None:
        raise CoffreError(
            f"The image {service.image} of {service.name} is not on this host and nothing was changed: "
            "run playbooks/site.yml, which builds or loads it."
        )
    if service.adopt != "reload" and service.bundle != entry.staged:
        raise CoffreError(
            f"{paths.compose} names bundle {service.bundle} for {service.name} where the state has {entry.staged}, "
            "and nothing was changed: run playbooks/site.yml, which writes it anew."
        )
    if entry.staged and not paths.bundle(service.name, entry.staged).is_dir():
        raise CoffreError(
            f"Bundle {entry.staged} of {service.name} is not on this host and nothing was changed: "
            "run playbooks/site.yml, which stages the secrets anew."
        )


def _carry_out(stack: Stack, step: Step) -> None:
    if step.action == "nothing":
        # What a run that was killed at its very end did not come to.
        if step.last:
            stack.adopted(step.service.name)
        if step.keep and step.service.name == stack.proxy:
            proxies.of(step.keep).release()
    elif step.action == "wait" and step.keep:
        if problem := wait_ready(step.keep, stack.seconds):
            raise CoffreError(
                f"{step.service.name} does not become ready: {problem}; nothing was changed: "
                f"see `docker logs {step.keep.name}`, then run again."
            )
        if step.last:
            stack.adopted(step.service.name)
    elif step.action == "reload" and step.keep:
        _reload(stack, step.service.name, step.keep)
    else:
        pause = _pause(stack, step)
        try:
            _replace(stack, step, pause)
        finally:
            firewall.release(_places(step))
            firewall.release(pause.places, kept=True)


def _reload(stack: Stack, name: str, container: Container) -> None:
    """Let the proxy read its staged bundle without closing a connection, or go on with the one it has."""
    entry = stack.entry(name)
    old, new = entry.current, entry.next
    assert new
    bundles.point(stack.paths, name, new)
    if problem := _told_to_reload(stack, name, container):
        trouble = _back_to(stack, name, container, old) if old else ""
        stack.refused(name)
        raise CoffreError(
            f"{name} could not adopt bundle {new}: {problem}; "
            + (f"it was to go on with bundle {old}, but {trouble}" if trouble else f"it goes on with bundle {old}")
            + f", nothing else was changed: see `docker logs {container.name}`, mend the cause, then {stack.again}."
        )
    stack.adopted(name)


def _back_to(stack: Stack, name: str, container: Container, old: str) -> str:
    """Give a container that reloads its files of before: "", or what is wrong.

    HAProxy has not taken the new ones; who is told by a signal has read them.
    """
    bundles.point(stack.paths, name, old)
    return "" if name == stack.proxy else _told_to_reload(stack, name, container)


def _told_to_reload(stack: Stack, name: str, container: Container) -> str:
    """Have a container read its files again: "", or what is wrong."""
    try:
        if name == stack.proxy:
            # The master answers when the new worker serves, or has refused its configuration.
            return proxies.of(container).reload()
        now = compose.inspect([container.id])[0]
        if now.state != "running":
            return _health(now)
        entry = stack.catalogue.services[name].entry
        compose.call(["docker", "kill", "--signal", entry.signal if entry else "SIGHUP", now.id])
        return wait_ready(now, stack.seconds)
    except CoffreError as error:
        return str(error)


@dataclass(frozen=True)
class Pause:
    """While a service is away: who needs it and is ready, the proxy of these, and where on the host clients wait."""

    needing: Sequence[Container] = ()
    proxy: proxies.Proxy = field(default_factory=lambda: proxies.of(None))
    places: frozenset[Place] = frozenset()

    def begin(self) -> frozenset[str]:
        """Have clients wait, and what they have asked answered: for what the proxy has somebody to answer.

        Raises CoffreError; then nobody waits for long.
        """
        if not self.places:
            return frozenset()
        firewall.hold(self.places, kept=True)
        return self.proxy.quiet()

    def end(self, answered: frozenset[str]) -> None:
        """Wait a while until those who need the service are ready again, and the proxy knows; then clients go on."""
        if not self.places:
            return
        deadline = time.monotonic() + RESUME_SECONDS
        with suppress(CoffreError):  # a rollout does not fail by what it only waits for
            _each(self.needing, lambda each: wait_ready(each, RESUME_SECONDS))
            self.proxy.found(answered, max(deadline - time.monotonic(), 0.0))
        firewall.release(self.places, kept=True)


def _pause(stack: Stack, step: Step) -> Pause:
    """What a service that is recreated in place, with no container of it that stays, asks of those who need it."""
    away = step.service.adopt != "start_first" and any(each.state == "running" for each in step.others)
    if not away or _staying(stack, step):
        return Pause()
    names, there = needing(stack.catalogue.file, step.service.name), compose.containers(stack.paths.stack)
    theirs = [each for each in there if each.state == "running" and each.service in names]
    if not (places := frozenset(place for each in theirs for place in each.places)):
        return Pause()
    ready = [each for each, problem in zip(theirs, _each(theirs, failing), strict=True) if not problem]
    return Pause(ready, proxies.of(_proxy(stack)), places)


def needing(file: compose_file.File, service: str) -> set[str]:
    """The services that need this one, or one that does; the proxy needs those that it has a route to."""
    services = file.data.get("services") or {}
    needed = {name: set(entry.after) for name, entry in file.services.items()}
    if proxy := proxies.service(services):
        needed[proxy] |= proxies.fronted(services)
    found = {service}
    while more := {name for name, those in needed.items() if found & those} - found:
        found |= more
    return found - {service}


def _each(containers: Sequence[Container], ask: Callable[[Container], str]) -> list[str]:
    """What is found of each container, all being asked at once."""
    with ThreadPoolExecutor(max_workers=max(len(containers), 1)) as pool:
        return list(pool.map(ask, containers))


def _replace(stack: Stack, step: Step, pause: Pause) -> None:
    """Bring in a new container, beside the old ones or in their place, and keep the one that turns out well."""
    service, new, problem = step.service, step.keep, ""
    in_place = service.adopt != "start_first"
    staged = stack.entry(service.name).staged
    proxy = proxies.of(None if in_place else _proxy(stack))
    leaving, coming, answered = _addresses(step.others), frozenset[str](), frozenset[str]()
    joined: dict[str, frozenset[str]] = {}
    try:
        if service.adopt == "reload" and staged:
            bundles.point(stack.paths, service.name, staged)
        for each in step.others:
            if each.state == "paused":
                compose.unpause(each.id)
        new = new or compose.add(stack.paths.compose, stack.paths.stack, service.name)
        if (new.image, new.bundle) != (service.image, service.bundle):
            raise CoffreError("another run has changed the Compose file meanwhile")
        firewall.cover(stack.paths)
        if not in_place:
            joined = _joined(step.others, new)
        if more := _addresses(compose.inspect(sorted(joined))) - leaving:
            proxy.follow(leaving, more)
        leaving |= more
        proxy.hold(leaving, _staying(stack, step))
        if in_place:
            _try_out(stack, service, staged)
            answered = pause.begin()
            firewall.hold(_places(step))
            _step_aside(step.others)
        compose.start(new.id)
        coming = _addresses(compose.inspect([new.id]))
        problem = wait_ready(new, stack.seconds if step.others else max(stack.seconds, FIRST_SECONDS))
        # One that a cut-short roll started may have come up with the bundle before.
        if step.keep and service.adopt == "reload" and not problem:
            problem = _told_to_reload(stack, service.name, new)
        if not problem:
            firewall.release(_places(step))
            pause.end(answered)
            problem = proxy.switch(leaving, coming, stack.seconds)
    except CoffreError as error:
        problem = str(error)
    if problem:
        sentence = _take_back(stack, step, new, problem)
        with suppress(CoffreError):  # the next run settles it; what went wrong first is what has to be told
            for each in step.others:
                compose.disconnect(each, joined.get(each.id, ()))
            proxy.release(coming)
        pause.end(answered)
        raise CoffreError(sentence)
    if step.last:
        stack.adopted(service.name, anew=True)
    if step.others:
        progress.step(f"{service.name}: lets the old container end its work, and stops it")
    proxy.drain(leaving)
    for each in step.others:
        compose.stop(each)
        if stack.undone(each):
            compose.save_logs(each.id, stack.paths.failed_log(service.name))
        compose.remove(each.id)
    proxy.release(leaving)


def _joined(old: Sequence[Container], new: Container) -> dict[str, frozenset[str]]:
    """Put the old containers on those networks of the new one that they are not on; returns these, by container.

    Who looks for a service's name is told those of one network that they share: found on another, the new one would be
    all that is left of it before it is ready.
    """
    lacking = {each.id: new.networks - each.networks for each in old if each.state == "running"}
    for each in old:
        compose.connect(each, lacking.get(each.id, ()))
    return {name: networks for name, networks in lacking.items() if networks}


def _staying(stack: Stack, step: Step) -> frozenset[str]:
    """The addresses of the service's other replicas, which get requests as before."""
    if stack.catalogue.services[step.service.name].replicas == 1:
        return frozenset()
    moving = {each.id for each in (*step.others, *([step.keep] if step.keep else []))}
    mine = [each for each in compose.containers(stack.paths.stack) if each.service == step.service.name]
    return _addresses([each for each in mine if each.id not in moving])


def _try_out(stack: Stack, service: DesiredService, staged: str | None) -> None:
    """Raises CoffreError where the proxy would not start with its bundle: until it is back, nobody is answered."""
    if service.name == stack.proxy and staged:
        owner = stack.catalogue.services[service.name]
        bundle = stack.paths.bundle(service.name, staged)
        if problem := proxies.refused(service.image, f"{owner.uid}:{owner.gid}", bundle):
            raise CoffreError(problem)


def _places(step: Step) -> frozenset[Place]:
    """Where on the host nobody answers between two containers of a service."""
    if step.service.adopt == "start_first":
        return frozenset()
    return frozenset(place for each in step.others if each.state == "running" for place in each.places)


def _step_aside(old: Sequence[Container]) -> None:
    """Stop containers so that a host that dies meanwhile starts them again, and one that dies later does not."""
    for each in old:
        if each.state in ("running", "restarting"):
            compose.set_restart(each.id, "always")
            compose.stop(each)
        compose.set_restart(each.id, "no")


def _take_back(stack: Stack, step: Step, new: Container | None, problem: str) -> str:
    """Undo a replacement that failed; returns the sentence that says so."""
    name, staged = step.service.name, stack.entry(step.service.name).staged
    log = stack.paths.failed_log(name)
    parts = [f"{name} could not adopt {step.service.image}{f' with bundle {staged}' if staged else ''}: {problem}"]
    if new and step.keep and step.others and all(new.created < each.created for each in step.others):
        # It was there before those that should leave, so it is the one that served, and what is left of a roll that
        # was cut short is nothing to go back to.
        return f"{parts[0]}; {new.name} was there before and stays. Mend the cause, then {stack.again}."
    if new:
        saved = compose.save_logs(new.id, log)
        compose.remove(new.id)
        parts.append("the new container was removed" + (f", its last log lines are in {log}" if saved else ""))
    current = stack.entry(name).current
    if step.service.adopt == "reload" and current:
        bundles.point(stack.paths, name, current)
    rank = {each.id: (each.bundle == current, each.state == "running", each.created) for each in step.others}
    old = max(step.others, key=lambda each: rank[each.id], default=None)
    parts.append(_go_back(stack, step, old, new) if old else "there is no older one to go back to")
    # Last: a state that cannot be written keeps no service down.
    stack.refused(name)
    return "; ".join(parts) + f". Mend the cause, then {stack.again}."


def _go_back(stack: Stack, step: Step, old: Container, new: Container | None) -> str:
    """Have the old container serve as before; returns what became of it."""
    ran = old.state in ("running", "restarting")
    if ran and step.service.adopt == "start_first":
        return f"{old.name} goes on, unchanged"
    try:
        if new and step.service.adopt != "start_first":
            compose.set_restart(old.id, new.restart)
        if not ran and step.action != "finish":
            return f"{old.name} is left as it was: {_health(old)}"
        compose.start(old.id)
        trouble = wait_ready(old, stack.seconds)
    except CoffreError as error:
        trouble = str(error)
    return f"{old.name} was to go on, but {trouble}" if trouble else f"{old.name} goes on, unchanged"


def wait_ready(container: Container, seconds: float) -> str:
    """Wait until a container is ready and stays so for a moment: "", or why it is not.

    Its own check is run here rather than awaited from the engine, which may look only every few seconds. Of `seconds`
    those do not count in which it could not go on because its threads waited for a processor: a start takes as long as
    the host lets it, up to BUSY_TIMES as long.
    """
    began = seen = time.monotonic()
    waited = since = queued = None
    starved = 0.0
    while True:
        now = compose.inspect([container.id])[0]
        if now.state in ("exited", "dead") or now.restarts > container.restarts:
            reason = "ran out of memory" if now.out_of_memory else f"exited with code {now.exit_code}"
            return f"the container {reason}"
        moment = time.monotonic()
        waited, queued = queued, compose.queued(now.pid)
        starved += min(max(queued - waited, 0.0), moment - seen) if waited is not None else 0.0
        seen = moment
        failed = failing(now)
        if failed and waited is None:
            progress.step(f"{now.service}: waits until its {failed} passes")
        if failed or now.state != "running":
            since = None
        elif since is None:
            since = time.monotonic()
        elif moment - since >= STABLE_SECONDS:
            return ""
        if time.monotonic() > began + min(seconds + starved, seconds * BUSY_TIMES):
            busy = f", in {starved:.0f} s of which it had to wait for a processor" if starved >= 1 else ""
            after = f"after {time.monotonic() - began:.0f} s{busy}"
            if failed and now.state == "running":
                return f"the container runs, but its {failed} fails {after}"
            return f"{_health(now)} {after}"
        # What is ready is looked at once more, when the moment is over.
        time.sleep(POLL_SECONDS if since is None else max(since + STABLE_SECONDS - time.monotonic(), 0))


def steady(paths: StackPaths, services: Collection[str], seconds: float) -> str:
    """See that a stack is ready, all its containers at once: "", or what is not.

    What its own check finds well at once is: that it stays so was seen when it was rolled. Who restarts meanwhile is
    waited for, and has to stay so for a moment. Of services that are not named those do not count that are unhealthy
    already.
    """
    if paths.on_swarm:
        from . import on_swarm

        return on_swarm.steady(paths, services, seconds)
    running = [each for each in compose.containers(paths.stack) if each.state in ("running", "restarting", "paused")]
    problems = [f"no container of {name} runs" for name in sorted(set(services) - {each.service for each in running})]
    concerned = [each for each in running if each.service in services or each.health != "unhealthy"]
    found = _each(concerned, lambda each: _steady(each, seconds))
    problems += [f"{each.name}: {problem}" for each, problem in zip(concerned, found, strict=True) if problem]
    return "; ".join(problems)


def _steady(container: Container, seconds: float) -> str:
    """As `wait_ready`, also of one that is just being restarted; one look is enough where its check succeeds."""
    if container.state == "running" and probe(container)[1] and not failing(container):
        return ""
    deadline = time.monotonic() + seconds
    while (problem := wait_ready(container, max(deadline - time.monotonic(), 0.0))) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        container = compose.inspect([container.id])[0]
    return problem


def _proxy(stack: Stack) -> Container | None:
    """The proxy, if it works."""
    for each in compose.containers(stack.paths.stack):
        if each.service == stack.proxy and each.state == "running" and each.health != "unhealthy":
            return each
    return None


def _addresses(containers: Sequence[Container]) -> frozenset[str]:
    return frozenset(address for each in containers for address in each.addresses)
