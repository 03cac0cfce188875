"""The last look of a deploy holds: readiness that flashes and goes again does not count."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Generate
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout
from ansible_collections.coffre.stack.plugins.module_utils.rollout import endpoints
from ansible_collections.coffre.stack.plugins.module_utils.values import generate


class Stack(ThreadingHTTPServer):
    """Ready at the looks that `ready` tells, and at all behind them; `seen` are the times and answers of /ready."""

    ready: tuple[bool, ...] = ()
    seen: list[tuple[float, int]]


class Answer(BaseHTTPRequestHandler):
    server: Stack

    def do_GET(self) -> None:
        status = 200
        if self.path == "/ready":
            number = len(self.server.seen)
            status = 503 if number < len(self.server.ready) and not self.server.ready[number] else 200
            self.server.seen.append((time.monotonic(), status))
        body = json.dumps({"cause": "no token"}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack(("127.0.0.1", 0), Answer) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def see(stack: Stack, seconds: float, anew: bool) -> None:
    urls = [f"http://127.0.0.1:{stack.server_port}{path}" for path in ("/ready", "/health")]
    endpoints.see(urls, "", seconds, anew)


def test_a_flash_of_readiness_is_waited_out(stack: Stack) -> None:
    stack.ready = (True, False)
    see(stack, 5, anew=True)
    assert [answer for _, answer in stack.seen] == [200, 503, 200, 200]
    for one, other in ((0, 1), (2, 3)):
        assert stack.seen[other][0] - stack.seen[one][0] >= rollout.STABLE_SECONDS


@pytest.mark.parametrize(("ready", "seen"), [((), [200]), ((False,), [503, 200, 200])])
def test_where_nothing_was_rolled_one_look_is_enough(stack: Stack, ready: tuple[bool, ...], seen: list[int]) -> None:
    stack.ready = ready
    see(stack, 5, anew=False)
    assert [answer for _, answer in stack.seen] == seen


def test_what_does_not_answer_is_told_with_its_cause(stack: Stack, tmp_path: Path) -> None:
    stack.ready = (False,) * 9
    with pytest.raises(CoffreError, match=r"/ready answers 503 \(no token\); the services run as they were rolled out"):
        see(stack, 0, anew=False)
    with pytest.raises(CoffreError, match="which stack_services_ca_path names, is no CA's certificate"):
        endpoints.see(["https://127.0.0.1:1/"], str(tmp_path / "ca.crt"), 0, anew=False)


def test_each_place_must_answer_for_the_name_with_a_certificate_of_it(tmp_path: Path) -> None:
    """Two servers of one name, which resolves to neither: one of them with another's certificate."""
    issuer = generate.authority(
        "demo", Generate("certificate_authority", names=("there.example", "other.example"), days=2)
    )
    (tmp_path / "ca.crt").write_bytes(issuer.pem())
    with ExitStack() as running:
        places = []
        for name in ("there.example", "other.example"):
            pem = tmp_path / f"{name}.pem"
            pem.write_bytes(generate.certificate(Generate("certificate", names=(name,), days=1), issuer).pem())
            server = running.enter_context(Stack(("127.0.0.1", 0), Answer))
            server.seen = []
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            running.callback(server.shutdown)
            places.append(("127.0.0.1", server.server_port))
        trusting = endpoints.trusting(str(tmp_path / "ca.crt"))
        url = "https://there.example/ready"
        assert endpoints.problems([url], trusting, places[:1]) == []
        assert endpoints.problems([url], trusting, places) == [
            f"{url} at 127.0.0.1:{places[1][1]} gives no answer that can be trusted"
        ]
