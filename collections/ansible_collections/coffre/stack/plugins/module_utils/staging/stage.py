"""Stage the bundles of a stack: make tmpfs, the sealed copies and the state agree with the catalogue and its source.

What the host holds is read, what to do is decided from that at once, and then it is done, in an order that makes a
crash harmless: sealed copies first, then the files on tmpfs, then the state that names both. What a crash leaves behind
is a set that nobody knows, and a rollout collects it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import engines
from ..audit import trail as audit
from ..catalogue import HOST, Catalogue
from ..errors import CoffreError
from ..host import bundles, files, state, tmpfs
from ..host.escrow import collect
from ..host.restore import raise_bundles
from ..paths import LINK, StackPaths
from ..sources.base import Holdings, Resolved
from .decide import StagingPlan, decide, of_the_run
from .holdings import read
from .inspect import Rights, inspect

# From what the host holds, and what its last run saw in a vault, to what is to be in force.
Resolve = Callable[[Holdings, Mapping[str, Any]], Resolved]


@dataclass(frozen=True)
class StagingOptions:
    """`deploys`: all bundles are made as the catalogue has them, those too that an open rotation would leave alone."""

    seal_key: str = "auto"
    require_noswap: bool = False
    check: bool = False
    deploys: bool = False


@dataclass
class Report:
    """What staging did, or would do: names and paths only."""

    restored: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    recorded: bool = False


def stage(paths: StackPaths, catalogue: Catalogue, resolve: Resolve, settings: StagingOptions) -> dict[str, Any]:
    """Stage all services' bundles and return the module's result. The caller holds the stack's lock.

    While a rotation is open it says what is to be in force, and the source is not asked.

    Raises CoffreError before anything changed if the source, the sealed copies or the host do not allow it.
    """
    host = read(paths)
    resolved = of_the_run(host, catalogue) if host.state.run else resolve(host.held, host.state.vault)
    plan = decide(host, inspect(paths, host, catalogue), catalogue, resolved, settings.deploys)
    report = Report(plan.raised, [str(path) for path, _ in plan.repairs], [*plan.warnings], plan.recorded)
    if not settings.check:
        _act(paths, plan, settings, report)
    return _result(paths, plan, report)


def deliver(
    paths: StackPaths, catalogue: Catalogue, resolve: Resolve, settings: StagingOptions, run: audit.Author
) -> dict[str, Any]:
    """Stage for the run that may, and record what the host itself has adopted. As `stage` otherwise."""
    state.admit(state.load(paths), run.name)
    result = stage(paths, catalogue, resolve, settings)
    if not settings.check:
        st = state.load(paths)
        host = {HOST} if any(name.startswith(f"{HOST}/") for name in result["new"]) else ()
        result["changed"] |= audit.adopted(paths, st, run, host)
        if not audit.keyed(st):
            result["warnings"].append(f"The catalogue gives the host no {audit.KEY}, so no audit trail is kept.")
        _tidy(paths, st, result)
    if state.begun(paths) if paths.on_swarm else paths.state.exists():
        result["warnings"] += [f"{clause}." for clause in bundles.unwanted(paths, state.load(paths), catalogue)]
    result["authority"] = paths.authority.read_text(encoding="ascii") if paths.authority.exists() else ""
    fate = "would be" if settings.check else "was"
    result["warnings"] += [f"{path} is foreign to the stack and {fate} removed." for path in result["removed"]]
    return result


def _tidy(paths: StackPaths, st: state.State, result: dict[str, Any]) -> None:
    """Remove at once what no container uses: bundles of before, and what a rotation that ended has left sealed."""
    result["changed"] |= collect(paths, st)
    if st.run or not bundles.unused(paths, st):
        return  # while a rotation is open its rollouts do it
    try:
        in_use = {each.bundle for each in engines.of(paths).containers(paths.stack) if each.bundle}
        result["changed"] |= bool(bundles.collect(paths, st, in_use))
    except CoffreError as error:
        result["warnings"].append(f"Bundles that nobody uses any more stay on this host until the next run: {error}")


def _act(paths: StackPaths, plan: StagingPlan, settings: StagingOptions, report: Report) -> None:
    """Do what is planned, and add to the report what only doing it shows."""
    if paths.on_swarm:
        _keep(paths, plan)
        _publish_authorities(paths, plan, report)
        return
    _memory(paths, plan, settings, report)
    for folder in (paths.lib_root, paths.lib, paths.sealed, paths.run_root, paths.run):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, rights in plan.repairs:
        _repair(path, rights)
    for path in plan.removals:
        try:
            bundles.remove(path)
        except OSError:
            report.warnings.append(f"The foreign {path} could not be removed: look at what holds it.")
    _write(paths, plan, settings)
    _links(paths, plan.state, report)
    _publish_authorities(paths, plan, report)


def _memory(paths: StackPaths, plan: StagingPlan, settings: StagingOptions, report: Report) -> None:
    """Have the tmpfs, and on it the bundles of a host that lost all of them."""
    tmpfs.ensure(paths.run_root)
    if exposed := tmpfs.exposure(paths.run_root):
        if settings.require_noswap:
            raise CoffreError(f"{exposed}; no secret was staged: switch it off, or encrypt it.")
        report.warnings.append(f"{exposed}: switch it off, encrypt it, or use Linux 6.4 or later.")
    if plan.raised:
        report.restored, failures = raise_bundles(paths, plan.known)
        report.warnings += failures


def _repair(path: Path, rights: Rights) -> None:
    """Set owner and mode of a file or directory that is no link."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fchown(handle, *rights[:2])
        os.fchmod(handle, rights[2])
    finally:
        os.close(handle)


