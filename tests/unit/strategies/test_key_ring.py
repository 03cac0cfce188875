"""Key rings: the app's own program is asked, with the keys that count and those that must not."""

from __future__ import annotations

import base64
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Generate, Secret
from ansible_collections.coffre.stack.plugins.module_utils.compose_file import Entry, File
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose, swarm
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state
from ansible_collections.coffre.stack.plugins.module_utils.host.state import Previous
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Which
from ansible_collections.coffre.stack.plugins.module_utils.strategies.key_ring import strategy
from app import proof
from tests.unit.strategies.given import Given, container

OLD, NEW, OLDER, OLDEST = (letter * 32 for letter in "abcd")
PAST, LATER = "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
KEYS = {version: f"canary-{version[:4]}".encode() for version in (OLD, NEW, OLDER, OLDEST)}
PROBE = ["python", "-m", "app.proof"]


@dataclass
class App:
    """What runs in the container: has keys by version, the one in force first; `asked` are the steps it was put to."""

    versions: list[str]
    asked: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)  # in which container its program ran

    def ask(self, container: str, *command: str, stdin: str, seconds: float) -> str:
        (*words,), step = command[: len(PROBE)], command[len(PROBE) :]
        assert words == PROBE
        assert seconds >= 30
        assert "canary" not in " ".join(command)
        self.asked.append(" ".join(step))
        self.places.append(container)
        keys, current, *previous = proof.read(stdin), *(KEYS[each].decode() for each in self.versions)
        mine = keys if step == ("rehearse",) else proof.Keys(current, previous, ())
        try:
            proof.prove(keys, partial(proof.rehearse, mine))
        except proof.ProofError as error:
            raise CoffreError(f"exit code {error.status}") from None
        return ""


def rotating(
    settings: dict[str, Any],
    in_force: str,
    ring: list[tuple[str, str | None]],
    audited: dict[str, str] | None = None,
) -> Given:
    """The rotation of the app's key from OLD to NEW, whose state has this version and ring."""
    secret = Secret("key", ("app",), "key_ring", generate=Generate("random"), settings=settings)
    records = {version: state.Version(version, PAST) for version in (OLD, NEW)}
    change = state.Change("key_ring", records[OLD], records[NEW])
    records[in_force].ring = [Previous(version, PAST, retires) for version, retires in ring]
    st = state.State("demo", secrets={"key": records[in_force]})
    st.services["app"] = state.ServiceState("b1", None, {"b1": state.Bundle({}, {"key": in_force}, PAST, 0, 0)})
    st.run = state.Run("r1", "play", "operator", PAST, LATER, {"key": change})
    held: dict[Which, bytes] = {"old": KEYS[OLD], "new": KEYS[NEW]}
    return Given(
        StackPaths("demo"),
        Catalogue({"key": secret}, {}, File({}, {"app": Entry("app", {}, audit=audited or {})})),
        st,
        secret,
        change,
        1.0,
        held,
        running=(container("app", "b1"),),
    )


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    found = App([OLD])
    monkeypatch.setattr(compose, "ask", found.ask)
    monkeypatch.setattr(bundles, "versions", lambda *_: dict(KEYS))
    return found


def test_new_values(app: App) -> None:
    context = rotating({"probe": PROBE}, OLD, [])
    first, second = strategy.make(context), strategy.make(context)
    assert len(first) >= 43
    assert first != second
    assert strategy.successor(context.secret, context.change.old, context.change.new) is context.change.new
    assert app.asked == []


def test_keys_are_tried_before_the_app_has_them(app: App) -> None:
    context = rotating({"probe": PROBE}, OLD, [(OLDER, LATER), (OLDEST, PAST)])
    assert strategy.blockers(replace(context, values={"old": KEYS[OLD]})) == []
    strategy.teach(context)
    strategy.prove(context, "new")
    assert app.asked == ["rehearse", "rehearse"]


def test_a_key_whose_date_passes_after_it_was_staged_is_expected_where_it_was_staged(app: App) -> None:
    app.versions = [NEW, OLD, OLDEST]
    strategy.confirm(rotating({"probe": PROBE}, NEW, [(OLD, LATER), (OLDEST, PAST)]), "new")
    assert app.asked == ["confirm 127.0.0.1"]


