"""Audit trails: records that are signed and chained, so that no one without the key, and no one at all once a head is
kept elsewhere, can change, remove or reorder them unseen.

A record is one line of JSON in canonical form (ASCII, sorted keys, no spaces): seq (1, 2, ...), time, event and its
details, previous, which is the SHA-256 (hex) of the line before ("" in the first), and mac, the HMAC-SHA256 (hex) of
all the rest. So a record also vouches for those before it, whichever key signed them. Keys only move forward: one that
another replaced signs nothing new, unless the trail says that this was undone.

The stack's own trail tells which bundles were adopted: run, operator, service, bundle, versions by secret, and outcome,
which is `adopted`, `refused` (the service did not become ready and kept what it had) or `recovered` (adopted by an
earlier run that did not come to record it); `key` is the version of deployment-audit-key that signed it. The
app writes a trail of the same form, without `key`.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from .. import compose_file
from ..catalogue import HOST, Catalogue
from ..engines import compose, swarm
from ..engines.base import Container
from ..errors import CoffreError
from ..host import bundles, files, raft, state
from ..paths import StackPaths

KEY = "deployment-audit-key"
LONGEST = 1 << 20  # bytes that a record may have
NAME = re.compile(r"[!-~]{1,100}")
FORMS = {"mac": re.compile(r"[0-9a-f]{64}"), "previous": re.compile(r"([0-9a-f]{64})?"), "key": NAME}
KEPT = re.compile(r"([1-9][0-9]{0,17}) ([0-9a-f]{64})( .*)?")


@dataclass(frozen=True)
class Author:
    """Which run records something, and for whom; CoffreError for a name with blanks, or longer than 100 characters."""

    name: str
    operator: str

    def __post_init__(self) -> None:
        for what, text in (("run", self.name), ("operator", self.operator)):
            if not NAME.fullmatch(text):
                raise CoffreError(
                    f"stack_{what} is {text[:100]!r}; nothing was changed: give 1 to 100 printable ASCII characters "
                    "without blanks."
                )


@dataclass(frozen=True)
class Head:
    """The last record of a trail. Kept elsewhere, it proves later that nothing up to it was changed or cut off."""

    seq: int
    digest: str
    time: str
    by: str

    def __str__(self) -> str:
        return f"{self.seq} {self.digest} {self.time} {self.by}"


@dataclass(frozen=True)
class Trail:
    """A trail that a service writes into a volume and signs with a secret of its own; `heads` were kept of it."""

    name: str
    volume: str
    file: str
    secret: str
    heads: Sequence[str] = ()

    def here(self, stack: str) -> bool:
        """Whether this host has its volume."""
        command = ["docker", "volume", "ls", "--quiet", "--filter", f"name=^{stack}_{self.volume}$"]
        return bool(compose.call(command).strip())

    def path(self, stack: str) -> Path:
        """Where it lies on this host. Raises CoffreError if the engine does not tell."""
        command = ["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", f"{stack}_{self.volume}"]
        return Path(compose.call(command).strip()) / self.file

    def of(self, paths: StackPaths, container: Container) -> Iterable[bytes]:
        """The lines that a container of the service writes; of one elsewhere the last ones. Raises CoffreError."""
        if not container.elsewhere:
            return existing(self.path(paths.stack))
        return swarm.end_of(paths, container, self.volume, self.file).splitlines(keepends=True)


def trails(file: compose_file.File, heads: Mapping[str, Sequence[str]]) -> list[Trail]:
    """The trails that services say that they sign; `heads` were kept, by service."""
    return [
        Trail(name, entry.audit["volume"], entry.audit["file"], entry.audit["secret"], heads.get(name, ()))
        for name, entry in file.services.items()
        if entry.audit
    ]


def trail_of(catalogue: Catalogue, service: str, secret: str) -> Trail | None:
    """The trail that a service signs with a secret, if it does."""
    return next((each for each in trails(catalogue.file, {}) if (each.name, each.secret) == (service, secret)), None)


@dataclass(frozen=True)
class Verified:
    """What a trail proves: its head, None if it is empty; how many kept heads it has; the bytes of a record that a
    crash cut short; and the versions of the key that are not held, whose records a later one vouches for.
    """

    head: Head | None
    kept: int
    torn: int
    unheld: Sequence[str]


def adopted(paths: StackPaths, st: state.State, run: Author, new: Collection[str] = ()) -> bool:
    """Record every service whose current bundle has no record yet. True if something was written.

    `new` are the services that this run let adopt; the others did so in one that ended too early. Also mends a trail
    whose last write was cut short. Without deployment-audit-key in the host's bundle there is no trail. The caller
    holds the stack's lock. Raises CoffreError.
    """
    if not keyed(st):
        return False
    lines, torn = _trail(paths)
    current = {service: entry.current for service, entry in sorted(st.services.items()) if entry.current}
    recorded = _recorded(lines, current)
    missing = [
        (service, bundle, "adopted" if service in new else "recovered")
        for service, bundle in current.items()
        if recorded.get(service) != bundle
    ]
    if missing or torn:
        _append(paths, st, run, lines, torn, [_adoption(st, *each) for each in missing])
    return bool(missing or torn)


def refused(paths: StackPaths, st: state.State, run: Author, service: str, bundle: str) -> None:
    """Record that a service did not become ready with a bundle. As `adopted` otherwise."""
    if keyed(st):
        _append(paths, st, run, *_trail(paths), [_adoption(st, service, bundle, "refused")])


def happened(paths: StackPaths, st: state.State, run: Author, events: Sequence[Mapping[str, Any]]) -> None:
    """Record events that are no adoption, each with its `event` and details. As `adopted` otherwise."""
    if events and keyed(st):
        _append(paths, st, run, *_trail(paths), events)


def _adoption(st: state.State, service: str, bundle: str, outcome: str) -> dict[str, Any]:
    return {
        "event": "adoption",
        "service": service,
        "bundle": bundle,
        "versions": st.services[service].bundles[bundle].versions,
        "outcome": outcome,
    }


def rotations(paths: StackPaths) -> dict[str, float]:
    """When each secret was last rotated, in s since 1970, as far as there are records of it. Raises CoffreError."""
    return {
        str(record["secret"]): datetime.fromisoformat(record["time"]).timestamp()
        for record in rotating(paths)
        if record.get("outcome") == "rotated" and record["old"] != record["new"]
    }


def rotating(paths: StackPaths) -> Iterator[dict[str, Any]]:
    """Every record of an act of a rotation, in order. Raises CoffreError."""
    for line in _trail(paths)[0]:
        if (record := _parse(line)) and record.get("event") == "rotation":
            yield record


def rotation_known(paths: StackPaths, run: str) -> bool:
    """Whether there are records of a rotation of this name. Raises CoffreError."""
    lines = [line for line in _trail(paths)[0] if run.encode() in line]
    records = [record for line in lines if (record := _parse(line))]
    return any(record.get("event") == "rotation" and record.get("run") == run for record in records)


def keyed(st: state.State) -> bool:
    """Whether the host has the key that a trail needs."""
    entry = st.services.get(HOST, state.ServiceState())
    return entry.current is not None and KEY in entry.bundles[entry.current].versions


def lines(paths: StackPaths) -> list[bytes]:
    """The whole lines of the stack's own trail. Raises CoffreError."""
    return _trail(paths)[0]


