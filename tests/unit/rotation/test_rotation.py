"""A rotation goes all the way, back all the way, or stays open for the next play, wherever it is cut short."""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Generate, Secret
from ansible_collections.coffre.stack.plugins.module_utils.doctor import lives, metrics
from ansible_collections.coffre.stack.plugins.module_utils.doctor.target import History, Target
from ansible_collections.coffre.stack.plugins.module_utils.errors import Aside, CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, files, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout
from ansible_collections.coffre.stack.plugins.module_utils.rotation import plan as rotation_plan
from ansible_collections.coffre.stack.plugins.module_utils.rotation import run as rotation
from ansible_collections.coffre.stack.plugins.module_utils.sources import publish
from ansible_collections.coffre.stack.plugins.module_utils.values import lifetimes
from ansible_collections.coffre.stack.plugins.modules import rotation as module
from tests.unit import described
from tests.unit.rotation.conftest import RANDOM, Both, Crash, House, Shelf

ALL = ("client", "admin", "database", "client-2", "deployment-audit-key")
SETS = [("client",), ("admin",), ("database",), ("deployment-audit-key",), ALL]
MIXED = ("client", "admin", "deployment-audit-key")


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("names", SETS, ids="+".join)
def test_what_is_named_is_rotated_and_nothing_else(house: House, names: tuple[str, ...]) -> None:
    before = house.agreed()
    untouched = {service: entry.current for service, entry in house.state.services.items()}
    assert house.play("r1", *names) == "rotated"
    after = house.agreed()
    assert changed(before, after) == set(names)
    rolled = {service for service, entry in house.state.services.items() if entry.current != untouched[service]}
    assert rolled == {consumer for name in names for consumer in house.catalogue.secrets[name].consumers}
    assert house.play("r2", *names) == "rotated"
    assert changed(after, house.agreed()) == set(names)


def test_the_attributes_are_those_of_the_new_version(house: House) -> None:
    house.play("r1", "database")
    assert house.state.secrets["database"].attributes == {"role": "b"}
    house.play("r2", "database")
    assert house.state.secrets["database"].attributes == {"role": "a"}


@pytest.mark.parametrize("names", SETS, ids="+".join)
@pytest.mark.parametrize("act", ["make", "teach", "prove", "confirm"])
def test_a_failure_before_a_withdrawal_is_undone(house: House, names: tuple[str, ...], act: str) -> None:
    before = house.agreed()
    house.verifier.fails_once = act
    with pytest.raises(CoffreError, match="no answer"):
        house.play("r1", *names)
    assert changed(before, house.agreed()) == set()
    assert house.play("r2", *names) == "rotated"
    assert changed(before, house.agreed()) == set(names)


def retired(house: House) -> None:
    """An earlier key of another service is past its date."""
    st = house.state
    st.secrets["session"].ring[0].retires = "2026-01-01T00:00:00Z"
    state.save(house.paths, st)


def kept_shorter(house: House) -> None:
    """The catalogue keeps an earlier key no longer."""
    house.data["secrets"][-1]["settings"] = {"keep_days": 0}


def altered(house: House) -> None:
    """The bundle of another service is not what it was."""
    (house.paths.bundle("app", house.state.services["app"].current or "") / "client").write_bytes(b"altered")


@pytest.mark.parametrize("failing", [False, True], ids=["forward", "back"])
@pytest.mark.parametrize("fault", [retired, kept_shorter, altered])
def test_what_a_rotation_does_not_roll_it_does_not_stage(
    house: House, fault: Callable[[House], None], failing: bool
) -> None:
    ring = {"name": "session", "consumers": ["app"], "generate": RANDOM, "strategy": "key_ring"}
    house.data["secrets"].append(ring)
    house.stage("")
    house.roll("")
    house.verifier.accepted["session"] = {bundles.value(house.paths, house.state, "app", "session")}
    house.play("r1", "session")
    fault(house)
    before, record = house.state.services["app"], house.state.secrets["session"]
    house.fails = {"keycloak"} if failing else set()
    with pytest.raises(CoffreError, match="keycloak could not adopt") if failing else nullcontext():
        assert house.play("r2", "database") == "rotated"
    assert (house.state.services["app"], house.state.secrets["session"]) == (before, record)
    assert house.play("r3", "client") == "rotated"  # nothing stands in the way of the next one
    house.agreed()
    if fault is not altered:
        assert house.play("r4") == "rotated"  # the version that was left is due
        assert house.state.secrets["session"].ring == []
    assert house.play("r5") == "nothing"


def test_an_undo_needs_no_bundle_that_the_catalogue_has_changed(house: House) -> None:
    """Where the text of a composed file is what the service cannot start with."""
    file = {"name": "keycloak.conf", "alphabet": "A-Za-z0-9_-", "template": "password=@{database}"}
    house.data["services"][1]["files"] = [file]
    house.stage("")
    house.roll("")
    before, current = house.agreed(), house.state.services["keycloak"].current
    file["template"] += " and more"
    house.fails = {"keycloak"}
    with pytest.raises(CoffreError, match="keycloak could not adopt"):
        house.play("r1", "database")
    assert (house.agreed(), house.state.services["keycloak"].current) == (before, current)


@pytest.mark.parametrize("of", ["app", "keycloak", "host"])
@pytest.mark.parametrize("fault", [Path.unlink, lambda path: path.write_bytes(b"app.0\n")], ids=["gone", "damaged"])
def test_a_sealed_copy_that_does_not_open_hinders(house: House, of: str, fault: Callable[[Path], object]) -> None:
    """No bundle could be staged, neither forward nor back."""
    fault(house.paths.seal(of, house.state.services[of].current or ""))
    with pytest.raises(CoffreError, match=f"the sealed copy of {of}'s bundle .* does not open: run playbooks/site.yml"):
        house.play("r1", "database")
    assert house.state.run is None


@pytest.mark.parametrize("key", ["uid", "gid", "adopt"])
def test_a_service_that_the_catalogue_has_changed_hinders(house: House, key: str) -> None:
    house.data["services"][0][key] = "reload" if key == "adopt" else 60699
    with pytest.raises(CoffreError, match="app has not adopted what the catalogue says"):
        house.play("r1", "database")


def test_a_service_that_left_a_secret_meanwhile_is_rolled_back_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(House, "roll", cut_short(House.roll))
        with pytest.raises(Crash):
            house.play("r1", "client")
    assert house.state.services["app"].bundles[house.state.services["app"].current or ""].versions["client"]
    house.data["secrets"][0]["consumers"] = ["host"]
    assert house.play("r2", take_over="r1") == "undone"
    assert house.state.run is None
    assert "client" not in house.state.services["app"].bundles[house.state.services["app"].current or ""].versions


def cut_short(roll: Callable[..., None]) -> Callable[..., None]:
    def rolled(*given: Any) -> None:
        roll(*given)
        raise Crash

    return rolled


