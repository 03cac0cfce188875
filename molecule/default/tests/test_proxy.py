"""The proxy's own promises, shown by its image in front of an app that breaks every request."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from demo import services
from machines import STACK, list_containers

from ansible_collections.coffre.stack.plugins.module_utils.rollout import proxies

# The image is the same on every host.
testinfra_hosts = ["ansible://debian13"]

# Answers health checks; tells at /told what it was asked; as Keycloak, on 8080, refuses all; hangs up on anything
# else, after reading it.
APP = """
import socket, threading
told = []

def serve(port):
    listener = socket.create_server(("0.0.0.0", port))
    while True:
        connection, _ = listener.accept()
        request = b""
        while b"\\r\\n\\r\\n" not in request and (more := connection.recv(65536)):
            request += more
        method, _, path = request.partition(b" HTTP/")[0].decode().partition(" ")
        if path not in ("/health", "/health/ready", "/told"):
            told.append((method, path, request.decode()))
        if port == 8080 or path in ("/health", "/health/ready", "/told"):
            body = repr(told if path == "/told" else "").encode()
            status = "401 Unauthorized" if port == 8080 else "200 OK"
            head = f"HTTP/1.1 {status}\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
            connection.sendall(head.encode() + body)
        connection.close()

for port in (8080, 9000):
    threading.Thread(target=serve, args=(port,)).start()
serve(8000)
"""
# Asks for each path; tells the statuses and the last text, as JSON.
ASK = """
import http.client, json, ssl, sys
method, port, *paths = sys.argv[1:]
statuses = []
for path in paths:
    connection = http.client.HTTPConnection("broken-proxy", int(port), timeout=20)
    if port == "8443":
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("broken-proxy", 8443, timeout=20, context=context)
    connection.putrequest(method, path, skip_host=True)
    for claim in ("Host: evil.test", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Prefix: /evil", "Content-Length: 0",
                  "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6"):
        connection.putheader(*claim.split(": "))
    connection.endheaders()
    answer = connection.getresponse()
    statuses.append(answer.status)
    text = answer.read().decode()
print(json.dumps([statuses, text]))
"""
# Begins as many requests as the app has threads, sends a byte of each body, and asks what the app was told of them.
SLOW = """
import socket, ssl
context = ssl._create_unverified_context()
begun = []
for _ in range(16):
    begun.append(context.wrap_socket(socket.create_connection(("broken-proxy", 8443))))
    begun[-1].sendall(b"POST /slow HTTP/1.1\\r\\nHost: a.test\\r\\nContent-Length: 9\\r\\n\\r\\n1")
for path in ("/health", "/told"):
    other = context.wrap_socket(socket.create_connection(("broken-proxy", 8443)))
    other.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
    print(b"".join(iter(lambda: other.recv(65536), b"")).decode())
"""
# Opens more connections than one source may, says nothing, and tells which the proxy ended how soon: the first and the
# last. Meanwhile it waits for a line.
SILENT = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
began = time.monotonic()
held = [socket.create_connection((sys.argv[1], 8443)) for _ in range(700)]
print("held", flush=True)
held[-1].settimeout(2)
try:
    print("rejected" if not held[-1].recv(1) else "answered", flush=True)
except ConnectionResetError:
    print("rejected", flush=True)
except TimeoutError:
    print("held for 2 s", flush=True)
held[0].settimeout(20)
print("ended" if not held[0].recv(1) and time.monotonic() - began < 15 else "late", flush=True)
"""
# Begins five hundred requests over HTTP/2, whose bodies never come, and tells how many are reset (RST_STREAM, 3).
MANY = """
import socket, ssl, struct, sys
def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
context = ssl._create_unverified_context()
context.set_alpn_protocols(["h2"])
head = b"\\x83\\x87\\x84\\x41\\x01a\\x0f\\x0d\\x019"  # POST https / of the authority a, content-length: 9
held, reset = [], 0
for _ in range(5):
    held.append(context.wrap_socket(socket.create_connection((sys.argv[1], 8443))))
    requests = b"".join(frame(1, 4, 1 + 2 * number, head) for number in range(100))
    held[-1].sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + frame(4, 0, 0, b"") + requests)
for each in held:
    each.settimeout(1)
    file = each.makefile("rb")
    try:
        while len(start := file.read(9)) == 9:
            file.read(int.from_bytes(start[:3]))
            reset += start[3] == 3
    except TimeoutError:
        pass
print(reset)
"""
# Asks for tokens with wrong secrets, one after the other, and tells each status once.
GUESS = """
import http.client, ssl, sys
statuses = []
connection = http.client.HTTPSConnection(sys.argv[1], 8443, timeout=9, context=ssl._create_unverified_context())
for _ in range(70):
    connection.request("POST", "/realms/iam/protocol/openid-connect/token", "client_secret=wrong")
    answer = connection.getresponse()
    answer.read()
    statuses.append(answer.status)
print(*dict.fromkeys(statuses))
"""
PYTHON = "docker exec broken-app python3"
BUNDLES = "/run/broken-proxy"


