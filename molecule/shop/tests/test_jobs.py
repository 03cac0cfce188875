"""examples/shop goes on with its jobs while its secrets change, and after its Redis came back."""

from __future__ import annotations

import json
import time
from typing import Any

from checkout import run
from machines import fetch, list_containers, read_state
from traffic import Clients, traffic

testinfra_hosts = ["ansible://bare"]

STACK = "shop-example"
URL = "https://localhost:8543"
ROTATED = {"job-key", "queue-password", "shop-db-password"}
CLIENTS: Clients = {"ready": ("/ready", None, {"clients": 4}), "jobs": ("/jobs", "a job", {"clients": 4})}


def get(host: Any, path: str) -> tuple[int, str]:
    return fetch(host, path, ca=f"/var/lib/coffre/{STACK}/ca.crt", url=URL)


def jobs(host: Any) -> dict[str, int]:
    """How many jobs came to what, since the stack was made."""
    status, body = get(host, "/jobs")
    assert status == 200, body
    counted: dict[str, int] = json.loads(body)
    return counted


def ids(host: Any) -> dict[str, set[str]]:
    """The containers by service."""
    found: dict[str, set[str]] = {}
    for each in list_containers(host, STACK):
        found.setdefault(each.service, set()).add(each.inspect["Id"])
    return found


def versions(host: Any) -> dict[str, str]:
    return {name: entry["version"] for name, entry in read_state(host, STACK)["secrets"].items()}


def test_no_job_is_refused_while_its_key_and_both_passwords_change(host: Any) -> None:
    before, there, old = jobs(host), ids(host), versions(host)
    with traffic(host, 1000, CLIENTS, STACK, URL) as counted:
        run(host, f"make rotate-secret ENV={STACK} SECRET={','.join(ROTATED)}")
    new, here = versions(host), ids(host)
    assert {name for name in new if new[name] != old[name]} == ROTATED
    assert {service for service in here if not here[service] & there[service]} == {"web", "worker"}
    assert (len(here["web"]), here["redis"], here["postgres"]) == (2, there["redis"], there["postgres"])
    await_jobs(host, before["done"] + counted["jobs"])
    assert jobs(host)["refused"] == before["refused"]


def test_redis_asks_for_the_new_password_after_its_restart_too(host: Any) -> None:
    (redis,) = ids(host)["redis"]
    host.check_output(f"docker restart {redis}")
    deadline = time.monotonic() + 60
    while (answer := get(host, "/ready"))[0] != 200:
        assert time.monotonic() < deadline, answer
    assert "NOAUTH" in host.run(f"docker exec {redis} redis-cli get jobs").stdout


def await_jobs(host: Any, done: int) -> None:
    """Wait until the worker has done so many, and see that they are not more."""
    deadline = time.monotonic() + 60
    while (seen := jobs(host))["done"] < done:
        assert time.monotonic() < deadline, f"{seen} of {done}"
    assert seen["done"] == done
