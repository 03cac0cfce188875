"""The bundles of a stack: sets of secret files on tmpfs, each with a sealed copy on disk.

A sealed copy is a tar with `files/<name>` as the service sees them, and `values/<secret>` for the secrets
that only lie inside a composed file. An earlier value of a key ring is called `<secret>.<version>` in either.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..catalogue import HOST, Catalogue
from ..errors import CoffreError, SealError
from ..paths import BUNDLE, LINK, StackPaths
from . import objects, rings, seals, state

FILE_MODE = 0o400
ROOT_MODE = 0o700
RELOAD_MODE = 0o500


@dataclass
class Content:
    """What a bundle holds, in memory: bytes by file name, and bytes by secret for those only composed."""

    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    values: dict[str, bytes] = field(default_factory=dict, repr=False)

    def value(self, secret: str, bundle: state.Bundle) -> bytes | None:
        """A secret's value, or None if the bundle does not hold it."""
        if bundle.files.get(secret) == [secret]:
            return self.files.get(secret)
        return self.values.get(secret)

    def versions(self, secret: str, bundle: state.Bundle) -> dict[str, bytes]:
        """The values of a secret by version: the one that the bundle is of, and the earlier ones of its ring."""
        found = {
            version: data
            for name, data in (self.files | self.values).items()
            if (version := rings.version(name, secret))
        }
        now = self.value(secret, bundle)
        return found if now is None else found | {bundle.versions[secret]: now}


def pack(content: Content) -> bytes:
    """The tar of a bundle; equal contents give equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder, members in (("files", content.files), ("values", content.values)):
            for name in sorted(members):
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mode = len(members[name]), FILE_MODE
                archive.addfile(entry, io.BytesIO(members[name]))
    return buffer.getvalue()


def unpack(data: bytes) -> Content:
    content = Content()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r") as archive:
        for entry in archive:
            folder, _, name = entry.name.partition("/")
            member = archive.extractfile(entry)
            if member is not None:
                (content.files if folder == "files" else content.values)[name] = member.read()
    return content


def _name(paths: StackPaths, service: str, bundle: str) -> str:
    return f"{paths.stack}.{service}.{bundle}"


def seal(paths: StackPaths, service: str, bundle: str, content: Content, choice: str) -> None:
    """Write the sealed copy of a bundle, durably. Raises SealError."""
    seals.seal(paths.seal(service, bundle), _name(paths, service, bundle), pack(content), choice)


def unseal(paths: StackPaths, service: str, bundle: str) -> Content:
    """Open the sealed copy of a bundle, or on a swarm what its objects hold. Raises SealError."""
    if paths.on_swarm:
        st = state.load(paths)
        return _of_objects(paths, st, bundle, st.services[service].bundles[bundle])
    data = seals.unseal(paths.seal(service, bundle), _name(paths, service, bundle))
    try:
        return unpack(data)
    except tarfile.TarError:
        raise SealError(f"The sealed copy {paths.seal(service, bundle)} holds no bundle.") from None


def _apart(bundle: state.Bundle) -> dict[str, str]:
    """By secret that a bundle has in composed files only, its version."""
    return {name: version for name, version in bundle.versions.items() if bundle.files.get(name) != [name]}


def keep(paths: StackPaths, name: str, bundle: state.Bundle, content: Content) -> None:
    """Make the objects of a bundle on a swarm that are not there yet. Raises SealError."""
    objects.keep(paths, called(name, bundle, content))


def called(name: str, bundle: state.Bundle, content: Content) -> dict[str, bytes]:
    """By what the objects of a bundle are called on a swarm, what they hold."""
    references = objects.references(name, bundle)
    held = {references[file]: data for file, data in content.files.items()}
    for file, data in content.values.items():
        secret, _, earlier = file.partition(".")
        held[earlier or bundle.versions[secret]] = data
    return held


def _of_objects(paths: StackPaths, st: state.State, name: str, bundle: state.Bundle) -> Content:
    called, apart = objects.references(name, bundle), _apart(bundle)
    found = objects.values(paths, {*called.values(), *apart.values()})
    content = Content(
        {file: found[each] for file, each in called.items()}, {secret: found[each] for secret, each in apart.items()}
    )
    for secret in bundle.versions:
        for each in st.secrets[secret].ring if secret in st.secrets else ():
            if (file := rings.file(secret, each.version)) not in bundle.files:
                with suppress(SealError):  # one that came into the ring after the bundle was made
                    content.values[file] = objects.values(paths, [each.version])[each.version]
    return content


def wanted(st: state.State) -> set[str]:
    """What the objects are called that a state names."""
    found = {secret.version for secret in st.secrets.values()}
    found |= {each.version for secret in st.secrets.values() for each in secret.ring}
    for entry in st.services.values():
        for name, bundle in entry.bundles.items():
            found |= {*objects.references(name, bundle).values(), *bundle.versions.values()}
    return found


def directory_rights(bundle: state.Bundle) -> tuple[int, int, int]:
    """(uid, gid, mode) of a bundle's directory, and of its service's."""
    return (bundle.uid, bundle.gid, RELOAD_MODE) if bundle.reload else (0, 0, ROOT_MODE)


def _give(path: Path, uid: int, gid: int, mode: int) -> None:
    os.chown(path, uid, gid, follow_symlinks=False)
    path.chmod(mode)


def prepare(paths: StackPaths, service: str, bundle: state.Bundle) -> None:
    """Make the directories above a service's bundles."""
    for directory in (paths.run, paths.service(service)):
        directory.mkdir(mode=ROOT_MODE, parents=True, exist_ok=True)
    _give(paths.service(service), *directory_rights(bundle))


