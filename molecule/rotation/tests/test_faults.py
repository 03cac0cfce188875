"""A few cells of the fault table; `make test-faults` plays all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from machines import read_state
from rotations import Run, Site, Watch, demo

from tests.faults import kinds
from tests.faults.cells import KILLED, POWER, Cell, play
from tests.faults.chosen import ADMIN, CLIENT, DATABASE, SOON

testinfra_hosts = ["ansible://debian13"]

CELLS = [
    (Cell(CLIENT, "taught", POWER), "rotate"),
    (Cell(DATABASE, "withdrawn", KILLED), "site"),
    (Cell(ADMIN, "proved", kinds.ADMIN_REFUSED), "rotate"),
    (Cell(CLIENT, "app exposed", kinds.sick("app"), patience=SOON), "rotate"),
]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = demo()
    yield site
    site.forget()


@pytest.fixture(scope="module")
def facts(site: Site) -> dict[str, Any]:
    """What no rotation may change, of a stack in which nothing is amiss."""
    problems, facts = site.judge()
    assert problems == []
    return facts


@pytest.mark.parametrize(("cell", "ordinary"), CELLS, ids=[str(cell) for cell, _ in CELLS])
def test_cell(site: Site, facts: dict[str, Any], cell: Cell, ordinary: str) -> None:
    verdict = play(site, cell, ordinary, facts)
    assert not verdict.problems, "\n".join([verdict.first, verdict.second, *verdict.problems])


def test_a_dead_run_is_left_alone_within_its_lease_unless_somebody_knows_it_dead(host: Any, site: Site) -> None:
    watch = Watch(site, "taught")
    run = Run(site, "rotate", "-e", f"secrets={CLIENT}", "-e", "stack_operator=somebody")
    assert watch.held(run)
    run.kill()
    watch.order("kill")
    watch.end()
    before = read_state(host)
    for playbook in ("rotate", "site"):
        refused = site.play(playbook)
        assert refused.status != 0
        said = " ".join(refused.output.split())
        assert f"since {before['run']['started']}" in said, refused.output
        assert "somebody" in said, refused.output
        assert read_state(host) == before
    taken = json.dumps({"secret_rotation_take_over": before["run"]["id"]})
    looked = site.play("site", "--check", "-e", taken)
    assert looked.status == 0, looked.output
    assert "playbooks/site.yml would first undo it" in " ".join(looked.output.split())
    assert read_state(host) == before
    done = site.rotate(arguments=["-e", taken])
    assert done.status == 0, done.output
    assert "that was left open: back" in done.output
    assert site.judge()[0] == []
