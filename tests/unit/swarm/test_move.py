"""A stack comes to a swarm with its values, state and trail, or it is told why not and nothing has changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import (
    bundles,
    files,
    objects,
    raft,
    rings,
    state,
    tmpfs,
)
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.swarm import membership, move
from tests.unit.swarm.managers import Managers

RUN = audit.Author("run-1", "kim")
V = {letter: letter * 32 for letter in "abcde"}
KEY, RING, COMPOSED = audit.KEY, "session-key", "client.conf"
# Of the host: a ring whose earlier key it alone has; of the client: a composed file, and the value that is in it alone.
SEALED = {
    ("host", "0" * 12): bundles.Content({KEY: b"canary-new", rings.file(KEY, V["b"]): b"canary-old"}),
    ("client", "1" * 12): bundles.Content(
        {COMPOSED: b"password=canary-p\n", RING: b"canary-r"},
        {"password": b"canary-p", rings.file(RING, V["e"]): b"canary-earlier"},
    ),
}
VALUES = {
    V["a"]: b"canary-new",
    V["b"]: b"canary-old",
    f"{'1' * 12}.0": b"password=canary-p\n",
    V["c"]: b"canary-p",
    V["d"]: b"canary-r",
    V["e"]: b"canary-earlier",
}


def known() -> state.State:
    host = state.Bundle({KEY: [KEY], rings.file(KEY, V["b"]): [KEY]}, {KEY: V["a"]}, "", 0, 0)
    client = state.Bundle({COMPOSED: ["password"], RING: [RING]}, {"password": V["c"], RING: V["d"]}, "", 1, 1)
    return state.State(
        "old",
        {
            KEY: state.Version(V["a"], "then", ring=[state.Previous(V["b"], "before")]),
            "password": state.Version(V["c"], "then", {"role": "one"}),
            RING: state.Version(V["d"], "then", ring=[state.Previous(V["e"], "before")]),
        },
        {
            "host": state.ServiceState("0" * 12, None, {"0" * 12: host}),
            "client": state.ServiceState("1" * 12, None, {"1" * 12: client, "2" * 12: client}),
            "gone": state.ServiceState(None, None, {"3" * 12: client}),
        },
    )


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackPaths:
    """The stack on its machine, with a record in its trail, one bundle that a container leaves, and two volumes."""
    paths = StackPaths("old", tmp_path / "old-run", tmp_path / "old-lib")
    unseal: Callable[..., bundles.Content] = bundles.unseal

    def opened(of: StackPaths, service: str, name: str) -> bundles.Content:
        return unseal(of, service, name) if of.on_swarm else SEALED[service, name]

    def call(command: list[str]) -> str:
        return "old_data\nolder_data\n" if "ls" in command else "old_data /v/old data\nolder_data /v/older\n"

    monkeypatch.setattr(bundles, "unseal", opened)
    monkeypatch.setattr(compose, "call", call)
    with state.locked(paths):
        state.save(paths, known())
        audit.happened(paths, known(), RUN, [{"event": "rotation"}])
    return paths


@pytest.fixture(autouse=True)
def offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmpfs, "ensure", lambda _: False)
    monkeypatch.setattr(membership, "OFFERED", tmp_path / "offer")
    monkeypatch.setattr(membership.decrypt, "__defaults__", (tmp_path / "offer",))


def moved(old: StackPaths, new: StackPaths, role: str = move.ACTS) -> dict[str, Any]:
    """What the machine answered, once the manager `m` has received it."""
    key = move.offer(new)
    told = move.answer(old, {"m": {"key": key, "role": role}}, RUN, check=False)
    move.receive(new, "m", role, told["answers"]["m"])
    return told


def test_all_of_it_comes_to_the_swarm(old: StackPaths, paths: StackPaths, managers: Managers) -> None:
    before = old.state.read_bytes()
    told = moved(old, paths)
    assert {name.removeprefix("demo."): managers.value(name) for name in managers.names} == VALUES
    there, was = state.load(paths), known()
    assert (there.stack, there.secrets) == ("demo", was.secrets)
    assert {service: sorted(entry.bundles) for service, entry in there.services.items()} == {
        "host": ["0" * 12],
        "client": ["1" * 12],
    }
    assert bundles.versions(paths, there, "host", KEY) == {V["a"]: b"canary-new", V["b"]: b"canary-old"}
    assert bundles.value(paths, there, "client", "password") == b"canary-p"
    assert old.state.read_bytes() == before
    assert told["volumes"] == {"data": "/v/old data"}
    assert raft.LOCK not in raft.look(paths).labels  # type: ignore[union-attr]


def test_nothing_of_it_is_read_on_the_way(old: StackPaths, paths: StackPaths) -> None:
    told = json.dumps(moved(old, paths))
    sealed = base64.b64decode(json.loads(told)["answers"]["m"])
    for value in VALUES.values():
        assert value not in sealed and value.decode().strip() not in told
        assert base64.b64encode(value) not in sealed and base64.b64encode(value).decode() not in told


def test_the_trail_goes_on(old: StackPaths, paths: StackPaths) -> None:
    told = moved(old, paths)
    records = [json.loads(line) for line in old.audit.read_bytes().splitlines()]
    assert [(each["event"], each.get("to")) for each in records] == [("rotation", None), ("moved", "m")]
    assert paths.audit.read_bytes() == old.audit.read_bytes()
    assert audit.head(paths) == told["head"]
    with state.locked(paths):
        audit.happened(paths, state.load(paths), RUN, [{"event": "rotation"}])
    head = audit.verify(paths.audit, {V["a"]: b"canary-new"}, [told["head"]]).head
    assert head and head.seq == 3


def test_another_manager_gets_the_trail_alone(old: StackPaths, paths: StackPaths, managers: Managers) -> None:
    key = move.offer(paths)
    told = move.answer(old, {"m": {"key": key, "role": move.KEEPS}}, RUN, check=False)["answers"]["m"]
    assert json.loads(membership.decrypt(told, move.KEEPS, "m")) == {"trail": old.audit.read_text()}
    moved(old, paths, move.KEEPS)
    assert paths.audit.read_bytes() == old.audit.read_bytes()
    assert not managers.names and raft.look(paths) is None


def test_what_was_cut_short_is_done_again(
    old: StackPaths, paths: StackPaths, monkeypatch: pytest.MonkeyPatch, managers: Managers
) -> None:
    def ends(*_: object) -> None:
        raise CoffreError("cut")

    with monkeypatch.context() as patched:
        patched.setattr(raft, "write", ends)
        with pytest.raises(CoffreError, match="cut"):
            moved(old, paths)
    assert raft.read(paths) is None
    moved(old, paths)
    assert {name.removeprefix("demo.") for name in managers.names} == set(VALUES)
    assert paths.audit.read_bytes() == old.audit.read_bytes()
    assert len(raft.trail(paths)) == 3


def rotates(old: StackPaths, _: StackPaths) -> None:
    st = known()
    change = state.Change("replace", st.secrets["password"], st.secrets["password"])
    st.run = state.Run("r", "r", "kim", "then", state.now(60), {"password": change})
    state.save(old, st)


def without_state(old: StackPaths, _: StackPaths) -> None:
    old.state.unlink()


def falsified(old: StackPaths, _: StackPaths) -> None:
    files.write(old.audit, old.audit.read_bytes().replace(b"kim", b"tim"), 0o600)


def there_already(_: StackPaths, new: StackPaths) -> None:
    with state.locked(new):
        state.save(new, state.State("demo"))


def another_trail(_: StackPaths, new: StackPaths) -> None:
    state.make_folder(new)
    files.write(new.audit, b"{}\n", 0o600)


REFUSED = [
    (rotates, "rotation of password by kim is open"),
    (without_state, "has no stack old"),
    (falsified, "Record 1 of the audit trail .* was changed"),
    (there_already, "has the stack demo already"),
    (another_trail, "not the beginning of the one that is to go on here"),
]


@pytest.mark.parametrize(("plant", "sentence"), REFUSED, ids=[plant.__name__ for plant, _ in REFUSED])
def test_what_is_refused(
    plant: Callable[[StackPaths, StackPaths], None],
    sentence: str,
    old: StackPaths,
    paths: StackPaths,
    managers: Managers,
) -> None:
    plant(old, paths)
    before = raft.read(paths)
    with pytest.raises(CoffreError, match=sentence) as refused:
        moved(old, paths)
    assert "canary" not in str(refused.value)
    assert (raft.read(paths), managers.names) == (before, set())


def test_somebody_deploys_it_there_meanwhile(old: StackPaths, paths: StackPaths, managers: Managers) -> None:
    told = move.answer(old, {"m": {"key": move.offer(paths), "role": move.ACTS}}, RUN, check=False)["answers"]["m"]
    there_already(old, paths)
    with pytest.raises(CoffreError, match="has the stack demo already"):
        move.receive(paths, "m", move.ACTS, told)
    assert not managers.names and not state.load(paths).secrets


def test_an_answer_is_one_managers(old: StackPaths, paths: StackPaths) -> None:
    told = move.answer(old, {"m": {"key": move.offer(paths), "role": move.KEEPS}}, RUN, check=False)["answers"]["m"]
    with pytest.raises(CoffreError, match="another offer"):
        move.receive(replace(paths, stack="demo"), "m", move.ACTS, told)
    assert raft.look(paths) is None


def test_a_check_changes_nothing(old: StackPaths, paths: StackPaths) -> None:
    before = old.audit.read_bytes()
    assert move.offer(paths, check=True) == ""
    assert move.answer(old, {}, RUN, check=True)["answers"] == {}
    assert old.audit.read_bytes() == before
    assert not objects.there(paths) and not membership.OFFERED.exists()
