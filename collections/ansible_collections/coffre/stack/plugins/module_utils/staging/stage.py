"""Stage the bundles of a stack: make tmpfs, the sealed copies and the state agree with the catalogue and its source.

The order makes a crash harmless: sealed copies first, then the files on tmpfs, then the state that names both.
What a crash leaves behind is a set that nobody knows, and a rollout collects it.
"""

from __future__ import annotations

import copy
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..audit import trail as audit
from ..catalogue import HOST, Catalogue, Secret, Service
from ..engines import compose
from ..errors import CoffreError, SealError, SourceError
from ..host import bundles, files, rings, seals, state, tmpfs
from ..host.escrow import collect, concerned, desired, introduced, unseal, values_by_version
from ..host.restore import raise_bundles
from ..paths import BUNDLE, LINK, VALUE, StackPaths
from ..sources import base as sources
from ..sources.base import Earlier, Held, Holdings, Resolved, Values, misfits, unfit

# From what the host holds, and what its last run saw in a vault, to what is to be in force.
Resolve = Callable[[Holdings, Mapping[str, Any]], Resolved]
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?")


@dataclass
class Report:
    """What staging did, or would do: names and paths only."""

    new: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    recorded: bool = False


@dataclass(frozen=True)
class StagingOptions:
    seal_key: str = "auto"
    require_noswap: bool = False
    check: bool = False


Key = tuple[str, str]  # (service, bundle id)


def stage(paths: StackPaths, catalogue: Catalogue, resolve: Resolve, settings: StagingOptions) -> dict[str, Any]:
    """Stage all services' bundles and return the module's result. The caller holds the stack's lock.

    While a rotation is open it says what is to be in force, and the source is not asked.

    Raises CoffreError before anything changed if the source, the sealed copies or the host do not allow it.
    """
    report = Report()
    before = state.load(paths)
    st = copy.deepcopy(before)
    contents, lost = _open(paths, st, report)
    held = holdings(st, contents)
    earlier, used = _versions_held(st, contents), _used(st, catalogue)
    spared = _spared(paths, st, catalogue)
    lost = {key for key in lost if key[0] not in spared}
    if st.run:
        for name, versions in values_by_version(paths, st.run).items():
            earlier.setdefault(name, {}).update(versions)
    _forget(st, contents, lost)
    if st.run:
        resolved = Resolved(_of_the_run(paths, st.run, held, catalogue), vault=before.vault)
    else:
        resolved = resolve(held, before.vault)
    report.warnings += resolved.warnings
    values = {
        name: _with_ring(catalogue.secrets[name], st, each, earlier.get(name, {}), name in used, report)
        for name, each in resolved.values.items()
    }
    _check(catalogue, st, values)
    _memory(paths, st, settings, report)
    _folders(paths, settings, report)
    _sweep(paths, st, catalogue, settings, report)
    broken = _inspect(paths, st, contents, settings, report)
    made = _plan(st, catalogue, values, contents, broken, spared, report)
    st.secrets = _recorded(catalogue, values)
    report.recorded = st != before
    st.vault = resolved.vault  # what was seen is no change of what is in force
    if not settings.check:
        _write(paths, st, before, made, settings)
        _links(paths, st, report)
        _publish_authorities(paths, catalogue, values, report)
    return _result(paths, st, before, report)


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
    if paths.state.exists():
        result["warnings"] += [f"{clause}." for clause in bundles.unwanted(state.load(paths), catalogue)]
    fate = "would be" if settings.check else "was"
    result["warnings"] += [f"{path} is foreign to the stack and {fate} removed." for path in result["removed"]]
    return result


def _tidy(paths: StackPaths, st: state.State, result: dict[str, Any]) -> None:
    """Remove at once what no container uses: bundles of before, and what a rotation that ended has left sealed."""
    result["changed"] |= collect(paths, st)
    if st.run or not bundles.unused(paths, st):
        return  # while a rotation is open its rollouts do it
    try:
        in_use = {each.bundle for each in compose.containers(paths.stack) if each.bundle}
        result["changed"] |= bool(bundles.collect(paths, st, in_use))
    except CoffreError as error:
        result["warnings"].append(f"Bundles that nobody uses any more stay on this host until the next run: {error}")


