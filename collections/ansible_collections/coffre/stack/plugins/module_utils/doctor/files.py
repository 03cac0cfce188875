"""The doctor's checks of the files on the host: tmpfs, rights, bundles, seals."""

from __future__ import annotations

import os
import stat

from ..errors import CoffreError
from ..host import bundles, rings, seals, tmpfs
from ..host import state as states
from ..paths import LINK
from .target import Target, verdict

BINDINGS = {
    "host": "the host key alone, so a copy of the whole disk opens them",
    "tpm2": "the TPM",
    "host+tpm2": "the TPM and the host key",
}


def memory(target: Target) -> str:
    """The tmpfs, its options, and what could swap it out."""
    root = target.paths.run_root
    options = tmpfs.options(root)
    if options is None:
        raise CoffreError(f"{root} is no tmpfs of its own, so secrets there would be on a disk or gone at a reboot")
    missing = sorted({"nosuid", "nodev", "noexec"} - options)
    problems = [f"{root} is mounted without {option}" for option in missing]
    if exposure := tmpfs.exposure(root):
        problems.append(exposure)
    return verdict(
        problems, f"{root} is a tmpfs" + (" with noswap" if "noswap" in options else ", and no swap in clear")
    )


def permissions(target: Target) -> str:
    """Owner and mode of everything of ours on tmpfs and on disk."""
    paths, problems = target.paths, []
    in_memory = () if paths.on_swarm else (paths.run_root, paths.run, paths.sealed)
    expected = {folder: (0, 0, 0o700) for folder in (*in_memory, paths.lib_root, paths.lib)}
    expected |= dict.fromkeys((paths.state, paths.audit, *paths.sealed.glob("*")), (0, 0, 0o600))
    for (service, name), bundle in () if paths.on_swarm else target.known():
        folder = paths.bundle(service, name)
        if target.state.services[service].staged == name:
            expected[paths.service(service)] = bundles.directory_rights(bundle)
        expected[folder] = bundles.directory_rights(bundle)
        expected |= {folder / file: (bundle.uid, bundle.gid, bundles.FILE_MODE) for file in bundle.files}
    seen = 0
    for path, rights in expected.items():
        try:
            about = path.lstat()
        except FileNotFoundError:
            continue  # the checks of bundles and seals tell what is missing
        seen += 1
        if (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) != rights:
            problems.append(f"{path} is {_rights(about)} where {rights[0]}:{rights[1]} {rights[2]:04o} is due")
    for path in paths.lib.rglob("*"):
        about = path.lstat()
        if about.st_uid != 0 or (about.st_mode & 0o022 and not path.is_symlink()):
            problems.append(f"{path} is {_rights(about)}, and others than root could change it")
    return verdict(problems, f"{seen} files and directories have the owner and mode they should")


def _rights(about: os.stat_result) -> str:
    return f"{about.st_uid}:{about.st_gid} {stat.S_IMODE(about.st_mode):04o}"


def staged(target: Target) -> str:
    """The state is readable, of this catalogue, and no run is under way in it."""
    services = target.state.services
    if not services:
        raise CoffreError(f"stack {target.paths.stack} was never deployed on this host")
    problems = []
    if run := target.state.run:
        problems.append(
            f"the rotation of {', '.join(run.secrets)} by {run.operator} is open since {run.started}: "
            "if nobody is at it any more, run playbooks/rotate.yml, which finishes or undoes it"
        )
    for service in target.catalogue.receivers():
        entry = services.get(service.name, states.ServiceState())
        if not entry.staged:
            problems.append(f"no bundle is staged for {service.name}")
        elif entry.bundles[entry.staged].files != rings.files(target.catalogue, service, target.state.secrets):
            problems.append(f"the bundle of {service.name} has other files than the catalogue says")
        elif entry.next:
            problems.append(f"the bundle {entry.next} of {service.name} is staged and not adopted")
        elif former := _former(target.state, entry.bundles[entry.staged]):
            problems.append(
                f"{service.name} did not become ready with the version that was read last of {', '.join(former)}, and "
                "goes on with the one before"
            )
    problems += bundles.unwanted(target.paths, target.state, target.catalogue)
    return verdict(problems, f"{len(target.state.secrets)} secrets are staged for {len(services)} consumers")


def _former(st: states.State, bundle: states.Bundle) -> list[str]:
    """The secrets of which a bundle has another version than the one that is to be in force."""
    return [
        name for name, version in bundle.versions.items() if name in st.secrets and st.secrets[name].version != version
    ]


def content(target: Target) -> str:
    """The bundles on tmpfs are exactly those of the state, and equal their sealed copies."""
    paths, problems = target.paths, []
    known = {key for key, _ in target.known()}
    for (service, name), bundle in target.known():
        folder, sealed = paths.bundle(service, name), target.contents[service, name]
        if not folder.is_dir() or folder.is_symlink():
            problems.append(f"the bundle {name} of {service} is missing")
            continue
        present = {path.name for path in folder.iterdir()}
        problems += [f"{folder / file} is foreign" for file in sorted(present - set(bundle.files))]
        problems += [f"{folder / file} is missing" for file in sorted(set(bundle.files) - present)]
        for file in sorted(present & set(bundle.files)):
            path = folder / file
            if path.is_symlink() or not path.is_file():
                problems.append(f"{path} is no regular file")
            elif sealed and path.read_bytes() != sealed.files.get(file):
                problems.append(f"{path} differs from its sealed copy")
    for folder in paths.run.iterdir():
        entry = target.state.services.get(folder.name, states.ServiceState())
        reloads = any(bundle.reload for bundle in entry.bundles.values())
        if not entry.bundles or not folder.is_dir() or folder.is_symlink():
            problems.append(f"{folder} is foreign")
            continue
        for path in folder.iterdir():
            if (folder.name, path.name) not in known and not (reloads and path.name == LINK):
                problems.append(f"{path} is foreign")
        link = folder / LINK
        if reloads and (not link.is_symlink() or str(link.readlink()) != (entry.current or entry.next)):
            problems.append(f"{link} does not name the bundle in force")
    return verdict(problems, f"{len(known)} bundles hold exactly what their sealed copies do")


def sealed(target: Target) -> str:
    """Every bundle has a sealed copy that opens here; what they are bound to."""
    paths, bound = target.paths, set()
    problems = []
    for (service, name), _ in target.known():
        path = paths.seal(service, name)
        if target.contents[service, name] is None:
            missing = "is missing" if not path.exists() else "does not open: it is damaged, or from another host"
            problems.append(f"{path} {missing}")
        else:
            bound.add(seals.binding(path))
    known = {paths.seal(*key).name for key, _ in target.known()}
    if run := target.state.run:
        known |= {paths.sealed_value(run.id, secret, which).name for secret in run.secrets for which in ("old", "new")}
    problems += [f"{path} is foreign" for path in sorted(paths.sealed.iterdir()) if path.name not in known]
    return verdict(problems, "the seals are bound to " + ", ".join(sorted(BINDINGS.get(key, key) for key in bound)))