@pytest.mark.parametrize(
    ("versions", "sentence"),
    [
        ([NEW, OLD, OLDER], ""),
        ([NEW, OLD], "exit code 4"),
        ([NEW, OLD, OLDER, OLDEST], "exit code 6"),
        ([OLD, NEW, OLDER], "exit code 5"),
        ([OLD, OLDER], "exit code 3"),
    ],
)
def test_containers_accept_the_ring_and_nothing_else(app: App, versions: list[str], sentence: str) -> None:
    context = rotating({"probe": PROBE}, NEW, [(OLD, LATER), (OLDER, LATER)])
    app.versions = versions
    if not sentence:
        strategy.confirm(context, "new")
        strategy.withdraw(context, "new", "old")
        strategy.refused(context, "old")
        assert app.asked == ["confirm 127.0.0.1"]
        return
    with pytest.raises(CoffreError, match=rf"^demo-app-1 does not get on with key {NEW}: .*{sentence}") as caught:
        strategy.confirm(context, "new")
    assert "canary" not in str(caught.value)


def test_on_the_way_back_the_new_key_counts_only_if_it_was_adopted(app: App) -> None:
    context = rotating({"probe": PROBE}, OLD, [(OLDER, LATER)])
    app.versions = [OLD, OLDER]
    strategy.confirm(context, "old")
    app.versions = [OLD, OLDER, NEW]
    with pytest.raises(CoffreError, match="exit code 6"):
        strategy.confirm(context, "old")
    strategy.confirm(rotating({"probe": PROBE}, OLD, [(NEW, LATER), (OLDER, LATER)]), "old")


def test_a_version_that_only_retires_is_refused_from_then_on(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "versions", lambda *_: {each: KEYS[each] for each in (OLD, OLDER, OLDEST)})
    context = rotating({"probe": PROBE}, OLD, [(OLDER, LATER)])
    context.change.new = context.change.old
    context = replace(context, values={})
    app.versions = [OLD, OLDER, OLDEST]
    with pytest.raises(CoffreError, match="exit code 6"):
        strategy.confirm(context, "new")
    app.versions = [OLD, OLDER]
    strategy.confirm(context, "new")


def elsewhere(number: int) -> Container:
    """A task of the app's on another node."""
    address = f"10.0.1.{number}"
    return replace(container("app", "b1", address), id=f"id-{number}", elsewhere=True)


@pytest.mark.parametrize(
    ("running", "asked", "places"),
    [
        ((elsewhere(2), elsewhere(3)), ["10.0.1.2", "10.0.1.3"], ["beside", "beside"]),
        ((elsewhere(2), container("app", "b1")), ["127.0.0.1", "10.0.1.2"], ["id-app", "id-app"]),
    ],
)
def test_a_container_elsewhere_is_asked_at_its_address(
    app: App,
    monkeypatch: pytest.MonkeyPatch,
    running: tuple[Container, ...],
    asked: list[str],
    places: list[str],
) -> None:
    made = []

    def beside(_: StackPaths, service: str) -> AbstractContextManager[Container]:
        made.append(service)
        return nullcontext(replace(container("app"), id="beside"))

    monkeypatch.setattr(compose, "beside", beside)
    app.versions = [NEW, OLD]
    strategy.confirm(replace(rotating({"probe": PROBE}, NEW, [(OLD, LATER)]), running=running), "new")
    assert app.asked == [f"confirm {each}" for each in asked]
    assert app.places == places
    assert made == ["app"] * ("beside" in places)


def test_keys_are_tried_beside_where_the_app_runs_elsewhere_only(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Given, "container", lambda *_: elsewhere(2))
    monkeypatch.setattr(compose, "beside", lambda *_: nullcontext(replace(container("app"), id="beside")))
    strategy.prove(rotating({"probe": PROBE}, OLD, []), "new")
    assert (app.asked, app.places) == (["rehearse"], ["beside"])


