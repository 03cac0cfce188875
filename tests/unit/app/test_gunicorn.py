"""The app under gunicorn as the image runs it: how it stops, what it logs, and the probe."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.api.health import CHECK
from app.runtime import REFUSALS

ROOT = Path(__file__).parents[3]
CLIENTS = 8
RUN = "from gunicorn.app.wsgiapp import run; run()"


@dataclass
class Server:
    """A running gunicorn and the lines it wrote so far."""

    process: subprocess.Popen[str]
    port: int
    lines: list[str]
    reader: threading.Thread


class Load:
    """Clients that post until they are turned away, as the proxy turns away whoever it learns to be leaving."""

    def __init__(self, port: int) -> None:
        self.failed: list[str] = []
        self._port = port
        self._answered = threading.Semaphore(0)
        self._turned_away = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, answers: int) -> None:
        """Wait until that many more requests were answered."""
        for _ in range(answers):
            assert self._answered.acquire(timeout=10)

    def turn_away(self) -> None:
        """Wait for what is under way and send no more."""
        self._turned_away.set()
        for thread in self._threads:
            thread.join()

    def forget(self) -> None:
        """Count anew: forget the answers that nobody waited for."""
        while self._answered.acquire(blocking=False):
            pass

    def _ask(self) -> None:
        while not self._turned_away.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                connection.request("POST", "/session", '{"value": 1}', {"Content-Type": "application/json"})
                answer = connection.getresponse()
                if answer.status != 200 or not answer.read():
                    self.failed.append(str(answer.status))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            finally:
                connection.close()
                self._answered.release()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """gunicorn on a free port of the loopback; with a parameter, one that drains for so many seconds."""
    drain = getattr(request, "param", 0)
    program = ["-c", f"from app import worker; worker.DRAIN = {drain}; {RUN}"] if drain else ["-m", "gunicorn"]
    command = [sys.executable, *program, "--config", "app/gunicorn.conf.py", "--bind", "127.0.0.1:0"]
    environment = os.environ | {"KEYCLOAK_URL": "http://127.0.0.1:1"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            lines = list(_until(process.stdout, "Listening at"))
            port = int(json.loads(lines[-1])["message"].split()[2].rsplit(":", 1)[1])
            reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
            reader.start()
            yield Server(process, port, lines, reader)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _until(output: Iterable[str], words: str) -> Iterator[str]:
    for line in output:
        yield line
        if words in line:
            return


def test_leaves_without_losing_a_request(server: Server, canaries: dict[str, str]) -> None:
    assert (_probe(server, "/health"), _probe(server, "/ready")) == (0, 1)
    load = Load(server.port)
    try:
        load.wait_for(100)
        server.process.send_signal(signal.SIGTERM)
        while _probe(server, "/health") == 0:
            pass
        load.forget()
        load.wait_for(20)  # it still serves
    finally:
        load.turn_away()
    assert load.failed == []
    assert server.process.wait(timeout=20) == 0
    assert _probe(server, "/health") == 1
    server.reader.join(timeout=20)
    _check_log(server.lines, canaries)


@pytest.mark.parametrize("server", [600], indirect=True)
def test_leaves_at_once_when_the_proxy_has_turned_away(server: Server, canaries: dict[str, str]) -> None:
    assert canaries
    assert _check(server) == 200
    server.process.send_signal(signal.SIGTERM)
    while _check(server) == 200:
        pass
    assert [_check(server) for _ in range(REFUSALS - 1)] == [503] * (REFUSALS - 1)
    assert server.process.wait(timeout=20) == 0


def _check(server: Server) -> int:
    """What a check of the proxy's is answered with."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", "/health", headers={"Host": CHECK})
        return connection.getresponse().status
    finally:
        connection.close()


def _probe(server: Server, path: str) -> int:
    command = [sys.executable, "-IS", "app/probe.py", path, str(server.port)]
    return subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode


def _check_log(lines: list[str], canaries: dict[str, str]) -> None:
    records = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in records)
    assert {record.get("path") for record in records} == {None, "/session", "/health", "/ready"}
    assert {record["secret"] for record in records if record["message"] == "secret loaded"} == canaries.keys()
    assert not [name for name, value in canaries.items() if value in "".join(lines)]