@pytest.mark.parametrize("service", ["app", "keycloak"])
def test_a_service_that_does_not_become_ready_is_undone(house: House, service: str) -> None:
    before = house.agreed()
    house.fails = {service}
    with pytest.raises(CoffreError, match=f"{service} could not adopt"):
        house.play("r1", *ALL)
    assert changed(before, house.agreed()) == set()


def test_a_verifier_that_is_down_in_undo_keeps_the_run_open_until_it_is_up(house: House) -> None:
    before = house.agreed()
    house.verifier.down = {"prove", "withdraw"}
    with pytest.raises(CoffreError, match="no answer to withdraw"):
        house.play("r1", *ALL)
    assert (run := house.state.run) and run.direction == "back"
    house.verifier.down = set()
    assert house.play("r2") == "undone"
    assert changed(before, house.agreed()) == set()


@pytest.mark.parametrize("act", ["withdraw", "refused"])
def test_after_the_first_withdrawal_it_only_goes_forward(house: House, act: str) -> None:
    before = house.agreed()
    house.verifier.down = {act}
    with pytest.raises(CoffreError, match="only goes forward"):
        house.play("r1", *ALL)
    house.verifier.down = set()
    assert house.play("r2", "client") == "rotated"
    assert changed(before, house.agreed()) == set(ALL)


def test_a_value_that_is_still_accepted_is_withdrawn_again(house: House) -> None:
    house.verifier.down = {"refused"}
    with pytest.raises(CoffreError):
        house.play("r1", "client")
    house.verifier.accepted["client"].add(b"old again")
    house.verifier.down = set()
    assert house.play("r2") == "rotated"
    house.agreed()


def crashing(monkeypatch: pytest.MonkeyPatch, house: House, number: int, before: bool) -> Callable[[], bool]:
    """Let the process end at the number-th time that state is written, before or after; returns whether it did."""
    write, left = files.write, [number]

    def cut(path: Path, content: bytes, mode: int) -> None:
        if path == house.paths.state:
            left[0] -= 1
            if left[0] == 0 and before:
                raise Crash
        write(path, content, mode)
        if path == house.paths.state and left[0] == 0:
            raise Crash

    monkeypatch.setattr(files, "write", cut)

    def ended() -> bool:
        monkeypatch.setattr(files, "write", write)
        return left[0] <= 0

    return ended


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("failing", [(), ("confirm",)], ids=["forward", "back"])
@pytest.mark.parametrize("names", [*SETS[:-1], MIXED], ids="+".join)
def test_a_crash_at_any_record_is_resolved_by_the_next_play(
    monkeypatch: pytest.MonkeyPatch,
    house: House,
    names: tuple[str, ...],
    failing: tuple[str, ...],
    before: bool,
    power: bool,
) -> None:
    crash_everywhere(monkeypatch, house, names, failing, before, power)


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("failing", [(), ("confirm",)], ids=["forward", "back"])
@pytest.mark.parametrize("names", [("client",), MIXED], ids="+".join)
def test_so_it_is_with_a_vault(
    monkeypatch: pytest.MonkeyPatch, house: House, names: tuple[str, ...], failing: tuple[str, ...], before: bool
) -> None:
    crash_everywhere(monkeypatch, house, names, failing, before, power=False)


@pytest.mark.parametrize("deploys", [False, True])
def test_a_deploy_in_whose_way_a_rotation_is_brings_all_services_to_its_own_images(
    monkeypatch: pytest.MonkeyPatch, house: House, deploys: bool
) -> None:
    """Those that the rotation concerns may need the others as the deploy wants them."""
    monkeypatch.setattr(rotation_plan, "images", lambda _: {"app": "app:1", "keycloak": "keycloak:1"})
    with monkeypatch.context() as patch:
        patch.setattr(House, "roll", cut_short(House.roll))
        with pytest.raises(Crash):
            house.play("r1", "client")
    assert house.rolled == [({"app", "host"}, {"app": "app:1", "keycloak": "keycloak:1"})]
    house.images = {"app": "app:2"}  # the other is pulled by the name that the file has
    house.data["services"][1]["files"] = [{"name": "db.conf", "alphabet": "A-Za-z0-9_-", "template": "@{database}"}]
    before = house.state.services["keycloak"].current
    assert house.play("r2", take_over="r1", only_open=deploys) == "undone"
    running = {"app": "app:1", "keycloak": "keycloak:1"}
    assert (house.state.services["keycloak"].current != before) == deploys
    assert house.rolled[1:] == [(None, {"app": "app:2"}) if deploys else ({"app", "host"}, running)]


def crash_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    house: House,
    names: tuple[str, ...],
    failing: tuple[str, ...],
    before: bool,
    power: bool,
) -> None:
    origin, accepted = house.paths.run_root.parent / "origin", copy.deepcopy(house.verifier.accepted)
    kept = copy.deepcopy(house.shelf.kept) if house.shelf else {}
    roots = [house.paths.run_root, house.paths.lib_root]
    origin.mkdir()
    subprocess.run(["cp", "-a", *map(str, roots), str(origin)], check=True)
    start, number = house.agreed(), 0
    while True:
        number += 1
        house.verifier.down = set(failing)
        ended = crashing(monkeypatch, house, number, before)
        try:
            outcome = house.play("r1", *names)
        except CoffreError:
            outcome = "open" if house.state.run else "undone"
        except Crash:
            outcome = "crashed"
        if not ended():
            break
        assert outcome == "crashed"
        house.verifier.down = set()
        if power:
            shutil.rmtree(house.paths.run_root)
        again = crashing(monkeypatch, house, number % 7 + 1, before)  # the play that takes over may end, too
        with suppress(Crash):
            house.play("r2", take_over="r1", only_open=True)
        again()
        was = house.state.run
        outcome = house.play("r2", take_over="r1", only_open=True)
        house.stage("r2")  # as site.yml goes on
        house.roll("r2")
        assert outcome in (("rotated", "undone") if was else ("nothing",))
        rotated = changed(start, house.agreed())
        may: dict[str, list[set[str]]] = {"rotated": [set(names)], "undone": [set()], "nothing": [set(), set(names)]}
        assert rotated in may[outcome]
        verify(house)
        for root in roots:
            shutil.rmtree(root)
        subprocess.run(["cp", "-a", *(str(origin / root.name) for root in roots), str(origin.parent)], check=True)
        house.verifier.accepted = copy.deepcopy(accepted)
        if house.shelf:
            house.shelf.kept = copy.deepcopy(kept)
    assert number > 8
    assert outcome == ("open" if failing else "rotated")


def verify(house: House) -> None:
    """The audit trail is whole, under every version of its key that the host holds, each in its turn."""
    if house.paths.audit.exists():
        keys = bundles.versions(house.paths, house.state, "host", "deployment-audit-key")
        audit.verify(house.paths.audit, keys, signers=audit.Successors())


