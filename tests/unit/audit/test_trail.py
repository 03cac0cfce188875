"""The deployments' trail: what is recorded, what a crash leaves, and each way to falsify it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.catalogue import HOST
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths

KEYS = {"k1": b"canary-audit-key-1", "k2": b"canary-audit-key-2"}
RUN = audit.Author("run-1", "somebody")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackPaths:
    def value(_: StackPaths, st: state.State, service: str, secret: str, name: str) -> bytes:
        return KEYS[st.services[service].bundles[name].versions[secret]]

    def versions(_: StackPaths, st: state.State, service: str, secret: str) -> dict[str, bytes]:
        held = st.services.get(service, state.ServiceState()).bundles.values()
        return {each.versions[secret]: KEYS[each.versions[secret]] for each in held if secret in each.versions}

    monkeypatch.setattr(bundles, "value", value)
    monkeypatch.setattr(bundles, "versions", versions)
    paths = StackPaths("demo", tmp_path / "run", tmp_path / "lib")
    paths.lib.mkdir(parents=True)
    return paths


def deployed(**services: str) -> state.State:
    """A state in which services have adopted bundles; the host's is named after the version of the audit key."""
    st = state.State("demo")
    for service, name in services.items():
        versions = {audit.KEY: name[:2]} if service == HOST else {"key": f"{name}-version"}
        st.services[service] = state.ServiceState(name, None, {name: state.Bundle({}, versions, state.now(), 0, 0)})
    return st


def records(paths: StackPaths) -> list[dict[str, Any]]:
    return [json.loads(line) for line in paths.audit.read_text().splitlines()]


def told(paths: StackPaths) -> list[tuple[str, str, str]]:
    return [(each["service"], each["bundle"], each["outcome"]) for each in records(paths) if "service" in each]


def head(paths: StackPaths, *kept: str, keys: dict[str, bytes] = KEYS) -> int:
    """The number of the last record of a trail that is in order."""
    found = audit.verify(paths.audit, keys, kept).head
    return found.seq if found else 0


@pytest.fixture
def trail(paths: StackPaths) -> StackPaths:
    """A trail of four records."""
    for number in range(3):
        services = {"host": "k1-a", "app": f"app-{number}"}
        assert audit.adopted(paths, deployed(**services), RUN, {"host", "app"})
    assert head(paths) == 4
    return paths


def test_a_record_tells_who_adopted_what(paths: StackPaths) -> None:
    assert audit.head(paths) == ""
    assert audit.adopted(paths, deployed(host="k1-a", app="app-1"), RUN, {"host", "app"})
    first, second = records(paths)
    assert (first["seq"], first["service"], first["previous"]) == (1, "app", "")
    assert {name: second[name] for name in sorted(second) if name not in ("time", "mac", "previous")} == {
        "seq": 2,
        "run": "run-1",
        "operator": "somebody",
        "event": "adoption",
        "service": "host",
        "bundle": "k1-a",
        "versions": {audit.KEY: "k1"},
        "outcome": "adopted",
        "key": "k1",
    }
    assert paths.audit.stat().st_mode & 0o777 == 0o600
    assert audit.head(paths) == str(audit.verify(paths.audit, KEYS).head)
    assert not any(key in paths.audit.read_bytes() for key in KEYS.values())


def test_what_is_recorded_is_not_recorded_again(trail: StackPaths) -> None:
    before = trail.audit.read_bytes()
    assert not audit.adopted(trail, deployed(host="k1-a", app="app-2"), RUN, {"app"})
    assert trail.audit.read_bytes() == before


def test_a_crash_between_state_and_record_is_made_up_for(paths: StackPaths) -> None:
    audit.adopted(paths, deployed(host="k1-a", app="app-1"), RUN, {"host", "app"})
    audit.adopted(paths, deployed(host="k1-a", app="app-2", proxy="p-1"), RUN, {"proxy"})
    assert told(paths)[2:] == [("app", "app-2", "recovered"), ("proxy", "p-1", "adopted")]
    assert head(paths) == 4


def test_a_refused_bundle_is_recorded_and_adopts_nothing(trail: StackPaths) -> None:
    st = deployed(host="k1-a", app="app-2")
    st.services["app"].bundles["app-3"] = state.Bundle({}, {"key": "v3"}, state.now(), 0, 0)
    audit.refused(trail, st, RUN, "app", "app-3")
    assert told(trail)[-1] == ("app", "app-3", "refused")
    assert records(trail)[-1]["versions"] == {"key": "v3"}
    assert not audit.adopted(trail, st, RUN)


