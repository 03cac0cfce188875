"""The values of a stack on a swarm: secret objects, which all managers have and no interface gives back.

An object is called STACK.VERSION, after the version of a secret, or STACK.BUNDLE.NUMBER, after a file of a bundle that
is composed; labels say whose it is, and nothing is derived from a value. To read some, a task on this host mounts them,
and they are read where the engine put them, in memory: it runs while a module needs it, and ends with the module. It is
also in each network of the stack, from where a module reaches the tasks on every node.
"""

from __future__ import annotations

import atexit
import base64
import ctypes
import io
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CoffreError, SealError
from ..paths import StackPaths
from . import api, raft, rings, state, tasks

IMAGE = "coffre/host:1"
CLONE_NEWNET = 0x40000000  # linux/sched.h; os.setns came with Python 3.12 only
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,30}[A-Za-z0-9])?")  # of a version or a file, behind the stack's

RUN, SECRET, WHICH = "coffre.run", "coffre.secret", "coffre.which"  # labels of the values of a rotation

# By stack, the values that this process has made or read.
_known: dict[str, dict[str, bytes]] = {}


@dataclass(frozen=True)
class Reader:
    """The task on this host that has values of a stack, by what they are called, and is in networks (ids)."""

    service: str
    pid: int
    mounted: frozenset[str]
    networks: frozenset[str]


_readers: dict[str, Reader] = {}
_leaving: dict[str, set[str]] = {}  # by stack, the ids of objects that are removed when their reader ends
_making = threading.RLock()  # threads that want values at once have one reader made
_here = threading.local()  # `stack`: the one in whose networks this thread is


def references(bundle: str, about: state.Bundle) -> dict[str, str]:
    """By file of a bundle, what its object is called behind the stack's name."""
    found = {}
    for number, (file, inside) in enumerate(sorted(about.files.items())):
        earlier = rings.version(file, inside[0]) if inside else None
        found[file] = about.versions[file] if inside == [file] else earlier or f"{bundle}.{number}"
    return found


def there(paths: StackPaths) -> dict[str, dict[str, Any]]:
    """The stack's objects as the managers have them: by what they are called behind the stack's name."""
    found = api.ask("GET", "/secrets", filters={"label": [f"{raft.STACK}={paths.stack}"]})
    mine = f"{paths.stack}."
    return {each["Spec"]["Name"].removeprefix(mine): each for each in found if each["Spec"]["Name"].startswith(mine)}


def keep(paths: StackPaths, values: Mapping[str, bytes], labels: Mapping[str, str] | None = None) -> None:
    """Make the objects that are not there yet. Raises SealError where the managers do not take one."""
    for called in sorted(set(values) - set(there(paths))):
        if not NAME.fullmatch(called):
            raise SealError(f"{called!r} cannot be the name of a Swarm secret, and it was not made.")
        spec = {
            "Name": f"{paths.stack}.{called}",
            "Labels": {raft.STACK: paths.stack, **(labels or {})},
            "Data": base64.b64encode(values[called]).decode("ascii"),
        }
        try:
            api.ask("POST", "/secrets/create", spec)
        except CoffreError as error:
            raise SealError(f"The Swarm secret {spec['Name']} could not be made: {error}") from None
    _known.setdefault(paths.stack, {}).update(values)


def forget(paths: StackPaths, wanted: Collection[str] | None, run: str | None) -> bool:
    """Remove the objects of all rotations but one, and all others that are not wanted, if that is given.

    Those that a service still mounts stay; those that the reader alone has go after it. Returns whether any went.
    Raises CoffreError where the lock was lost.
    """
    reading, leaving = _readers.get(paths.stack), {}
    for called, each in there(paths).items():
        of = each["Spec"]["Labels"].get(RUN)
        if of != run if of else wanted is not None and called not in wanted:
            leaving[called] = each["ID"]
    if leaving:  # what another run makes after this is none of them
        state.hold(paths)
    if reading:
        _leaving.setdefault(paths.stack, set()).update(leaving[called] for called in reading.mounted & set(leaving))
    return any([_remove(identity) for identity in leaving.values()])


def _remove(identity: str) -> bool:
    """Remove an object; False where it is mounted, by a service that is about to leave say."""
    with suppress(CoffreError):
        api.ask("DELETE", f"/secrets/{identity}")
        return True
    return False


def of_run(paths: StackPaths, run: str) -> dict[tuple[str, str], str]:
    """By secret and which of its two values, what the objects of a rotation are called."""
    found = {called: each["Spec"]["Labels"] for called, each in there(paths).items()}
    return {(each[SECRET], each[WHICH]): called for called, each in found.items() if each.get(RUN) == run}


def keep_of_run(paths: StackPaths, run: str, secret: str, which: str, value: bytes) -> None:
    """Make the object of a value of a rotation, by a name of its own. Raises SealError."""
    keep(paths, {secrets.token_hex(16): value}, {RUN: run, SECRET: secret, WHICH: which})


def value_of_run(paths: StackPaths, run: str, secret: str, which: str) -> bytes:
    """A value of a rotation. Raises SealError."""
    called = of_run(paths, run).get((secret, which))
    if called is None:
        raise SealError(f"The swarm has no {which} value of {secret} of the rotation {run}.")
    return values(paths, [called])[called]


