"""What lies on a host beside what its state and its sealed copies say. Looks, and changes nothing."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from ..catalogue import Catalogue
from ..errors import CoffreError
from ..host import bundles, files, state, tmpfs
from ..paths import BUNDLE, LINK, VALUE, StackPaths
from .holdings import Host, Key

Rights = tuple[int, int, int]  # uid, gid, mode


@dataclass
class Deviations:
    """Something beside what it should be: what has another owner or mode, and what does not belong there.

    Of a bundle also whether it is `missing`, and the files that are missing or `altered`.
    """

    misowned: list[tuple[Path, Rights]] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)
    missing: bool = False
    altered: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether it has what its sealed copy has."""
        return not self.missing and not self.altered

    def rights(self, path: Path, rights: Rights) -> None:
        """Note a file or directory, which is no link, whose owner or mode is another."""
        about = path.lstat()
        if (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) != rights:
            self.misowned.append((path, rights))


@dataclass(frozen=True)
class Inspection:
    """`empty`: there is no bundle at all, as after a boot, so that all come again from their sealed copies.

    `bundles` has those in force; `around` is all else, folders and sealed copies.
    """

    empty: bool
    bundles: dict[Key, Deviations]
    around: Deviations


def inspect(paths: StackPaths, host: Host, catalogue: Catalogue) -> Inspection:
    """Look at the stack's files on tmpfs and on disk. Raises CoffreError for a folder that is none."""
    around = Deviations()
    if paths.on_swarm:  # of what the managers keep nothing can be altered beside them
        return Inspection(False, {key: Deviations() for key in host.contents}, around)
    empty = not paths.run.is_dir() or not any(paths.run.iterdir())
    # What lies there without a tmpfs is Docker's: it makes directories of missing files, and the mount will hide them.
    # A container that began so needs a new bundle, so nothing comes from a sealed copy then.
    mounted = tmpfs.options(paths.run_root) is not None
    _folders(paths, mounted, around)
    _sealed(paths, around)
    if not empty and not mounted:
        return Inspection(False, {key: Deviations(missing=True) for key in host.contents}, around)
    if empty:
        return Inspection(True, {}, around)
    _services(paths, host.state, catalogue, around)
    looks = {key: _bundle(paths, key, host.state, content) for key, content in host.contents.items()}
    return Inspection(False, looks, around)


def _folders(paths: StackPaths, mounted: bool, around: Deviations) -> None:
    """Root's folders and files; those on tmpfs where there is one."""
    for folder in (paths.lib_root, paths.lib, paths.sealed, paths.run_root, paths.run):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise CoffreError(f"{folder} is no directory; no secret was staged: remove it and run again.")
        if folder.exists() and (mounted or not folder.is_relative_to(paths.run_root)):
            around.rights(folder, (0, 0, 0o700))
    for path in (paths.state, paths.audit, paths.compose):
        if path.exists() and not path.is_symlink():
            around.rights(path, (0, 0, 0o600))


def _sealed(paths: StackPaths, around: Deviations) -> None:
    for path in paths.sealed.iterdir() if paths.sealed.is_dir() else []:
        name = path.name.removesuffix(".cred").rpartition(".")[2]
        ours = (path.suffix == ".cred" and BUNDLE.fullmatch(name)) or VALUE.fullmatch(path.name)
        if not ours or path.is_symlink() or not path.is_file():
            around.foreign.append(path)
        else:
            around.rights(path, (0, 0, 0o600))


def _services(paths: StackPaths, st: state.State, catalogue: Catalogue, around: Deviations) -> None:
    """The services' folders. Directories like bundles are left alone: a container may mount them."""
    services = {*st.services, *(service.name for service in catalogue.receivers())}
    known = {(service, name) for service, entry in st.services.items() for name in entry.bundles}
    for folder in paths.run.iterdir():
        if folder.is_symlink() or not folder.is_dir() or not (folder.name in services or _bundles_in(folder)):
            around.foreign.append(folder)
            continue
        entry = st.services.get(folder.name, state.ServiceState())
        if entry.staged:
            around.rights(folder, bundles.directory_rights(entry.bundles[entry.staged]))
        reload = any(bundle.reload for bundle in entry.bundles.values())
        for path in folder.iterdir():
            shaped = BUNDLE.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
            linked = reload and path.name == LINK and path.is_symlink()
            if not shaped and not linked and (folder.name, path.name) not in known:
                around.foreign.append(path)


def _bundles_in(folder: Path) -> bool:
    return any(BUNDLE.fullmatch(path.name) for path in folder.iterdir())


def _bundle(paths: StackPaths, key: Key, st: state.State, content: bundles.Content) -> Deviations:
    """A bundle beside its sealed copy."""
    service, name = key
    bundle, folder = st.services[service].bundles[name], paths.bundle(service, name)
    if folder.parent.is_symlink() or folder.is_symlink() or not folder.is_dir():
        return Deviations(missing=True)
    look = Deviations(foreign=[path for path in folder.iterdir() if path.name not in bundle.files])
    look.rights(folder, bundles.directory_rights(bundle))
    for file, data in content.files.items():
        if _holds(folder / file, data):
            look.rights(folder / file, (bundle.uid, bundle.gid, bundles.FILE_MODE))
        else:
            look.altered.append(file)
    return look


def _holds(path: Path, data: bytes) -> bool:
    """Whether path is a regular file of a single name with exactly this content."""
    try:
        return files.read(path, len(data) + 1)[1] == data
    except OSError:
        return False
