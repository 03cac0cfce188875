"""A swarm of three managers and a worker: locked at rest, unlocked by itself, the same after a manager was replaced."""

from __future__ import annotations

import re
from typing import Any

import pytest
from machines import power_off
from swarms import HOSTS, MANAGERS, machine, nodes, play, wait_for_control

SEAL = "/var/lib/coffre/swarm-unlock-key.cred"
STACK = "coffre.coffre-swarm"

testinfra_hosts = ["ansible://swarm1"]


def test_the_hosts_are_one_swarm(host: Any) -> None:
    found = nodes(host)
    assert {name: each["Spec"]["Role"] for name, each in found.items()} == {
        "swarm1": "manager",
        "swarm2": "manager",
        "swarm3": "manager",
        "swarm4": "worker",
    }
    for name, each in found.items():
        assert each["Status"]["State"] == "ready", name
        volumes = {f"{STACK}.data": "true"} if name == "swarm4" else {}
        assert each["Spec"]["Labels"] == {"coffre.host": name, STACK: "true"} | volumes
    assert (
        host.check_output("docker info --format '{{.Swarm.Cluster.Spec.EncryptionConfig.AutoLockManagers}}'") == "true"
    )


@pytest.mark.parametrize("name", HOSTS)
def test_an_engine_of_a_swarm(name: str) -> None:
    here = machine(name)
    assert "no-new-privileges" in here.check_output("docker info --format '{{.SecurityOptions}}'")
    environment = here.check_output("cat /proc/$(cat /run/docker.pid)/environ").split("\0")
    assert "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1" in environment
    assert here.file(SEAL).exists == (name in MANAGERS)
    if name in MANAGERS:
        assert (here.file(SEAL).user, here.file(SEAL).mode) == ("root", 0o600)


@pytest.mark.parametrize("name", HOSTS)
def test_no_token_and_no_key_is_where_it_was_not_meant_to_be(name: str) -> None:
    """Neither in a log nor in a file of ours; what the engine itself keeps is locked."""
    here = machine(name)
    words = "SWM(TKN|KEY)-1-[0-9A-Za-z]"
    assert here.run(f"journalctl --no-pager --output=cat | grep -Eq '{words}'").rc == 1
    # A worker has no folder of ours.
    assert here.run(f"grep -Ersl '{words}' /var/lib/coffre /run/coffre /etc /root /home /var/log").stdout == ""


def test_a_play_without_a_manager_is_refused() -> None:
    refused = play("swarm", "--limit", "swarm4")
    assert refused.status != 0
    said = " ".join(refused.output.split())
    assert "No manager is among the hosts of this play: with --limit, name one too." in said
    assert refused.recap["swarm4"]["changed"] == 0


def test_a_manager_unlocks_itself_after_it_lost_power_with_a_key_that_is_new() -> None:
    before = machine("swarm3").check_output(f"sha256sum {SEAL}")
    rotated = play("rotate", "-e", "secrets=swarm-unlock-key")
    assert rotated.status == 0, rotated.output
    assert not re.search("SWM(TKN|KEY)", rotated.output)
    assert machine("swarm3").check_output(f"sha256sum {SEAL}") != before
    # The seal before is let go of when the engine has the new key on its disk.
    assert machine("swarm3").check_output("ls /var/lib/coffre | grep unlock") == "swarm-unlock-key.cred"
    power_off(machine("swarm3"))
    wait_for_control("swarm3")


def test_a_manager_leaves_and_comes_back(host: Any) -> None:
    gone = play("nodes", "-e", "remove=swarm2")
    assert gone.status == 0, gone.output
    assert sorted(nodes(host)) == ["swarm1", "swarm3", "swarm4"]
    assert not machine("swarm2").file(SEAL).exists
    back = play("swarm")
    assert back.status == 0, back.output
    wait_for_control("swarm2")
    assert nodes(host)["swarm2"]["ManagerStatus"]["Reachability"] == "reachable"
    again = play("swarm")
    assert (again.status, [each["changed"] for each in again.recap.values()]) == (0, [0, 0, 0, 0]), again.output
