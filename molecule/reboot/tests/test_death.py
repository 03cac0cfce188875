"""A machine that loses its power and comes back without a network has the same stack, with the same secrets."""

from __future__ import annotations

from typing import Any

from machines import STACK, list_containers, note_files, power_off, read_state, same_files, wait_ready

testinfra_hosts = ["ansible://stack_hosts"]


def monotonic(host: Any, unit: str, moment: str) -> int:
    return int(host.check_output(f"systemctl show --value --property={moment}Monotonic {unit}"))


def test_death_and_return_without_a_network(host: Any) -> None:
    note_files(host, "/run/coffre", "/root/before")
    before = read_state(host), {container.service: container.inspect["Id"] for container in list_containers(host)}
    power_off(host, network=False)
    try:
        assert host.check_output("ip -o route show default") == ""
        # Raised before Docker could look for them, and nothing but files where files belong.
        restored = monotonic(host, "coffre-restore.service", "ExecMainExitTimestamp")
        assert 0 < restored <= monotonic(host, "docker.service", "ExecMainStartTimestamp")
        assert same_files(host, "/run/coffre", "/root/before")
        assert host.check_output(f"find /run/coffre/{STACK} -mindepth 3 -type d") == ""
        assert "jump closed" in host.check_output("nft list chain inet coffre host")
        wait_ready(host)
        assert before == (read_state(host), {c.service: c.inspect["Id"] for c in list_containers(host)})
    finally:
        power_off(host)
    wait_ready(host)
