"""Key rings: what is kept, for how long, where it lies, and when it goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, rings, state
from ansible_collections.coffre.stack.plugins.module_utils.host import escrow as rotation_values
from ansible_collections.coffre.stack.plugins.module_utils.host.state import Previous

A, B, C, D = (letter * 32 for letter in "abcd")
NOW = "2026-01-31T00:00:00Z"
BEFORE = "2026-01-30T00:00:00Z"
IN_31_DAYS = "2026-03-03T00:00:00Z"
IN_A_YEAR = "2027-01-31T00:00:00Z"
CANARY = "canary-of-a-ring"


def _secret(**settings: Any) -> catalogues.Secret:
    return catalogues.Secret("key", ("app",), "key_ring", settings=settings)


@pytest.mark.parametrize(
    ("settings", "ring", "current", "used", "expected"),
    [
        pytest.param({}, [], B, True, [(A, IN_31_DAYS)], id="the version before is kept"),
        pytest.param({}, [], A, True, [], id="nothing new"),
        pytest.param({}, [], B, False, [], id="one that nobody used is not"),
        pytest.param({"keep_days": None}, [], B, True, [(A, None)], id="for good"),
        pytest.param({"keep_days": 0}, [(B, IN_A_YEAR)], C, True, [], id="not at all"),
        pytest.param({}, [(B, BEFORE), (C, NOW)], A, True, [], id="due"),
        pytest.param({}, [(B, IN_31_DAYS)], A, True, [(B, IN_31_DAYS)], id="not due"),
        pytest.param({}, [(B, IN_31_DAYS)], B, True, [(A, IN_31_DAYS)], id="undone"),
        pytest.param({}, [(B, BEFORE), (C, IN_31_DAYS)], D, True, [(A, IN_31_DAYS), (C, IN_31_DAYS)], id="both"),
        pytest.param({}, [(B, IN_A_YEAR), (C, None)], A, True, [(B, IN_31_DAYS), (C, IN_31_DAYS)], id="shorter"),
        pytest.param({"keep_days": None}, [(B, IN_31_DAYS)], A, True, [(B, IN_31_DAYS)], id="never longer"),
    ],
)
def test_after(
    settings: dict[str, Any],
    ring: list[tuple[str, str | None]],
    current: str,
    used: bool,
    expected: list[tuple[str, str | None]],
) -> None:
    before = state.Version(A, "", ring=[Previous(version, "", retires) for version, retires in ring])
    found = rings.after(_secret(**settings), before, current, NOW, used)
    assert [(each.version, each.retires) for each in found] == expected


def test_only_a_key_ring_has_a_ring() -> None:
    secret = catalogues.Secret("key", ("app",), "replace")
    assert rings.after(secret, state.Version(A, ""), B, NOW) == []


def test_what_is_due() -> None:
    before = state.Version(A, "", ring=[Previous(B, "", IN_31_DAYS), Previous(C, "", BEFORE)])
    assert rings.retiring(_secret(), before, NOW) == [C]
    assert rings.retiring(_secret(keep_days=0), before, NOW) == [B, C]


@pytest.mark.parametrize(
    ("name", "version"),
    [(f"api-key.{A}", A), (f"api-key-2.{A}", None), ("api-key", None), ("api-key.conf", None), (f"api-key.{A}a", None)],
)
def test_names_of_files(name: str, version: str | None) -> None:
    assert rings.version(name, "api-key") == version


@pytest.fixture
def ringed(stack: Any) -> Any:
    """A stack of the operator's values whose api-key was replaced twice; its neighbour is called alike."""
    stack.supplied = {name: b"v" for name in ("api-key", "api-key-2", "blob", "db-password", "tls")}
    for number in range(3):
        _replace(stack, number)
    return stack


def _replace(stack: Any, number: int) -> None:
    stack.supplied["api-key"] = f"{CANARY}-{number}".encode()
    stack.stage()
    stack.adopt()


def _files(stack: Any) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in stack.folder("app").iterdir()}


def test_earlier_values_are_files_beside_the_current_one(ringed: Any) -> None:
    secret = ringed.state.secrets["api-key"]
    assert len(secret.ring) == 2
    assert _files(ringed) == {
        "api-key": b"canary-of-a-ring-2",
        f"api-key.{secret.ring[0].version}": b"canary-of-a-ring-1",
        f"api-key.{secret.ring[1].version}": b"canary-of-a-ring-0",
        "api-key-2": b"v",
        "blob": b"v",
    }
    assert ringed.state.secrets["api-key-2"].ring == ringed.state.secrets["blob"].ring == []
    assert CANARY not in json.dumps(ringed.outputs) + ringed.paths.state.read_text()