def test_without_a_key_there_is_no_trail(paths: StackPaths) -> None:
    st = deployed(app="app-1")
    assert not audit.adopted(paths, st, RUN, {"app"})
    audit.refused(paths, st, RUN, "app", "app-1")
    assert not paths.audit.exists()


def test_a_new_key_vouches_for_what_the_old_one_signed(trail: StackPaths) -> None:
    audit.adopted(trail, deployed(host="k2-b", app="app-2"), RUN, {"host"})
    assert [each["key"] for each in records(trail)] == ["k1"] * 4 + ["k2"]
    assert audit.verify(trail.audit, KEYS).unheld == []
    assert audit.verify(trail.audit, {"k2": KEYS["k2"]}).unheld == ["k1"]
    with pytest.raises(
        CoffreError, match=r"Record 5 .* signed with version k2 of its key that this host does not hold"
    ):
        audit.verify(trail.audit, {"k1": KEYS["k1"]})
    kept = audit.head(trail)
    assert audit.verify(trail.audit, {}, [kept]).unheld == ["k1", "k2"]


@pytest.mark.parametrize(
    ("falsify", "sentence"),
    [
        pytest.param(lambda lines: lines[1:], "Record 1 .* does not follow", id="first deleted"),
        pytest.param(lambda lines: [*lines[:1], *lines[2:]], "Record 2 .* does not follow", id="deleted"),
        pytest.param(lambda lines: [lines[0], lines[2], lines[1], lines[3]], "Record 2 .* does not", id="reordered"),
        pytest.param(lambda lines: [*lines, lines[3]], "Record 5 .* does not follow", id="repeated"),
        pytest.param(lambda lines: [*lines[:2], lines[2].replace(b"app-1", b"app-9"), lines[3]], "3 .* was changed",
                     id="changed"),
        pytest.param(lambda lines: [*lines[:3], lines[3].replace(b"somebody", b"nobody")], "4 .* was changed",
                     id="last changed"),
        pytest.param(lambda lines: [lines[0], lines[1].replace(b'"k1"', b'"k9"'), *lines[2:]], "3 .* does not follow",
                     id="another key named"),
        pytest.param(lambda lines: [*lines[:3], lines[3].replace(b'"k1"', b'"k9"')], "4 .* version k9 of its key",
                     id="another key named in the last"),
        pytest.param(lambda lines: [*lines[:3], lines[3].replace(b'"key":"k1",', b"")], "4 .* was changed, or signed",
                     id="no key named in the last"),
        pytest.param(lambda lines: [lines[0].replace(b":", b": ", 1), *lines[1:]], "Line 1 .* no record",
                     id="reformatted"),
        pytest.param(lambda lines: [*lines, b"\n"], "Line 5 .* no record", id="empty line"),
        pytest.param(lambda lines: [*lines, b'{"seq":5}\n'], "Line 5 .* no record", id="unsigned"),
        pytest.param(lambda lines: [*lines[:3], lines[3].replace(b'"k1"', b"[1]")], "Line 4 .* no record",
                     id="key of another type"),
        pytest.param(lambda lines: [*lines, lines[3].replace(b'"mac":"', b'"mac":"\\u00e9')], "Line 5 .* no record",
                     id="signed with no digest"),
        pytest.param(lambda lines: [*lines[:2], lines[2][:-9], lines[3]], "Line 3 .* no record", id="torn within"),
        pytest.param(lambda lines: [*lines, b"[" * 60000 + b"\n"], "Line 5 .* no record", id="deep"),
        pytest.param(lambda lines: [*lines, b"x" * (1 << 20)], "Line 5 .* no record", id="endless"),
    ],
)  # fmt: skip
def test_falsified(trail: StackPaths, falsify: Callable[[list[bytes]], list[bytes]], sentence: str) -> None:
    trail.audit.write_bytes(b"".join(falsify(trail.audit.read_bytes().splitlines(keepends=True))))
    with pytest.raises(CoffreError, match=sentence):
        audit.verify(trail.audit, KEYS)