def go_on(paths: StackPaths, lines: Sequence[bytes], acts: bool) -> None:
    """Let this manager of a swarm have a trail that began elsewhere; who acts lets all managers go on with its end.

    The caller holds the lock, if it acts. Raises CoffreError where there is another trail already.
    """
    own = _read(paths.audit)[0]
    if own != lines[: len(own)]:
        raise CoffreError(
            f"The audit trail {paths.audit} of this manager is not the beginning of the one that is to go on here; "
            "nothing was changed: move it away to where it is kept, and run again."
        )
    if acts:
        raft.keep_trail(paths, lines)
    state.make_folder(paths)
    try:
        _write(paths.audit, sum(map(len, own)), b"".join(lines[len(own) :]))
    except OSError as error:
        raise _unwritable(paths.audit, error) from None


def head(paths: StackPaths) -> str:
    """The last record of the stack's trail, as a line to keep elsewhere; "" without one."""
    lines, _ = _trail(paths)
    return next((str(_head(record, line)) for line in reversed(lines) if (record := _parse(line))), "")


def examine(paths: StackPaths, heads: Sequence[str], services: Iterable[Trail], acts: bool = True) -> dict[str, Any]:
    """Check the stack's trail and its services'. Returns {trails: [{service, head, said}], warnings}.

    A node of a swarm that does not act has its services' alone, and of their keys those that their tasks there mount.
    Raises CoffreError with everything that is wrong.
    """
    st = state.load(paths) if acts else state.State(paths.stack)
    trails, warnings, problems = [], [], []

    def check(service: str, where: Callable[[], Path], owner: str, secret: str, kept: Sequence[str]) -> None:
        try:
            path = where()
            keys = bundles.versions(paths, st, owner, secret) if acts else _mounted(paths, owner)
            if not acts and not keys:
                warnings.append(f"{path} was not checked: no task of {service} runs here, which would have its key.")
                return
            told = _in_force(paths, service, secret) if service and acts else []
            signers = Instances(keys, told) if service else Successors()
            lines = _trail(paths)[0] if paths.on_swarm and not service else None
            found = verify(path, keys, kept, signers, lines)
        except CoffreError as error:
            problems.append(str(error))
            return
        records = found.head.seq if found.head else 0
        said = f"{path}: {records} records in order, {found.kept} kept heads among them."
        trails.append({"service": service, "head": str(found.head or ""), "said": said})
        if not found.kept:
            warnings.append(
                f"No head of {path} was kept here before, so that nobody knows whether its end was cut off."
            )
        if found.torn:
            warnings.append(
                f"{path} ends with {found.torn} bytes of a record that a crash cut short; the next one mends it."
            )
        if found.unheld:
            versions = ", ".join(version or "unknown" for version in found.unheld)
            warnings.append(
                f"This host does not hold these versions of {secret}, and records of {path} that they signed are "
                f"vouched for by later records only: {versions}."
            )

    if acts:
        check("", lambda: paths.audit, HOST, KEY, heads)
    for each in services:
        current = st.services.get(each.name, state.ServiceState()).current
        if each.here(paths.stack) if paths.on_swarm else each.heads or current:
            check(each.name, functools.partial(each.path, paths.stack), each.name, each.secret, each.heads)
    if problems:
        raise CoffreError(
            " ".join(problems) + " This check changes nothing: keep the trail and the heads as they are, and find out "
            "who touched it. If it was you (a backup put back, a host set up anew), move both away to begin a new one."
        )
    return {"trails": trails, "warnings": warnings}


