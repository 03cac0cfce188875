"""Canary secrets, a clean environment, the app, and Keycloak's endpoints as a real server on the loopback has them."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import RSAKey

from app import create_app
from app.config.settings import SECRET_NAMES

CANARIES = {name: f"canary-{number}-{'x' * 32}" for number, name in enumerate(SECRET_NAMES)}


@pytest.fixture
def canaries() -> dict[str, str]:
    """The values of `secrets_dir`."""
    return CANARIES


@pytest.fixture(autouse=True)
def secrets_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the app's secrets, and an environment with nothing else in it."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, value in CANARIES.items():
        (folder / name).write_text(value)
        monkeypatch.delenv(name.upper().replace("-", "_"), raising=False)
    monkeypatch.delenv("DEMO_MODE", raising=False)
    monkeypatch.setenv("SECRETS_DIR", str(folder))
    monkeypatch.setenv("AUDIT_LOG", str(tmp_path / "audit.jsonl"))
    return folder


KEY = RSAKey.generate_key(2048, {"kid": "one"})


class TokenServer(ThreadingHTTPServer):
    """Answers the right client secret with a token; what it got is in `forms`. `answer` overrides what it says.

    A code it answers with an ID token of `claims`, signed with `key`, of which it publishes `KEY` alone.
    """

    forms: list[dict[str, list[str]]]
    answer: tuple[int, bytes] | None = None
    claims: dict[str, Any]
    key: RSAKey = KEY

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: TokenServer

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.forms.append(form)
        right = form.get("client_secret") == [CANARIES["keycloak-service-client-secret"]] or "code" in form
        answer = {"access_token": "canary-token", "token_type": "Bearer"}
        if "code" in form:
            answer["id_token"] = jwt.encode({"alg": "RS256", "kid": "one"}, self.server.claims, self.server.key)
        token = (200, json.dumps(answer).encode())
        self._send(*(self.server.answer or (token if right else (401, b'{"error": "unauthorized_client"}'))))

    def do_GET(self) -> None:
        assert self.path == "/realms/iam/protocol/openid-connect/certs"
        self._send(200, json.dumps({"keys": [KEY.as_dict(private=False)]}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    """Keycloak's token endpoint, as far as the app uses it."""
    server = TokenServer(("127.0.0.1", 0), _Handler)
    server.forms, server.claims = [], {}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def app(token_server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The app with every secret in place."""
    monkeypatch.setenv("KEYCLOAK_URL", token_server.url)
    return create_app()
