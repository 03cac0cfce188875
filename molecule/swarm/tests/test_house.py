"""Who looks after a stack on a swarm: the doctor on each node, the trail on each manager."""

from __future__ import annotations

import json
from typing import Any

from machines import ROOT
from swarms import INVENTORY, MANAGERS, STACK, machine, play

PLANTED = "/var/lib/docker/swarm/worker/planted"

testinfra_hosts = ["ansible://swarm4"]


def test_the_doctor_finds_nothing_but_a_value_that_was_planted_on_a_worker(host: Any) -> None:
    mounted = host.check_output("find /var/lib/docker/containers/*/mounts/secrets -type f -size +11c").split()[0]
    value = host.check_output(f"cat {mounted}")
    host.check_output(f"cp {mounted} {PLANTED}")
    try:
        looked = play("doctor")
    finally:
        host.check_output(f"rm {PLANTED}")
    report = json.loads((ROOT / ".coffre" / INVENTORY.name / "doctor.json").read_text())
    failed = {name: [each["check"] for each in found if not each["ok"]] for name, found in report["hosts"].items()}
    assert failed == {"swarm1": [], "swarm2": [], "swarm3": [], "swarm4": ["swarm disk"]}, looked.output
    assert looked.status == 2
    assert value not in looked.output


def test_each_manager_has_the_trail_that_is_verified() -> None:
    verified = play("verify_audit")
    assert verified.status == 0, verified.output
    trails = {machine(name).check_output(f"sha256sum /var/lib/coffre/{STACK}/audit.jsonl") for name in MANAGERS}
    states = {machine(name).check_output(f"sha256sum /var/lib/coffre/{STACK}/state.json") for name in MANAGERS}
    assert (len(trails), len(states)) == (1, 1)
