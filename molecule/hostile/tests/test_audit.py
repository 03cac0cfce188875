"""What runs recorded is in order on a host; each way to falsify it is seen with the heads kept on the controller."""

from __future__ import annotations

import json
from typing import Any

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


# Here the heads are on another machine, and each trail has a key of its own; tests/unit/audit has every way to falsify.
FALSIFIED = {
    TRAIL: ("sed -i '$d' {}", "before the kept head"),
    APP_TRAIL: ("sed -i 2s/loaded/missing/ {}", "does not follow"),
}


def test_what_is_falsified_is_seen_in_each_trail(host: Any) -> None:
    assert verify().status == 0
    copies = {trail: f"/root/trail-{number}" for number, trail in enumerate(FALSIFIED)}
    for trail, (plant, _) in FALSIFIED.items():
        host.check_output(f"cp --preserve=all {trail} {copies[trail]} && {plant.format(trail)}")
    try:
        play = verify()
    finally:
        for trail, copy in copies.items():
            host.check_output(f"cp --preserve=all {copy} {trail}")
    assert play.status != 0, play.output
    told = " ".join(play.output.split())
    assert all(trail in told and sentence in told for trail, (_, sentence) in FALSIFIED.items()), play.output
    assert verify().status == 0
