"""Teardown removes what runs and what is in memory; the next run brings the same stack back."""

from __future__ import annotations

from typing import Any

from machines import STACK, fetch, note_files, run_playbook, same_files

testinfra_hosts = ["ansible://debian13"]

LABEL = f"label=com.docker.compose.project={STACK}"


def test_it_comes_back_with_the_same_values_and_data(host: Any) -> None:
    note_files(host, f"/run/coffre/{STACK}", "/root/secrets")
    note_files(host, f"/var/lib/coffre/{STACK}/sealed", "/root/seals")
    volumes = host.check_output(f"docker volume ls --quiet --filter {LABEL}")
    play = run_playbook("--limit", "debian13", playbook="teardown")
    assert play.status == 0, play.output
    assert host.check_output(f"docker ps --all --quiet --filter {LABEL}") == ""
    assert host.check_output(f"docker network ls --quiet --filter {LABEL}") == ""
    assert host.run("mountpoint --quiet /run/coffre").failed
    assert host.check_output("ls -A /run/coffre") == ""
    assert "jump closed" not in host.check_output("nft list chain inet coffre host")
    assert same_files(host, f"/var/lib/coffre/{STACK}/sealed", "/root/seals")
    assert host.check_output(f"docker volume ls --quiet --filter {LABEL}") == volumes
    again = run_playbook("--limit", "debian13", playbook="teardown")
    assert again.status == 0 and again.recap["debian13"]["changed"] == 0, again.output

    play = run_playbook("--limit", "debian13")
    assert play.status == 0, play.output
    assert same_files(host, f"/run/coffre/{STACK}", "/root/secrets")
    assert fetch(host, "/ready")[0] == 200


def test_another_stacks_name_removes_nothing(host: Any) -> None:
    running = host.check_output(f"docker ps --quiet --filter {LABEL}")
    note_files(host, "/run/coffre", "/root/before")
    play = run_playbook("--limit", "debian13", "-e", "teardown_destroy=another", playbook="teardown")
    assert play.status != 0
    assert f"say -e teardown_destroy={STACK} to remove its data" in " ".join(play.output.split())
    assert same_files(host, "/run/coffre", "/root/before")
    assert host.check_output(f"docker ps --quiet --filter {LABEL}") == running
