"""Removes a stack from a host: what runs, what is in memory and, for good, what is kept. Standard library only."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..engines.compose import call
from ..errors import CoffreError
from ..host import state, tmpfs
from ..paths import StackPaths
from . import firewall

# What the engine may have of a stack, in the order in which it goes: its name, how to list it, and how to remove it.
CONTAINERS = ("containers", ["ps", "--all"], [["stop"], ["rm", "--force", "--volumes"]])
NETWORKS = ("networks", ["network", "ls"], [["network", "rm"]])
VOLUMES = ("volumes", ["volume", "ls"], [["volume", "rm"]])
LABEL = {"compose": "com.docker.compose.project", "swarm": "com.docker.stack.namespace"}
GONE_SECONDS = 60.0  # that a node may take to remove the containers of services that are gone
POLL_SECONDS = 0.5


def teardown(paths: StackPaths, destroy: str = "", check: bool = False) -> dict[str, Any]:
    """Remove a stack, and its data too if `destroy` is its name; with `check` only tell what would go.

    Returns `changed`, `removed` (what went, in words and paths) and `warnings`. Needs neither a state that can be read
    nor a Compose file, and no engine where none is installed. Raises CoffreError: before anything is removed for
    another name, an engine that does not answer, another run's lock, or a rotation whose play is alive.
    Of a node of a swarm it is what is left there by `swarm_teardown`, which asked for the lock.
    """
    require_name(paths, destroy)
    with state.locked(paths) if paths.lib.is_dir() and not paths.on_swarm else nullcontext():
        warnings = [] if paths.on_swarm else admit(paths)
        if paths.on_swarm and not check:
            _wait(paths)
        kinds = [CONTAINERS, *([] if paths.on_swarm else [NETWORKS]), *([VOLUMES] if destroy else [])]
        listed = [(name, ways, ids) for name, listing, ways in kinds if (ids := _ids(paths, listing))]
        # Without the Compose file the boot unit leaves the stack's secrets sealed.
        kept = [paths.lib] if destroy else [paths.compose]
        trees = [path for path in (paths.run, paths.people, *firewall.files_of(paths), *kept) if _there(path)]
        unmounts = _last(paths)
        if not check:
            _remove(paths, [[*way, *ids] for _, ways, ids in listed for way in ways], trees, unmounts)
    removed = [f"{len(ids)} {name}" for name, _, ids in listed] + [str(path) for path in trees]
    removed += [f"the mount of {paths.run_root}"] if unmounts else []
    return {"changed": bool(removed), "removed": removed, "warnings": warnings}


def require_name(paths: StackPaths, destroy: str) -> None:
    """Raises CoffreError for a name that is not the stack's; "" is none."""
    if destroy not in ("", paths.stack):
        raise CoffreError(
            f"teardown_destroy is {destroy}, which is not the name of this stack; nothing was removed: say "
            f"-e teardown_destroy={paths.stack} to remove its data and secrets for good."
        )


def _wait(paths: StackPaths) -> None:
    """Let the node itself remove the containers of services that are gone, as long as it does."""
    deadline = time.monotonic() + GONE_SECONDS
    while _ids(paths, CONTAINERS[1]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _there(path: Path) -> bool:
    """Whether something is there, be it a link that leads nowhere."""
    return path.is_symlink() or path.exists()


def admit(paths: StackPaths) -> list[str]:
    """Refuse while a rotation's play is alive. A state that cannot be read hinders nobody from removing its stack."""
    try:
        run = state.load(paths).run
    except CoffreError as error:
        return [f"Whether a rotation is open is not known: {error}"]
    if run and run.leased:
        raise CoffreError(
            f"{run.operator} has been rotating {', '.join(run.secrets)} since {run.started}, in run {run.id}; nothing "
            f"was removed: wait until it is done. If its play is known to be dead, run again after {run.lease_until}."
        )
    return []


def _ids(paths: StackPaths, listing: list[str]) -> list[str]:
    """What the engine has under the stack's label; nothing where no engine is installed."""
    if not shutil.which("docker"):
        return []
    label = f"label={LABEL[paths.engine]}={paths.stack}"
    try:
        return call(["docker", *listing, "--quiet", "--filter", label]).split()
    except CoffreError:
        raise CoffreError(
            "The Docker engine does not answer; nothing was removed: start it, and run playbooks/teardown.yml again."
        ) from None


def _last(paths: StackPaths) -> bool:
    """Whether the memory is mounted and holds nothing but this stack's secrets."""
    return tmpfs.options(paths.run_root) is not None and set(paths.run_root.iterdir()) <= {paths.run, paths.people}


def _remove(paths: StackPaths, commands: list[list[str]], trees: list[Path], unmounts: bool) -> None:
    """What runs goes before what it reads. Raises CoffreError at the first that does not go."""
    try:
        for words in commands:
            call(["docker", *words])
        for path in trees:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if firewall.RULES.exists() and set(trees) & set(firewall.files_of(paths)):
            call(["nft", "--file", str(firewall.RULES)])
        if unmounts:
            call(["umount", str(paths.run_root)])
    except (CoffreError, OSError) as error:
        why = error if isinstance(error, CoffreError) else f"{error.filename} stays ({error.strerror})."
        raise CoffreError(
            f"The stack {paths.stack} is not wholly removed: {why} Mend that and run playbooks/teardown.yml again."
        ) from None