def _mounted(paths: StackPaths, service: str) -> dict[str, bytes]:
    """By object, what the tasks of a service mount on this node of a swarm. Raises CoffreError."""
    labels = (f"{swarm.NAMESPACE}={paths.stack}", f"{swarm.SERVICE}={paths.stack}_{service}")
    filters = [word for label in labels for word in ("--filter", f"label={label}")]
    ids = compose.call(["docker", "ps", "--quiet", "--no-trunc", *filters]).split()
    found = json.loads(compose.call(["docker", "container", "inspect", *ids])) if ids else []
    return {id: value for each in found for id, value in swarm.mounted(each).items()}


class Signers(Protocol):
    """Which key may sign the next record of a trail."""

    def admit(self, record: Mapping[str, Any], version: str) -> bool:
        """Take in a record that this version of the key signed; False if another one had replaced it."""


class Successors:
    """Of the stack's own trail: each record may be signed with the version before, or one that never signed before.

    An earlier one may sign again where the version that replaced it has recorded that this was undone.
    """

    def __init__(self) -> None:
        self.now, self.replaced, self.undone = "", set[str](), ""

    def admit(self, record: Mapping[str, Any], version: str) -> bool:
        if version != self.now:
            if version in self.replaced and version != self.undone:
                return False
            self.replaced.add(self.now)
            self.replaced.discard(version)
            self.now, self.undone = version, ""
        if _turned_back(record, KEY) and record.get("new") == version:
            self.undone = str(record.get("old"))
        return True


