"""Machines that die come back healthy, without a network, with the same stack and the same secrets.

One dies at rest. Meanwhile the other does in a rollout, which the next run finishes. So both are waited for at once:
for a minute a Keycloak that died holds its place in the cluster.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import testinfra
from machines import (
    INVENTORY,
    KEYS,
    ROOT,
    STACK,
    list_containers,
    note_files,
    plug_in,
    power_off,
    read_state,
    run_playbook,
    same_files,
    wait_ready,
)
from raised import assert_raised_before_docker

# The newer systemd; `older` has the other.
testinfra_hosts = ["ansible://debian13"]

ROLLING = 'test "$(docker ps --quiet --filter label=com.docker.compose.service=app | wc -l)" -ge 2'


# A change of configuration, which a rollout of the app brings in.
CHANGE = ("--limit", "debian13", "--extra-vars", '{"stack_limits": {"app": {"pids": 65}}}')


def bundle(host: Any) -> str:
    return f"/run/coffre/{STACK}/app/{read_state(host)['services']['app']['current']}"


def look(host: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What a death at rest changes nothing of: the state, and the containers by service."""
    return read_state(host), {container.service: container.inspect["Id"] for container in list_containers(host)}


@pytest.fixture(scope="module")
def older() -> Iterator[tuple[Any, Any]]:
    """debian12, which was cut off at rest and is up again without a network, and what was found there before."""
    options = {"ansible_inventory": str(INVENTORY), "ssh_config": str(KEYS / "ssh_config")}
    host = testinfra.get_host("ansible://debian12", **options)
    note_files(host, "/run/coffre", "/root/before")
    before = look(host)
    try:
        power_off(host, network=False)
        yield host, before
    finally:
        plug_in(host)


@pytest.mark.usefixtures("older")
def test_death_in_the_middle_of_a_rollout(host: Any) -> None:
    note_files(host, bundle(host), "/root/app")
    # An altered file is a new bundle, too, with the values of the sealed copy.
    host.check_output(f"printf x >>{bundle(host)}/flask-secret-key")
    site = subprocess.Popen(
        ["ansible-playbook", "-i", str(INVENTORY), *CHANGE, "playbooks/site.yml"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        host.check_output(f"timeout 200 sh -c 'until {ROLLING}; do sleep 0.2; done'")
        power_off(host, network=False)
        assert site.wait(timeout=120) != 0
    finally:
        site.kill()
        site.communicate()

    try:
        assert_raised_before_docker(host)
        wait_ready(host)
        assert same_files(host, bundle(host), "/root/app")
    finally:
        plug_in(host)
    finished = run_playbook(*CHANGE)
    assert finished.status == 0, finished.output
    found = {container.service: container for container in list_containers(host)}
    assert len(list_containers(host)) == len(found) == 4
    assert found["app"].inspect["HostConfig"]["PidsLimit"] == 65
    assert same_files(host, bundle(host), "/root/app")
    assert host.check_output(f"ls /run/coffre/{STACK}/app") == bundle(host).rpartition("/")[2]
    again = run_playbook(*CHANGE)
    assert (again.status, again.recap["debian13"]["changed"]) == (0, 0), again.output


def test_death_at_rest(older: tuple[Any, Any]) -> None:
    host, before = older
    assert_raised_before_docker(host)
    assert same_files(host, "/run/coffre", "/root/before")
    wait_ready(host)
    assert look(host) == before
