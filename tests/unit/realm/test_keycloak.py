"""Keycloak's answers as a stand-in server gives them, and its prompts as a stand-in command does."""

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import compose, containers, keycloak
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.outcome import guard

CANARY = "canary-4f0c2b"
CONTAINER = compose.Container(
    id="c0ffee",
    name="demo-keycloak-1",
    service="keycloak",
    config_hash="",
    image="",
    image_id="",
    bundle=None,
    state="running",
    health="healthy",
    exit_code=0,
    out_of_memory=False,
    restarts=0,
    created="2026-01-01T00:00:00Z",
    pid=1,
    stop_seconds=10,
    restart="no",
    health_check=(),
    ready=(),
    addresses=frozenset({"127.0.0.1"}),
    mounts=(),
)


class Answers(BaseHTTPRequestHandler):
    """Gives every request the answer that the test has set."""

    answer: tuple[int, object] = (200, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        ((200, {"access_token": "t", "expires_in": 60}), True),
        ((401, {"error": "unauthorized_client"}), False),
        ((401, {"error": "invalid_client"}), False),
        ((400, {"error": "invalid_grant"}), False),
    ],
)
def test_only_a_no_to_the_secret_is_a_refusal(server: str, answer: tuple[int, object], accepted: bool) -> None:
    Answers.answer = answer
    assert keycloak.granted(server, "iam", "cli", CANARY) is accepted


@pytest.mark.parametrize("answer", [(500, {"error": CANARY}), (503, CANARY)])
def test_other_answers_are_told_without_their_body(server: str, answer: tuple[int, object]) -> None:
    Answers.answer = answer
    with pytest.raises(CoffreError, match=f"answered {answer[0]} when asked to try") as told, keycloak.answered("try"):
        keycloak.granted(server, "iam", "cli", CANARY)
    assert CANARY not in str(told.value)


def test_a_realm_that_is_none_is_told(server: str) -> None:
    Answers.answer = (404, {"error": "Realm does not exist"})
    with pytest.raises(CoffreError, match="Keycloak has no realm iam; nothing was changed"):
        keycloak.granted(server, "iam", "cli", CANARY)


def test_a_proxy_of_the_environment_sees_nothing(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9" if "no" not in name.lower() else "")
    Answers.answer = (200, {"access_token": "t", "expires_in": 60})
    with keycloak.answered("try"):
        assert keycloak.granted(server, "iam", "cli", CANARY)


def test_silence_is_told() -> None:
    def work() -> dict[str, object]:
        with keycloak.answered("try"):
            return {"granted": keycloak.granted("http://127.0.0.1:9", "iam", "cli", CANARY)}

    result, sentence = guard(work)
    assert result is None
    assert sentence is not None
    assert sentence.startswith("Keycloak gave no answer when asked to try")


@pytest.mark.parametrize("accepted", [True, False])
def test_a_dry_run_tells_of_the_client_although_the_admin_is_yet_to_be_made(
    monkeypatch: pytest.MonkeyPatch, accepted: bool
) -> None:
    monkeypatch.setattr(keycloak, "granted", lambda *_: accepted)
    monkeypatch.setattr(keycloak, "session", lambda *_: contextlib.nullcontext())
    told = keycloak.ensure_client(CONTAINER, "iam", "cli", CANARY, ("admin", CANARY), dry=True)
    assert told == ([] if accepted else ["secret"])
    with pytest.raises(CoffreError, match="refuses its admin admin; nothing was changed"):
        keycloak.ensure_client(CONTAINER, "iam", "cli", CANARY, ("admin", CANARY))


PROMPTING = """#!/bin/bash
[[ $1 == inspect ]] && { echo '["--config-file=/c", "start", "--db-url-host=db", "--hostname=h"]'; exit; }
tr '\\0' '\\n' < /proc/$$/cmdline > {seen}; tr '\\0' '\\n' < /proc/$$/environ >> {seen}
[[ -t 0 && -t 1 ]] || exit 9
echo some words first
read -rsp 'Enter password:' one; echo
read -rsp 'Enter password again:' two; echo
echo a log line
printf '%s|%s' "$one" "$two" > {typed}
exit {status}
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def prompting(folder: Path, status: int, text: str = PROMPTING) -> None:
    script = folder / "docker"
    for name, value in (("seen", folder / "seen"), ("typed", folder / "typed"), ("status", status)):
        text = text.replace(f"{{{name}}}", str(value))
    script.write_text(text)
    script.chmod(0o755)


def test_the_password_is_typed_and_nothing_else(command: Path) -> None:
    prompting(command, 0)
    keycloak.bootstrap(Path("/x/compose.yml"), CONTAINER, "coffre-bootstrap-1", CANARY)
    assert (command / "typed").read_text() == f"{CANARY}|{CANARY}"
    seen = (command / "seen").read_text()
    assert CANARY not in seen
    words = "run --rm --no-deps keycloak --config-file=/c --db-url-host=db bootstrap-admin user --optimized"
    assert "\n".join(words.split()) in seen


def test_a_failed_command_is_told_without_the_password(command: Path) -> None:
    prompting(command, 3)
    with pytest.raises(CoffreError, match=r"failed \(exit status 3\)") as told:
        keycloak.bootstrap(Path("/x/compose.yml"), CONTAINER, "coffre-bootstrap-1", CANARY)
    assert CANARY not in str(told.value)


def test_a_command_that_hangs_is_ended(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompting(command, 0, PROMPTING.replace("echo a log line", "exec sleep 60"))
    monkeypatch.setattr(keycloak, "BOOTSTRAP_SECONDS", 0.5)
    with pytest.raises(CoffreError, match="did not end within"):
        keycloak.bootstrap(Path("/x/compose.yml"), CONTAINER, "coffre-bootstrap-1", CANARY)


def test_the_newest_healthy_container_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"old": "healthy", "new": "healthy", "starting": "starting", "broken": "unhealthy"}
    running = [dataclasses.replace(CONTAINER, id=name, health=health) for name, health in others.items()]
    running.append(dataclasses.replace(CONTAINER, id="app", service="app"))
    monkeypatch.setattr(compose, "containers", lambda _stack: running)
    assert containers.healthy("demo", "keycloak").id == "new"
    with pytest.raises(CoffreError, match="No healthy container of service postgres runs in stack demo"):
        containers.healthy("demo", "postgres")


def test_a_container_without_a_network_is_told() -> None:
    with pytest.raises(CoffreError, match="has no address"):
        containers.address(dataclasses.replace(CONTAINER, addresses=frozenset()))