class Instances:
    """Of a service's trail, to which its instances write side by side: each signs with one key, and none begins with a
    key that was replaced before another began, by what the stack's trail tells of the versions in force.
    """

    def __init__(self, keys: Mapping[str, bytes], in_force: Sequence[str]) -> None:
        self.keys = keys
        self.ahead = [self._key(version) for version in in_force]
        self.told, self.passed = bool(in_force), set[bytes]()
        self.began: dict[str, bytes] = {}

    def _key(self, version: str) -> bytes:
        return self.keys.get(version, version.encode())  # a vault may call one key by two names

    def admit(self, record: Mapping[str, Any], version: str) -> bool:
        key, instance = self._key(version), str(record.get("instance"))
        if instance in self.began:
            return self.began[instance] == key
        before = list(self.began.values())
        self.began[instance] = key
        if key in self.ahead:
            at = self.ahead.index(key)
            self.passed.update(self.ahead[:at])
            del self.ahead[:at]
            return True
        # Not recorded yet, if it is new; and without a trail of the stack's nobody knows what was undone.
        return not self.told or (key not in self.passed and key not in before[:-1]) or before[-1:] == [key]


def _turned_back(record: Mapping[str, Any], secret: str) -> bool:
    return (record.get("event"), record.get("secret"), record.get("direction")) == ("rotation", secret, "back")


def _in_force(paths: StackPaths, service: str, secret: str) -> list[str]:
    """The versions of a secret that a service had or was to have, in order, as far as the stack's trail tells."""
    told: list[str] = []
    adopted = ""
    for record in filter(None, map(_parse, _trail(paths)[0])):
        if record.get("event") == "adoption" and record.get("service") == service:
            version = str((record.get("versions") or {}).get(secret, ""))
            told += [version, adopted] if record.get("outcome") == "refused" else [version]
            adopted = adopted if record.get("outcome") == "refused" else version
        elif _turned_back(record, secret):
            told += [str(record.get("new")), str(record.get("old"))]
    return [version for version in told if version]


def verify(
    path: Path,
    keys: Mapping[str, bytes],
    kept: Iterable[str] = (),
    signers: Signers | None = None,
    lines: Iterable[bytes] | None = None,
) -> Verified:
    """Check every record of a trail, and that it has each kept head (lines as of `str(Head)`).

    `keys` are the keys by version; `signers` says which of them may sign next, any if it is not given; `lines` are the
    trail's where its file is not all of it. Raises
    CoffreError, which names the first record that is wrong. Records that are cut off at the end go unnoticed where no
    kept head is among them.
    """
    heads = _parse_kept(kept)
    last = Head(0, "", "", "")
    torn = 0
    unheld: set[str] = set()
    doubtful: list[tuple[int, str]] = []  # (record, version of the key) that no later record vouches for yet
    for number, line in enumerate(existing(path) if lines is None else lines, start=1):
        record = _parse(line)
        if record is None and not line.endswith(b"\n") and len(line) < LONGEST:
            torn = len(line)
            break
        if record is None:
            raise CoffreError(f"Line {number} of the audit trail {path} is no record.")
        signed, version = _signed(record, keys)
        if signed is False:
            raise CoffreError(f"Record {number} of the audit trail {path} was changed.")
        if record["seq"] != number or record["previous"] != last.digest:
            raise CoffreError(
                f"Record {number} of the audit trail {path} does not follow the one before it: "
                "one of them was changed or moved, or others between them were removed."
            )
        if signers and version and not signers.admit(record, version):
            raise CoffreError(
                f"Record {number} of the audit trail {path} is signed with version {version} of its key, which another "
                "one had replaced."
            )
        last = _head(record, line)
        if heads.get(number, last.digest) != last.digest:
            raise CoffreError(f"Record {number} of the audit trail {path} is not the one whose head was kept.")
        if not signed:
            doubtful.append((number, record.get("key", "")))
        if signed or number in heads:
            unheld.update(version for _, version in doubtful)
            doubtful.clear()
    if max(heads, default=0) > last.seq:
        raise CoffreError(f"The audit trail {path} ends at record {last.seq}, before the kept head {max(heads)}.")
    if doubtful:
        number, version = doubtful[0]
        raise CoffreError(
            f"Record {number} of the audit trail {path} was changed, or signed with "
            f"{f'version {version} of its key' if version else 'a key'} that this host does not hold, "
            "and nothing vouches for it."
        )
    return Verified(last if last.seq else None, len(heads), torn, sorted(unheld))