def test_a_container_of_another_version_is_told(app: App) -> None:
    with pytest.raises(CoffreError, match=f"does not have key {NEW}"):
        strategy.confirm(rotating({"probe": PROBE}, OLD, []), "new")
    assert app.asked == []


def test_a_ring_that_was_lost_is_told(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    context = rotating({}, NEW, [(OLD, None)])
    strategy.confirm(context, "new")
    monkeypatch.setattr(bundles, "versions", lambda *_: {NEW: KEYS[NEW]})
    with pytest.raises(CoffreError, match=f"The bundle of app lacks the earlier {OLD} of key"):
        strategy.confirm(context, "new")
    assert app.asked == []


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_trail_on_another_node_is_read_there(app: App, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    def end_of(_: StackPaths, asked: Container, *place: str) -> bytes:
        assert (asked.id, place) == ("id-2", ("v", "f"))
        return b'"cut short"}\n' + _records("instance", ("id-2", version))

    monkeypatch.setattr(swarm, "end_of", end_of)
    context = rotating({"keep_days": None}, NEW, [(OLD, None)], {"volume": "v", "file": "f", "secret": "key"})
    context = replace(context, running=(elsewhere(2),))
    if version == NEW:
        strategy.confirm(context, "new")
    else:
        with pytest.raises(CoffreError, match=f"of id-2 in the audit trail of app is not signed with key {NEW}"):
            strategy.confirm(context, "new")
    assert app.asked == []


def _records(field_: str, *signers: tuple[str, str]) -> bytes:
    """A trail with a record per (value of the field, version of the key)."""
    lines = []
    for seq, (value, version) in enumerate(signers, start=1):
        record = {"seq": seq, field_: value, "previous": ""}
        lines.append(audit._canonical(record | {"mac": audit._mac(KEYS[version], record)}) + b"\n")
    return b"".join(lines)


@pytest.mark.parametrize(
    ("signers", "right"),
    [
        ([("id-app", OLD), ("other", NEW), ("id-app", NEW)], True),
        ([("id-app", NEW), ("id-app", OLD), ("other", NEW)], False),
        ([("other", NEW)], False),
    ],
)
def test_the_service_signs_its_trail_with_the_key(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signers: list[tuple[str, str]], right: bool
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(_records("instance", *signers))
    monkeypatch.setattr(audit.Trail, "path", lambda *_: path)
    signed = {"volume": "v", "file": "f", "secret": "key"}
    context = rotating({"keep_days": None}, NEW, [(OLD, None)], signed)
    strategy.prove(context, "new")
    if right:
        strategy.confirm(context, "new")
    else:
        with pytest.raises(CoffreError, match=f"The last record of id-app in .* is not signed with key {NEW}"):
            strategy.confirm(context, "new")
    assert app.asked == []


def test_the_hosts_own_trail_goes_on_with_the_key(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = rotating({"keep_days": None}, NEW, [(OLD, None)])
    secret = Secret(audit.KEY, ("host",), "key_ring", settings={"keep_days": None})
    paths = StackPaths("demo", tmp_path / "run", tmp_path / "lib")
    paths.lib.mkdir(parents=True)
    st = context.state
    st.secrets = {audit.KEY: st.secrets["key"]}
    st.services = {"host": state.ServiceState("b1", None, {"b1": state.Bundle({}, {audit.KEY: NEW}, PAST, 0, 0)})}
    context = replace(context, paths=paths, secret=secret, running=())
    key = [KEYS[OLD]]
    monkeypatch.setattr(bundles, "value", lambda *_: key[0])
    with pytest.raises(CoffreError, match="is not signed with deployment-audit-key"):
        strategy.confirm(context, "new")
    paths.audit.unlink()
    key[0] = KEYS[NEW]
    strategy.confirm(context, "new")
    strategy.confirm(context, "new")
    records = [json.loads(line) for line in paths.audit.read_text().splitlines()]
    assert [(each["service"], each["key"]) for each in records] == [("host", NEW)]
    assert app.asked == []
    assert base64.b64encode(KEYS[NEW]).decode() not in paths.audit.read_text()
