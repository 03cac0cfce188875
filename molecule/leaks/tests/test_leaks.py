"""Not one value is found after a deploy with every log switched on, and each planted leak is."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import INVENTORY, ROOT, STACK, list_containers, read_state, run_playbook
from searches import search_controller, search_host

testinfra_hosts = ["ansible://debian13"]

FOLDER = Path.home() / ".cache" / "coffre" / "test-hosts" / "leaks"


@pytest.fixture(scope="module", autouse=True)
def quiet_again() -> Iterator[None]:
    """Leave the host as the other scenarios know it."""
    yield
    for command in (
        "rm -r /etc/docker/daemon.json /run/leak-search; systemctl reload docker; systemctl log-level info",
        "find /root /home -maxdepth 3 -path '*/.ansible/tmp/*' -prune -exec rm -r {} +",
    ):
        subprocess.run(["ansible", "-i", str(INVENTORY), "debian13", "-m", "shell", "-a", command], check=True)
    play = run_playbook("--limit", "debian13")
    assert play.status == 0, play.output


def secret(host: Any, name: str = "flask-secret-key", service: str = "app") -> str:
    """The path of a value on the host."""
    return f"/run/coffre/{STACK}/{service}/{read_state(host)['services'][service]['current']}/{name}"


def test_everything_was_logged(host: Any) -> None:
    """The search is worth something: what it reads was written."""
    output = (FOLDER / "output").read_text(encoding="utf-8")
    assert "ESTABLISH SSH CONNECTION" in output and output.count("PLAY RECAP") >= 4
    assert "AnsiballZ_secret_bundles.py" in (FOLDER / "ansible.log").read_text(encoding="utf-8")
    assert len(list((FOLDER / "processes").iterdir())) > 100
    assert int(host.check_output("ls /run/leak-search/processes | wc -l")) > 500
    assert int(host.check_output("ls -d /home/ops/.ansible/tmp/* | wc -l")) > 10
    assert host.run("journalctl -u docker --grep 'level=debug' --lines 1").rc == 0
    logs = {each.service: f"docker logs {each.inspect['Id']} 2>&1" for each in list_containers(host)}
    assert host.run(f"{logs['postgres']} | grep -q 'execute.*CREDENTIAL\\|statement: '").rc == 0
    assert host.run(f"{logs['keycloak']} | grep -q DEBUG").rc == 0


def test_the_host_holds_no_value_but_where_it_belongs(host: Any) -> None:
    status, output = search_host(host)
    assert status == 0, output
    assert " 0 leaks, " in output and " 0 permitted" not in output
    print(output)


def test_the_controller_holds_no_value(host: Any) -> None:  # noqa: ARG001 - the host must be there
    status, output = search_controller((FOLDER / "began").stat().st_mtime, FOLDER)
    assert status == 0, output
    print(output)


def in_a_temporary_file(host: Any) -> str:
    host.check_output(f"gzip -c {secret(host)} >/var/tmp/planted.gz")
    return "LEAK app/flask-secret-key (raw) in /var/tmp/planted.gz!"


def in_base64_in_a_composed_file(host: Any) -> str:
    host.check_output(f"base64 {secret(host, 'keycloak.conf', 'keycloak')} >/var/tmp/planted")
    return "LEAK keycloak/keycloak.conf:db-password (base64) in /var/tmp/planted"


def in_an_environment(host: Any) -> str:
    host.check_output(f'KEY="$(cat {secret(host)})" {run("environment")} --setenv=KEY sleep 600')
    return f"LEAK app/flask-secret-key (raw) in /proc/{pid(host, 'environment')}/environ (sleep)"


def in_an_argument(host: Any) -> str:
    host.check_output(f'{run("argument")} sh -c "sleep 600; : $(cat {secret(host)})"')
    return f"LEAK app/flask-secret-key (raw) in /proc/{pid(host, 'argument')}/cmdline (sh)"


def in_a_deleted_file(host: Any) -> str:
    script = f"cat {secret(host)} >/var/tmp/gone; exec 3</var/tmp/gone; rm /var/tmp/gone; exec sleep 600"
    host.check_output(f"{run('deleted')} sh -c '{script}'")
    there = f"/proc/{pid(host, 'deleted')}"
    host.check_output(f"timeout 20 sh -c 'until grep -qx sleep {there}/comm; do sleep 0.1; done'")
    return f"LEAK app/flask-secret-key (raw) in {there}/fd/3 (sleep: /var/tmp/gone (deleted))"


def in_a_containers_log(host: Any) -> str:
    app = next(each.inspect for each in list_containers(host) if each.service == "app")
    host.check_output(
        f"docker exec {app['Id']} sh -c 'cat /run/secrets/flask-secret-key >/proc/1/fd/1; echo >/proc/1/fd/1'"
    )
    return f"LEAK app/flask-secret-key (raw) in {app['LogPath']}"


def in_the_journal(host: Any) -> str:
    host.check_output(f"logger --tag planted --file {secret(host)}")
    return "LEAK app/flask-secret-key (raw) in journal"


def run(name: str) -> str:
    return f"systemd-run --quiet --unit=planted-{name}"


def pid(host: Any, name: str) -> str:
    return str(host.check_output(f"systemctl show --value --property=MainPID planted-{name}"))


def clear_up(host: Any) -> None:
    logs = " ".join(each.inspect["LogPath"] for each in list_containers(host))
    host.run(f"systemctl stop 'planted-*'; rm -f /var/tmp/planted*; truncate --size=0 {logs}")


PLANTS = (
    in_a_temporary_file,
    in_base64_in_a_composed_file,
    in_an_environment,
    in_an_argument,
    in_a_deleted_file,
    in_a_containers_log,
    in_the_journal,
)


def test_each_planted_leak_fails_the_search(host: Any) -> None:
    """One search of the whole host, which takes its time, sees all of them."""
    since = float(host.check_output("date +%s"))
    try:
        expected = [plant(host) for plant in PLANTS]
        status, output = search_host(host, since=since)
    finally:
        clear_up(host)
    assert status == 1
    assert set(expected) <= set(output.splitlines()), output


def test_a_modules_argument_fails_the_search_on_both_machines(host: Any) -> None:
    began = time.time()
    log = FOLDER / "planted.log"
    subprocess.run(
        [
            "ansible-playbook",
            "-i",
            str(INVENTORY),
            "-vvvv",
            "molecule/leaks/planted.yml",
            "-e",
            f"leaks_path={secret(host)}",
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_LOG_PATH": str(log), "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_PIPELINING": "0"},
        check=True,
        capture_output=True,
    )
    status, output = search_controller(began, FOLDER)
    log.unlink()
    assert status == 1
    assert any("flask-secret-key (raw)" in line and line.endswith("planted.log") for line in output.splitlines()), (
        output
    )
    status, output = search_host(host, since=began)
    assert status == 1
    assert any("/home/ops/.ansible/tmp/" in line for line in output.splitlines()), output
