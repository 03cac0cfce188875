"""The values of the rotation under way, sealed by themselves: neither bundles nor the source have to keep them."""

from __future__ import annotations

from typing import Literal

from ..catalogue import Catalogue
from ..paths import VALUE, StackPaths
from . import bundles, objects, seals, state

Which = Literal["old", "new"]


def _name(paths: StackPaths, run: str, secret: str, which: Which) -> str:
    return f"{paths.stack}.{secret}.{run}.{which}"


def seal(paths: StackPaths, run: str, secret: str, which: Which, value: bytes) -> None:
    """Seal a value of a run, durably. Raises SealError."""
    if paths.on_swarm:
        objects.keep_of_run(paths, run, secret, which, value)
        return
    seals.seal(paths.sealed_value(run, secret, which), _name(paths, run, secret, which), value)


def unseal(paths: StackPaths, run: str, secret: str, which: Which) -> bytes:
    """A value of a run. Raises SealError."""
    if paths.on_swarm:
        return objects.value_of_run(paths, run, secret, which)
    return seals.unseal(paths.sealed_value(run, secret, which), _name(paths, run, secret, which))


def has(paths: StackPaths, run: str, secret: str, which: Which) -> bool:
    """Whether a value of a run is there."""
    if paths.on_swarm:
        return (secret, which) in objects.of_run(paths, run)
    return paths.sealed_value(run, secret, which).exists()


def collect(paths: StackPaths, st: state.State) -> bool:
    """Remove the sealed values that belong to no open run: of one that is closed, or that a crash kept from opening.

    On a swarm all that the state does not name goes with them: what a module mounts goes after it, unless it was
    killed. True if there were any.
    """
    mine = st.run.id if st.run else None
    if paths.on_swarm:
        return objects.forget(paths, bundles.wanted(st) if st.secrets else None, mine)
    left = [
        path for path in paths.sealed.glob("*.cred") if (found := VALUE.fullmatch(path.name)) and found["run"] != mine
    ]
    for path in left:
        path.unlink()
    return bool(left)


def values_by_version(paths: StackPaths, run: state.Run) -> dict[str, dict[str, bytes]]:
    """The values of a run, by secret and version."""
    sides: tuple[Which, ...] = ("old", "new")
    return {
        name: {
            getattr(change, which).version: unseal(paths, run.id, name, which)
            for which in sides
            if has(paths, run.id, name, which)
        }
        for name, change in run.secrets.items()
    }


def concerned(catalogue: Catalogue, st: state.State) -> set[str]:
    """The consumers of the open run's secrets, by the catalogue or by a bundle in force.

    These alone it stages and rolls; the host itself may be among them.
    """
    names = st.run.secrets if st.run else {}
    consumers = {each for name in names if name in catalogue.secrets for each in catalogue.secrets[name].consumers}
    return consumers | {
        service
        for service, entry in st.services.items()
        if any(name in entry.bundles[bundle].versions for bundle in entry.named for name in names)
    }


def introduced(run: state.Run, change: state.Change) -> list[state.Previous]:
    """The new version of a ring while its consumers are to accept it, and none signs with it yet."""
    if run.direction == "forward" and change.step == "introduced":
        return [state.Previous(change.new.version, change.new.created)]
    return []


def desired(run: state.Run, change: state.Change) -> tuple[Which, state.Version]:
    """Which version of a secret of the run its consumers are to have now."""
    forward = run.direction == "forward" and change.reached("adopted")
    return ("new", change.new) if forward else ("old", change.old)
