"""An operator's directory is adopted, or refused and taken back, while clients notice nothing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import environments
import pytest
from machines import ROOT, STACK, Play, adding, core, list_containers, read_state, run_playbook

testinfra_hosts = ["ansible://debian12"]

CATALOGUE = environments.catalogue("demo")
BLOB = {"name": "blob", "kind": "bytes", "strategy": "replace"}
# On the host's tmpfs, so that no value comes to lie on its disk.
OPERATOR = "/run/operator"
WORK = "/root/load"
MACHINE = "coffre-test-debian12"

# On the host, where the values stay: write what is in force as an operator would.
COPY = r"""
import os, pathlib, sys
from coffre import paths
from coffre.host import bundles, state

where = paths.StackPaths(sys.argv[1])
known = state.load(where)
for secret in known.secrets:
    service = next(name for name, entry in known.services.items()
                   if any(secret in entry.bundles[bundle].versions for bundle in entry.named))
    file = pathlib.Path(sys.argv[2]) / secret
    file.touch(mode=0o600)
    file.write_bytes(bundles.value(where, known, service, secret))
"""
# Another key for the certificate that is there.
MISMATCH = r"""
import pathlib, sys
from coffre.values import generate
from cryptography.hazmat.primitives.asymmetric import ec

file = pathlib.Path(sys.argv[1])
key = ec.generate_private_key(ec.SECP256R1())
file.write_bytes(generate.Certified(key, generate.load(file.read_bytes()).chain).pem())
"""
# Until it is told to end (SIGTERM), and then until the least number of requests is reached; at most ten minutes.
LOAD = r"""
import json, pathlib, signal, sys, time
from load import Load

url, ca, least = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
loads = [
    Load(f"{url}/ready", ca, clients=8, seconds=600, pause=0.02),
    Load(f"{url}/session", ca, clients=2, seconds=600, pause=0.1, body=b'{"value": 1}'),
]
for load in loads:
    load.start()
until = time.monotonic() + 600
signal.sigtimedwait({signal.SIGTERM}, 600)
while loads[0].result.requests < least and time.monotonic() < until:
    time.sleep(0.1)
results = [load.stop() for load in loads]
print(json.dumps([[r.requests, r.failed, r.statuses, r.failures, r.line()] for r in results]))
"""


@pytest.fixture(scope="module", autouse=True)
def operator(host: Any) -> Iterator[None]:
    """An operator's directory with the values in force, and the load beside it; the demo source again afterwards."""
    host.check_output(f"install -d -m 0700 {OPERATOR} {WORK}")
    try:
        host.check_output(f"{core(MACHINE)} -c {shlex.quote(COPY)} {STACK} {OPERATOR}")
        host.check_output(f"printf %s {shlex.quote((ROOT / 'benchmarks/load.py').read_text())} >{WORK}/load.py")
        host.check_output(f"printf %s {shlex.quote(LOAD)} >{WORK}/main.py")
        yield
    finally:
        host.run(f"systemctl stop load.service; rm -r {OPERATOR} {WORK}")
        back = run_playbook("--limit", "debian12")
    assert back.status == 0, back.output
    assert {entry["next"] for entry in read_state(host)["services"].values()} == {None}


def site(secrets: list[dict[str, Any]], **variables: Any) -> Play:
    """Run site.yml with the operator's directory for these secrets, one of which the demo's app does not have.

    The proxy has another limit than it was deployed with.
    """
    catalogue = CATALOGUE | {"secrets": secrets}
    source = {"stack_secrets_source": "file", "stack_secrets_directory": OPERATOR, "stack_catalogue": catalogue}
    source["stack_limits"] = {"proxy": {"pids": 33}}
    listed = adding(app={"secrets": ["blob"]})
    return run_playbook("--limit", "debian12", *listed, "-e", json.dumps(source | variables))


def look(host: Any) -> dict[str, Any]:
    """What a refused change leaves as it was: all containers, bundles in force, files and sealed copies, by name."""
    services = read_state(host)["services"]
    return {
        "containers": host.check_output(
            f"docker ps --all --no-trunc --format '{{{{.ID}}}}' --filter label=com.docker.compose.project={STACK}"
        ),
        "services": {
            name: (entry["current"], entry["next"], sorted(entry["bundles"])) for name, entry in services.items()
        },
        "files": host.check_output(
            f"find /run/coffre/{STACK} /var/lib/coffre/{STACK}/sealed -printf '%p %l\\n' | sort"
        ),
    }


def ids(host: Any) -> dict[str, str]:
    return {container.service: container.inspect["Id"] for container in list_containers(host)}


def certificate(host: Any) -> str:
    """What the proxy shows a client that comes now."""
    script = "import ssl; print(ssl.get_server_certificate(('localhost', 8443)))"
    served: str = host.check_output(f"python3 -c {shlex.quote(script)}")
    return served