@pytest.mark.parametrize("left", [3, 1, 0])
def test_truncation_is_seen_by_a_kept_head(trail: StackPaths, left: int) -> None:
    kept = audit.head(trail)
    trail.audit.write_bytes(b"".join(trail.audit.read_bytes().splitlines(keepends=True)[:left]))
    audit.verify(trail.audit, KEYS)
    with pytest.raises(CoffreError, match=f"ends at record {left}, before the kept head 4"):
        audit.verify(trail.audit, KEYS, [kept])


def test_cut_within_the_last_record_is_seen_by_a_kept_head(trail: StackPaths) -> None:
    kept = audit.head(trail)
    trail.audit.write_bytes(trail.audit.read_bytes()[:-5])
    with pytest.raises(CoffreError, match=r"ends at record 3, before the kept head 4"):
        audit.verify(trail.audit, KEYS, [kept])


def test_rewritten_with_the_key_is_seen_by_a_kept_head(trail: StackPaths) -> None:
    kept = audit.head(trail)
    trail.audit.unlink()
    audit.adopted(trail, deployed(host="k1-a", app="app-2", db="db-1", proxy="p-1"), RUN)
    assert head(trail) == 4
    with pytest.raises(CoffreError, match=r"Record 4 .* not the one whose head was kept"):
        audit.verify(trail.audit, KEYS, [kept])


def test_another_stacks_key_proves_nothing(trail: StackPaths) -> None:
    with pytest.raises(CoffreError, match=r"Record 1 .* was changed"):
        audit.verify(trail.audit, {"k1": b"another"})


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        (["nonsense"], "is not '<record> <SHA-256> <time> <run>'"),
        ([f"0 {'a' * 64}"], "is not '<record>"),
        ([f"1 {'a' * 64} t r", f"1 {'b' * 64} t r"], "two for record 1"),
        ([f"2 {'a' * 64}"], "Record 2 .* not the one whose head was kept"),
    ],
)
def test_kept_heads_that_do_not_fit(trail: StackPaths, kept: list[str], sentence: str) -> None:
    with pytest.raises(CoffreError, match=sentence):
        audit.verify(trail.audit, KEYS, kept)


def test_every_head_that_was_ever_kept_is_in_the_trail(paths: StackPaths) -> None:
    kept = [""]
    for number in range(5):
        audit.adopted(paths, deployed(host="k1-a", app=f"app-{number}"), RUN)
        kept += [audit.head(paths)] * 2
    found = audit.verify(paths.audit, KEYS, kept)
    assert (found.kept, found.head and found.head.seq) == (5, 6)


@pytest.mark.parametrize("torn", [b'{"event":"ado', b"\0" * 512], ids=["half", "zeros"])
@pytest.mark.parametrize("app", ["app-2", "app-3"], ids=["nothing new", "something new"])
def test_a_torn_last_record_is_told_and_mended(trail: StackPaths, torn: bytes, app: str) -> None:
    with trail.audit.open("ab") as file:
        file.write(torn)
    found = audit.verify(trail.audit, KEYS)
    assert (found.torn, found.head and found.head.seq) == (len(torn), 4)
    assert audit.adopted(trail, deployed(host="k1-a", app=app), RUN, {"app"})
    repaired = records(trail)[4]
    assert (repaired["event"], repaired["torn_bytes"], repaired["run"]) == ("audit-repaired", len(torn), "run-1")
    assert head(trail) == (5 if app == "app-2" else 6)
    assert not audit.adopted(trail, deployed(host="k1-a", app=app), RUN)


def test_damage_stops_no_deployment_and_stays_seen(trail: StackPaths) -> None:
    with trail.audit.open("ab") as file:
        file.write(b"nonsense\n")
    assert audit.adopted(trail, deployed(host="k1-a", app="app-3"), RUN, {"app"})
    assert not audit.adopted(trail, deployed(host="k1-a", app="app-3"), RUN)
    with pytest.raises(CoffreError, match=r"Line 5 .* no record"):
        audit.verify(trail.audit, KEYS)


def test_a_failed_write_leaves_the_trail_whole(trail: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trail.audit.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:20]))
    with pytest.raises(CoffreError, match=r"cannot be continued .No space left"):
        audit.adopted(trail, deployed(host="k1-a", app="app-3"), RUN)
    assert trail.audit.read_bytes() == before


