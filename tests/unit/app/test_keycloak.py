"""The token call's outcomes, and how seldom it is made."""

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from app.keycloak import KEEP, PUBLIC_KEEP, REFUSED, UNREACHABLE, USABLE, Client, SharedAnswer

if TYPE_CHECKING:
    from tests.unit.app.conftest import TokenServer


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, None),
        ((401, b"{}"), REFUSED),
        ((400, b'{"error": "invalid_client"}'), REFUSED),
        ((404, b'{"error": "Realm does not exist"}'), "keycloak answered 404 without a token"),
        ((503, b"starting"), "keycloak answered 503 without a token"),
        ((200, b"<html>"), "keycloak answered 200 without a token"),
        ((200, b"[]"), "keycloak answered 200 without a token"),
        ((200, b'{"access_token": ""}'), "keycloak answered 200 without a token"),
        ((307, b""), "keycloak answered 307 without a token"),
    ],
)
def test_outcomes(
    token_server: "TokenServer", canaries: dict[str, str], answer: tuple[int, bytes] | None, problem: str | None
) -> None:
    token_server.answer = answer
    secret = canaries["keycloak-service-client-secret"]
    assert Client(token_server.url, "automation-cli", secret).problem() == problem
    # One call: a redirect would carry the secret elsewhere.
    assert token_server.forms == [
        {"grant_type": ["client_credentials"], "client_id": ["automation-cli"], "client_secret": [secret]}
    ]


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert Client(f"http://127.0.0.1:{port}", "automation-cli", "canary").problem() == UNREACHABLE


def test_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.keycloak.TIMEOUTS", (0.05, 0.05))
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert Client(url, "automation-cli", "canary").problem() == UNREACHABLE


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("problem", [None, REFUSED])
def test_answer_is_shared_for_a_second(problem: str | None) -> None:
    calls: list[str | None] = []
    clock = _Clock()

    def ask() -> str | None:
        calls.append(problem)
        return problem

    shared = SharedAnswer(ask, clock)
    for step in range(50):
        clock.now = 100.0 + step / 10
        assert shared.get() == problem
    assert len(calls) == 5


@pytest.mark.parametrize(("problem", "calls"), [(None, 1), (REFUSED, 5)])
def test_a_good_answer_serves_those_outside_longer(problem: str | None, calls: int) -> None:
    asked: list[float] = []
    clock = _Clock()

    def ask() -> str | None:
        asked.append(clock.now)
        return problem

    shared = SharedAnswer(ask, clock)
    for step in range(int(PUBLIC_KEEP)):
        clock.now = 100.0 + step
        assert shared.get(outside=True) == problem
    assert len(asked) == calls


def test_second_counts_from_the_end_of_a_call() -> None:
    calls = []
    clock = _Clock()

    def slow() -> str | None:
        calls.append(clock.now)
        clock.now += 3 * KEEP
        return UNREACHABLE

    shared = SharedAnswer(slow, clock)
    shared.get()
    shared.get()
    assert len(calls) == 1


def test_others_do_not_wait_while_the_last_answer_is_usable() -> None:
    clock = _Clock()
    asked, answer = threading.Event(), threading.Event()
    answers = iter([None, REFUSED])

    def ask() -> str | None:
        if clock.now > 100.0:
            asked.set()
            answer.wait()
        return next(answers)

    shared = SharedAnswer(ask, clock)
    assert shared.get() is None
    clock.now += USABLE - 0.1
    caller = threading.Thread(target=shared.get)
    caller.start()
    asked.wait()
    assert shared.get() is None
    answer.set()
    caller.join()
    assert shared.get() == REFUSED


def test_others_wait_for_the_first_answer() -> None:
    asked, answer = threading.Event(), threading.Event()
    calls, results = [], []

    def ask() -> str | None:
        calls.append(1)
        asked.set()
        answer.wait()
        return REFUSED

    shared = SharedAnswer(ask)
    threads = [threading.Thread(target=lambda: results.append(shared.get())) for _ in range(20)]
    for thread in threads:
        thread.start()
    asked.wait()
    answer.set()
    for thread in threads:
        thread.join()
    assert (len(calls), results) == (1, [REFUSED] * 20)


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.keycloak.USABLE", 0.05)
    asked, answer = threading.Event(), threading.Event()

    def ask() -> str | None:
        asked.set()
        answer.wait()
        return None

    shared = SharedAnswer(ask)
    caller = threading.Thread(target=shared.get)
    caller.start()
    asked.wait()
    assert shared.get() == UNREACHABLE
    answer.set()
    caller.join()
