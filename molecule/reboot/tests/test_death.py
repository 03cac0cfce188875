"""A machine that loses its power and comes back without a network has the same stack, with the same secrets."""

from __future__ import annotations

from typing import Any

from machines import list_containers, note_files, plug_in, power_off, read_state, same_files, wait_ready
from raised import assert_raised_before_docker

# The older systemd; test_rollout.py has the newer one.
testinfra_hosts = ["ansible://debian12"]


def test_death_and_return_without_a_network(host: Any) -> None:
    note_files(host, "/run/coffre", "/root/before")
    before = read_state(host), {container.service: container.inspect["Id"] for container in list_containers(host)}
    power_off(host, network=False)
    try:
        assert_raised_before_docker(host)
        assert same_files(host, "/run/coffre", "/root/before")
        wait_ready(host)
        assert before == (read_state(host), {c.service: c.inspect["Id"] for c in list_containers(host)})
    finally:
        plug_in(host)
