"""A machine that dies in a rollout comes back healthy, without a network, and the next run finishes the work."""

from __future__ import annotations

import subprocess
from typing import Any

from machines import (
    INVENTORY,
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

testinfra_hosts = ["ansible://debian13"]

ROLLING = 'test "$(docker ps --quiet --filter label=com.docker.compose.service=app | wc -l)" -ge 2'


# A change of configuration, which a rollout of the app brings in.
CHANGE = ("--limit", "debian13", "--extra-vars", '{"stack_limits": {"app": {"pids": 65}}}')


def bundle(host: Any) -> str:
    return f"/run/coffre/{STACK}/app/{read_state(host)['services']['app']['current']}"


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
