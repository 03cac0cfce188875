"""The proxy's own promises, shown by its image in front of an app that breaks every request."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from machines import STACK, list_containers

testinfra_hosts = ["ansible://stack_hosts"]

# Answers /health; tells what it was asked at /told; hangs up on anything else, after reading it.
APP = """
import socket
told = []
listener = socket.create_server(("0.0.0.0", 8000))
while True:
    connection, _ = listener.accept()
    request = b""
    while b"\\r\\n\\r\\n" not in request and (more := connection.recv(65536)):
        request += more
    method, _, path = request.partition(b" HTTP/")[0].decode().partition(" ")
    if path not in ("/health", "/told"):
        told.append((method, path, request.decode()))
    else:
        body = repr(told if path == "/told" else "").encode()
        head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
        connection.sendall(head.encode() + body)
    connection.close()
"""
ASK = """
import http.client, ssl, sys
connection = http.client.HTTPSConnection("broken-proxy", 8443, timeout=20, context=ssl._create_unverified_context())
method, path = sys.argv[1:]
connection.putrequest(method, path, skip_host=True)
for claim in ("Host: evil.test", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Prefix: /evil", "Forwarded: for=6.6.6.6",
              "X-Real-IP: 6.6.6.6", "Content-Length: 0"):
    connection.putheader(*claim.split(": "))
connection.endheaders()
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""
PYTHON = "docker exec broken-app python3"


def ask(host: Any, method: str, path: str) -> tuple[int, str]:
    status, _, body = host.check_output(f"{PYTHON} -c {shlex.quote(ASK)} {method} {shlex.quote(path)}").partition(" ")
    return int(status), body


@pytest.fixture(scope="module")
def broken_app(host: Any) -> Iterator[None]:
    """A proxy like the stack's, its console closed, with the app that hangs up behind it."""
    image = {container.service: container.inspect["Config"]["Image"] for container in list_containers(host)}
    settings = {"PUBLIC_URL": "https://a.test", "PUBLIC_AUTHORITY": "a.test", "PUBLIC_PORT": "443", "HSTS_SECONDS": "9"}
    environment = " ".join(f"--env {name}={value}" for name, value in (settings | {"ADMIN_CONSOLE": "closed"}).items())
    plant = f"""
        docker network create broken
        docker run --detach --rm --name broken-app --network broken --network-alias app \
          --entrypoint python3 {image["app"]} -c {shlex.quote(APP)}
        docker run --detach --rm --name broken-proxy --network broken --read-only --cap-drop ALL \
          --tmpfs /run/haproxy:uid=60614,mode=0700 --volume /run/coffre/{STACK}/proxy:/run/coffre-proxy:ro \
          {environment} {image["proxy"]}
        timeout 30 sh -c 'until {PYTHON} -c "$1" GET /health 2>/dev/null | grep -q "^200"; do sleep 0.2; done' \
          - {shlex.quote(ASK)}
    """
    try:
        host.check_output(f"sh -ec {shlex.quote(plant)}")
        yield
    finally:
        host.run("docker rm --force broken-app broken-proxy; docker network rm broken")


def told(host: Any, path: str) -> list[tuple[str, str]]:
    """Method and text of each request that the app was sent for a path."""
    everything: list[tuple[str, str, str]] = ast.literal_eval(ask(host, "GET", "/told")[1])
    return [(method, text) for method, asked, text in everything if asked == path]


@pytest.mark.usefixtures("broken_app")
def test_only_what_may_happen_twice_is_ever_sent_twice(host: Any) -> None:
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    assert {ask(host, method, "/twice")[0] for method in methods} == {502}
    sent = [method for method, _ in told(host, "/twice")]
    assert {method: sent.count(method) for method in methods} == dict.fromkeys(methods, 1) | {"GET": 4, "HEAD": 4}


@pytest.mark.usefixtures("broken_app")
def test_what_a_client_claims_of_itself_does_not_arrive(host: Any) -> None:
    ask(host, "POST", "/claims")
    [(_, request)] = told(host, "/claims")
    headers = dict(line.lower().split(": ", 1) for line in request.split("\r\n")[1:] if line)
    assert headers["x-forwarded-host"] == "a.test"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-port"] == "443"
    assert headers["x-forwarded-for"] != "6.6.6.6"
    assert not {"forwarded", "x-forwarded-prefix", "x-real-ip"} & set(headers)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/admin", 404),
        ("/admin/master/console/", 404),
        ("/realms/master/account", 404),
        ("/realms/../admin/", 400),
        ("/realms/%2e%2e/admin/", 400),
        ("/realms/..%2fadmin/", 400),
        ("/realms/..%5cadmin/", 400),
        ("/realms/;x/../admin/", 400),
        ("/realms//admin", 400),
        ("/realms/iam", 503),  # to Keycloak, which is not there
        ("/metrics", 502),  # the app's, which hangs up: never Keycloak's own
    ],
)
@pytest.mark.usefixtures("broken_app")
def test_a_closed_console_stays_closed_however_it_is_spelled(host: Any, path: str, status: int) -> None:
    assert ask(host, "GET", path)[0] == status