def ask(host: Any, method: str, *paths: str, port: int = 8443) -> tuple[list[int], str]:
    """Statuses of the answers to the app's container, and the text of the last; 8081 is the port that the app asks."""
    words = shlex.join([ASK, method, str(port), *paths])
    statuses, text = json.loads(host.check_output(f"{PYTHON} -c {words}"))
    return statuses, text


def address(host: Any) -> str:
    """The proxy's, as the host reaches it: from there, a source other than the app's container."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return str(host.check_output(f"docker inspect --format {shlex.quote(form)} broken-proxy"))


@pytest.fixture(scope="module")
def broken_app(host: Any) -> Iterator[None]:
    """A proxy like the stack's, its console closed, with the app that hangs up behind it."""
    image = {container.service: container.inspect["Config"]["Image"] for container in list_containers(host)}
    [(file, text)] = proxies.files(services(console=False, url="https://a.test")).items()
    plant = f"""
        docker network create broken
        docker run --detach --rm --name broken-app --network broken --network-alias app --network-alias keycloak \
          --entrypoint python3 {image["app"]} -c {shlex.quote(APP)}
        cp --archive /run/coffre/{STACK}/proxy {BUNDLES}
        printf %s {shlex.quote(text)} >{BUNDLES}/current/{file}
        docker run --detach --rm --name broken-proxy --network broken --read-only --cap-drop ALL --memory 256m \
          --tmpfs /run/haproxy:uid=60614,mode=0700 --volume {BUNDLES}:/run/secrets:ro {image["proxy"]}
        timeout 30 sh -c 'until {PYTHON} -c "$1" GET 8443 /health | grep -q "\\[200\\]"; do sleep 0.2; done' \
          - {shlex.quote(ASK)}
    """
    try:
        host.check_output(f"sh -ec {shlex.quote(plant)}")
        yield
    finally:
        host.run(f"docker rm --force broken-app broken-proxy; docker network rm broken; rm -r {BUNDLES}")


def told(host: Any, path: str) -> list[tuple[str, str]]:
    """Method and text of each request that the app was sent for a path."""
    everything: list[tuple[str, str, str]] = ast.literal_eval(ask(host, "GET", "/told")[1])
    return [(method, text) for method, asked, text in everything if asked == path]


@pytest.mark.usefixtures("broken_app")
def test_only_what_may_happen_twice_is_ever_sent_twice(host: Any) -> None:
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    assert [ask(host, method, "/twice")[0] for method in methods] == [[502]] * len(methods)
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


