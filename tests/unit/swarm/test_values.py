"""Values on a swarm: what their objects are called, when one is made, and when it goes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError, SealError
from ansible_collections.coffre.stack.plugins.module_utils.host import (
    bundles,
    escrow,
    objects,
    raft,
    rings,
    state,
    tasks,
)
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rotation import run
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.staging import stage as staging
from tests.unit import described
from tests.unit.swarm.managers import Managers

RANDOM = {"type": "random", "bytes": 16}
DATA: dict[str, Any] = {
    "secrets": [
        {"name": "ring", "consumers": ["app", "host"], "generate": RANDOM, "strategy": "key_ring"},
        {"name": "password", "consumers": ["client"], "generate": RANDOM, "strategy": "replace"},
    ],
    "services": [
        {"name": "app", "uid": 60611, "gid": 60611, "adopt": "start_first"},
        {
            "name": "client",
            "uid": 60612,
            "gid": 60612,
            "adopt": "restart",
            "files": [{"name": "client.conf", "alphabet": "A-Za-z0-9_-", "template": "password=@{password}\n"}],
        },
    ],
}


@pytest.fixture
def catalogue() -> Catalogue:
    return described.parse(DATA)


def stage(paths: StackPaths, catalogue: Catalogue, check: bool = False) -> dict[str, Any]:
    with state.locked(paths):
        options = staging.StagingOptions(check=check)
        return staging.stage(paths, catalogue, lambda *given: Demo("demo").resolve(catalogue, *given), options)


def adopt(paths: StackPaths) -> None:
    with state.locked(paths):
        st = state.load(paths)
        for service in st.services:
            bundles.promote(paths, st, service)


def test_staging_keeps_each_value_once_and_the_second_time_none(
    paths: StackPaths, managers: Managers, catalogue: Catalogue
) -> None:
    assert stage(paths, catalogue)["changed"]
    st = state.load(paths)
    (ring, password), client = (st.secrets[name].version for name in ("ring", "password")), st.services["client"].next
    assert managers.names == {f"demo.{ring}", f"demo.{password}", f"demo.{client}.0"}
    assert managers.value(f"demo.{client}.0") == b"password=" + managers.value(f"demo.{password}") + b"\n"
    adopt(paths)
    before = dict(managers.secrets)
    objects._known.clear()  # another module
    assert not stage(paths, catalogue)["changed"]
    assert managers.secrets == before


def test_no_label_of_an_object_tells_of_its_value(paths: StackPaths, managers: Managers, catalogue: Catalogue) -> None:
    stage(paths, catalogue)
    assert {str(each["Spec"]["Labels"]) for each in managers.secrets.values()} == {"{'coffre.stack': 'demo'}"}


def test_a_check_keeps_nothing(paths: StackPaths, managers: Managers, catalogue: Catalogue) -> None:
    assert stage(paths, catalogue, check=True)["changed"]
    assert (managers.secrets, state.load(paths)) == ({}, state.State("demo"))


def test_a_crash_before_the_state_leaves_objects_that_the_next_collection_removes(
    paths: StackPaths, managers: Managers, catalogue: Catalogue
) -> None:
    objects.keep(paths, {"0" * 32: b"of a run that died"})
    stage(paths, catalogue)
    adopt(paths)
    with state.locked(paths):
        st = state.load(paths)
        bundles.collect(paths, st, set())
    assert f"demo.{'0' * 32}" not in managers.names
    assert len(managers.names) == 3


def test_what_a_run_that_was_killed_at_its_end_left_goes_with_the_next_one(
    paths: StackPaths, managers: Managers, catalogue: Catalogue
) -> None:
    stage(paths, catalogue)
    adopt(paths)
    named = set(managers.names)
    objects.keep(paths, {"0" * 32: b"of before"})
    with state.locked(paths):
        assert not escrow.collect(paths, state.State("demo"))  # without a state nobody knows what is whose
        assert escrow.collect(paths, state.load(paths))
        assert not escrow.collect(paths, state.load(paths))
    assert set(managers.names) == named


def test_a_version_that_a_vault_calls_anew_has_its_object(
    paths: StackPaths, managers: Managers, catalogue: Catalogue
) -> None:
    """Undone, a rotation has the old value in the vault as a new version."""
    stage(paths, catalogue)
    adopt(paths)
    st = state.load(paths)
    old = st.secrets["password"]
    renamed = replace(old, version="1" * 32)
    given = SimpleNamespace(
        paths=paths,
        state=st,
        run=SimpleNamespace(direction="back"),
        secret=catalogue.secrets["password"],
        change=state.Change("replace", old, replace(old, version="2" * 32)),
        value=lambda _: managers.value(f"demo.{old.version}"),
    )
    with state.locked(paths):
        run._publish(cast(Any, given), cast(Any, SimpleNamespace(take_back=lambda _: renamed)))
    st = state.load(paths)
    assert st.secrets["password"] == renamed
    assert managers.value(f"demo.{renamed.version}") == managers.value(f"demo.{old.version}")
    mounted = {called for each in st.services.values() for called in bundles_of(each)}
    assert mounted <= {each.removeprefix("demo.") for each in managers.names}


def bundles_of(entry: state.ServiceState) -> set[str]:
    """What the objects of a service's bundles are called."""
    return {each for name, about in entry.bundles.items() for each in objects.references(name, about).values()}