LATELY = "2026-11-01T00:00:00Z"
RING = {"name": "session", "consumers": ["app"], "generate": RANDOM, "strategy": "key_ring"}


@pytest.fixture
def replicas(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """The app has two containers, which sign sessions and verify each other's; each rollout notes the app's bundle."""
    two = {"deploy": {"replicas": 2, "update_config": {"order": "start-first"}}}
    monkeypatch.setitem(described.ADOPT, "start_first", two)
    house.data["secrets"].append(RING)
    house.stage("")
    house.roll("")
    house.verifier.accepted["session"] = {bundles.value(house.paths, house.state, "app", "session")}
    return house


def signing(house: House) -> tuple[str, set[str]]:
    """(the version that the app signs with, those that it accepts) by the bundle that it has adopted."""
    entry = house.state.services["app"]
    bundle = entry.bundles[entry.current or ""]
    ring = {name.partition(".")[2] for name in bundle.files if name.startswith("session.")}
    return bundle.versions["session"], {bundle.versions["session"], *ring}


def test_a_key_that_several_containers_sign_with_is_accepted_by_all_before_one_does(
    replicas: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    roll, seen = House.roll, [signing(replicas)]

    def watched(house: House, *given: Any) -> None:
        roll(house, *given)
        seen.append(signing(house))

    monkeypatch.setattr(House, "roll", watched)
    assert replicas.play("r1", "session", "client") == "rotated"
    old, new = seen[0][0], replicas.state.secrets["session"].version
    assert seen == [(old, {old}), (old, {old, new}), (new, {old, new})]
    records = [json.loads(line) for line in replicas.paths.audit.read_bytes().splitlines()]
    acts = {name: [each["act"] for each in records if each.get("secret") == name] for name in ("session", "client")}
    assert "introduced" in acts["session"] and "introduced" not in acts["client"]
    for (_, before), (signs, _) in itertools.pairwise(seen):
        assert signs in before  # by those that have not rolled yet
    asked = rotation_plan.RotationRequest(("session", "client"), 14)
    chosen = rotation_plan.changes(replicas.catalogue, replicas.state, asked, replicas.source, rotation_plan.present())
    told = rotation_plan.plan(replicas.paths, replicas.catalogue, replicas.state, asked, chosen, replicas.source).asides
    assert [each.partition(":")[0] for each in told if "roll twice" in each] == ["session"]


@pytest.fixture
def files_of(replicas: House, tmp_path: Path) -> Path:
    """The operator's directory, which has what is in force."""
    if os.geteuid() != 0:
        pytest.skip("only root may own the operator's files")
    folder = tmp_path / "operator"
    folder.mkdir(mode=0o700)
    for name, value in replicas.agreed().items():
        (folder / name).write_bytes(value)
        (folder / name).chmod(0o600)
    replicas.directory = folder
    return folder


@pytest.mark.parametrize(("name", "adoptions"), [("session", 2), ("database", 1), ("admin", 1)])
def test_what_the_operator_supplies_a_deploy_keeps_out_and_a_rotation_takes(
    replicas: House, files_of: Path, name: str, adoptions: int
) -> None:
    before = replicas.agreed()
    (files_of / name).write_bytes(b"another-value")
    replicas.stage("")
    assert f"run 'make rotate-secret SECRET={name}'" in replicas.told["warnings"][0]
    assert replicas.agreed() == before
    assert replicas.play("r1", name) == "rotated"
    assert replicas.agreed() == before | {name: b"another-value"}
    assert [line.split()[0] for line in replicas.lines].count("rollout") == (0 if name == "admin" else adoptions)
    replicas.stage("")
    assert (replicas.told["warnings"], replicas.told["changed"]) == ([], False)


def test_what_the_operator_supplies_is_out_again_when_it_fails(replicas: House, files_of: Path) -> None:
    before = replicas.agreed()
    (files_of / "session").write_bytes(b"another-value")
    replicas.fails = {"app"}
    with pytest.raises(CoffreError, match="app could not adopt"):
        replicas.play("r1", "session")
    assert replicas.agreed() == before


@pytest.mark.parametrize(
    ("name", "plant", "sentence"),
    [
        ("session", lambda _: None, "has the value of session that is in use: put the new one into its file"),
        ("session", lambda path: path.write_bytes(b"demo-value"), "session in .* begins with demo-"),
        ("session", Path.unlink, "session is missing"),
        (
            "client",
            lambda path: path.write_bytes(b"x"),
            "keycloak itself makes client: run make rotate-secret SECRET=cl",
        ),
    ],
    ids=["unchanged", "of a demo", "missing", "made by Keycloak"],
)
def test_a_value_that_cannot_be_taken_is_told_before_anything_changes(
    replicas: House, files_of: Path, name: str, plant: Callable[[Path], object], sentence: str
) -> None:
    before = replicas.agreed()
    plant(files_of / name)
    with pytest.raises(CoffreError, match=rf"cannot begin, and nothing was changed: .*{sentence}"):
        replicas.play("r1", name)
    assert replicas.agreed() == before


def test_a_sealed_copy_that_does_not_open_is_told_beside_a_value_that_cannot_be_taken(
    replicas: House, files_of: Path
) -> None:
    (files_of / "session").write_bytes(b"demo-value")
    for path in replicas.paths.sealed.glob("app.*"):
        path.unlink()
    with pytest.raises(
        CoffreError, match=r"cannot begin, .*: the sealed copy of app's .*; session in .* begins with demo-"
    ):
        replicas.play("r1", "session")


def test_an_earlier_key_retires_without_the_operators_directory(replicas: House, files_of: Path) -> None:
    (files_of / "session").write_bytes(b"another-value")
    assert replicas.play("r1", "session") == "rotated"
    st = replicas.state
    st.secrets["session"].ring[0].retires = "2026-01-01T00:00:00Z"
    state.save(replicas.paths, st)
    shutil.rmtree(files_of)
    assert replicas.play("r2") == "rotated"
    assert replicas.state.secrets["session"].ring == []


@pytest.mark.parametrize(
    ("adopt", "keys", "told"),
    [
        ("start_first", {}, ""),
        ("reload", {"ports": ["8080:80"]}, ""),
        ("restart", {}, "requests will be lost while it starts"),
        ("restart", {"ports": ["53:53/udp"]}, "requests will be lost while it starts"),
        (
            "restart",
            {"ports": ["127.0.0.1:8080:80", "80"]},
            "connections to 8080 wait until it has started, 60 s at",
        ),
    ],
)
def test_the_plan_says_what_becomes_of_requests(adopt: str, keys: dict[str, Any], told: str) -> None:
    secret = {"name": "key", "consumers": ["web"], "generate": RANDOM, "strategy": "replace"}
    services = [{"name": "web", "uid": 60611, "gid": 60611, "adopt": adopt, "compose": keys}]
    catalogue = described.parse({"secrets": [secret], "services": services})
    said = rotation_plan.in_place(catalogue, catalogue.services["web"])
    assert told in said
    assert bool(said) == bool(told)


@pytest.mark.parametrize(
    ("front", "told"),
    [
        ({"depends_on": ["db"], "ports": ["443:443"]}, "requests to 443 wait until it has started, 60 s at most; what"),
        ({"ports": ["443:443"]}, "requests will be lost while it starts"),
        ({"depends_on": ["db"]}, "requests will be lost while it starts"),
    ],
)
def test_the_plan_says_who_waits_for_what_is_needed(front: dict[str, Any], told: str) -> None:
    secret = {"name": "key", "consumers": ["db"], "generate": RANDOM, "strategy": "replace"}
    services = [
        {"name": "db", "uid": 60611, "gid": 60611, "adopt": "restart"},
        {"name": "web", "uid": 60612, "gid": 60612, "adopt": "restart", "compose": front},
    ]
    catalogue = described.parse({"secrets": [secret], "services": services})
    assert told in rotation_plan.in_place(catalogue, catalogue.services["db"])


def test_a_run_that_was_opened_without_introductions_is_read_as_before() -> None:
    steps = ("made", "taught", "proved", "published", "adopted", "confirmed", "withdrawn", "refused")
    for number, step in enumerate(steps):
        change = state.Change("key_ring", state.Version("1", LATELY), state.Version("2", LATELY), step)
        assert [change.reached(each) for each in steps] == [other <= number for other in range(len(steps))]


@pytest.mark.parametrize("number", [1, 2])
def test_a_key_that_was_introduced_only_leaves_with_its_rotation(
    replicas: House, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The app fails at the introduction, or at the adoption, after which there may be sessions under it."""
    before, left, roll = signing(replicas), [number], House.roll

    def failing(house: House, *given: Any) -> None:
        left[0] -= 1
        house.fails = {"app"} if left[0] == 0 else set()
        st = house.state
        if st.run and st.run.direction == "forward":
            st.run.exposed = ["app"]  # as a rollout does before it starts a container
            state.save(house.paths, st)
        roll(house, *given)

    monkeypatch.setattr(House, "roll", failing)
    with pytest.raises(CoffreError, match="app could not adopt"):
        replicas.play("r1", "session")
    assert replicas.state.run is None
    signs, accepts = signing(replicas)
    assert (signs, accepts == before[1]) == (before[0], number == 1)
    replicas.agreed()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("failing", [(), ("confirm",)], ids=["forward", "back"])
def test_a_crash_beside_an_introduction_is_resolved_by_the_next_play(
    monkeypatch: pytest.MonkeyPatch, replicas: House, failing: tuple[str, ...], before: bool
) -> None:
    crash_everywhere(monkeypatch, replicas, ("session", "client"), failing, before, power=False)


def test_undo_puts_the_old_value_into_the_vault_once_more(house: House, shelf: Shelf) -> None:
    before = house.agreed()
    current = house.state.services["app"].current
    house.fails = {"app"}
    with pytest.raises(CoffreError, match="app could not adopt"):
        house.play("r1", "client")
    assert changed(before, house.agreed()) == set()
    old = before["client"].decode()
    told = [(about.enabled, value == old) for about, value in shelf.kept["client"]]
    assert told == [(True, True), (False, False), (True, True)]
    assert house.state.services["app"].current == current  # nothing rolls for a name


def test_of_two_versions_of_one_second_the_vault_says_which_is_the_latest(house: House, shelf: Shelf) -> None:
    secret = house.catalogue.secrets["client"]
    for _ in range(2):
        shelf.put("client", "new", tags={"coffre-run": "r1"}, content_type="", expires=None)
    first, second = (about for about, _ in shelf.kept["client"][-2:])
    for listed in ([first, second], [second, first]):
        vault: Any = SimpleNamespace(versions=lambda _, listed=listed: listed, read=shelf.read)
        new = replace(house.state.secrets["client"], version="")
        context: Any = SimpleNamespace(
            secret=secret, run=SimpleNamespace(id="r1"), change=state.Change(secret.strategy, new, new)
        )
        assert publish.Publisher(vault).publish(context).version == second.version


def test_what_an_undone_key_has_signed_stays_verifiable(house: House, shelf: Shelf) -> None:
    """The vault offers the failed key no longer; the host's ring keeps it, and the former name of the old one."""
    name, before = "deployment-audit-key", house.agreed()
    old = house.state.secrets[name].version
    house.verifier.fails_once = "confirm"
    with pytest.raises(CoffreError, match="no answer"):
        house.play("r1", name)
    assert changed(before, house.agreed()) == set()
    failed = next(about for about, _ in shelf.kept[name] if not about.enabled).version
    signed = {json.loads(line)["key"] for line in house.paths.audit.read_bytes().splitlines()}
    assert {old, failed} <= signed
    assert {each.version for each in house.state.secrets[name].ring} == {old, failed}
    verify(house)


@pytest.mark.parametrize(("down", "stays"), [("put", False), ("disable", True), ("versions", True)])
def test_a_vault_that_is_down_keeps_an_undo_open(
    monkeypatch: pytest.MonkeyPatch, house: House, shelf: Shelf, down: str, stays: bool
) -> None:
    before = house.agreed()
    house.verifier.fails_once = "confirm" if down == "disable" else ""
    monkeypatch.setattr(publish, "blockers", lambda *_: [])
    shelf.down = {down}
    with pytest.raises(CoffreError):
        house.play("r1", "client")
    assert (house.state.run is not None) == stays
    if stays:
        shelf.down = set()
        assert house.play("r2") == "undone"
    assert changed(before, house.agreed()) == set()


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"coffre-owner": "another"}, "client belongs to the stack another in the vault kept: that one rotates it"),
        ({}, "client has no owner in the vault kept: if nobody else uses it, run 'az keyvault secret set-attributes"),
    ],
)
def test_what_is_not_the_stacks_own_is_not_rotated(
    house: House, shelf: Shelf, tags: dict[str, str], sentence: str
) -> None:
    about, value = shelf.kept["client"][-1]
    shelf.kept["client"][-1] = (replace(about, tags=tags), value)
    with pytest.raises(CoffreError, match=sentence):
        house.play("r1", "client")
    assert house.state.run is None


