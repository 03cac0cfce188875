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
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CLIENTS = 8


@dataclass
class Server:
    """A running gunicorn and the lines it wrote so far."""

    process: subprocess.Popen[str]
    port: int
    lines: list[str]
    reader: threading.Thread


@dataclass
class Load:
    """What the clients got until the door was shut."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    """gunicorn on a free port of the loopback."""
    command = [sys.executable, "-m", "gunicorn", "--config", "app/gunicorn.conf.py", "--bind", "127.0.0.1:0"]
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


def test_no_request_is_lost_until_the_door_is_shut(server: Server, canaries: dict[str, str]) -> None:
    assert _probe(server, "/health") == 0
    assert _probe(server, "/ready") == 1
    load, lock, warm = Load(), threading.Lock(), threading.Semaphore(0)
    threads = [
        threading.Thread(target=_ask_until_refused, args=(server.port, load, lock, warm)) for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for _ in range(10 * CLIENTS):
        warm.acquire()
    server.process.send_signal(signal.SIGTERM)
    while _probe(server, "/health") == 0:
        pass
    answered_when_draining = load.answered
    for thread in threads:
        thread.join()
    assert load.failed == []
    assert load.answered > answered_when_draining  # it still served after the proxy was told to turn away
    assert server.process.wait(timeout=20) == 0
    assert _probe(server, "/health") == 1
    server.reader.join(timeout=20)
    _check_log(server.lines, canaries)


def _ask_until_refused(port: int, load: Load, lock: threading.Lock, warm: threading.Semaphore) -> None:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.connect()
        except ConnectionRefusedError:
            return
        try:
            connection.request("POST", "/session", '{"value": 1}', {"Content-Type": "application/json"})
            answer = connection.getresponse()
            failure = None if answer.read() and answer.status == 200 else str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            failure = repr(error)
        finally:
            connection.close()
        with lock:
            load.answered += failure is None
            load.failed += [failure] if failure else []
        warm.release()


def _probe(server: Server, path: str) -> int:
    command = [sys.executable, "-IS", "app/probe.py", path, str(server.port)]
    return subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode


def _check_log(lines: list[str], canaries: dict[str, str]) -> None:
    records = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in records)
    assert {record.get("path") for record in records} == {None, "/session", "/health", "/ready"}
    assert {record["secret"] for record in records if record["message"] == "secret loaded"} == canaries.keys()
    assert not [name for name, value in canaries.items() if value in "".join(lines)]