def _open(paths: StackPaths, st: state.State, report: Report) -> tuple[dict[Key, bundles.Content], set[Key]]:
    """Open the sealed copies of the bundles in force.

    Returns also the bundles whose sealed copy is gone; of those, the contents are what tmpfs still has.
    """
    contents: dict[Key, bundles.Content] = {}
    lost: set[Key] = set()
    damaged = []
    for service, entry in st.services.items():
        for name in entry.named:
            try:
                contents[service, name] = bundles.unseal(paths, service, name)
            except SealError:
                if not paths.seal(service, name).exists():
                    lost.add((service, name))
                    contents[service, name] = _salvage(paths.bundle(service, name), entry.bundles[name])
                    report.warnings.append(
                        f"The sealed copy of {service}'s bundle {name} is gone: a new bundle takes over what is left "
                        "in memory, and what is not comes anew from the source."
                    )
                    continue
                damaged.append(str(paths.seal(service, name)))
    if damaged:
        raise SealError(
            f"These sealed copies cannot be opened, because they are damaged or were sealed on another host: "
            f"{', '.join(damaged)}; nothing was changed: put them back from a backup, or remove them and run again, "
            "which takes over what is left in memory, and the rest anew from the source."
        )
    return contents, lost


def _salvage(folder: Path, bundle: state.Bundle) -> bundles.Content:
    """The values that lie by themselves in a bundle on tmpfs."""
    content = bundles.Content()
    for name, inside in bundle.files.items():
        with suppress(OSError):
            if inside == [name] or (inside and rings.version(name, inside[0])):
                content.files[name] = files.read(folder / name, seals.LIMIT)[1]
    return content


def _spared(paths: StackPaths, st: state.State, catalogue: Catalogue) -> set[str]:
    """The services whose bundles stay as they are: those that the open rotation does not roll.

    What else is different of them, such as a key past its date, waits for a run that rolls them. The host adopts at
    once, so it is never among them; nor is a service whose bundle is not there, as its container could not start again.
    """
    rolled = {HOST, *concerned(catalogue, st)}
    return {
        service
        for service, entry in st.services.items()
        if st.run and service not in rolled and entry.staged and paths.bundle(service, entry.staged).is_dir()
    }


def _forget(st: state.State, contents: dict[Key, bundles.Content], lost: set[Key]) -> None:
    """Let bundles leave the state; their files stay until no container uses them and they are collected."""
    for service, name in lost:
        entry = st.services[service]
        del entry.bundles[name], contents[service, name]
        entry.current = None if entry.current == name else entry.current
        entry.next = None if entry.next == name else entry.next


def holdings(st: state.State, contents: dict[Key, bundles.Content]) -> Holdings:
    """The versions that the host holds, by secret: first the one that state names, or else an adopted one."""
    held: dict[str, list[Held]] = {}
    adopted = [(service, entry.current) for service, entry in st.services.items() if entry.current]
    for service, name in [*adopted, *(key for key in contents if key not in adopted)]:
        bundle = st.services[service].bundles[name]
        for secret, version in bundle.versions.items():
            value, known = contents[service, name].value(secret, bundle), st.secrets.get(secret)
            versions = held.setdefault(secret, [])
            if value is None or version in (other.version for other in versions):
                continue
            if known and known.version == version:
                versions.insert(0, Held(version, known.created, value, known.attributes, known.expires))
            else:
                versions.append(
                    Held(version, bundle.created, value, known.attributes if known else {}, described=False)
                )
    return {secret: versions for secret, versions in held.items() if versions}