def write(paths: StackPaths, service: str, name: str, bundle: state.Bundle, content: Content) -> None:
    """Put a bundle on tmpfs under its name, whole or not at all."""
    prepare(paths, service, bundle)
    temporary = paths.service(service) / f".{name}.new"
    remove(temporary)
    temporary.mkdir(mode=ROOT_MODE)
    for file, data in content.files.items():
        handle = os.open(temporary / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            os.fchown(handle, bundle.uid, bundle.gid)
            os.fchmod(handle, FILE_MODE)
    _give(temporary, *directory_rights(bundle))
    temporary.rename(paths.bundle(service, name))


def block(paths: StackPaths, service: str, name: str, bundle: state.Bundle) -> None:
    """Put an empty file in the place of a bundle that cannot be had.

    Docker would make directories of missing files and start the service with them; so it can only fail to start it.
    """
    prepare(paths, service, bundle)
    paths.bundle(service, name).touch(mode=0o000)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory, if it is there; links are not followed."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return


def point(paths: StackPaths, service: str, bundle: str) -> bool:
    """Let the `current` link of a service that reloads name a bundle. True if it named another."""
    link = paths.service(service) / LINK
    if link.is_symlink() and link.readlink() == Path(bundle):
        return False
    temporary = link.with_name(f".{LINK}.new")
    remove(temporary)
    temporary.symlink_to(bundle)
    if link.is_dir() and not link.is_symlink():
        remove(link)
    temporary.rename(link)
    return True


def in_force(st: state.State, service: str, secret: str) -> str:
    """The bundle of a service to read a secret from: the one with the version that state names.

    Where none has it, the one that the service has adopted. Raises CoffreError if no bundle holds the secret.
    """
    entry = st.services.get(service, state.ServiceState())
    holders = [name for name in entry.named if secret in entry.bundles[name].versions]
    wanted = st.secrets[secret].version if secret in st.secrets else None
    for name in holders:
        if entry.bundles[name].versions[secret] == wanted:
            return name
    if holders:
        return holders[0]
    raise CoffreError(
        f"The secret {secret} is not staged for {service} on this host; nothing was changed: stage the secrets first."
    )


def value(paths: StackPaths, st: state.State, service: str, secret: str, bundle: str | None = None) -> bytes:
    """The value of a secret, from a bundle of a service (the one in force unless another is named).

    It comes from the sealed copy, which cannot be altered, and holds what tmpfs has in composed files only.
    Raises CoffreError, which names the secret, if it cannot be had.
    """
    name = bundle or in_force(st, service, secret)
    found = unseal(paths, service, name).value(secret, st.services[service].bundles[name])
    if found is None:
        raise CoffreError(f"The sealed copy {paths.seal(service, name)} lacks {secret}; nothing was changed.")
    return found


def versions(paths: StackPaths, st: state.State, service: str, secret: str) -> dict[str, bytes]:
    """Every value of a secret that the host's sealed copies hold for a service, by version."""
    held: dict[str, bytes] = {}
    for name, bundle in st.services.get(service, state.ServiceState()).bundles.items():
        if secret in bundle.versions:
            with suppress(SealError):
                held |= unseal(paths, service, name).versions(secret, bundle)
    return held


def promote(paths: StackPaths, st: state.State, service: str) -> None:
    """The containers have adopted the next bundle: it becomes current, and the link of a reload service names it."""
    entry = st.services[service]
    if entry.next is None:
        return
    entry.current, entry.next = entry.next, None
    state.save(paths, st)
    if entry.bundles[entry.current].reload and not paths.on_swarm:
        point(paths, service, entry.current)


def discard_next(paths: StackPaths, st: state.State, service: str) -> None:
    """The next bundle did not work: what is current stays. Its files stay until they are collected."""
    entry = st.services[service]
    if entry.next is None:
        return
    entry.next = None
    state.save(paths, st)
    if entry.current and entry.bundles[entry.current].reload and not paths.on_swarm:
        point(paths, service, entry.current)


def unwanted(paths: StackPaths, st: state.State, catalogue: Catalogue) -> list[str]:
    """What still holds a secret that the catalogue no longer gives it, why, and what ends it; a clause for each."""
    found = []
    for service, entry in sorted(st.services.items()):
        for name, bundle in sorted(entry.bundles.items()):
            lost = [
                secret
                for secret in sorted(bundle.versions)
                if secret not in catalogue.secrets or service not in catalogue.secrets[secret].consumers
            ]
            where = "" if paths.on_swarm else ", on tmpfs and sealed,"
            if service == HOST:
                why = "nothing was staged since: playbooks/site.yml or secrets.yml removes them for good"
            elif service in catalogue.services:
                why = "its container was made with it: playbooks/site.yml rolls it and then removes them for good"
            elif paths.on_swarm:
                why = (
                    "it is no service of the catalogue, and may be on the swarm still: docker service rm "
                    f"{paths.stack}_{service}, and playbooks/site.yml removes them for good"
                )
            else:
                why = (
                    "it is no service of the catalogue, but its container is still there: remove that (docker ps --all "
                    "names it, docker rm --force NAME), and playbooks/site.yml removes them for good"
                )
            if lost:
                found.append(
                    f"{service} still has {', '.join(lost)}, which the catalogue no longer gives it, in its bundle "
                    f"{name}{where} because {why}"
                )
    return found


def unused(paths: StackPaths, st: state.State) -> list[tuple[str, str]]:
    """(service, bundle id) of those that are neither current nor next, also of those that state does not know."""
    keep = {(service, name) for service, entry in st.services.items() for name in entry.named}
    known = {(service, name) for service, entry in st.services.items() for name in entry.bundles}
    known |= {(path.parent.name, path.name) for path in paths.run.glob("*/*") if BUNDLE.fullmatch(path.name)}
    for path in paths.sealed.glob("*.cred"):
        service, _, name = path.name.removesuffix(".cred").partition(".")
        if BUNDLE.fullmatch(name):
            known.add((service, name))
    return sorted(known - keep)


def collect(paths: StackPaths, st: state.State, in_use: set[str]) -> list[str]:
    """Remove the bundles, and their seals, that are neither current nor next nor in use (bundle ids).

    Also removes those on tmpfs and disk that state does not know. Returns `service/bundle` of each.
    """
    leaving = [pair for pair in unused(paths, st) if pair[1] not in in_use]
    if not leaving and not paths.on_swarm:
        return []
    for service, name in leaving:
        if service in st.services:
            st.services[service].bundles.pop(name, None)
    for service in [service for service, entry in st.services.items() if not entry.bundles]:
        del st.services[service]
    # State first: whatever a crash leaves behind is unknown, and goes the next time.
    if leaving:
        state.save(paths, st)
    if paths.on_swarm:
        objects.forget(paths, wanted(st), st.run.id if st.run else None)
    for service, name in [] if paths.on_swarm else leaving:
        remove(paths.bundle(service, name))
        paths.seal(service, name).unlink(missing_ok=True)
    return [f"{service}/{name}" for service, name in leaving]
