"""The demo on a swarm: it answers on every node, is rotated under load, and any manager takes over."""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager
from typing import Any

import pytest
from machines import boot, fetch
from rotations import Run
from swarms import CA, HOSTS, NEVER, SITE, STACK, machine, on, play, state, tasks, wait_for_act, wait_for_control
from traffic import DEMO, Clients, traffic

testinfra_hosts = ["ansible://swarm1"]

CLIENT = "keycloak-service-client-secret"
# What asks nothing of Keycloak, of which there is one: where its node dies, or is drained, it starts on another.
VISITS = {name: DEMO[name] for name in ("sessions", "posts")}


@pytest.fixture(scope="module", autouse=True)
def trusted() -> None:
    """Each host has the certificate of the stack's CA, which Coffre gives to managers alone."""
    text = on("swarm1", f"cat {CA}")
    on("swarm4", f"install -d -m 0700 /var/lib/coffre $(dirname {CA}) && printf '%s\\n' '{text}' >{CA}")


@pytest.mark.parametrize("name", HOSTS)
def test_the_stack_answers_on_every_node(name: str) -> None:
    assert fetch(machine(name), "/ready", ca=CA)[0] == 200


def test_what_runs_where() -> None:
    assert list(tasks("postgres")) == ["swarm4"]
    assert len(tasks("app")) == 2
    assert sorted(tasks("proxy")) == sorted(HOSTS)


def test_a_container_has_its_own_secrets_alone() -> None:
    node, container = next(iter(tasks("app").items()))
    listed = on(node, f"docker exec {container} ls -lnA /run/secrets").splitlines()[1:]
    assert {(words[0], words[2]) for words in map(str.split, listed)} == {("-r--------", "60611")}
    names = {words[8].partition(".")[0] for words in map(str.split, listed)}
    assert names == {"audit-log-signing-key", "flask-secret-key", CLIENT, "versions"}


def load(host: Any, least: int, clients: Clients = VISITS) -> AbstractContextManager[dict[str, int]]:
    """Traffic that leaves the processors, which all hosts share, to those who are tested."""
    return traffic(host, least, clients, STACK, pause=0.2)


def test_the_secret_of_a_client_is_rotated_under_load(host: Any) -> None:
    with load(host, 2000, DEMO), load(machine("swarm4"), 2000, DEMO):
        said = play("rotate", "-e", f"secrets={CLIENT}")
    assert said.status == 0, said.output


def test_every_secret_is_rotated_under_load(host: Any) -> None:
    before = {name: each["version"] for name, each in state("swarm1")["secrets"].items()}
    rotated = sorted(set(before) - NEVER)
    with load(host, 2000), load(machine("swarm4"), 2000):
        said = play("rotate", "-e", f"secrets={','.join(rotated)}")
    assert said.status == 0, said.output
    after = {name: each["version"] for name, each in state("swarm1")["secrets"].items()}
    assert [name for name in rotated if before[name] == after[name]] == []


def test_another_manager_takes_over_from_one_that_lost_power_and_a_node_is_drained_under_load() -> None:
    before = state("swarm2")["secrets"]
    rotation = Run(SITE, "rotate", "-e", f"secrets={CLIENT}", "-e", "secret_rotation_lease_seconds=1")
    try:
        wait_for_act(rotation, "swarm2", "taught")
        subprocess.run(["docker", "kill", SITE.machine], check=True, capture_output=True, timeout=60)
    finally:
        rotation.kill()
    with load(machine("swarm2"), 500):
        said = play("rotate", "--limit", "!swarm1")
        assert said.status == 0, said.output
        assert "that was left open is undone" in " ".join(said.output.split())
    assert (state("swarm2")["run"], state("swarm2")["secrets"]) == (None, before)
    boot(SITE.machine)
    wait_for_control("swarm1")
    with load(machine("swarm2"), 500):
        for act in ("drain", "activate"):
            said = play("nodes", "-e", f"{act}=swarm3")
            assert said.status == 0, said.output
    said = play("site")
    assert said.status == 0, said.output
    assert json.dumps(before) == json.dumps(state("swarm1")["secrets"])