def _of_the_run(paths: StackPaths, run: state.Run, held: Holdings, catalogue: Catalogue) -> Values:
    """What staging is to take while the run is open: its values, and of all other secrets what the host holds.

    Raises CoffreError for secrets that the host does not have: services would roll with what nobody was taught.
    """
    if new := [name for name in catalogue.secrets if name not in held and name not in run.secrets]:
        raise CoffreError(
            f"This host does not have {', '.join(new)}, and the rotation of {', '.join(run.secrets)} is open; nothing "
            f"was staged: take {', '.join(new)} out of the catalogue until the rotation is closed."
        )
    taken = {name: versions[0] for name, versions in held.items() if name in catalogue.secrets}
    for name, change in run.secrets.items():
        which, record = desired(run, change)
        if change.old.version != change.new.version:
            value = unseal(paths, run.id, name, which)
            taken[name] = Held(record.version, record.created, value, record.attributes, record.expires)
    return taken


def _versions_held(st: state.State, contents: dict[Key, bundles.Content]) -> dict[str, dict[str, bytes]]:
    """Every value that the host holds, by secret and version, those of the rings too."""
    found: dict[str, dict[str, bytes]] = {}
    for (service, name), content in contents.items():
        bundle = st.services[service].bundles[name]
        for secret in bundle.versions:
            found.setdefault(secret, {}).update(content.versions(secret, bundle))
    return found


def _used(st: state.State, catalogue: Catalogue) -> set[str]:
    """The secrets whose version of state a container may have used: adopted, or handed out by an open rotation."""
    adopted = [entry.bundles[entry.current].versions for entry in st.services.values() if entry.current]
    exposed = {
        name
        for name in (st.run.secrets if st.run else {})
        if name in catalogue.secrets and st.run and set(st.run.exposed) & set(catalogue.secrets[name].consumers)
    }
    return exposed | {
        name for name, secret in st.secrets.items() if any(versions.get(name) == secret.version for versions in adopted)
    }


def _with_ring(
    secret: Secret, st: state.State, held: Held, found: dict[str, bytes], used: bool, report: Report
) -> Held:
    """A version with the ring that belongs to it: the host's, or, where it does not know the secret, the source's."""
    if secret.name not in st.secrets:
        return held
    values = {each.previous.version: each.value for each in held.ring} | found
    ring = st.secrets[secret.name].ring  # of what the open rotation leaves alone
    if not st.run or secret.name in st.run.secrets:
        ring = rings.after(secret, st.secrets[secret.name], held.version, state.now(), used)
    if st.run and (change := st.run.secrets.get(secret.name)) and not change.reached("adopted"):
        # Nobody has signed with what was introduced only, so it leaves with the rotation.
        ring = introduced(st.run, change) + [each for each in ring if each.version != change.new.version]
    if gone := [each.version for each in ring if each.version not in values]:
        report.warnings.append(
            f"The earlier {'version' if len(gone) == 1 else 'versions'} {', '.join(gone)} of {secret.name} cannot be "
            "had any more: what was signed with it is no longer accepted."
        )
    kept = tuple(Earlier(each, values[each.version]) for each in ring if each.version in values)
    return replace(held, ring=kept)


def _check(catalogue: Catalogue, st: state.State, values: Values) -> None:
    problems = [
        f"{name} {problem}"
        for name, secret in catalogue.secrets.items()
        if (problem := unfit(secret, values[name].value))
    ]
    if not problems:
        problems = misfits(
            catalogue,
            {name: held.value for name, held in values.items()},
            {name: _attributes(catalogue, name, held) for name, held in values.items()},
        )
    if not problems and not st.run:
        problems = _certificates(catalogue, st, values) + _of_a_demo(st, values)
    if problems:
        raise SourceError(f"The secrets cannot be staged: {'; '.join(problems)}.")


def _of_a_demo(st: state.State, values: Values) -> list[str]:
    """The new values that a program has built in for a demo. Of one that is in force, doctor tells."""
    known = {name: secret.version for name, secret in st.secrets.items()}
    return [
        f"{name} begins with demo-, as what a program has built in for a demo: give it a value of your own"
        for name, held in values.items()
        if held.value.startswith(sources.DEMO_MARK) and held.version != known.get(name)
    ]


def _certificates(catalogue: Catalogue, st: state.State, values: Values) -> list[str]:
    """The new certificates that no server can use. One that is in force may well be past its end: doctor tells."""
    from ..values import certificates

    known = {name: secret.version for name, secret in st.secrets.items()}
    return [
        f"{name} {problem}"
        for name, secret in catalogue.secrets.items()
        if (wanted := certificates.names(secret))
        and values[name].version != known.get(name)
        and (problem := certificates.misfit(values[name].value, wanted))
    ]


