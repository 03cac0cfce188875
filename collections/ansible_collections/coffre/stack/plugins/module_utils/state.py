"""The state of a stack: which bundle and which versions each service has. No values.

One JSON file per stack, written atomically; the modules that change it hold its lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from . import files
from .errors import CoffreError
from .paths import StackPaths

FORMAT = 1


@dataclass
class Secret:
    """The version of a secret that is to be in force; attributes are not secret."""

    version: str
    created: str
    attributes: dict[str, str] = field(default_factory=dict)
    expires: str | None = None


@dataclass
class Bundle:
    """One immutable set of files; `files` maps each file's name to the secrets inside."""

    files: dict[str, list[str]]
    versions: dict[str, str]
    created: str
    uid: int
    gid: int
    reload: bool = False  # the service sees its whole directory, and `current` names the bundle


@dataclass
class Service:
    """`current` is what the containers have adopted, `next` what a rollout is to adopt.

    `bundles` also holds those that a leaving container may still mount, until they are collected.
    """

    current: str | None = None
    next: str | None = None
    bundles: dict[str, Bundle] = field(default_factory=dict)

    @property
    def staged(self) -> str | None:
        """The bundle that is in force once the rollout is done."""
        return self.next or self.current

    @property
    def named(self) -> list[str]:
        return [bundle for bundle in (self.current, self.next) if bundle]


@dataclass
class State:
    stack: str
    secrets: dict[str, Secret] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    run: dict[str, Any] | None = None
    # What the last reading of a Key Vault saw: {url, pages, seen: {secret: {name, version, updated, read}}}, times in s
    vault: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return moment(time.time())


def moment(seconds: float) -> str:
    """A time in s since 1970 in the same form, whose order as text is that in time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@contextmanager
def locked(paths: StackPaths, seconds: float = 60.0) -> Iterator[None]:
    """Hold the stack's lock; makes the stack's folder. Raises CoffreError if others keep it too long."""
    for directory in (paths.lib_root, paths.lib):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise CoffreError(
                        f"Another run has been working on stack {paths.stack} for more than {seconds:.0f} s; "
                        "nothing was changed: wait for it to end, then run again."
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def load(paths: StackPaths) -> State:
    """Read the state, empty where there is none.

    Raises CoffreError if it is unreadable, of another format, or lost while sealed copies are there.
    """
    try:
        text = paths.state.read_bytes()
    except FileNotFoundError:
        if any(paths.sealed.glob("*.cred")):
            raise CoffreError(
                f"{paths.state} is missing while sealed bundles are there; nothing was changed: put it back from a "
                f"backup, or remove {paths.sealed} to begin anew, with new demo secrets."
            ) from None
        return State(paths.stack)
    try:
        data = json.loads(text)
        if data["format"] != FORMAT or data["stack"] != paths.stack:
            raise CoffreError(
                f"{paths.state} is not a state of format {FORMAT} of stack {paths.stack}; nothing was changed: "
                "put back the file that belongs there."
            )
        return State(
            stack=data["stack"],
            secrets={name: Secret(**entry) for name, entry in data["secrets"].items()},
            services={
                name: Service(
                    entry["current"],
                    entry["next"],
                    {bundle: Bundle(**content) for bundle, content in entry["bundles"].items()},
                )
                for name, entry in data["services"].items()
            },
            run=data["run"],
            vault=data.get("vault", {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CoffreError(
            f"{paths.state} cannot be understood; nothing was changed: put it back from a backup of {paths.lib_root}."
        ) from None


def save(paths: StackPaths, state: State) -> None:
    """Write the state durably: a crash leaves the old one or the new one."""
    files.write(paths.state, (json.dumps(asdict(state), indent=1, sort_keys=True) + "\n").encode(), 0o600)
