"""The last look of a deploy holds: readiness that flashes and goes again does not count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout

ROOT = Path(__file__).parents[3]


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


def look(stack: Stack, folder: Path, seconds: int) -> tuple[int, str]:
    book = folder / "play.yml"
    asked = {"name": "stack_services", "tasks_from": "health"}
    variables = {
        "stack_services_url": f"http://127.0.0.1:{stack.server_port}",
        "stack_services_ca_path": "",
        "stack_services_health_seconds": seconds,
        "ansible_python_interpreter": sys.executable,
        "stack_name": "demo",
        "stack_public_url": "unused",
        "stack_services_endpoints": ["/ready", "/health"],
        **{name: {} for name in ("stack_catalogue", "stack_compose")},
        **{name: "unused" for name in ("stack_run", "stack_operator")},
    }
    tasks = [{"ansible.builtin.import_role": asked}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}
    book.write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", book],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, " ".join(f"{done.stdout} {done.stderr}".split())


def test_a_flash_of_readiness_is_waited_out(stack: Stack, tmp_path: Path) -> None:
    stack.ready = (True, False)
    status, output = look(stack, tmp_path, 5)
    assert (status, [answer for _, answer in stack.seen]) == (0, [200, 503, 200]), output
    assert stack.seen[1][0] - stack.seen[0][0] >= rollout.STABLE_SECONDS
