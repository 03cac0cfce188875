"""What a newcomer has after the one command of README."""

from __future__ import annotations

from typing import Any

from machines import Container, fetch

testinfra_hosts = ["ansible://bare"]


def test_the_stack_answers(host: Any, containers: list[Container]) -> None:
    assert all(container.inspect["State"]["Health"]["Status"] == "healthy" for container in containers)
    assert fetch(host, "/health")[0] == 200
    assert fetch(host, "/ready")[0] == 200
    assert fetch(host, "/")[0] == 200


def test_the_checkout_holds_no_secret(host: Any) -> None:
    """The newcomer is the controller here, and nothing on it may hold a value."""
    script = (
        "import pathlib\n"
        "values = {p.read_bytes().strip() for p in pathlib.Path('/run/coffre').glob('*/*/*/*') if p.is_file()}\n"
        "files = [p for p in pathlib.Path('/home/ops').rglob('*') if p.is_file() and '.venv' not in p.parts]\n"
        "assert values and files\n"
        "assert not [p for p in files if any(value in p.read_bytes() for value in values)]\n"
    )
    host.check_output(f'python3 -c "{script}"')


def test_teardown_removes_what_runs_and_keeps_the_data(host: Any) -> None:
    """The last: the other scenarios have the machine to themselves then."""
    host.check_output("runuser -u ops -- make -C /home/ops/coffre teardown")
    assert host.check_output("docker ps --all --quiet --filter label=com.docker.compose.project=coffre-demo") == ""
    assert {"coffre-demo_postgres", "coffre-demo_app-audit"} <= set(host.check_output("docker volume ls -q").split())
    assert host.check_output("ls /var/lib/coffre/coffre-demo/sealed") != ""
    assert not host.file("/run/coffre/coffre-demo").exists
