"""What runs recorded is in order on a host; each way to falsify it is seen with the heads kept on the controller."""

from __future__ import annotations

import json
from typing import Any

import pytest
from machines import STACK, Play, read_state, run_playbook

testinfra_hosts = ["ansible://debian13"]

TRAIL = f"/var/lib/coffre/{STACK}/audit.jsonl"
APP_TRAIL = f"/var/lib/docker/volumes/{STACK}_app-audit/_data/audit.jsonl"


def verify() -> Play:
    return run_playbook("--limit", "debian13", playbook="verify_audit")


def test_each_service_is_recorded_with_its_bundle_run_and_operator(host: Any) -> None:
    records = [json.loads(line) for line in host.check_output(f"cat {TRAIL}").splitlines()]
    last = {each["service"]: each for each in records if each.get("outcome") in ("adopted", "recovered")}
    for service, entry in read_state(host)["services"].items():
        assert last[service]["bundle"] == entry["current"]
        assert last[service]["versions"] == entry["bundles"][entry["current"]]["versions"]
        assert last[service]["run"] and last[service]["operator"]
    assert host.check_output(f"stat -c '%U %a' {TRAIL}") == "root 600"


def test_an_unchanged_run_and_a_verification_change_nothing(host: Any) -> None:
    before = host.check_output(f"sha256sum {TRAIL}")
    for play in (run_playbook("--limit", "debian13"), verify(), verify()):
        assert play.status == 0, play.output
        assert "The deployment audit trail of debian13 ends at record" in play.output
    assert play.recap["debian13"]["changed"] == 0, play.output
    assert host.check_output(f"sha256sum {TRAIL}") == before


@pytest.mark.parametrize(
    ("trail", "plant", "sentence"),
    [
        pytest.param(TRAIL, "sed -i '$d' {}", "before the kept head", id="cut off"),
        pytest.param(TRAIL, "truncate --size=-9 {}", "before the kept head", id="cut within a record"),
        pytest.param(TRAIL, "sed -i 2d {}", "Record 2 of the audit trail", id="deleted"),
        pytest.param(TRAIL, "sed -i '1{{h;d}};2G' {}", "Record 1 of the audit trail", id="reordered"),
        pytest.param(TRAIL, "sed -i '1s/adopted/refused/' {}", "was changed", id="changed"),
        pytest.param(TRAIL, "rm {}", "cannot be read", id="removed"),
        pytest.param(APP_TRAIL, "sed -i '$d' {}", "before the kept head", id="the app's cut off"),
        pytest.param(APP_TRAIL, "sed -i 2s/loaded/missing/ {}", "does not follow", id="the app's changed"),
    ],
)
def test_a_falsified_trail_is_seen(host: Any, trail: str, plant: str, sentence: str) -> None:
    assert verify().status == 0
    host.check_output(f"cp --preserve=all {trail} /root/trail")
    try:
        host.check_output(plant.format(trail))
        play = verify()
    finally:
        host.check_output(f"cp --preserve=all /root/trail {trail}")
    assert play.status != 0, play.output
    told = " ".join(play.output.split())
    assert trail in told and sentence in told, play.output
    assert verify().status == 0