@pytest.mark.parametrize("plant", ["link", "directory", "pipe", "second name"])
def test_what_is_no_trail_is_not_followed(trail: StackPaths, plant: str) -> None:
    target = trail.lib / "target"
    trail.audit.rename(target)
    match plant:
        case "link":
            trail.audit.symlink_to(target)
        case "directory":
            trail.audit.mkdir()
        case "pipe":
            os.mkfifo(trail.audit)
        case "second name":
            trail.audit.hardlink_to(target)
    before = target.read_bytes()
    with pytest.raises(CoffreError, match=r"cannot be continued"):
        audit.adopted(trail, deployed(host="k1-a", app="app-3"), RUN)
    with pytest.raises(CoffreError, match=r"cannot be read"):
        audit.verify(trail.audit, KEYS)
    assert target.read_bytes() == before


def write_many(paths: StackPaths, who: int) -> None:
    for number in range(10):
        with state.locked(paths):
            services = {"host": "k1-a", f"service-{who}": f"{who}-{number}"}
            audit.adopted(paths, deployed(**services), audit.Author(f"run-{who}", "somebody"))


def test_writers_side_by_side(paths: StackPaths) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(paths, who)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert head(paths) == 41


@pytest.mark.parametrize("text", ["", "two words", "a\nb", "x" * 101, "é"])
def test_a_name_that_would_break_the_kept_heads(text: str) -> None:
    with pytest.raises(CoffreError, match=r"stack_operator is .* nothing was changed"):
        audit.Author("run-1", text)


def test_a_broken_service_cannot_write_into_the_kept_heads(paths: StackPaths) -> None:
    line = audit._canonical(
        {"seq": 1, "previous": "", "time": "1\n2", "instance": ["\x1b[2J"], "event": "x", "mac": "0" * 64}
    )
    paths.audit.write_bytes(line + b"\n")
    assert audit.head(paths).split(" ")[2:] == ["-", "-"]


