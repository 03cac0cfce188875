"""Faults, latency and counts: what the SDK makes of each, and that each can be aimed."""

from __future__ import annotations

import time
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import CredentialUnavailableError
from azure.keyvault.secrets import SecretClient

from tests.keyvault_emulator.server import Emulator

from .conftest import Connect


@pytest.fixture
def client(emulator: Emulator, connect: Connect) -> SecretClient:
    """A client that was challenged already and gives up at once."""
    made = connect()
    for name in ("alpha", "beta"):
        made.set_secret(name, "one")
    emulator.control.count(reset=True)
    return made


@pytest.mark.parametrize(
    ("kind", "settings", "error"),
    [
        ("status", {"status": 503}, HttpResponseError),
        ("status", {"status": 429}, HttpResponseError),
        ("reset", {}, ServiceResponseError),
        ("lost", {}, ServiceResponseError),
        ("half", {}, (DecodeError, IncompleteReadError, ServiceResponseError)),
    ],
)
def test_fault_hits_once_and_then_it_is_over(
    emulator: Emulator, client: SecretClient, kind: str, settings: dict[str, Any], error: type[AzureError]
) -> None:
    emulator.control.fault(kind, "get", **settings)
    with pytest.raises(error):
        client.get_secret("alpha")
    assert client.get_secret("alpha").value == "one"
    assert emulator.control.count()["get"] == 2


@pytest.mark.parametrize(
    ("kind", "settings"), [("status", {"status": 500}), ("status", {"status": 429}), ("reset", {})]
)
def test_sdk_gets_over_it_by_itself(emulator: Emulator, connect: Connect, kind: str, settings: dict[str, Any]) -> None:
    emulator.control.put("coffre", "alpha", "one")
    emulator.control.fault(kind, count=2, **settings)
    assert connect(retries=3).get_secret("alpha").value == "one"


def test_throttling_says_when_to_come_back(emulator: Emulator, client: SecretClient, connect: Connect) -> None:
    emulator.control.fault("status", status=429, retry_after=7)
    with pytest.raises(HttpResponseError, match="too many requests were received") as refused:
        client.get_secret("alpha")
    assert refused.value.response.headers["Retry-After"] == "7"  # type: ignore[union-attr]
    emulator.control.fault("status", status=429, retry_after=1)
    began = time.monotonic()
    connect(retries=1).get_secret("alpha")
    assert time.monotonic() - began >= 1


def test_aim(emulator: Emulator, client: SecretClient) -> None:
    emulator.control.fault("status", "get", name="Beta", skip=1, count=2)
    seen = []
    for name in ("alpha", "beta", "beta", "alpha", "beta", "beta"):
        try:
            seen.append(client.get_secret(name).value)
        except HttpResponseError as error:
            seen.append(str(error.status_code))
    assert seen == ["one", "one", "503", "one", "503", "one"]


def test_share_of_the_calls_until_it_clears(emulator: Emulator, client: SecretClient) -> None:
    emulator.control.fault("status", count=0, share=0.5)
    failed = 0
    for _ in range(40):
        try:
            client.get_secret("alpha")
        except HttpResponseError:
            failed += 1
    assert 10 <= failed <= 30
    emulator.control.clear_faults()
    client.get_secret("alpha")


def test_lost_answer_has_done_its_work(emulator: Emulator, client: SecretClient) -> None:
    emulator.control.fault("lost", "set")
    with pytest.raises(ServiceResponseError):
        client.set_secret("alpha", "two")
    emulator.control.fault("reset", "set")
    with pytest.raises(ServiceResponseError):
        client.set_secret("alpha", "three")
    assert client.get_secret("alpha").value == "two"


@pytest.mark.parametrize("kind", ["status", "reset"])
def test_identity_endpoint_down(emulator: Emulator, connect: Connect, kind: str) -> None:
    emulator.control.fault(kind, "token", count=0)
    with pytest.raises((CredentialUnavailableError, ServiceResponseError, ServiceRequestError)):
        connect().get_secret("alpha")
    counted = emulator.control.count()
    assert "get" not in counted
    assert counted["token"] >= 1


def test_challenge_can_be_aimed_at(emulator: Emulator, connect: Connect) -> None:
    emulator.control.fault("status", "challenge", status=500)
    with pytest.raises(HttpResponseError) as refused:
        connect().get_secret("alpha")
    assert refused.value.status_code == 500


def test_latency_and_slowness(emulator: Emulator, client: SecretClient) -> None:
    def seconds() -> float:
        began = time.monotonic()
        client.get_secret("alpha")
        return time.monotonic() - began

    emulator.control.set(latency_ms=60)
    assert seconds() >= 0.06
    emulator.control.fault("slow", seconds=0.2)
    assert seconds() >= 0.26
    emulator.control.set(latency_ms=0)
    client.get_secret("alpha")