def _attributes(catalogue: Catalogue, name: str, held: Held) -> dict[str, str]:
    return {**catalogue.secrets[name].attributes, **held.attributes}


def _memory(paths: StackPaths, st: state.State, settings: StagingOptions, report: Report) -> None:
    """Have the tmpfs, and on it the bundles of a host that lost all of them."""
    empty = not paths.run.is_dir() or not any(paths.run.iterdir())
    if settings.check:
        report.restored = [
            f"{service}/{name}" for service, entry in st.services.items() for name in entry.bundles if empty
        ]
        return
    # What lies there without a tmpfs is Docker's: it makes directories of missing files. A container that began so
    # needs a new bundle, so nothing is restored then.
    tmpfs.ensure(paths.run_root)
    if exposed := tmpfs.exposure(paths.run_root):
        if settings.require_noswap:
            raise CoffreError(f"{exposed}; no secret was staged: switch it off, or encrypt it.")
        report.warnings.append(f"{exposed}: switch it off, encrypt it, or use Linux 6.4 or later.")
    if empty:
        report.restored, failures = raise_bundles(paths, st)
        report.warnings += failures


def _folders(paths: StackPaths, settings: StagingOptions, report: Report) -> None:
    """Root's folders: made on disk, and shut again where they stand open."""
    for folder in (paths.lib_root, paths.lib, paths.sealed, paths.run_root, paths.run):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise CoffreError(f"{folder} is no directory; no secret was staged: remove it and run again.")
        if not folder.exists() and not settings.check:
            folder.mkdir(mode=0o700, parents=True)
        if folder.exists():
            _mend(folder, (0, 0, 0o700), settings, report)
    for path in (paths.state, paths.audit, paths.compose):
        if path.exists() and not path.is_symlink():
            _mend(path, (0, 0, 0o600), settings, report)