def signed_last(lines: Iterable[bytes], key: bytes, field: str, value: str) -> bool | None:
    """Whether a key signed the last record of a trail that has this value in a field; None if there is no such record.

    Raises CoffreError if the trail cannot be read.
    """
    records = [record for line in lines if (record := _parse(line)) and record.get(field) == value]
    return hmac.compare_digest(records[-1]["mac"], _mac(key, records[-1])) if records else None


def existing(path: Path) -> Iterator[bytes]:
    """The lines of a trail's file. Raises CoffreError where it cannot be read."""
    try:
        yield from _lines(path)
    except OSError as error:
        reason = error.strerror or "it is no regular file of a single name"
        raise CoffreError(f"The audit trail {path} cannot be read: {reason}.") from None


def _parse_kept(lines: Iterable[str]) -> dict[int, str]:
    """The digests of kept heads, by record."""
    heads: dict[int, str] = {}
    for line in filter(None, map(str.strip, lines)):
        if not (found := KEPT.fullmatch(line)):
            raise CoffreError(
                f"The kept head {line[:80]!r} is not '<record> <SHA-256> <time> <run>'; nothing was checked."
            )
        seq, digest = int(found[1]), found[2]
        if heads.setdefault(seq, digest) != digest:
            raise CoffreError(
                f"The kept heads have two for record {seq}, so they are of two trails; nothing was checked: "
                "if the host was set up anew, move those of its former trail away."
            )
    return heads


def _signed(record: Mapping[str, Any], keys: Mapping[str, bytes]) -> tuple[bool | None, str]:
    """(whether a key signed the record, None if none that is held says so, while another one may have; the version of
    that key, "" if it is unknown)."""
    named = record.get("key", "")
    candidates = {named: keys[named]} if named in keys else {} if "key" in record else keys
    signed = [version for version, key in candidates.items() if hmac.compare_digest(record["mac"], _mac(key, record))]
    return (True, signed[-1]) if signed else (False if named in keys else None, named)


def _read(path: Path) -> tuple[list[bytes], int]:
    """(the whole lines, the bytes of a torn one) of a trail that may not be there yet. Raises CoffreError."""
    try:
        lines = list(_lines(path))
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise _unwritable(path, error) from None
    torn = lines.pop() if lines and not lines[-1].endswith(b"\n") and len(lines[-1]) < LONGEST else b""
    return lines, len(torn)


def _trail(paths: StackPaths) -> tuple[list[bytes], int]:
    """As `_read` of the stack's own trail; on a swarm with what this manager lacks of it, which the others have.

    Raises CoffreError where those records do not follow its own.
    """
    lines, torn = _read(paths.audit)
    if not paths.on_swarm:
        return lines, torn
    kept = raft.trail(paths)
    first = int((_parse(kept[0]) or {"seq": 0})["seq"]) if kept else len(lines) + 1
    begun = lines[first - 1 :] if first else []
    if not 1 <= first <= len(lines) + 1 or begun != kept[: len(begun)]:
        raise CoffreError(
            f"The audit trail {paths.audit} of this manager is not the beginning of the one that the managers keep "
            "between them; nothing was changed: copy the file from the manager that acted last, and run again."
        )
    return lines + kept[len(begun) :], 0


def follow(paths: StackPaths, check: bool) -> int:
    """Append to this manager's file the records that it lacks of the managers' trail; how many. Raises CoffreError."""
    own, torn = _read(paths.audit)
    lacking = _trail(paths)[0][len(own) :]
    if (lacking or torn) and not check:
        state.make_folder(paths)
        try:
            _write(paths.audit, sum(map(len, own)), b"".join(lacking))
        except OSError as error:
            raise _unwritable(paths.audit, error) from None
    return len(lacking)


