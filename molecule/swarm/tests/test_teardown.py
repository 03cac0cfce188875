"""The last test of the scenario: the stack goes for good, on all nodes, and the swarm stays."""

from __future__ import annotations

from typing import Any

from machines import Play
from swarms import HOSTS, STACK, machine, play

LABEL = f"label=com.docker.stack.namespace={STACK}"

testinfra_hosts = ["ansible://swarm1"]


def destroy() -> Play:
    return play("teardown", "-e", f"teardown_destroy={STACK}")


def test_nothing_is_left_of_it_on_any_node(host: Any) -> None:
    gone = destroy()
    assert gone.status == 0, gone.output
    for kind in ("service", "config", "secret"):
        assert host.check_output(f"docker {kind} ls --quiet") == ""
    labels = host.check_output("docker node inspect --format '{{.Spec.Labels}}' $(docker node ls --quiet)")
    assert "coffre.host" in labels and STACK not in labels
    for name in HOSTS:
        here = machine(name)
        for listing in ("ps --all", "volume ls", "network ls"):
            assert here.check_output(f"docker {listing} --quiet --filter {LABEL}") == "", name
        assert not here.file(f"/var/lib/coffre/{STACK}").exists
        assert STACK not in here.check_output("ls /usr/local/lib/coffre/firewall.d")
    again = destroy()
    assert (again.status, [each["changed"] for each in again.recap.values()]) == (0, [0, 0, 0, 0]), again.output
