"""The probe's patience with an app that is about to listen; what it answers is seen in test_gunicorn."""

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from app import probe


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """A port of the loopback that is taken, and does not listen yet."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def connection(door: socket.socket) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", door.getsockname()[1], timeout=10)


def test_who_listens_late_is_reached(door: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: door.listen())
    waiting = connection(door)
    probe.connect(waiting)
    waiting.close()


def test_who_never_listens_is_given_up(door: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "START", 0.1)
    with pytest.raises(ConnectionRefusedError):
        probe.connect(connection(door))