def _recorded(lines: Sequence[bytes], services: Collection[str]) -> dict[str, str]:
    """The bundles that services adopted last, as far as there are records of it."""
    found: dict[str, str] = {}
    for line in reversed(lines):
        if len(found) == len(services):
            break
        record = _parse(line) or {}
        service = str(record.get("service"))
        adopted = record.get("event") == "adoption" and record.get("outcome") in ("adopted", "recovered")
        if adopted and service in services:
            found.setdefault(service, str(record.get("bundle")))
    return found


def _append(
    paths: StackPaths,
    st: state.State,
    run: Author,
    lines: Sequence[bytes],
    torn: int,
    events: Sequence[Mapping[str, Any]],
) -> None:
    """Write a record per event, and one of the mending if a torn record has to go.

    A damaged line is left and counts, so that it stops no deployment; `verify` tells it for good.
    """
    host = st.services[HOST]
    assert host.current
    version = host.bundles[host.current].versions[KEY]
    key = bundles.value(paths, st, HOST, KEY, host.current)
    repaired = [{"event": "audit-repaired", "torn_bytes": torn}] if torn else []
    text, digest = b"", hashlib.sha256(lines[-1]).hexdigest() if lines else ""
    for number, event in enumerate([*repaired, *events], start=len(lines) + 1):
        record = {
            **event,
            "seq": number,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": run.name,
            "operator": run.operator,
            "key": version,
            "previous": digest,
        }
        line = _canonical(record | {"mac": _mac(key, record)}) + b"\n"
        digest = hashlib.sha256(line).hexdigest()
        text += line
    own = lines
    if paths.on_swarm:  # the managers' comes first: what this one alone has would be nobody's when it is lost
        raft.keep_trail(paths, [*lines, *text.splitlines(keepends=True)])
        own = _read(paths.audit)[0]
    try:
        _write(paths.audit, sum(map(len, own)), b"".join(lines[len(own) :]) + text)
    except OSError as error:
        raise _unwritable(paths.audit, error) from None


def _write(path: Path, size: int, text: bytes) -> None:
    """Append durably after `size` bytes, all of it or nothing."""
    first = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(handle, size)
        try:
            if os.write(handle, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
    if first:
        files.sync(path.parent)


def _unwritable(path: Path, error: OSError) -> CoffreError:
    return CoffreError(
        f"The audit trail {path} cannot be continued ({error.strerror or 'no regular file of a single name'}). "
        "What was adopted stays so: mend the cause, then run playbooks/site.yml, which records it."
    )


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines, or what is left of one at the end. Raises OSError if it is no regular file of a single name."""
    with files.opened(path) as (_, stream):
        while line := stream.readline(LONGEST):
            yield line


def _parse(line: bytes) -> dict[str, Any] | None:
    """A record, or None if the line is not exactly one."""
    try:
        record = json.loads(line)
        whole = line == _canonical(record) + b"\n"
    except (ValueError, RecursionError):
        return None
    if not whole or not isinstance(record, dict) or type(record.get("seq")) is not int:
        return None
    texts = {name: record.get(name, "-" if name == "key" else None) for name in FORMS}
    return (
        record if all(isinstance(text, str) and FORMS[name].fullmatch(text) for name, text in texts.items()) else None
    )


def _canonical(record: Any) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _mac(key: bytes, record: Mapping[str, Any]) -> str:
    signed = {name: value for name, value in record.items() if name != "mac"}
    return hmac.new(key, _canonical(signed), hashlib.sha256).hexdigest()


def _head(record: Mapping[str, Any], line: bytes) -> Head:
    # A broken app may write what it likes into its trail; it must not become lines of the controller's file.
    time, by = (
        text if isinstance(text, str) and NAME.fullmatch(text) else "-"
        for text in (record.get("time"), record.get("run", record.get("instance")))
    )
    return Head(record["seq"], hashlib.sha256(line).hexdigest(), time, by)
