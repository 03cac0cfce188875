"""The state of a stack: which bundle and which versions each service has. No values.

One JSON file per stack, written atomically; the modules that change it hold its lock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import CoffreError
from ..paths import StackPaths
from . import files, raft, tasks

FORMAT = 1
# The acts of a rotation, on the way forward and on the way back, in their order.
FORWARD = ("made", "taught", "proved", "published", "introduced", "adopted", "confirmed", "withdrawn", "refused")
BACK = ("published", "adopted", "withdrawn", "proved", "confirmed", "refused")


@dataclass
class Previous:
    """A version that a key ring still accepts, until `retires`; None keeps it for good."""

    version: str
    created: str
    retires: str | None = None


@dataclass
class Version:
    """The version of a secret that is to be in force; attributes are not secret.

    `ring` holds the versions before it that are still accepted, newest first; only a key ring has any.
    """

    version: str
    created: str
    attributes: dict[str, str] = field(default_factory=dict)
    expires: str | None = None
    ring: list[Previous] = field(default_factory=list)


@dataclass
class Bundle:
    """One immutable set of files; `files` maps each file's name to the secrets inside.

    `dates` has when the version of each secret was made, where that was noted: what state says of a secret is of
    another version once a rollout refused that one.
    """

    files: dict[str, list[str]]
    versions: dict[str, str]
    created: str
    uid: int
    gid: int
    reload: bool = False  # the service sees its whole directory, and `current` names the bundle
    dates: dict[str, str] = field(default_factory=dict)


@dataclass
class ServiceState:
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
class Change:
    """One secret of a rotation.

    `step` is the act that was last begun on the way forward, `undo` on the way back; each is recorded before it
    acts, so a crash may have come before, in or after it. "" is none.
    """

    strategy: str
    old: Version
    new: Version
    step: str = ""
    undo: str = ""

    def reached(self, act: str) -> bool:
        """Whether an act of the way forward has begun, or a later one."""
        return bool(self.step) and FORWARD.index(self.step) >= FORWARD.index(act)


@dataclass
class Run:
    """The rotation under way. Its values lie sealed by themselves until it is closed.

    `id` names it for good; `holder` is the play that drives it, and no other may, until `lease_until` is over, which is
    `lease` seconds after its last sign of life, and another takes it over. `direction` is forward or back. `exposed`
    are the services of which a container may have had the new values.
    """

    id: str
    holder: str
    operator: str
    started: str
    lease_until: str
    secrets: dict[str, Change]
    direction: str = "forward"
    exposed: list[str] = field(default_factory=list)
    lease: float = 120.0

    def renew(self) -> None:
        self.lease_until = now(self.lease)

    @property
    def leased(self) -> bool:
        """Whether the lease lasts. One that ends later than any can was taken by a clock that was ahead."""
        return now() < self.lease_until <= now(2 * self.lease)


@dataclass
class State:
    stack: str
    secrets: dict[str, Version] = field(default_factory=dict)
    services: dict[str, ServiceState] = field(default_factory=dict)
    run: Run | None = None
    # What the last reading of a Key Vault saw: {url, pages, seen: {secret: {name, version, updated, read}}}, times in s
    vault: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def now(later: float = 0.0) -> str:
    """The time in UTC, `later` seconds from now, to the second, as ISO 8601."""
    return moment(time.time() + later)


def moment(seconds: float) -> str:
    """A time in s since 1970 in the same form, whose order as text is that in time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def make_folder(paths: StackPaths) -> None:
    """Have the stack's folder, which nobody but root sees into, nor into the one above."""
    for directory in (paths.lib_root, paths.lib):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def locked(paths: StackPaths, seconds: float = 60.0) -> Iterator[None]:
    """Hold the stack's lock; makes the stack's folder. Raises CoffreError if others keep it too long."""
    make_folder(paths)
    with ExitStack() as held:
        try:
            if not paths.on_swarm:
                held.enter_context(files.locked(paths.lock, seconds))
            elif held.enter_context(raft.locked(paths, seconds)):
                tasks.oust(paths.stack)  # those of who held it, on whose host nobody may act for long
        except TimeoutError:
            raise CoffreError(
                f"Another run has been working on stack {paths.stack} for more than {seconds:.0f} s; "
                "nothing was changed: wait for it to end, then run again."
            ) from None
        yield


