"""How a stack comes from one machine to a swarm: its state, its values by version and its audit trail.

The managers offer keys, the machine encrypts to each what it is to have, and Ansible carries that alone (membership).
Whoever acts makes the swarm's objects and state of it; the other managers get the trail. The machine keeps all it has.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..audit import trail as audit
from ..engines import compose
from ..errors import CoffreError
from ..host import bundles, objects, raft, state
from ..paths import StackPaths
from . import membership

ACTS, KEEPS = "stack", "trail"  # what an answer is good for: for who acts all of it, for the others the trail
PROJECT = "com.docker.compose.project"


def offer(paths: StackPaths, check: bool = False) -> str:
    """A public key of this manager; none in a check. Raises CoffreError where the swarm has such a stack already."""
    _admit(paths)
    return "" if check else membership.offer()


def _admit(paths: StackPaths) -> None:
    if raft.read(paths) is not None:
        raise CoffreError(
            f"The swarm has the stack {paths.stack} already, and nothing was changed: a stack moves to where there is "
            f"none. Where none of it is needed, teardown.yml with -e teardown_destroy={paths.stack} ends it for good."
        )


def answer(
    paths: StackPaths, offers: Mapping[str, Mapping[str, str]], run: audit.Author, check: bool
) -> dict[str, Any]:
    """To each {host: {key, role}} what it is to have of the stack of this machine, encrypted, and the stack's volumes.

    Changes nothing here, but for a record of it. Raises CoffreError, also while a rotation is open or the trail is not
    in order.
    """
    if not paths.state.exists():
        raise CoffreError(
            f"This machine has no stack {paths.stack}, and nothing was changed: the group move_from is to name the "
            "host that has it, with its stack_name where that is another one there."
        )
    with state.locked(paths):
        st = state.load(paths)
        state.admit(st)
        audit.examine(paths, (), ())
        held = {
            "state": asdict(_in_force(st)),
            "values": {called: base64.b64encode(value).decode() for called, value in _values(paths, st).items()},
        }
        if not check:
            audit.happened(paths, st, run, [{"event": "moved", "to": ", ".join(sorted(offers))}])
        told = {"trail": b"".join(audit.lines(paths)).decode()}
    parts = {ACTS: json.dumps(held | told), KEEPS: json.dumps(told)}
    return {
        "answers": {
            host: membership.encrypt(parts[each["role"]], each["key"], each["role"], host)
            for host, each in offers.items()
        },
        "volumes": _volumes(paths),
        "head": audit.head(paths),
    }


def _in_force(st: state.State) -> state.State:
    """Without the bundles that only a container that leaves may have."""
    for entry in st.services.values():
        entry.bundles = {name: entry.bundles[name] for name in entry.named}
    st.services = {service: entry for service, entry in st.services.items() if entry.bundles}
    return st


def _values(paths: StackPaths, st: state.State) -> dict[str, bytes]:
    """What the swarm's objects are to hold. Raises SealError for a sealed copy that does not open."""
    found: dict[str, bytes] = {}
    for service, entry in st.services.items():
        for name in entry.named:
            found |= bundles.called(name, entry.bundles[name], bundles.unseal(paths, service, name))
    return found


def _volumes(paths: StackPaths) -> dict[str, str]:
    """By name behind the stack's, where the volumes of a stack lie on this machine."""
    names = compose.call(["docker", "volume", "ls", "--quiet", "--filter", f"label={PROJECT}={paths.stack}"]).split()
    looks = ["docker", "volume", "inspect", "--format", "{{.Name}} {{.Mountpoint}}", *names]
    pairs = [line.split(" ", 1) for line in (compose.call(looks) if names else "").splitlines()]
    return {name.removeprefix(f"{paths.stack}_"): path for name, path in pairs if name.startswith(f"{paths.stack}_")}


def receive(paths: StackPaths, host: str, role: str, answered: str) -> None:
    """Let the swarm, or this manager of it, have what was encrypted to its offer. Raises CoffreError.

    The state comes last: without it nothing counts, and the play may be run again.
    """
    given = json.loads(membership.decrypt(answered, role, host))
    lines = given["trail"].encode().splitlines(keepends=True)
    if role != ACTS:
        audit.go_on(paths, lines, acts=False)
        return
    with state.locked(paths):
        _admit(paths)
        audit.go_on(paths, lines, acts=True)
        objects.keep(paths, {called: base64.b64decode(value) for called, value in given["values"].items()})
        raft.write(paths, json.dumps({**given["state"], "stack": paths.stack}, sort_keys=True).encode())