def _mend(path: Path, rights: tuple[int, int, int], settings: StagingOptions, report: Report) -> None:
    """Set owner and mode (uid, gid, mode) of a file or directory that is no link, where they differ."""
    about = path.lstat()
    if (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == rights:
        return
    report.repaired.append(str(path))
    if not settings.check:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchown(handle, *rights[:2])
            os.fchmod(handle, rights[2])
        finally:
            os.close(handle)


def _inspect(
    paths: StackPaths, st: state.State, contents: dict[Key, bundles.Content], settings: StagingOptions, report: Report
) -> set[Key]:
    """Compare the bundles on tmpfs with their sealed copies: mend rights, remove foreign files.

    Returns the bundles of which something is missing or altered.
    """
    broken: set[Key] = set()
    if settings.check and report.restored:
        return broken
    for service, entry in st.services.items():
        if entry.staged and paths.service(service).is_dir():
            _mend(paths.service(service), bundles.directory_rights(entry.bundles[entry.staged]), settings, report)
    for (service, name), content in contents.items():
        bundle, folder = st.services[service].bundles[name], paths.bundle(service, name)
        if not folder.is_dir() or folder.is_symlink():
            broken.add((service, name))
            report.warnings.append(f"The bundle {name} of {service} was missing: a new one replaces it.")
            continue
        rights = bundles.directory_rights(bundle)
        _mend(folder, rights, settings, report)
        for path in folder.iterdir():
            if path.name not in content.files:
                _discard(path, settings, report)
        for file, data in content.files.items():
            if _holds(folder / file, data):
                _mend(folder / file, (bundle.uid, bundle.gid, bundles.FILE_MODE), settings, report)
            else:
                broken.add((service, name))
                report.warnings.append(
                    f"The file {file} in {service}'s bundle {name} was missing or altered: a new bundle replaces it."
                )
    return broken


def _holds(path: Path, data: bytes) -> bool:
    """Whether path is a regular file of a single name with exactly this content."""
    try:
        return files.read(path, len(data) + 1)[1] == data
    except OSError:
        return False


def _discard(path: Path, settings: StagingOptions, report: Report) -> None:
    """Remove what does not belong here."""
    report.removed.append(str(path))
    if not settings.check:
        try:
            bundles.remove(path)
        except OSError:
            report.warnings.append(f"The foreign {path} could not be removed: look at what holds it.")


def _bundles_in(folder: Path) -> bool:
    return any(BUNDLE.fullmatch(path.name) for path in folder.iterdir())


def _sweep(paths: StackPaths, st: state.State, catalogue: Catalogue, settings: StagingOptions, report: Report) -> None:
    """Remove foreign files beside the bundles. Bundle-shaped directories are left: a container may mount them."""
    services = {*st.services, *(service.name for service in catalogue.receivers())}
    known = {(service, name) for service, entry in st.services.items() for name in entry.bundles}
    for folder in paths.run.iterdir() if paths.run.is_dir() else []:
        if folder.is_symlink() or not folder.is_dir() or not (folder.name in services or _bundles_in(folder)):
            _discard(folder, settings, report)
            continue
        reload = any(bundle.reload for bundle in st.services.get(folder.name, state.ServiceState()).bundles.values())
        for path in folder.iterdir():
            shaped = BUNDLE.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
            linked = reload and path.name == LINK and path.is_symlink()
            if not shaped and not linked and (folder.name, path.name) not in known:
                _discard(path, settings, report)
    for path in paths.sealed.iterdir() if paths.sealed.is_dir() else []:
        name = path.name.removesuffix(".cred").rpartition(".")[2]
        ours = (path.suffix == ".cred" and BUNDLE.fullmatch(name)) or VALUE.fullmatch(path.name)
        if not ours or path.is_symlink() or not path.is_file():
            _discard(path, settings, report)
        else:
            _mend(path, (0, 0, 0o600), settings, report)


def _content(catalogue: Catalogue, service: Service, values: Values) -> bundles.Content:
    """What a service's bundle is to hold: its secrets alone, its composed files, and what those are made of."""

    def lookup(secret: str, attribute: str | None) -> str:
        held = values[secret]
        return _attributes(catalogue, secret, held)[attribute] if attribute else held.value.decode("utf-8")

    content = bundles.Content(
        files={file.name: file.render(lookup).encode("utf-8") for file in service.files}
        | {name: text.encode("utf-8") for name, text in catalogue.plain.get(service.name, {}).items()},
        values={name: values[name].value for name in service.composed},
    )
    for name in catalogue.consumed(service.name):
        if name not in service.composed:
            content.files[name] = values[name].value
        place = content.files if rings.mounted(catalogue.secrets[name], service) else content.values
        place |= {rings.file(name, each.previous.version): each.value for each in values[name].ring}
    return content


@dataclass(frozen=True)
class Made:
    """A bundle that is to be written."""

    service: str
    name: str
    content: bundles.Content = field(repr=False)


def _plan(
    st: state.State,
    catalogue: Catalogue,
    values: Values,
    contents: dict[Key, bundles.Content],
    broken: set[Key],
    spared: set[str],
    report: Report,
) -> list[Made]:
    """Decide for each service but the spared which bundle is to be in force, and note it in the state."""
    made = []
    receivers = catalogue.receivers()
    recorded = _recorded(catalogue, values)
    for service in receivers:
        if service.name in spared:
            continue
        entry = st.services.setdefault(service.name, state.ServiceState())
        content = _content(catalogue, service, values)
        bundle = state.Bundle(
            files=rings.files(catalogue, service, recorded),
            versions={name: values[name].version for name in catalogue.consumed(service.name)},
            created=state.now(),
            uid=service.uid,
            gid=service.gid,
            reload=service.adopt == "reload",
        )
        good = [
            name
            for name in entry.named
            if (service.name, name) not in broken
            and _equal(contents[service.name, name], content, _made_up(catalogue, service) if st.run else set())
            and _alike(entry.bundles[name], bundle)
        ]
        if good:
            entry.next = None if entry.current in good else entry.next
            continue
        name = secrets.token_hex(6)
        entry.bundles[name] = bundle
        if service.name == HOST:
            entry.current = name
        else:
            entry.next = name
        made.append(Made(service.name, name, content))
        report.new.append(f"{service.name}/{name}")
    for gone in set(st.services) - {service.name for service in receivers} - spared:
        # Its bundles stay until its container is gone and they are collected.
        st.services[gone].current = st.services[gone].next = None
    return made


def _made_up(catalogue: Catalogue, service: Service) -> set[str]:
    """The files of a bundle whose text is the catalogue's or the Compose file's."""
    return {file.name for file in service.files} | {*catalogue.plain.get(service.name, ())}


def _equal(one: bundles.Content, other: bundles.Content, apart: set[str]) -> bool:
    """Whether two contents of the same versions are the same, whatever the text of some files.

    A rotation is undone by the bundles from before it: a template that was changed since may be what went wrong.
    """
    mine, theirs = (
        {name: data for name, data in each.files.items() if name not in apart} | {"": each.values}
        for each in (one, other)
    )
    return mine == theirs


def _alike(one: state.Bundle, other: state.Bundle) -> bool:
    return (one.files, one.versions, one.uid, one.gid, one.reload) == (
        other.files,
        other.versions,
        other.uid,
        other.gid,
        other.reload,
    )


def _recorded(catalogue: Catalogue, values: Values) -> dict[str, state.Version]:
    return {
        name: state.Version(
            held.version,
            held.created,
            _attributes(catalogue, name, held),
            held.expires,
            [each.previous for each in held.ring],
        )
        for name, held in values.items()
    }


def _write(paths: StackPaths, st: state.State, before: state.State, made: list[Made], settings: StagingOptions) -> None:
    if not paths.state.exists():
        # Sealed copies without a state are a loss; so that a crash does not look like one, the state comes first.
        state.save(paths, before)
    for each in made:
        bundles.seal(paths, each.service, each.name, each.content, settings.seal_key)
    for each in made:
        bundles.write(paths, each.service, each.name, st.services[each.service].bundles[each.name], each.content)
    if st != before:
        state.save(paths, st)


def _links(paths: StackPaths, st: state.State, report: Report) -> None:
    """The `current` link of a service that reloads names what it has adopted, or, before its first start, the next."""
    for service, entry in st.services.items():
        name = entry.current or entry.next
        if name and entry.bundles[name].reload:
            link = paths.service(service) / LINK
            first = not os.path.lexists(link)
            if bundles.point(paths, service, name) and not first:
                report.repaired.append(str(link))


def _publish_authorities(paths: StackPaths, catalogue: Catalogue, values: Values, report: Report) -> None:
    """Write the certificates of the authorities, without their keys, for those who are to trust them."""
    text = b"".join(
        b"".join(CERTIFICATE.findall(values[name].value))
        for name, secret in sorted(catalogue.secrets.items())
        if secret.generate and secret.generate.type == "certificate_authority"
    )
    old = None
    with suppress(OSError):
        old = paths.authority.read_bytes()
    if text and text != old:
        files.write(paths.authority, text, 0o644)
        report.recorded = True


def _result(paths: StackPaths, st: state.State, before: state.State, report: Report) -> dict[str, Any]:
    staged = {}
    for service, entry in sorted(st.services.items()):
        if name := entry.staged:
            folder = str(paths.bundle(service, name))
            staged[service] = {"bundle": name, "path": folder, "files": sorted(entry.bundles[name].files)}
    return {
        "changed": bool(report.new or report.restored or report.repaired or report.removed or report.recorded),
        "bundles": staged,
        "new": report.new,
        "restored": report.restored,
        "repaired": report.repaired,
        "removed": report.removed,
        "warnings": report.warnings,
        "diff": {"before": _versions(before), "after": _versions(st)},
    }


def _versions(st: state.State) -> str:
    """The staged versions as lines, for a diff."""
    return "".join(
        f"{service}/{secret}: {version}\n"
        for service, entry in sorted(st.services.items())
        if entry.staged
        for secret, version in sorted(entry.bundles[entry.staged].versions.items())
    )
