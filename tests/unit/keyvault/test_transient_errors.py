"""Transient errors: asked again within the limit; past it, the run fails or the host goes on with what it has."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
import requests
import urllib3
from azure.keyvault.secrets._shared import http_challenge_cache

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError, VaultUnavailable
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault

from .conftest import LONG_AGO, Host

CHALLENGE = 'Bearer authorization="https://login.microsoftonline.com/x", resource="https://example.org"'
NAMES = [f"secret-{number}" for number in range(6)]


@pytest.mark.parametrize("operation", ["get", "list", "challenge", "token"])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("status", {"status": 429}),
        ("status", {"status": 429, "retry_after": 1}),
        ("status", {"status": 500}),
        ("status", {"status": 503}),
        ("reset", {}),
        ("lost", {}),
        ("half", {}),
        ("slow", {"seconds": 0.3}),
    ],
)
def test_what_passes_is_outlasted(host: Host, kind: str, operation: str, settings: dict[str, Any]) -> None:
    host.fill(*NAMES)
    host.control.fault(kind, operation, count=1 if settings.get("retry_after") else 2, **settings)
    started = time.monotonic()
    assert len(host.run()) == len(NAMES)
    if settings.get("retry_after"):
        assert time.monotonic() - started >= 1
    assert not host.warnings


def test_a_storm_is_outlasted(host: Host) -> None:
    host.fill(*[f"secret-{number}" for number in range(40)])
    for kind, settings in (("status", {"status": 429}), ("status", {"status": 502}), ("reset", {}), ("half", {})):
        host.control.fault(kind, "get", count=0, share=0.15, **settings)
    assert len(host.run()) == 40


def test_a_wait_of_no_seconds_is_no_hurry(host: Host) -> None:
    host.fill("key")
    host.options["seconds"] = 1
    host.control.fault("status", "get", count=0, status=429, retry_after=0)
    with pytest.raises(VaultUnavailable):
        host.run()
    assert host.count()["get"] < 1 / keyvault.BACKOFF[-1] + 5


def test_tokens_that_end_in_mid_run_are_renewed(host: Host) -> None:
    host.fill(*NAMES)
    with keyvault.Vault(host.settings()) as vault:
        assert all(isinstance(answer, keyvault.Value) for answer in vault.read(dict.fromkeys(NAMES)).values())
        host.control.expire_tokens()
        assert all(isinstance(answer, keyvault.Value) for answer in vault.read(dict.fromkeys(NAMES)).values())
    assert host.count()["token"] == 2


def test_tokens_that_live_shortly_are_renewed(host: Host) -> None:
    host.fill(*NAMES)
    host.control.set(token_seconds=1, latency_ms=200)
    with keyvault.Vault(host.settings()) as vault:
        for name in NAMES[:3]:
            assert isinstance(vault.read({name: None})[name], keyvault.Value)
    assert host.count()["token"] >= 3


PAST = [
    ("status", "get", {"status": 503}),
    ("status", "get", {"status": 429, "retry_after": 60}),
    ("status", "token", {"status": 500}),
    ("reset", "challenge", {}),
    ("half", "get", {}),
    ("slow", "get", {"seconds": 3.0}),
    ("slow", "token", {"seconds": 3.0}),
]


@pytest.mark.parametrize(("kind", "operation", "settings"), PAST)
def test_past_the_limit_the_run_fails(host: Host, kind: str, operation: str, settings: dict[str, Any]) -> None:
    host.fill(*NAMES)
    host.options["seconds"] = 1
    host.control.fault(kind, operation, count=0, **settings)
    started = time.monotonic()
    with pytest.raises(VaultUnavailable, match=r"vault coffre, or .* within 1 s \(.+\): run again later") as raised:
        host.run()
    assert time.monotonic() - started < 2
    assert "value of" not in str(raised.value)


@pytest.mark.parametrize(("kind", "operation", "settings"), PAST)
def test_past_the_limit_the_host_goes_on(host: Host, kind: str, operation: str, settings: dict[str, Any]) -> None:
    host.fill(*NAMES)
    first = host.run()
    before = host.seen
    host.put(NAMES[0], "value of today", created=LONG_AGO + 60)
    host.options |= {"seconds": 1, "unavailable": "keep"}
    operation = "list" if operation == "get" else operation
    http_challenge_cache.clear()
    host.control.fault(kind, operation, count=0, **settings)
    assert host.run() == first
    assert host.seen == before
    assert len(host.warnings) == 1 and "goes on with the versions that it has" in host.warnings[0]
    host.control.clear_faults()
    assert host.run() == first | {NAMES[0]: b"value of today"}


def test_a_host_that_lacks_one_cannot_go_on(host: Host) -> None:
    host.fill(*NAMES)
    host.run()
    host.fill("new", "newer")
    host.options |= {"seconds": 1, "unavailable": "keep"}
    host.control.fault("status", "get", count=0)
    with pytest.raises(VaultUnavailable, match="it has no new and newer"):
        host.run()


@pytest.mark.parametrize(
    ("status", "headers", "body", "silent", "words"),
    [
        (200, {"Content-Type": "text/html"}, b"<p>value of a portal", True, "half an answer"),
        (200, {"Content-Type": "application/json"}, b"[]", True, "half an answer"),
        (200, {"Content-Type": "application/json"}, b"{}", True, "half an answer"),
        (200, {"Content-Type": "application/json"}, b'{"value": "value of', True, "half an answer"),
        (400, {"Content-Type": "application/json"}, b"{}", False, "answers 400 to a request to get secrets"),
        (401, {"WWW-Authenticate": 'Basic realm="value of"'}, b"", False, "does not accept this identity's token"),
        (
            401,
            {"WWW-Authenticate": CHALLENGE},
            b"",
            False,
            "not as a vault does that may ask for this identity's token",
        ),
    ],
)
def test_an_answer_of_somebody_else(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    headers: dict[str, str],
    body: bytes,
    silent: bool,
    words: str,
) -> None:
    def answer(*_args: Any, **_options: Any) -> requests.Response:
        made = requests.Response()
        made.status_code = status
        made.raw = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False)
        made.headers.update(headers)
        return made

    host.add("key")
    host.options["seconds"] = 1
    monkeypatch.setattr("requests.Session.request", answer)
    with pytest.raises(SourceError, match=words) as raised:
        host.run()
    assert isinstance(raised.value, VaultUnavailable) is silent
    assert "value of" not in str(raised.value)


def test_an_answer_that_drips_keeps_nobody(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name service that hangs heeds no timeout of the connection."""
    host.fill("key")
    host.options["seconds"] = 1
    monkeypatch.setattr("socket.getaddrinfo", lambda *_args, **_options: time.sleep(3))
    started = time.monotonic()
    with pytest.raises(VaultUnavailable):
        host.run()
    assert time.monotonic() - started < 2


def test_no_identity_endpoint(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.fill("key")
    host.options["seconds"] = 1
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi/token")
    with pytest.raises(VaultUnavailable, match="no token: no connection"):
        host.run()