def hold(paths: StackPaths) -> None:
    """See that what follows is still this process's to do, before it is done elsewhere than in the state.

    A lock of this host lasts as long as its process. The caller holds it. Raises CoffreError.
    """
    if paths.on_swarm:
        raft.hold(paths)


def begun(paths: StackPaths) -> bool:
    """Whether there is anything of a stack to hold a lock of; a check makes nothing where there is not."""
    return raft.look(paths) is not None if paths.on_swarm else paths.lib.exists()


def load(paths: StackPaths) -> State:
    """Read the state, empty where there is none.

    Raises CoffreError if it is unreadable, of another format, or lost while sealed copies are there.
    """
    text = _text(paths)
    if text is None:
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
            secrets={name: _secret(entry) for name, entry in data["secrets"].items()},
            services={
                name: ServiceState(
                    entry["current"],
                    entry["next"],
                    {bundle: Bundle(**content) for bundle, content in entry["bundles"].items()},
                )
                for name, entry in data["services"].items()
            },
            run=_run(data["run"]) if data["run"] else None,
            vault=data.get("vault", {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CoffreError(
            f"{paths.state} cannot be understood; nothing was changed: put it back from a backup of {paths.lib_root}."
        ) from None


def _text(paths: StackPaths) -> bytes | None:
    """The state as it was written, None where none was. Raises CoffreError for one that is lost."""
    if paths.on_swarm:
        return raft.read(paths)
    try:
        return paths.state.read_bytes()
    except FileNotFoundError:
        if any(paths.sealed.glob("*.cred")):
            raise CoffreError(
                f"{paths.state} is missing while sealed bundles are there; nothing was changed: put it back from a "
                f"backup, or remove {paths.sealed} to begin anew, with new demo secrets."
            ) from None
        return None


def admit(state: State, holder: str = "") -> None:
    """Let only its holder act on a stack while a rotation is open. Raises CoffreError for any other play."""
    if (run := state.run) and run.holder != holder:
        raise CoffreError(
            f"The rotation of {', '.join(run.secrets)} by {run.operator} is open since {run.started}; nothing was "
            "changed: run playbooks/rotate.yml or site.yml, which finishes or undoes it."
        )


def require_holder(state: State, holder: str) -> Run:
    """The open run, if this play drives it; asked under the lock. Raises CoffreError if it is no longer so."""
    if state.run is None or state.run.holder != holder:
        raise CoffreError(
            f"Another play has taken over the rotation on stack {state.stack} that this one was driving; it stops here "
            "and leaves everything to the other."
        )
    return state.run


def _secret(entry: dict[str, Any]) -> Version:
    return Version(**{**entry, "ring": [Previous(**each) for each in entry.get("ring", [])]})


def _run(entry: dict[str, Any]) -> Run:
    changes = {
        name: Change(**{**each, "old": _secret(each["old"]), "new": _secret(each["new"])})
        for name, each in entry["secrets"].items()
    }
    # A state of before may call `exposed` handed.
    named = {{"handed": "exposed"}.get(key, key): value for key, value in entry.items()}
    return Run(**{**named, "secrets": changes})


def save(paths: StackPaths, state: State) -> None:
    """Write the state durably: a crash leaves the old one or the new one."""
    if paths.on_swarm:
        raft.write(paths, json.dumps(asdict(state), sort_keys=True).encode())
        return
    files.write(paths.state, _written(state), 0o600)


def _written(state: State) -> bytes:
    return (json.dumps(asdict(state), indent=1, sort_keys=True) + "\n").encode()


def export(paths: StackPaths, check: bool) -> bool:
    """Write what the managers of a swarm have as state to this one's disk, where nothing reads it; whether it differs.

    It tells whoever lost all managers which versions there were. Raises CoffreError.
    """
    if not begun(paths):
        return False
    text = _written(load(paths))
    if paths.state.exists() and paths.state.read_bytes() == text:
        return False
    if not check:
        make_folder(paths)
        files.write(paths.state, text, 0o600)
    return True