def test_an_earlier_key_retires_without_the_vault(house: House, shelf: Shelf) -> None:
    """Also where another stack owns the secret there, and rotates it."""
    name, st = "deployment-audit-key", house.state
    house.data["secrets"][-1] |= {"settings": {"keep_days": 31}}
    about, value = shelf.kept[name][-1]
    shelf.kept[name][-1] = (replace(about, tags={"coffre-owner": "another"}), value)
    st.secrets[name].ring = [state.Previous("2" * 32, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")]
    st.services["host"].bundles[st.services["host"].current or ""].files[f"{name}.{'2' * 32}"] = [name]
    chosen = rotation_plan.changes(
        house.catalogue, st, rotation_plan.RotationRequest((), 14), house.source, rotation_plan.present()
    )
    assert {each: why for each, (_, why) in chosen.items()} == {name: "an old version retires"}
    asked = rotation_plan.RotationRequest((name,), 14)
    found = rotation_plan.plan(house.paths, house.catalogue, st, asked, chosen, house.source)
    assert (found.problems, found.unknown) == ([], [])


@pytest.mark.parametrize(
    ("writer", "sentence"),
    [
        (
            {"type": "azure_cli"},
            "A rotation writes to the vault kept from the host, which has no Azure CLI: set write_credential in "
            "stack_secrets_keyvault to an identity that the host has, such as {type: client_certificate, ...}, and "
            "grant that the role 'Key Vault Secrets Officer' on the vault",
        ),
        (
            {"type": "client_certificate", "tenant_id": "t", "client_id": "c", "certificate": "/none.pem"},
            "The client certificate /none.pem is missing: put it there, root's with mode 0400",
        ),
    ],
    ids=["azure_cli", "client_certificate"],
)
def test_a_host_that_cannot_write_is_told_how(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, writer: dict[str, str], sentence: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    vault = {"url": "https://kept.vault.azure.net", "write_credential": writer}
    with pytest.raises(CoffreError, match=re.escape(f"cannot begin, and nothing was changed: {sentence}")):
        planned(monkeypatch, house, source="keyvault", keyvault=vault, secrets=["client"])
    assert house.state.run is None


def test_within_the_lease_nobody_else_may_act(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = crashing(monkeypatch, house, 4, False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    tree = house.paths.state.read_bytes()
    with pytest.raises(CoffreError, match=r"kim has been rotating client since 20.*in run r1; nothing was changed"):
        house.play("r2", "client")
    with pytest.raises(CoffreError, match=r"rotation of client by kim is open since .* run playbooks/rotate.yml"):
        house.stage("r2")
    with pytest.raises(CoffreError, match="is open since"):
        house.roll("r2")
    assert house.paths.state.read_bytes() == tree


def test_plays_of_one_name_are_not_taken_for_one(house: House, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the inventory or the command fixes stack_run."""
    house.play("r0", "client")
    ended = crashing(monkeypatch, house, 6, False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    with pytest.raises(CoffreError, match="kim has been rotating client since"):
        house.play("r1", "client")
    assert house.play("r2", take_over="r1") == "undone"
    before, kept = house.agreed(), copy.deepcopy(shelf.kept)
    for name in ("r0", "r1"):
        with pytest.raises(CoffreError, match=f"stack_run is {name}, as of an earlier rotation; nothing was changed"):
            house.play(name, "client")
    assert (house.agreed(), shelf.kept) == (before, kept)


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power"])
def test_a_secret_that_left_the_catalogue_meanwhile_hinders_no_undo(
    house: House, monkeypatch: pytest.MonkeyPatch, power: bool
) -> None:
    ended = crashing(monkeypatch, house, 6, False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    if power:
        shutil.rmtree(house.paths.run_root)
    house.data["secrets"] = [each for each in house.data["secrets"] if each["name"] != "client-2"]
    assert house.play("r2", take_over="r1", only_open=True) == "undone"
    assert "client-2" not in house.agreed()


def test_a_secret_that_came_into_the_catalogue_meanwhile_waits_for_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = crashing(monkeypatch, house, 6, False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    house.data["secrets"].append(copy.deepcopy(house.data["secrets"][0]) | {"name": "another"})
    with pytest.raises(CoffreError, match="take another out of the catalogue until the rotation is closed"):
        house.play("r2", take_over="r1", only_open=True)
    del house.data["secrets"][-1]
    assert house.play("r3", only_open=True) == "undone"
    house.agreed()


def test_with_a_trail_that_cannot_be_continued_nothing_is_opened_or_taken_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The play would say that nothing was begun, and keep others out for the time of its lease."""
    before, moved = house.agreed(), house.paths.audit.with_name("moved")
    house.paths.audit.mkdir()
    with pytest.raises(CoffreError, match="cannot be continued"):
        planned(monkeypatch, house, secrets=["client"])
    assert house.state.run is None
    house.paths.audit.rmdir()
    ended = crashing(monkeypatch, house, 6, False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    house.paths.audit.rename(moved)
    house.paths.audit.mkdir()
    with pytest.raises(CoffreError, match="cannot be continued"):
        planned(monkeypatch, house, take_over="r1", begin="nothing")
    assert (run := house.state.run) and run.holder == "r1"
    house.paths.audit.rmdir()
    moved.rename(house.paths.audit)
    assert house.play("r2", take_over="r1", only_open=True) == "undone"
    assert house.agreed() == before


@pytest.mark.parametrize(("number", "direction"), [(6, "back"), (12, "forward")])
def test_a_dry_run_tells_which_way_an_open_rotation_would_go(
    house: House, monkeypatch: pytest.MonkeyPatch, number: int, direction: str
) -> None:
    ended = crashing(monkeypatch, house, number, False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    tree = house.paths.state.read_bytes()
    for begin in ("rotation", "nothing"):
        told = planned(monkeypatch, house, check=True, take_over="r1", begin=begin)
        assert told["direction"] == direction
        assert told["diff"]["prepared"] == f"the rotation of client that was left open: {direction}\n"
    assert house.paths.state.read_bytes() == tree


def test_only_its_holder_gives_a_lease_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = crashing(monkeypatch, house, 4, False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    tree = house.paths.state.read_bytes()
    rotation.release(house.paths, house.settings("r2"))
    assert house.paths.state.read_bytes() == tree
    rotation.release(house.paths, house.settings("r1"))
    assert house.play("r2") == "undone"
    rotation.release(house.paths, house.settings("r2"))
    house.agreed()


def test_after_the_lease_the_old_holder_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = crashing(monkeypatch, house, 4, False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    st = house.state
    assert st.run
    st.run.lease_until = state.now(-1)
    state.save(house.paths, st)
    began: list[bytes] = []

    def early(*_: Any) -> None:
        """The play of before, of which nobody knows that it lives, goes on while the new one is at work."""
        with suppress(CoffreError):
            began.append(house.paths.state.read_bytes())
            rotation.perform(house.paths, house.catalogue, "prove", house.settings("r1"))
            pytest.fail("it went on")
        assert house.paths.state.read_bytes() == began[-1]

    with monkeypatch.context() as patch:
        patch.setattr(rotation, "stage", before_it(rotation.stage, early))
        assert house.play("r2") == "undone"
    assert began
    with pytest.raises(CoffreError, match="Another play has taken over"):
        rotation.perform(house.paths, house.catalogue, "prove", house.settings("r1"))
    house.agreed()


def before_it(step: Callable[..., Any], first: Callable[[], None]) -> Callable[..., Any]:
    def done(*given: Any) -> Any:
        first()
        return step(*given)

    return done


def test_the_trail_tells_every_act(house: House) -> None:
    house.play("r1", "client")
    records = [json.loads(line) for line in house.paths.audit.read_bytes().splitlines()]
    told = [(each["act"], each["outcome"]) for each in records if each["event"] == "rotation"]
    assert told[0] == ("none", "opened") and told[-1] == ("refused", "rotated")
    assert [act for act, outcome in told if outcome == "done"] == [
        each for each in state.FORWARD if each != "introduced"
    ]
    assert {(each["secret"], each["run"], each["operator"]) for each in records if each["event"] == "rotation"} == {
        ("client", "r1", "kim")
    }
    verify(house)


def test_values_are_in_no_line_and_no_state(house: House) -> None:
    house.play("r1", *ALL)
    text = "\n".join(house.lines) + house.paths.state.read_text() + house.paths.audit.read_text()
    assert not [value for value in house.agreed().values() if value.decode() in text]
    assert any(line.startswith("issue    client ") and line.endswith("made, taught\n") for line in house.lines)


@pytest.mark.parametrize(
    ("max_age", "before", "age", "expected"),
    [
        (90, 14, 75, False),
        (90, 14, 76, True),
        (90, 14, 400, True),
        (8, 14, 5, False),
        (8, 14, 6, True),
        (90, 0, 89, False),
        (90, 0, 90, True),
        (None, 14, 4000, False),
    ],
)
def test_due(max_age: int | None, before: int, age: int, expected: bool) -> None:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    created = (moment - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    secret = Secret("x", ("app",), "key_ring", max_age_days=max_age)
    date = lifetimes.due(secret, state.Version("1" * 32, created), before, moment)
    assert (date is not None and date <= moment) == expected


@pytest.mark.parametrize(
    ("strategy", "generate"), [("key_ring", None), ("replace", Generate("random")), ("replace", None)]
)
@pytest.mark.parametrize(("ahead", "expected"), [(timedelta(minutes=4), False), (timedelta(minutes=6), True)])
@pytest.mark.parametrize("max_age", [None, 90])
def test_what_a_clock_that_was_ahead_has_dated_is_due(
    strategy: str, generate: Generate | None, ahead: timedelta, expected: bool, max_age: int | None
) -> None:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    secret = Secret("x", ("app",), strategy, max_age_days=max_age, generate=generate)
    record = state.Version("1" * 32, (moment + ahead).strftime("%Y-%m-%dT%H:%M:%SZ"))
    date = lifetimes.due(secret, record, 14, moment)
    mine = strategy == "replace" and generate is None
    assert (date is not None and date <= moment) == (expected and not mine)


@pytest.mark.parametrize(("later", "leased"), [(-1, False), (100, True), (200, True), (300, False), (31536000, False)])
def test_a_lease_of_a_clock_that_was_ahead_keeps_nobody_out(
    house: House, monkeypatch: pytest.MonkeyPatch, later: int, leased: bool
) -> None:
    ended = crashing(monkeypatch, house, 3, before=False)
    with pytest.raises(Crash):
        house.play("r1", "client")
    assert ended()
    st = house.state
    assert st.run
    st.run.lease, st.run.lease_until = 120.0, state.now(later)
    state.save(house.paths, st)
    if leased:
        with pytest.raises(CoffreError, match="wait until it is done"):
            house.play("r2", only_open=True)
        return
    assert house.play("r2", only_open=True) == "undone"


@pytest.mark.parametrize(("before", "expected"), [(10, True), (9, False)])
def test_a_date_of_the_source_counts_too(before: int, expected: bool) -> None:
    record = state.Version("1" * 32, "2026-08-01T00:00:00Z", expires="2026-12-04T00:00:00Z")
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    for max_age in (None, 365):
        secret = Secret("x", ("app",), "key_ring", max_age_days=max_age)
        date = lifetimes.due(secret, record, before, moment)
        assert date and (date <= moment) == expected


def test_metrics_tell_ages_ends_and_the_last_rotation(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "one")
    house.data["secrets"][0]["max_age_days"] = 90
    house.play("r1", "client")
    target = Target(house.paths, house.catalogue, (), None, History(None, (), ""))
    told = metrics.of_secrets(target, lives.lives(target, 14))
    text = metrics.exposition("trial", "demo", told)
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    client = '{env="trial",host="one",stack="demo",secret="client",strategy="keycloak_client"}'
    created = float(samples[f"coffre_secret_created_timestamp_seconds{client}"])
    assert float(samples[f"coffre_secret_expiry_timestamp_seconds{client}"]) == created + 90 * 86400
    assert float(samples[f"coffre_secret_due_timestamp_seconds{client}"]) == created + 76 * 86400
    assert 0 <= float(samples[f"coffre_secret_last_rotation_timestamp_seconds{client}"]) - created < 60
    assert float(samples[f"coffre_secret_age_seconds{client}"]) < 60
    assert sum(name.startswith("coffre_secret_last_rotation") for name in samples) == 1
    assert samples['coffre_rotation_open{env="trial",host="one",stack="demo"}'] == "0"
    kinds = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE")]
    assert [name for name, kind in kinds if kind == "gauge"] == list(dict.fromkeys(s.split("{")[0] for s in samples))


@pytest.mark.parametrize("failing", [False, True], ids=["forward", "back"])
def test_a_rotation_is_closed_only_when_the_stack_works(
    house: House, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    asked: list[set[str]] = []

    def down(paths: StackPaths, services: set[str], seconds: float) -> str:
        assert (paths, seconds) == (house.paths, 0.0)
        asked.append(services)
        return "demo-keycloak-1: it is starting after 180 s"

    sentence = r"All have their values, but the stack does not work: demo-keycloak-1: it is starting after 180 s\."
    before = house.agreed()
    house.verifier.down = {"confirm"} if failing else set()
    with monkeypatch.context() as patch:
        patch.setattr(rollout, "steady", down)
        with pytest.raises(CoffreError, match="only goes forward" if not failing else "confirm"):
            house.play("r1", "client")
    house.verifier.down = set()
    with monkeypatch.context() as patch:
        patch.setattr(rollout, "steady", down)
        with pytest.raises(CoffreError, match="only goes forward" if not failing else sentence):
            house.play("r2")
        with pytest.raises(CoffreError, match=sentence):
            rotation.close(house.paths, house.catalogue, house.settings("r2"))
    assert house.play("r3", take_over="r1") == ("undone" if failing else "rotated")
    assert changed(before, house.agreed()) == (set() if failing else {"client"})
    assert {frozenset(each) for each in asked} == {frozenset({"app"})}


@pytest.mark.parametrize("step", ["prove", "close"])
def test_what_outlasts_the_lease_renews_it(house: House, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A play that waits for the lock would otherwise take over between two steps."""
    later = [0.0]
    clock = SimpleNamespace(**vars(time) | {"time": lambda: time.time() + later[0]})
    monkeypatch.setattr(state, "time", clock)

    def slow(*_: object) -> str:
        later[0] += 500
        return "not ready"

    def dies(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Both, "prove" if step == "prove" else "refused", dies)
        with pytest.raises(Crash):
            planned(monkeypatch, house, secrets=["client"])
    monkeypatch.setattr(Both, "prove", slow)
    monkeypatch.setattr(rollout, "steady", slow)
    if step == "prove":
        rotation.perform(house.paths, house.catalogue, "prove", house.settings("r9"))
    else:
        with pytest.raises(CoffreError, match="not ready"):
            rotation.close(house.paths, house.catalogue, house.settings("r9"))
    assert (run := house.state.run) and run.lease_until > state.now(100)


def test_nothing_due_is_nothing_done(house: House) -> None:
    before = house.paths.state.read_bytes()
    assert house.play("r1") == "nothing"
    assert house.paths.state.read_bytes() == before


def test_nothing_due_tells_what_is_next(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(monkeypatch, house)["next"] == {}
    st = house.state
    made = datetime.now(UTC).replace(microsecond=0)
    for name, days in (("client", 90), ("admin", 91)):
        house.data["secrets"][[each["name"] for each in house.data["secrets"]].index(name)]["max_age_days"] = days
        st.secrets[name].created = made.strftime("%Y-%m-%dT%H:%M:%SZ")
    state.save(house.paths, st)
    told, date = planned(monkeypatch, house), made + timedelta(days=76)
    assert (told["changed"], told["next"]) == (False, {"secret": "client", "date": f"{date:%Y-%m-%d}"})
    retires = made + timedelta(days=20)
    st.secrets["deployment-audit-key"].ring = [
        state.Previous("1" * 32, "2026-01-01T00:00:00Z", retires.strftime("%Y-%m-%dT%H:%M:%SZ"))
    ]
    found = rotation_plan.coming(house.catalogue, st, rotation_plan.RotationRequest((), 14))
    assert found == (retires, "deployment-audit-key")


@pytest.mark.parametrize("begin", ["rotation", "nothing"])
def test_the_next_play_collects_what_a_closed_run_left_sealed(
    house: House, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rotation, "collect", lambda *_: None)  # killed right after the state was written
        house.play("r1", "client")
    assert len([*house.paths.sealed.glob("client.r1.*.cred")]) == 2
    told = planned(monkeypatch, house, check=True, begin=begin)
    assert not told["changed"] and [*house.paths.sealed.glob("client.r1.*.cred")]
    told = planned(monkeypatch, house, begin=begin)
    assert (told["changed"], told["outcome"]) == (True, "nothing")
    house.agreed()
    assert not planned(monkeypatch, house, begin=begin)["changed"]


def planned(monkeypatch: pytest.MonkeyPatch, house: House, check: bool = False, **asked: Any) -> dict[str, Any]:
    """What the module says."""
    monkeypatch.setattr(module, "StackPaths", lambda _, **__: house.paths)
    catalogue, file = described.split(house.data)
    params: dict[str, Any] = {"stack": "demo", "catalogue": catalogue, "compose_file": file, "images": {}}
    params |= {"source": "demo", "keyvault": None, "hosts": 1, "begin": "rotation", "take_over": ""}
    params |= {"secrets": [], "before_days": 14, "lease_seconds": 120, "run": "r9", "operator": "kim", "timeout": 180}
    params |= {"require_noswap": False, "seal_key": "host", "rollout_timeout": 180, "engine": "compose"}
    return module.work(params | asked, check)


def test_the_module_tells_the_plan_and_what_was_done(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    told = planned(monkeypatch, house, secrets=["client"])
    assert (told["outcome"], told["direction"], told["changed"]) == ("rotated", "forward", True)
    assert "failed" not in told and not told["warnings"]
    said = told["diff"]["prepared"].splitlines()
    acts = [line.split()[0] for line in said[2:]]
    assert acts == ["issue", "prove", "publish", *["adopt"] * (len(acts) - 5), "rollout", "retire"]
    assert "rollout  app: start_first, bundle, 4.2 s" in said
    assert said[-1].startswith("retire   client ")
    assert told["secrets"]["client"]["new"] == house.state.secrets["client"].version
    house.agreed()


def test_what_fails_is_told_with_what_was_done_and_what_became_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = house.agreed()
    house.verifier.fails_once = "prove"
    told = planned(monkeypatch, house, secrets=["client"])
    assert (told["outcome"], told["failed"]) == ("undone", True)
    assert told["msg"] == (
        "The rotation of client is undone and all is as before, the old values were seen to work everywhere: no answer"
    )
    lines = [line.split()[0] for line in told["diff"]["prepared"].splitlines()[2:]]
    assert (lines[0], lines[-1]) == ("issue", "retire")
    assert house.agreed() == before


def test_what_stays_open_is_told_with_both_causes_once_and_what_to_do(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.verifier.down = {"prove"}
    told = planned(monkeypatch, house, secrets=["client"])
    assert (told["outcome"], told["failed"]) == ("open", True)
    assert told["msg"] == (
        "The verifier gives no answer to prove. The rotation r9 of client stays open: mend the cause, then run "
        "playbooks/rotate.yml, or site.yml, which finishes or undoes it."
    )
    assert (run := house.state.run) and not run.leased and run.direction == "back"
    house.verifier.down = set()
    told = planned(monkeypatch, house, run="r10", begin="nothing")
    assert (told["outcome"], told["taken_over"], told["direction"], "failed" in told) == ("undone", True, "back", False)
    house.agreed()


class Unexpected(Exception):
    """What no part of the core raises."""


ACTS = ["make", "teach", "prove", "confirm", "withdraw", "refused"]


@pytest.mark.parametrize("failure", [CoffreError("no."), Unexpected("canary"), OSError(28, "canary"), Crash("canary")])
@pytest.mark.parametrize("forward", [True, False], ids=["forward", "back"])
@pytest.mark.parametrize("act", ACTS)
def test_whatever_fails_in_an_act_ends_as_the_first_withdrawal_decides(
    house: House, monkeypatch: pytest.MonkeyPatch, act: str, forward: bool, failure: BaseException
) -> None:
    """On the way back, too: there a failure leaves the run open, for the next play to finish."""
    before, late = house.agreed(), act in ("withdraw", "refused")
    if not forward:
        house.fails = {"app"}

    def fails(*_: Any) -> None:
        run = house.state.run
        if run and run.direction == ("forward" if forward else "back"):
            raise failure

    with monkeypatch.context() as patch:
        patch.setattr(Both, act, fails)
        with suppress(Crash):
            told = planned(monkeypatch, house, secrets=list(MIXED))
    house.fails = set()
    undone = forward and not late
    if not forward and act in ("make", "teach"):
        assert told["outcome"] == "undone"  # the way back has no such act
    elif isinstance(failure, Crash):
        assert house.state.run
    else:
        assert (told["outcome"], told["failed"]) == ("undone" if undone else "open", True)
        assert "canary" not in told["msg"]
        assert (house.state.run is None) == undone
    if house.state.run:
        told = planned(monkeypatch, house, run="r10", begin="nothing", take_over="r9")
        assert told["outcome"] == ("rotated" if forward and late else "undone")
    assert changed(before, house.agreed()) == (set(MIXED) if forward and late else set())
    verify(house)


@pytest.mark.parametrize("left", ["closed", "taken over"])
@pytest.mark.parametrize("number", range(2, 8))
def test_a_play_that_finds_its_run_gone_once_it_has_the_lock_changes_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, number: int, left: str
) -> None:
    """Frozen before the lock, it wakes up when another has done its work."""
    locked, seen, asked = state.locked, list[bytes](), list[int]()

    @contextmanager
    def frozen(paths: StackPaths) -> Iterator[None]:
        with locked(paths):
            asked.append(1)
            if len(asked) == number:
                st = state.load(paths)
                assert st.run
                st.run = None if left == "closed" else replace(st.run, holder="r10")
                state.save(paths, st)
                seen.append(paths.state.read_bytes())
            yield

    monkeypatch.setattr(state, "locked", frozen)
    told = planned(monkeypatch, house, secrets=["client"])
    assert (told["outcome"], told["failed"]) == ("open", True)
    assert "Another play has taken over" in told["msg"]
    assert house.paths.state.read_bytes() == seen[0]
    assert len(asked) > number  # it has tried to turn back, or to give up its lease, and left that, too


def test_all_that_are_due_go_in_one_run(house: House) -> None:
    st = house.state
    for name in ("client", "admin"):
        house.data["secrets"][[each["name"] for each in house.data["secrets"]].index(name)]["max_age_days"] = 90
        st.secrets[name].created = "2026-01-01T00:00:00Z"
    state.save(house.paths, st)
    before = house.agreed()
    assert house.play("r1") == "rotated"
    assert changed(before, house.agreed()) == {"client", "admin"}


def test_a_secret_that_nobody_knows_is_refused_and_nothing_changes(house: House) -> None:
    with pytest.raises(
        CoffreError, match="nothing was changed: the catalogue has no secret clint: name some of client, "
    ):
        house.play("r1", "clint", "client")
    assert house.state.run is None


def test_several_hosts_put_nothing_into_one_vault(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = {"url": "https://kept.vault.azure.net"}
    with pytest.raises(CoffreError, match="2 hosts would each put a version of their own into the one vault"):
        planned(monkeypatch, house, source="keyvault", keyvault=vault, hosts=2)
    assert house.state.run is None


def test_a_dry_run_shows_the_table_beside_what_hinders(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_plan, "_stack", lambda *_: (["the app does not run: run site.yml"], {"app"}))
    told = planned(monkeypatch, house, check=True, secrets=["client"])
    header, row = told["diff"]["prepared"].splitlines()
    assert (header.split(), row.split()[0]) == ([*rotation_plan.COLUMNS], "client")
    sentence = "The rotation cannot begin, and nothing was changed: the app does not run: run site.yml."
    assert (told["outcome"], told["failed"], told["msg"]) == ("refused", True, sentence)
    with pytest.raises(CoffreError, match="the app does not run"):
        planned(monkeypatch, house, secrets=["client"])
    assert house.state.run is None


@pytest.mark.parametrize("name", ["ci_42", "ci/42", "build.42", "x" * 41])
def test_a_run_whose_values_could_not_be_told_from_foreign_files_is_refused(house: House, name: str) -> None:
    before = house.agreed()
    with pytest.raises(CoffreError, match=r"stack_run is '.*'; nothing was changed: name a rotation by 1 to 40 of"):
        house.play(name, "admin", "client")
    assert house.agreed() == before


def test_where_nothing_is_deployed_nothing_is_rotated_or_made(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.paths = StackPaths("another", house.paths.run_root, house.paths.lib_root)
    with pytest.raises(
        CoffreError,
        match=r"nothing was changed: nothing of another is deployed on this host: run playbooks/site.yml first",
    ):
        planned(monkeypatch, house)
    assert planned(monkeypatch, house, begin="nothing")["outcome"] == "nothing"
    assert not house.paths.lib.exists()


def test_a_service_that_has_not_adopted_hinders(house: House) -> None:
    house.data["secrets"].append(copy.deepcopy(house.data["secrets"][0]) | {"name": "another"})
    house.stage("")
    with pytest.raises(CoffreError, match=r"app has not adopted what the catalogue says: run playbooks/site.yml first"):
        house.play("r1", "client")


def test_an_open_overlap_hinders(house: House) -> None:
    house.verifier.accepted["client"].add(b"somebody else's")
    with pytest.raises(CoffreError, match="client has an open overlap"):
        house.play("r1", "client")
    assert house.state.run is None


def test_the_plan_is_a_table(house: House) -> None:
    asked = rotation_plan.RotationRequest(("database", "admin"), 14)
    chosen = rotation_plan.changes(house.catalogue, house.state, asked, house.source, rotation_plan.present())
    plan = rotation_plan.plan(house.paths, house.catalogue, house.state, asked, chosen, house.source)
    lines = plan.table().splitlines()
    version = {name: house.state.secrets[name].version[:8] for name in asked.names}
    assert [line.split() for line in lines] == [
        ["secret", "version", "age", "expires", "strategy", "rolls", "why"],
        ["admin", version["admin"], "0", "d", "-", "keycloak_user", "-", "named"],
        ["database", version["database"], "0", "d", "-", "postgres_role", "keycloak", "named"],
    ]


def test_what_a_rotation_puts_right_stands_below_its_table_and_hinders_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.verifier, "told", [Aside("Somebody gave it another secret.")])
    told = planned(monkeypatch, house, check=True, secrets=["client"])
    assert told["diff"]["prepared"].splitlines()[2] == "client: Somebody gave it another secret."
    assert (told["outcome"], "failed" in told) == ("open", False)
    monkeypatch.setattr(house.verifier, "told", ["It is disabled: run site.yml.", "It is disabled: run site.yml."])
    told = planned(monkeypatch, house, check=True, secrets=["client", "admin"])
    assert told["msg"] == "The rotation cannot begin, and nothing was changed: It is disabled: run site.yml."