@pytest.fixture
def app_trail(trail: StackPaths, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trail of the app's beside the deployments'."""
    from app.audit import AuditLog

    volume = trail.lib / "volume"
    volume.mkdir()
    for _ in range(3):
        AuditLog(volume / "audit.jsonl", KEYS["k1"]).append("test", {"secret": "one"})
    monkeypatch.setattr(compose, "call", lambda command: f"{volume}\n" if command[-1] == "demo_app-audit" else "")
    return volume / "audit.jsonl"


def examine(paths: StackPaths, heads: list[str], app_heads: list[str]) -> dict[str, Any]:
    st = deployed(host="k1-a", app="app-2", proxy="p-1")
    st.services["app"].bundles["app-2"].versions = {"signing": "k1"}
    state.save(paths, st)
    return audit.examine(paths, heads, [audit.Trail("app", "app-audit", "audit.jsonl", "signing", app_heads)])


def test_both_trails_are_examined(trail: StackPaths, app_trail: Path) -> None:
    kept = audit.head(trail)
    result = examine(trail, [kept], [])
    assert [(each["service"], each["head"][:1]) for each in result["trails"]] == [("", "4"), ("app", "3")]
    assert result["trails"][0]["said"] == f"{trail.audit}: 4 records in order, 1 kept heads among them."
    assert result["warnings"] == [
        f"No head of {app_trail} was kept here before, so that nobody knows whether its end was cut off."
    ]
    assert examine(trail, [kept], [result["trails"][1]["head"]])["warnings"] == []


def test_everything_that_is_wrong_is_told_at_once(trail: StackPaths, app_trail: Path) -> None:
    kept = examine(trail, [], [])["trails"]
    for path in (trail.audit, app_trail):
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(CoffreError, match=r"before the kept head 4\. .* before the kept head 3\. This check"):
        examine(trail, [kept[0]["head"]], [kept[1]["head"]])


def test_a_service_that_never_ran_has_no_trail(trail: StackPaths) -> None:
    state.save(trail, deployed(host="k1-a"))
    never = audit.Trail("app", "app-audit", "audit.jsonl", "signing")
    assert [each["service"] for each in audit.examine(trail, [], [never])["trails"]] == [""]


def turned_back(old: str, new: str, secret: str = audit.KEY) -> dict[str, Any]:
    return {
        "event": "rotation",
        "secret": secret,
        "direction": "back",
        "old": old,
        "new": new,
        "outcome": "turned back",
    }


SIGNERS: dict[str, tuple[list[tuple[str, dict[str, Any]]], int]] = {
    "one key": ([("k1", {}), ("k1", {})], 0),
    "forward": ([("k1", {}), ("k2", {}), ("k2", {}), ("k3", {})], 0),
    "a retired one": ([("k1", {}), ("k2", {}), ("k1", {})], 3),
    "a retired one after a retired one": ([("k1", {}), ("k2", {}), ("k3", {}), ("k2", {})], 4),
    "the first of three": ([("k1", {}), ("k2", {}), ("k3", {}), ("k1", {})], 4),
    "undone": ([("k1", {}), ("k2", turned_back("k1", "k2")), ("k1", {}), ("k3", {})], 0),
    "undone twice": (
        [("k1", {}), ("k2", turned_back("k1", "k2")), ("k1", {}), ("k3", turned_back("k1", "k3")), ("k1", {})],
        0,
    ),
    "the undone one again": ([("k1", {}), ("k2", turned_back("k1", "k2")), ("k1", {}), ("k2", {})], 4),
    "undone, and forward again": ([("k1", {}), ("k2", turned_back("k1", "k2")), ("k3", {}), ("k1", {})], 4),
    "undone by the retired one": ([("k1", {}), ("k2", {}), ("k1", turned_back("k1", "k2")), ("k1", {})], 3),
    "undone before": ([("k1", turned_back("k1", "k2")), ("k2", {}), ("k1", {})], 3),
    "undone to another": ([("k3", {}), ("k1", {}), ("k2", turned_back("k1", "k2")), ("k3", {})], 4),
    "of another secret": ([("k1", {}), ("k2", turned_back("k1", "k2", "flask-secret-key")), ("k1", {})], 3),
    "forward only": ([("k1", {}), ("k2", turned_back("k1", "k2") | {"direction": "forward"}), ("k1", {})], 3),
    "without its name": ([("k1", {}), ("k2", {}), ("k1", {"key": None})], 3),
}
MORE = {**KEYS, "k3": b"canary-audit-key-3"}


def chain(path: Path, signed: list[tuple[str, dict[str, Any]]], named: bool = True) -> None:
    """A trail of records that these versions of the key signed; a detail of None takes a field away."""
    lines: list[bytes] = []
    for number, (version, details) in enumerate(signed, start=1):
        record = {"seq": number, "time": "t", "key": version, "event": "x", **details}
        record["previous"] = hashlib.sha256(lines[-1]).hexdigest() if lines else ""
        record = {name: value for name, value in record.items() if value is not None and (named or name != "key")}
        lines.append(audit._canonical(record | {"mac": audit._mac(MORE[version], record)}) + b"\n")
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("case", SIGNERS)
def test_keys_only_move_forward(case: str, paths: StackPaths) -> None:
    signed, wrong = SIGNERS[case]
    chain(paths.audit, signed)
    audit.verify(paths.audit, MORE)  # each record by itself is in order
    if not wrong:
        assert audit.verify(paths.audit, MORE, signers=audit.Successors()).unheld == []
        return
    with pytest.raises(
        CoffreError, match=f"Record {wrong} .* version {signed[wrong - 1][0]} of its key, which another"
    ):
        audit.verify(paths.audit, MORE, signers=audit.Successors())


def adopted(version: str, outcome: str = "adopted", service: str = "app") -> dict[str, Any]:
    return {"event": "adoption", "service": service, "versions": {"signing": version}, "outcome": outcome}


BACK = turned_back("k1", "k2", "signing")
# By case: what the stack's trail tells of the service, which instances signed with which key, and what is wrong.
INSTANCES: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]], int]] = {
    "side by side": ([adopted("k1"), adopted("k2")], [("i1", "k1"), ("i2", "k2"), ("i1", "k1"), ("i2", "k2")], 0),
    "a retired one": ([adopted("k1"), adopted("k2")], [("i1", "k1"), ("i2", "k2"), ("i3", "k1")], 3),
    "two of one": ([adopted("k1"), adopted("k2")], [("i1", "k1"), ("i1", "k2")], 2),
    "undone": ([adopted("k1"), adopted("k2"), BACK, adopted("k1")], [("i1", "k1"), ("i2", "k2"), ("i3", "k1")], 0),
    "undone, and again": (
        [adopted("k1"), adopted("k2"), BACK, adopted("k1"), adopted("k3")],
        [("i1", "k1"), ("i2", "k2"), ("i3", "k1"), ("i4", "k2")],
        4,
    ),
    "undone, then replaced": (
        [adopted("k1"), adopted("k2"), BACK, adopted("k1"), adopted("k3")],
        [("i1", "k1"), ("i2", "k2"), ("i3", "k1"), ("i4", "k3"), ("i5", "k1")],
        5,
    ),
    "undone before it was adopted": (
        [adopted("k1"), BACK, adopted("k1")],
        [("i1", "k1"), ("i2", "k2"), ("i3", "k1")],
        0,
    ),
    "refused": ([adopted("k1"), adopted("k2", "refused")], [("i1", "k1"), ("i2", "k2"), ("i3", "k1")], 0),
    "refused, then adopted": (
        [adopted("k1"), adopted("k2", "refused"), adopted("k2")],
        [("i1", "k1"), ("i2", "k2"), ("i3", "k1"), ("i4", "k2"), ("i5", "k1")],
        5,
    ),
    "not recorded yet": ([adopted("k1")], [("i1", "k1"), ("i2", "k2"), ("i2", "k2")], 0),
    "killed, and never recorded": ([adopted("k1")], [("i1", "k1"), ("i2", "k2"), ("i3", "k1")], 0),
    "begun anew": ([adopted("k2", "recovered")], [("i1", "k1"), ("i2", "k2"), ("i3", "k1")], 3),
    "of another service": ([adopted("k1", service="db")], [("i1", "k1"), ("i2", "k2"), ("i3", "k1")], 0),
    "no trail": ([], [("i1", "k1"), ("i2", "k2"), ("i3", "k1")], 0),
}


@pytest.mark.parametrize("case", INSTANCES)
def test_an_instance_begins_with_no_retired_key(case: str, paths: StackPaths) -> None:
    told, wrote, wrong = INSTANCES[case]
    chain(paths.audit, [("k3", each) for each in told])
    path = paths.lib / "app.jsonl"
    chain(path, [(version, {"instance": instance}) for instance, version in wrote], named=False)
    signers = audit.Instances(MORE, audit._in_force(paths, "app", "signing"))
    if not wrong:
        assert audit.verify(path, MORE, signers=signers).unheld == []
        return
    with pytest.raises(CoffreError, match=f"Record {wrong} .* version {wrote[wrong - 1][1]} of its key, which another"):
        audit.verify(path, MORE, signers=signers)


def test_a_key_with_two_names_is_one(paths: StackPaths) -> None:
    keys = {"k1": MORE["k1"], "k2": MORE["k2"], "k4": MORE["k1"]}  # undone in a vault, which names the old one anew
    chain(paths.audit, [("k3", each) for each in (adopted("k1"), adopted("k2"), BACK | {"old": "k4"}, adopted("k4"))])
    path = paths.lib / "app.jsonl"
    wrote = [("k1", {"instance": "i1"}), ("k2", {"instance": "i2"}), ("k1", {"instance": "i3"})]
    chain(path, wrote, named=False)
    audit.verify(path, keys, signers=audit.Instances(keys, audit._in_force(paths, "app", "signing")))


def test_a_retired_key_is_told_of_both_trails(trail: StackPaths, app_trail: Path) -> None:
    chain(trail.audit, [("k1", {}), ("k2", adopted("k1")), ("k1", {})])
    chain(app_trail, [("k1", {"instance": "i1"}), ("k2", {"instance": "i1"})], named=False)
    st = deployed(host="k1-a", app="app-2")
    st.services["host"].bundles["k2-b"] = state.Bundle({}, {audit.KEY: "k2"}, state.now(), 0, 0)
    st.services["app"].bundles = {
        version: state.Bundle({}, {"signing": version}, state.now(), 0, 0) for version in ("k1", "k2")
    }
    state.save(trail, st)
    with pytest.raises(CoffreError, match=r"Record 3 .* had replaced\. Record 2 .* had replaced\. This check"):
        audit.examine(trail, [], [audit.Trail("app", "app-audit", "audit.jsonl", "signing")])