def _write(paths: StackPaths, plan: StagingPlan, settings: StagingOptions) -> None:
    if not paths.state.exists():
        # Sealed copies without a state are a loss; so that a crash does not look like one, the state comes first.
        state.save(paths, plan.before)
    for each in plan.made:
        bundles.seal(paths, each.service, each.name, each.content, settings.seal_key)
    for each in plan.made:
        bundle = plan.state.services[each.service].bundles[each.name]
        bundles.write(paths, each.service, each.name, bundle, each.content)
    if plan.state != plan.before:
        state.save(paths, plan.state)


def _keep(paths: StackPaths, plan: StagingPlan) -> None:
    """Have the managers keep what is new; what a crash leaves without a state belongs to nobody, and is collected."""
    paths.lib.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in plan.made:
        bundles.keep(paths, each.name, plan.state.services[each.service].bundles[each.name], each.content)
    if plan.state != plan.before:
        state.save(paths, plan.state)


def _links(paths: StackPaths, st: state.State, report: Report) -> None:
    """The `current` link of a service that reloads names what it has adopted, or, before its first start, the next."""
    for service, entry in st.services.items():
        name = entry.current or entry.next
        if name and entry.bundles[name].reload:
            link = paths.service(service) / LINK
            first = not os.path.lexists(link)
            if bundles.point(paths, service, name) and not first:
                report.repaired.append(str(link))


def _publish_authorities(paths: StackPaths, plan: StagingPlan, report: Report) -> None:
    """Write the certificates of the authorities for those who are to trust them."""
    old = None
    with suppress(OSError):
        old = paths.authority.read_bytes()
    if plan.authorities and plan.authorities != old:
        files.write(paths.authority, plan.authorities, 0o644)
        report.recorded = True


def _result(paths: StackPaths, plan: StagingPlan, report: Report) -> dict[str, Any]:
    new = [f"{each.service}/{each.name}" for each in plan.made]
    removed = [str(path) for path in plan.removals]
    staged = {}
    for service, entry in sorted(plan.state.services.items()):
        if name := entry.staged:
            folder = str(paths.bundle(service, name))
            staged[service] = {"bundle": name, "path": folder, "files": sorted(entry.bundles[name].files)}
    return {
        "changed": bool(new or report.restored or report.repaired or removed or report.recorded),
        "bundles": staged,
        "new": new,
        "restored": report.restored,
        "repaired": report.repaired,
        "removed": removed,
        "warnings": report.warnings,
        "diff": {"before": _lines(plan.before), "after": _lines(plan.state)},
    }


def _lines(st: state.State) -> str:
    """The staged versions as lines, for a diff."""
    return "".join(
        f"{service}/{secret}: {version}\n"
        for service, entry in sorted(st.services.items())
        if entry.staged
        for secret, version in sorted(entry.bundles[entry.staged].versions.items())
    )
