"""Ports between hosts, on the loopback addresses of this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.swarm import ports

PLACES = ("52377/tcp", "57946/tcp", "57946/udp", "54789/udp")


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address whose ports nobody has, and a listener of the test's own at its end."""
    monkeypatch.setattr(ports, "ALL", PLACES)
    monkeypatch.setattr(ports, "END", "\0coffre-swarm-ports-of-a-test")
    monkeypatch.setattr(ports, "PATIENCE", 0.3)
    yield "127.0.83.1"
    ports.end()


def test_a_host_that_listens_is_reached_until_it_ends(unused: str) -> None:
    others = {"m1": {"address": unused, "ports": PLACES}}
    assert ports.listen(unused) == []
    assert ports.reach(others) == []
    assert ports.listen(unused) == []  # one that is left from a run that was cut short gives way
    ports.end()
    assert ports.reach(others) == [f"m1 {port}" for port in PLACES]


def test_a_port_that_something_else_has_is_told_and_the_others_answer(unused: str) -> None:
    with socket.create_server((unused, 52377)):
        assert ports.listen(unused) == ["52377/tcp"]
        assert ports.reach({"m1": {"address": unused, "ports": PLACES[1:]}}) == []
