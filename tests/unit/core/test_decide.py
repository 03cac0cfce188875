"""What staging decides, in memory alone: no file is made, read or looked at."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.sources.base import Resolved
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.staging.decide import StagingPlan, decide, of_the_run
from ansible_collections.coffre.stack.plugins.module_utils.staging.holdings import Host, Key
from ansible_collections.coffre.stack.plugins.module_utils.staging.inspect import Deviations, Inspection
from tests.unit import described

from .conftest import CATALOGUE

EVERY = {"app", "db-client", "proxy", "host"}


def settled() -> tuple[Host, Resolved]:
    """A host that has adopted all that a first run decided, and the values of it."""
    catalogue = described.parse(CATALOGUE)
    empty = Host(state.State("demo"), {}, (), {}, {})
    resolved = Demo("demo").resolve(catalogue, {}, {})
    plan = decide(empty, Inspection(True, {}, Deviations()), catalogue, resolved)
    st = copy.deepcopy(plan.state)
    for entry in st.services.values():
        entry.current, entry.next = entry.staged, None
    return Host(st, {(each.service, each.name): each.content for each in plan.made}, (), {}, {}), resolved


def decided(host: Host, seen: dict[Key, Deviations] | None, data: Any = CATALOGUE, empty: bool = False) -> StagingPlan:
    """With nothing to be seen of the bundles that are not given."""
    catalogue = described.parse(data)
    looks = {} if empty else {key: Deviations() for key in host.contents} | (seen or {})
    held = Resolved({name: versions[0] for name, versions in host.held.items()})
    values = of_the_run(host, catalogue) if host.state.run else held
    return decide(host, Inspection(empty, looks, Deviations()), catalogue, values)


def key(host: Host, service: str) -> Key:
    return next(each for each in host.contents if each[0] == service)


def test_a_first_run_makes_all_and_a_second_one_nothing() -> None:
    host, _ = settled()
    assert {service for service, _ in host.contents} == EVERY
    plan = decided(host, None)
    assert (plan.made, plan.raised, plan.warnings, plan.recorded) == ([], [], [], False)
    assert plan.state == plan.known == plan.before == host.state


@pytest.mark.parametrize(
    "look", [Deviations(missing=True), Deviations(altered=["api-key"])], ids=["missing", "altered"]
)
def test_a_bundle_that_is_not_as_it_was_is_made_anew_from_what_is_sealed(look: Deviations) -> None:
    host, _ = settled()
    before = copy.deepcopy(host.state)
    plan = decided(host, {key(host, "app"): look})
    assert [each.service for each in plan.made] == ["app"]
    assert plan.made[0].content == host.contents[key(host, "app")]
    assert len(plan.warnings) == 1 and "app" in plan.warnings[0]
    assert host.state == before  # what was read stays what it was


def test_after_a_boot_all_come_from_their_sealed_copies() -> None:
    host, _ = settled()
    plan = decided(host, None, empty=True)
    assert {name.partition("/")[0] for name in plan.raised} == EVERY and plan.made == []


def test_a_bundle_whose_sealed_copy_is_gone_leaves_what_is_known() -> None:
    host, _ = settled()
    lost = key(host, "app")
    plan = decided(replace(host, lost=(lost,)), None)
    assert [each.service for each in plan.made] == ["app"]
    assert (plan.known.services["app"].bundles, plan.known.services["app"].staged) == ({}, None)
    assert plan.made[0].content == host.contents[lost]


def test_what_an_open_rotation_does_not_roll_stays_as_it_is() -> None:
    host, _ = settled()
    record = host.state.secrets["db-password"]
    change = state.Change("postgres_role", record, replace(record, version="2" * 32))
    host.state.run = state.Run("r1", "r1", "kim", "", "", {"db-password": change})
    host = replace(host, run={"db-password": host.held["db-password"][0].value}, lost=(key(host, "app"),))
    changed = copy.deepcopy(CATALOGUE)
    for service in changed["services"]:
        service["gid"] = 60699
    plan = decided(host, None, changed)
    assert {each.service for each in plan.made} == {"db-client"}
    assert plan.state.services["app"] == host.state.services["app"]
    gone = decided(host, {key(host, "app"): Deviations(missing=True)}, changed)
    assert {each.service for each in gone.made} == {"db-client", "app"}  # its container could not start again


def test_what_lies_where_it_should_not_and_whose_it_is_not_is_said(tmp_path: Any) -> None:
    host, _ = settled()
    path = tmp_path / "x"
    plan = decided(host, {key(host, "app"): Deviations(misowned=[(path, (0, 0, 0o400))], foreign=[path])})
    assert (plan.repairs, plan.removals, plan.made) == ([(path, (0, 0, 0o400))], [path], [])
    lost = decided(replace(host, lost=(key(host, "app"),)), {key(host, "app"): Deviations(foreign=[path])})
    assert lost.removals == []  # a container may still have it