def test_nothing_changes_by_itself(ringed: Any) -> None:
    before = ringed.tree()
    assert not ringed.stage()["changed"]
    assert ringed.tree() == before


def test_the_ring_survives_a_reboot_and_a_lost_seal(ringed: Any) -> None:
    before = _files(ringed)
    bundles.remove(ringed.paths.run)
    ringed.stage()
    assert _files(ringed) == before
    ringed.paths.seal("app", ringed.state.services["app"].current).unlink()
    ringed.stage()
    assert _files(ringed) == before


def test_all_values_by_version(ringed: Any) -> None:
    st = ringed.state
    secret = st.secrets["api-key"]
    versions = [secret.version, *(each.version for each in secret.ring)]
    assert bundles.versions(ringed.paths, st, "app", "api-key") == {
        version: f"canary-of-a-ring-{number}".encode() for version, number in zip(versions, (2, 1, 0), strict=True)
    }
    assert bundles.versions(ringed.paths, st, "app", "unknown") == bundles.versions(ringed.paths, st, "none", "x") == {}


def test_a_version_that_is_due_goes_and_its_bundle_with_it(ringed: Any) -> None:
    st = ringed.state
    gone = st.secrets["api-key"].ring[1]
    gone.retires = BEFORE
    state.save(ringed.paths, st)
    result = ringed.stage()
    assert [name.partition("/")[0] for name in result["new"]] == ["app"]
    ringed.adopt()
    assert [each.version for each in ringed.state.secrets["api-key"].ring] == [st.secrets["api-key"].ring[0].version]
    assert f"api-key.{gone.version}" not in _files(ringed)
    assert gone.version not in bundles.versions(ringed.paths, ringed.state, "app", "api-key")


def test_a_value_put_back_leaves_the_ring_and_the_other_enters(ringed: Any) -> None:
    before = ringed.state.secrets["api-key"]
    _replace(ringed, 1)
    after = ringed.state.secrets["api-key"]
    assert len(after.ring) == 3  # the operator's value is a new version, whatever it was called before
    assert after.ring[0].version == before.version


def test_values_that_a_service_does_not_need_stay_sealed(stack: Any) -> None:
    stack.data["secrets"][0]["settings"] = {"keep_days": None, "mount_previous": False}
    stack.supplied = {name: b"v" for name in ("api-key", "api-key-2", "blob", "db-password", "tls")}
    for number in range(2):
        _replace(stack, number)
    secret = stack.state.secrets["api-key"]
    assert secret.ring[0].retires is None
    assert set(_files(stack)) == {"api-key", "api-key-2", "blob"}
    assert bundles.versions(stack.paths, stack.state, "app", "api-key") == {
        secret.version: b"canary-of-a-ring-1",
        secret.ring[0].version: b"canary-of-a-ring-0",
    }
    assert not stack.stage()["changed"]


@pytest.mark.parametrize("exposed", [[], ["app"]])
def test_an_undone_version_stays_if_a_container_may_have_used_it(ringed: Any, exposed: list[str]) -> None:
    st = ringed.state
    old, value = st.secrets["api-key"], ringed.supplied["api-key"]
    ringed.supplied["api-key"] = b"canary-aborted"
    ringed.stage()
    st = ringed.state
    change = state.Change("key_ring", old, st.secrets["api-key"], step="adopted")
    st.run = state.Run("r1", "r1", "operator", NOW, NOW, {"api-key": change}, direction="back", exposed=exposed)
    rotation_values.seal(ringed.paths, "r1", "api-key", "old", value)
    state.save(ringed.paths, st)
    ringed.stage()
    kept = {each.version for each in ringed.state.secrets["api-key"].ring}
    assert ringed.state.secrets["api-key"].version == old.version
    assert (change.new.version in kept) == (b"canary-aborted" in _files(ringed).values()) == bool(exposed)
    assert {each.version for each in old.ring} < kept | {change.new.version}


def test_a_lost_earlier_value_is_told(ringed: Any) -> None:
    st = ringed.state
    st.secrets["api-key"].ring.append(Previous(D, NOW, None))
    state.save(ringed.paths, st)
    result = ringed.stage()
    assert result["warnings"] == [
        f"The earlier version {D} of api-key cannot be had any more: what was signed with it is no longer accepted."
    ]
    assert not ringed.stage()["warnings"]
