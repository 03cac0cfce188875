"""What a host holds of a stack: its state, the contents of the bundles in force, and the values of an open rotation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SealError
from ..host import bundles, files, rings, seals, state
from ..host.escrow import desired, unseal, values_by_version
from ..paths import StackPaths
from ..sources.base import Held, Holdings

Key = tuple[str, str]  # (service, bundle id)


@dataclass(frozen=True)
class Host:
    """What was read of a host; nothing here is changed any more.

    `lost` are the bundles whose sealed copy is gone: their contents are what tmpfs still has. `run` has, by secret, the
    values that an open rotation wants in force; `versions` every value, by secret and version, rings and rotation too.
    """

    state: state.State
    contents: Mapping[Key, bundles.Content] = field(repr=False)
    lost: tuple[Key, ...]
    run: Mapping[str, bytes] = field(repr=False)
    versions: Mapping[str, Mapping[str, bytes]] = field(repr=False)

    @property
    def held(self) -> Holdings:
        """The versions that the host holds, by secret: first the one that state names, or else an adopted one."""
        st, contents = self.state, self.contents
        found: dict[str, list[Held]] = {}
        adopted = [(service, entry.current) for service, entry in st.services.items() if entry.current]
        for service, name in [*adopted, *(key for key in contents if key not in adopted)]:
            bundle = st.services[service].bundles[name]
            for secret, version in bundle.versions.items():
                value, known = contents[service, name].value(secret, bundle), st.secrets.get(secret)
                versions = found.setdefault(secret, [])
                if value is None or version in (other.version for other in versions):
                    continue
                if known and known.version == version:
                    versions.insert(0, Held(version, known.created, value, known.attributes, known.expires))
                else:
                    created = bundle.dates.get(secret, bundle.created)
                    versions.append(Held(version, created, value, known.attributes if known else {}, described=False))
        return {secret: versions for secret, versions in found.items() if versions}


def read(paths: StackPaths) -> Host:
    """Read the state, open the sealed copies of the bundles in force, and those of an open rotation.

    Raises SealError with all that do not open, and CoffreError for a state that cannot be used.
    """
    st = state.load(paths)
    contents, lost = _open(paths, st)
    found = _versions(st, contents)
    of_the_run: dict[str, bytes] = {}
    if st.run:
        sealed = values_by_version(paths, st.run)
        for name, versions in sealed.items():
            found.setdefault(name, {}).update(versions)
        of_the_run = _values_of_the_run(paths, st.run, sealed)
    return Host(st, contents, lost, of_the_run, found)


def _open(paths: StackPaths, st: state.State) -> tuple[dict[Key, bundles.Content], tuple[Key, ...]]:
    """(the contents of the bundles in force, those of them whose sealed copy is gone)."""
    contents: dict[Key, bundles.Content] = {}
    lost: list[Key] = []
    damaged = []
    for service, entry in st.services.items():
        for name in entry.named:
            sealed = paths.seal(service, name)
            try:
                contents[service, name] = bundles.unseal(paths, service, name)
            except SealError:
                if sealed.exists():
                    damaged.append(str(sealed))
                    continue
                lost.append((service, name))
                contents[service, name] = _salvage(paths.bundle(service, name), entry.bundles[name])
    if damaged:
        raise SealError(
            f"These sealed copies cannot be opened, because they are damaged or were sealed on another host: "
            f"{', '.join(damaged)}; nothing was changed: put them back from a backup, or remove them and run again, "
            "which takes over what is left in memory, and the rest anew from the source."
        )
    return contents, tuple(lost)


def _salvage(folder: Path, bundle: state.Bundle) -> bundles.Content:
    """The values that lie by themselves in a bundle on tmpfs."""
    content = bundles.Content()
    for name, inside in bundle.files.items():
        with suppress(OSError):
            if inside == [name] or (inside and rings.version(name, inside[0])):
                content.files[name] = files.read(folder / name, seals.LIMIT)[1]
    return content


def _values_of_the_run(
    paths: StackPaths, run: state.Run, sealed: Mapping[str, Mapping[str, bytes]]
) -> dict[str, bytes]:
    """By secret that changes, the value that is to be in force now. Raises SealError where its sealed copy is gone."""
    values = {}
    for name, change in run.secrets.items():
        which, record = desired(run, change)
        if change.old.version != change.new.version:
            value = sealed[name].get(record.version)
            values[name] = unseal(paths, run.id, name, which) if value is None else value
    return values


def _versions(st: state.State, contents: Mapping[Key, bundles.Content]) -> dict[str, dict[str, bytes]]:
    """Every value that the host holds, by secret and version, those of the rings too."""
    found: dict[str, dict[str, bytes]] = {}
    for (service, name), content in contents.items():
        bundle = st.services[service].bundles[name]
        for secret in bundle.versions:
            found.setdefault(secret, {}).update(content.versions(secret, bundle))
    return found