def values(paths: StackPaths, wanted: Collection[str]) -> dict[str, bytes]:
    """Values, by what their objects are called. Raises SealError with those that are not there."""
    known = _known.setdefault(paths.stack, {})
    with _making:
        if unread := set(wanted) - set(known):
            known.update(_read(paths, unread))
    if lacking := sorted(set(wanted) - set(known)):
        raise SealError(f"The swarm has no secret {', '.join(f'{paths.stack}.{each}' for each in lacking)}.")
    return {called: known[called] for called in wanted}


def _read(paths: StackPaths, wanted: Collection[str]) -> dict[str, bytes]:
    """All values that the reader's task has, those that are wanted among them where the managers have them."""
    found = reader(paths, wanted)
    folder = Path(f"/proc/{found.pid}/root/run/secrets")
    try:
        return {called: (folder / called).read_bytes() for called in found.mounted}
    except OSError as error:
        raise SealError(
            f"The values of {paths.stack} cannot be read where the engine put them: {error.strerror}."
        ) from None


@contextmanager
def near(paths: StackPaths) -> Iterator[None]:
    """Have this thread, and what it starts, in the networks that the stack has by now. Raises CoffreError.

    The engine answers there as well, for its socket is a file. Names are not known there: ask addresses.
    """
    if getattr(_here, "stack", None) == paths.stack:
        yield
        return
    with entered(reader(paths).pid):
        _here.stack = paths.stack
        try:
            yield
        finally:
            _here.stack = None


@contextmanager
def entered(pid: int) -> Iterator[None]:
    """Have this thread, and what it starts, in the network of a process of this host. Raises OSError."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(pid)
        yield
    finally:
        _set_network(home)
        os.close(home)


def _enter(pid: int) -> None:
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        _set_network(namespace)
    finally:
        os.close(namespace)


def _set_network(namespace: int) -> None:
    """Let this thread alone be in a network namespace. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def reader(paths: StackPaths, wanted: Collection[str] = ()) -> Reader:
    """Have a task on this host with these values, as far as the managers have them, in all networks of the stack.

    One that lacks any of it is replaced. Raises CoffreError.
    """
    with _making:
        mounted, networks = there(paths), _networks(paths)
        now = _readers.get(paths.stack)
        if now and set(wanted) & set(mounted) <= now.mounted and networks <= now.networks and _lives(now):
            return now
        _image()
        if now:
            tasks.stop(now.service)
        else:
            atexit.register(dismiss, paths)
        task = tasks.start(paths.stack, "host", _template(mounted, networks))
        found = _readers[paths.stack] = Reader(task.service, task.pid, frozenset(mounted), networks)
    if getattr(_here, "stack", None) == paths.stack:  # where the one before was there is nothing any more
        _enter(found.pid)
    return found


def reads(paths: StackPaths) -> bool:
    """Whether there is a reader already."""
    now = _readers.get(paths.stack)
    return bool(now and _lives(now))


def _lives(now: Reader) -> bool:
    return Path(f"/proc/{now.pid}").exists()


def _networks(paths: StackPaths) -> frozenset[str]:
    """The ids of the networks that the stack's services are in."""
    services = api.ask("GET", "/services", filters={"label": [f"{tasks.NAMESPACE}={paths.stack}"]})
    return frozenset(
        network["Target"] for each in services for network in each["Spec"]["TaskTemplate"].get("Networks") or []
    )


def dismiss(paths: StackPaths) -> None:
    """End the reader, if it is there, and remove what it kept from being removed."""
    if now := _readers.pop(paths.stack, None):
        tasks.stop(now.service)
    for identity in _leaving.pop(paths.stack, set()):
        _remove(identity)


def _template(mounted: Mapping[str, Mapping[str, Any]], networks: Collection[str]) -> dict[str, Any]:
    """The reader as the engine's API takes it."""
    files = [
        {
            "SecretID": each["ID"],
            "SecretName": each["Spec"]["Name"],
            "File": {"Name": called, "UID": "0", "GID": "0", "Mode": 0o400},
        }
        for called, each in sorted(mounted.items())
    ]
    container = {
        "Image": IMAGE,
        "Command": [_sleep(), "infinity"],
        "User": "0:0",
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "StopGracePeriod": 0,
        "Secrets": files,
    }
    return {
        "ContainerSpec": container,
        "Networks": [{"Target": each} for each in sorted(networks)],
        "Resources": {"Limits": {"MemoryBytes": 32 << 20, "Pids": 8}},
    }


def _sleep() -> str:
    return shutil.which("sleep") or "/usr/bin/sleep"


def _image() -> None:
    """Have the reader's image, which is made of this host's own `sleep` and what that is linked with."""
    try:
        api.ask("GET", f"/images/{IMAGE}/json")
        return
    except CoffreError:
        pass
    linked = re.findall(
        r"(/\S+) \(0x", subprocess.run(["ldd", _sleep()], capture_output=True, text=True, check=True).stdout
    )
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in [_sleep(), *linked]:
            entry = tarfile.TarInfo(path.lstrip("/"))
            data = Path(path).read_bytes()
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    name, _, tag = IMAGE.partition(":")
    with api.engine("does not make the image of its values' reader") as client:
        client.import_image_from_data(content.getvalue(), repository=name, tag=tag)
