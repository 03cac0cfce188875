"""Keycloak's answers as a stand-in server gives them."""

import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose, containers
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import objects
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import guard
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import session as keycloak

CANARY = "canary-4f0c2b"


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
        ((401, {"error": "invalid_request", "error_description": "User 'x' disabled"}), False),
        ((403, {"error": "access_denied", "error_description": "Realm not enabled"}), False),
        ((404, {"error": "Realm does not exist"}), False),
    ],
)
def test_only_a_no_to_the_secret_is_a_refusal(server: str, answer: tuple[int, object], accepted: bool) -> None:
    Answers.answer = answer
    assert keycloak.granted(server, "iam", "cli", CANARY) is accepted


def test_no_task_with_values_is_made_to_log_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(*_: object) -> None:
        raise AssertionError("its values would be mounted once more")

    monkeypatch.setattr(objects, "reader", reader)
    monkeypatch.setattr(keycloak, "_logins", {("keycloak", "admin", CANARY): {"refresh_token": "t"}})
    keycloak._end(StackPaths("demo", engine="swarm"))


@pytest.mark.parametrize("answer", [(500, {"error": CANARY}), (503, CANARY), (400, {"error": "invalid_request"})])
def test_other_answers_are_told_without_their_body(server: str, answer: tuple[int, object]) -> None:
    Answers.answer = answer
    with pytest.raises(CoffreError, match=f"answered {answer[0]} when asked to try") as told, keycloak.answered("try"):
        keycloak.granted(server, "iam", "cli", CANARY)
    assert CANARY not in str(told.value)


def test_a_policy_that_refuses_a_password_is_named(server: str) -> None:
    said = "Invalid password: minimum length 100."
    Answers.answer = (400, {"error": "invalidPasswordMinLengthMessage", "error_description": said})
    with (
        pytest.raises(CoffreError, match=r"policy of realm master refuses it \(Invalid password: minimum length 100\)"),
        keycloak.answered("give admin its new password"),
    ):
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


def test_the_newest_healthy_container_is_asked(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"old": "healthy", "new": "healthy", "starting": "starting", "broken": "unhealthy"}
    running = [dataclasses.replace(container, id=name, health=health) for name, health in others.items()]
    running.append(dataclasses.replace(container, id="app", service="app"))
    monkeypatch.setattr(compose, "containers", lambda _stack: running)
    assert containers.healthy(StackPaths("demo"), "keycloak").id == "new"
    with pytest.raises(CoffreError, match="No healthy container of service postgres runs in stack demo"):
        containers.healthy(StackPaths("demo"), "postgres")


def test_a_container_without_a_network_is_told(container: Container) -> None:
    with pytest.raises(CoffreError, match="has no address"):
        containers.address(dataclasses.replace(container, addresses=frozenset()))