CLOSED = {
    "/admin": 404,
    "/admin/master/console/": 404,
    "/realms/master": 404,
    "/realms/master/account": 404,
    "/realms/%6daster/": 404,
    "/realms/%6D%61ster": 404,
    "/%72ealms/master/": 404,
    "/%61dmin": 404,
    "/Admin/": 404,
    "/realms/MASTER/": 404,
    "/realms/%256daster/": 400,
    "/realms/master;x/": 400,
    "/realms/iam;x/": 400,
    "/realms/../admin/": 400,
    "/realms/%2e%2e/admin/": 400,
    "/realms/..%2fadmin/": 400,
    "/realms/..%5cadmin/": 400,
    "/realms/;x/../admin/": 400,
    "/realms//admin": 400,
    "/realms//master/": 400,
    "/realms/%2fmaster/": 400,
    "/realms/%zzmaster/": 400,
    "/realms/%00x": 400,
    "/realms/iam%0d%0ax": 400,
    "/realms/iam%7f": 400,
    "/realms/iam?client_id=%00": 400,
    "/realms/iam": 401,  # Keycloak's answer
    "/%72ealms/iam": 401,
    "/metrics": 502,  # the app's, which hangs up: never Keycloak's own
}
REALM_ONLY = {
    "/realms/iam/protocol/openid-connect/token": 401,  # Keycloak's answer
    "/realms/master/protocol/openid-connect/token": 404,
    "/realms/%6daster/protocol/openid-connect/token": 404,
    "/realms/iam/../master/": 400,
    "/realms/iam/%2e%2e/master/": 400,
    "/admin/": 404,
    "/metrics": 404,
    "/health/ready": 404,
}


@pytest.mark.usefixtures("broken_app")
def test_a_closed_console_stays_closed_however_it_is_spelled(host: Any) -> None:
    assert dict(zip(CLOSED, ask(host, "GET", *CLOSED)[0], strict=True)) == CLOSED


@pytest.mark.usefixtures("broken_app")
def test_the_app_reaches_its_realm_and_no_other(host: Any) -> None:
    assert dict(zip(REALM_ONLY, ask(host, "POST", *REALM_ONLY, port=8081)[0], strict=True)) == REALM_ONLY


@pytest.mark.usefixtures("broken_app")
def test_a_body_that_comes_slowly_waits_at_the_proxy(host: Any) -> None:
    answers = host.check_output(f"{PYTHON} -c {shlex.quote(SLOW)}")
    assert answers.count("HTTP/1.1 200 OK") == 2
    assert "/slow" not in answers


@pytest.mark.usefixtures("broken_app")
def test_one_source_cannot_take_the_proxy_from_the_others(host: Any) -> None:
    options = "--quiet --collect --unit=silent --property=StandardOutput=truncate:/run/silent"
    host.check_output(f"systemd-run {options} python3 -c {shlex.quote(SILENT)} {address(host)}")
    host.check_output("timeout 20 sh -c 'until grep -q held /run/silent; do sleep 0.1; done'")
    assert ask(host, "GET", "/health")[0] == [200]
    host.check_output("timeout 30 sh -c 'while systemctl is-active --quiet silent; do sleep 0.2; done'")
    assert host.check_output("cat /run/silent; rm /run/silent").split("\n") == ["held", "rejected", "ended"]


@pytest.mark.usefixtures("broken_app")
def test_one_source_has_so_many_requests_at_a_time(host: Any) -> None:
    assert host.check_output(f"python3 -c {shlex.quote(MANY)} {address(host)}") == "100"


@pytest.mark.usefixtures("broken_app")
def test_who_guesses_secrets_is_slowed_down_alone(host: Any) -> None:
    assert host.check_output(f"python3 -c {shlex.quote(GUESS)} {address(host)}") == "401 429"
    assert ask(host, "POST", "/realms/iam/protocol/openid-connect/token")[0] == [401]


@pytest.mark.usefixtures("broken_app")
def test_a_configuration_is_judged_with_the_certificate_beside_it(host: Any) -> None:
    """Before its bundle is the current one."""
    check = "docker exec broken-proxy haproxy -c -f /run/secrets/staged/haproxy.cfg"
    host.check_output(f"cp --archive --dereference {BUNDLES}/current {BUNDLES}/staged")
    assert host.run(check).rc == 0
    host.check_output(f"rm {BUNDLES}/staged/proxy-tls")
    refused = host.run(check)
    assert refused.rc == 1
    assert "unable to stat SSL certificate from file 'proxy-tls'" in refused.stderr