def test_a_key_of_a_service_on_every_node_is_known_to_all_before_one_signs(catalogue: Catalogue) -> None:
    app, client = DATA["services"]
    everywhere = described.parse({**DATA, "services": [{**app, "compose": {"deploy": {"mode": "global"}}}, client]})
    assert [rings.shared(each, each.secrets["ring"]) for each in (catalogue, everywhere)] == [False, True]


def test_what_a_service_still_mounts_stays_until_it_does_not(paths: StackPaths, managers: Managers) -> None:
    objects.keep(paths, {"a": b"1", "b": b"2"})
    managers.mounted = {"demo.a"}
    with state.locked(paths):
        assert objects.forget(paths, set(), None)
        assert managers.names == {"demo.a"}
        assert not objects.forget(paths, set(), None)


def test_who_was_taken_over_forgets_nothing(paths: StackPaths, managers: Managers) -> None:
    """The other run may have made it, and not had it mounted yet."""
    objects.keep(paths, {"a": b"1"})
    with pytest.raises(CoffreError, match="Another run has taken over stack demo"), state.locked(paths):
        (record,) = managers.configs.values()
        record["Spec"]["Labels"][raft.LOCK] = "another 00"
        objects.forget(paths, set(), None)
    assert managers.names == {"demo.a"}


def test_what_the_reader_has_goes_after_it(
    paths: StackPaths, managers: Managers, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.keep(paths, {"a": b"1", "b": b"2", "c": b"3"})
    managers.mounted = {"demo.a", "demo.b"}
    monkeypatch.setitem(objects._readers, paths.stack, objects.Reader("reader", 1, frozenset("ab"), frozenset()))
    with state.locked(paths):
        assert objects.forget(paths, {"b"}, None)
    assert managers.names == {"demo.a", "demo.b"}
    monkeypatch.setattr(tasks, "stop", lambda _: managers.mounted.clear())
    objects.dismiss(paths)
    objects.dismiss(paths)
    assert managers.names == {"demo.b"}


def test_the_values_of_an_open_rotation_stay_and_go_with_it(paths: StackPaths, managers: Managers) -> None:
    escrow.seal(paths, "run-1", "ring", "new", b"next")
    assert escrow.has(paths, "run-1", "ring", "new")
    assert not escrow.has(paths, "run-1", "ring", "old")
    assert escrow.unseal(paths, "run-1", "ring", "new") == b"next"
    with pytest.raises(SealError, match="no old value of ring of the rotation run-1"):
        escrow.unseal(paths, "run-1", "ring", "old")
    with state.locked(paths):
        assert not objects.forget(paths, set(), "run-1")
        assert escrow.collect(paths, state.State("demo"))
    assert managers.secrets == {}


def test_values_of_another_stack_are_nobodys_here(paths: StackPaths) -> None:
    objects.keep(StackPaths("demo-2", engine="swarm"), {"a": b"1"})
    assert objects.there(paths) == {}
    with pytest.raises(SealError, match=r"has no secret demo\.a"):
        objects.values(paths, ["a"])


@pytest.mark.parametrize("called", ["", "-a", "a" * 33, "a/b", "a b", "a."])
def test_a_version_that_can_be_no_name_is_refused(paths: StackPaths, managers: Managers, called: str) -> None:
    with pytest.raises(SealError, match="cannot be the name of a Swarm secret"):
        objects.keep(paths, {called: b"1"})
    assert managers.secrets == {}


def test_a_bundle_that_cannot_be_read_whole_is_made_anew(
    paths: StackPaths, managers: Managers, catalogue: Catalogue
) -> None:
    stage(paths, catalogue)
    adopt(paths)
    version = state.load(paths).secrets["password"].version
    objects._known.clear()
    managers.ask("DELETE", f"/secrets/demo.{version}")
    assert stage(paths, catalogue)["new"]


def test_what_the_catalogue_no_longer_gives_is_told_in_words_of_a_swarm(
    paths: StackPaths, catalogue: Catalogue
) -> None:
    stage(paths, catalogue)
    adopt(paths)
    st, less = (
        state.load(paths),
        described.parse({**DATA, "secrets": DATA["secrets"][:1], "services": DATA["services"][:1]}),
    )
    (told,) = bundles.unwanted(paths, st, less)
    assert told.startswith("client still has password") and told.endswith(
        "because it is no service of the catalogue, and may be on the swarm still: docker service rm demo_client, and "
        "playbooks/site.yml removes them for good"
    )
    assert "tmpfs" not in told


def test_files_are_called_after_versions_and_composed_ones_after_their_bundle() -> None:
    about = state.Bundle(
        {"b.conf": ["x"], "x": ["x"], f"x.{'1' * 32}": ["x"], "a.conf": ["x"]}, {"x": "2" * 32}, "", 1, 1
    )
    assert objects.references("0a1b2c3d4e5f", about) == {
        "a.conf": "0a1b2c3d4e5f.0",
        "b.conf": "0a1b2c3d4e5f.1",
        "x": "2" * 32,
        f"x.{'1' * 32}": "1" * 32,
    }