@contextmanager
def load(host: Any, least: int) -> Iterator[None]:
    """Eight clients read and two write through the proxy meanwhile, and each of their requests succeeds."""
    ca = f"/var/lib/coffre/{STACK}/ca.crt"
    host.check_output(
        f"systemd-run --quiet --collect --unit=load --property=TimeoutStopSec=600 --working-directory={WORK} "
        f"--property=StandardOutput=truncate:{WORK}/result python3 main.py https://localhost:8443 {ca} {least}"
    )
    try:
        yield
    finally:
        # It returns when the load has ended.
        host.check_output("systemctl stop load.service")
    reads, writes = json.loads(host.check_output(f"cat {WORK}/result"))
    # pytest shows it with -s, or when it fails.
    print(f"GET {reads[-1]}\nPOST {writes[-1]}")
    for requests, failed, statuses, failures, _ in (reads, writes):
        assert (failed, failures, statuses) == (0, {}, {"200": requests})
    assert reads[0] >= least
    assert writes[0] > 0


def test_an_operators_new_values_arrive_byte_for_byte(host: Any) -> None:
    host.check_output(
        f"umask 077; cd {OPERATOR}; python3 -c 'import secrets; print(secrets.token_urlsafe(32))' >flask-secret-key;"
        "{ head -c 1000 /dev/urandom; printf '\\0\\r\\n'; } >blob"
    )
    secrets = [*CATALOGUE["secrets"], BLOB]
    before, old = look(host), ids(host)
    refused = site(secrets)
    assert refused.status != 0
    assert "flask-secret-key ends with a newline" in refused.output, refused.output
    assert look(host) == before

    with load(host, 5000):
        play = site(secrets, stack_secrets_trailing_newline="strip")
        assert play.status == 0, play.output
    new = ids(host)
    # The proxy in place: who connects to its ports meanwhile waits.
    assert {service for service in old if new[service] != old[service]} == {"app", "proxy"}
    app = next(container for container in list_containers(host) if container.service == "app")
    seen = f"/proc/{app.pid}/root/run/secrets"
    host.check_output(f"cmp {OPERATOR}/blob {seen}/blob")
    host.check_output(f"head -c -1 {OPERATOR}/flask-secret-key | cmp - {seen}/flask-secret-key")
    host.check_output(f"cmp {OPERATOR}/audit-log-signing-key {seen}/audit-log-signing-key")
    again = site(secrets, stack_secrets_trailing_newline="strip")
    assert (again.status, again.recap["debian12"]["changed"]) == (0, 0), again.output


def test_an_app_that_does_not_become_ready_is_taken_back(host: Any) -> None:
    # Taken for bytes, the key arrives with both its newlines, of which the app takes one only for its file's.
    mistaken = [
        entry | {"kind": "bytes"} if entry["name"] == "flask-secret-key" else entry for entry in CATALOGUE["secrets"]
    ]
    before = look(host)
    host.check_output(f"echo >>{OPERATOR}/flask-secret-key")
    with load(host, 1000):
        play = site([*mistaken, BLOB], stack_services_timeout=15)
    host.check_output(f"truncate --size=-1 {OPERATOR}/flask-secret-key")
    said = " ".join(play.output.split())
    assert play.status != 0
    assert re.search(
        r"app could not adopt coffre/app:\w+ with bundle \w+: the container runs, but its .+ fails", said
    ), said
    assert "the new container was removed" in said
    assert "goes on, unchanged" in said
    assert "\n  app: waits until its readiness check passes\n" in play.output
    assert play.end[0].startswith("app could not adopt"), play.output
    log = f"/var/lib/coffre/{STACK}/app.failed.log"
    host.check_output(f"grep -q 'flask-secret-key ends in a newline' {log}")
    assert host.run(f"grep -qFf {OPERATOR}/flask-secret-key {log}").rc == 1
    assert look(host) == before

    # The next run has only to write again what is in force: the state's version and the Compose file's bundle.
    repaired = site([*CATALOGUE["secrets"], BLOB], stack_secrets_trailing_newline="strip")
    assert (repaired.status, repaired.recap["debian12"]["changed"]) == (0, 2), repaired.output
    assert look(host) == before


def test_a_certificate_with_the_key_of_another_is_never_served(host: Any) -> None:
    before, served = look(host), certificate(host)
    host.check_output(f"{core(MACHINE)} -c {shlex.quote(MISMATCH)} {OPERATOR}/proxy-tls")
    with load(host, 1000):
        play = site([*CATALOGUE["secrets"], BLOB], stack_secrets_trailing_newline="strip")
        assert certificate(host) == served
    said = " ".join(play.output.split())
    assert play.status != 0
    assert "proxy-tls begins with a certificate that is not its key's. Nothing was changed." in said, said
    assert look(host) == before
