"""The app as a client sees it."""

import json
import logging
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from demo import services
from flask import Flask

from ansible_collections.coffre.stack.plugins.module_utils.audit.trail import verify
from ansible_collections.coffre.stack.plugins.module_utils.rollout import proxies
from app import create_app
from app.api.health import CHECK
from app.config.settings import SECRET_NAMES
from app.keycloak import PUBLIC_KEEP
from app.runtime import REFUSALS, Runtime

if TYPE_CHECKING:
    from tests.unit.app.conftest import TokenServer

LOADED = dict.fromkeys(SECRET_NAMES, "loaded")


def test_health(app: Flask, token_server: "TokenServer") -> None:
    answer = app.test_client().get("/health")
    assert (answer.status_code, answer.json) == (200, {"status": "healthy", "secrets": LOADED})
    assert token_server.forms == []


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("when", ["before the start", "after the start"])
def test_missing_secret(secrets_dir: Path, name: str, when: str) -> None:
    if when == "after the start":
        app = create_app()
        (secrets_dir / name).unlink()
    else:
        (secrets_dir / name).unlink()
        app = create_app()
    health, ready = app.test_client().get("/health"), app.test_client().get("/ready")
    assert health.status_code == ready.status_code == 503
    assert health.json and health.json["status"] == "unhealthy"
    assert health.json["secrets"] == LOADED | {name: "missing"}
    assert ready.json == {"status": "not ready", "cause": f"secret missing: {name}"}


OUTSIDE = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "example.org"}  # as the proxy sets them


def test_nobody_outside_hears_a_name(app: Flask, secrets_dir: Path, tmp_path: Path) -> None:
    client = app.test_client()
    assert client.get("/health", headers=OUTSIDE).json == {"status": "healthy"}
    (secrets_dir / SECRET_NAMES[0]).unlink()
    assert client.get("/health", headers=OUTSIDE).json == {"status": "unhealthy"}
    assert client.get("/ready", headers=OUTSIDE).json == {"status": "not ready", "cause": "secret missing"}
    (secrets_dir / SECRET_NAMES[0]).write_text("there")
    (tmp_path / "audit.jsonl").unlink()
    (tmp_path / "audit.jsonl").mkdir()
    assert client.get("/health", headers=OUTSIDE).json == {"status": "unhealthy"}
    assert client.get("/ready", headers=OUTSIDE).json == {"status": "not ready", "cause": "audit log not writable"}


def test_those_outside_share_an_answer_longer(app: Flask, token_server: "TokenServer") -> None:
    client = app.test_client()
    shared = app.extensions["coffre"].token
    moments = iter([100.0 + step for step in range(40)])
    shared.clock = lambda: next(moments)
    while shared.clock() < 100 + PUBLIC_KEEP:
        assert client.get("/ready", headers=OUTSIDE).status_code == 200
    assert len(token_server.forms) == 1
    assert client.get("/ready").status_code == 200
    assert len(token_server.forms) == 2


def test_secret_that_came_too_late_is_missing(secrets_dir: Path) -> None:
    """Only a restart reads it."""
    file = secrets_dir / "flask-secret-key"
    value = file.read_text()
    file.unlink()
    app = create_app()
    file.write_text(value)
    assert app.test_client().get("/health").status_code == 503


def test_unwritable_audit_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    client = create_app().test_client()
    assert "cannot be written" in caplog.text
    health = client.get("/health")
    assert health.status_code == client.get("/ready").status_code == 503
    assert health.json and "audit" in health.json


def test_audit_log_that_becomes_unwritable(app: Flask, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.unlink()
    log.mkdir()
    answer = app.test_client().get("/health")
    assert answer.status_code == 503
    assert answer.json and "cannot be written" in answer.json["audit"]


def test_ready(app: Flask, token_server: "TokenServer") -> None:
    answer = app.test_client().get("/ready")
    assert (answer.status_code, answer.json) == (200, {"status": "ready"})
    assert len(token_server.forms) == 1


def test_ready_when_refused(app: Flask, token_server: "TokenServer") -> None:
    token_server.answer = (401, b"{}")
    answer = app.test_client().get("/ready")
    assert (answer.status_code, answer.json) == (503, {"status": "not ready", "cause": "client refused"})


def test_ready_when_keycloak_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYCLOAK_URL", "http://127.0.0.1:1")
    client = create_app().test_client()
    answer = client.get("/ready")
    assert (answer.status_code, answer.json) == (503, {"status": "not ready", "cause": "keycloak unreachable"})
    assert client.get("/health").status_code == 200


def test_load_makes_one_token_call(app: Flask, token_server: "TokenServer") -> None:
    start = threading.Barrier(50)
    codes = []

    def ask() -> None:
        start.wait()
        codes.append(app.test_client().get("/ready").status_code)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 50
    assert len(token_server.forms) == 1


def test_stopping(app: Flask) -> None:
    app.extensions["coffre"].stopping.set()
    client = app.test_client()
    assert client.get("/health").status_code == client.get("/ready").status_code == 503
    assert client.get("/").status_code == 200


def test_the_proxy_has_turned_away_after_as_many_refused_checks_as_it_takes(app: Flask) -> None:
    now: Runtime = app.extensions["coffre"]
    client = app.test_client()
    proxy, visitor = {"Host": CHECK}, {"Host": CHECK, "X-Forwarded-Host": "example.org"}
    client.get("/health", headers=proxy)  # before it leaves
    now.stopping.set()
    for _ in range(REFUSALS):
        client.get("/health")
        client.get("/health", headers=visitor)
    assert not now.wait_until_turned_away(0)
    for _ in range(REFUSALS):
        client.get("/health", headers=proxy)
    assert now.wait_until_turned_away(0)


def proxy_settings() -> str:
    return proxies.files(services())["haproxy.cfg"]


def test_the_app_and_the_proxy_mean_the_same_checks() -> None:
    assert f" fall {REFUSALS} " in proxy_settings()
    assert f"uri /health ver HTTP/1.1 hdr Host {CHECK}\n" in proxy_settings()


def test_the_proxy_leaves_threads_for_checks() -> None:
    root = Path(__file__).parents[3]
    threads = re.search(r"^threads = (\d+)$", (root / "app/gunicorn.conf.py").read_text(), re.MULTILINE)
    most = re.search(r"server-template app .* maxconn (\d+)$", proxy_settings(), re.MULTILINE)
    assert threads and most
    assert int(most[1]) <= int(threads[1]) - 2


def test_session_goes_round(app: Flask) -> None:
    client = app.test_client()
    https = {"base_url": "https://localhost"}
    first = client.get("/session", **https)
    assert first.json == {"visits": 1}
    cookie = first.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    assert set(cookie.split("; ")[1:]) == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}
    posted = client.post("/session", json={"value": "canary-posted"}, **https)
    assert posted.json == {"visits": 2}
    assert "canary" not in posted.text + str(posted.headers)
    assert client.get("/session", **https).json == {"visits": 3}


def test_forged_session_begins_anew(app: Flask) -> None:
    client = app.test_client()
    client.set_cookie(
        "__Host-session", "eyJ2aXNpdHMiOjQxfQ.awVlYA.iPAqLzZidq_UhA3ZgidijCufcW8", domain="localhost", secure=True
    )
    assert client.get("/session", base_url="https://localhost").json == {"visits": 1}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"json": ["value"]}, 400),
        ({"json": {}}, 400),
        ({"data": "value=1"}, 415),
        ({"data": b"{" + b" " * 20_000, "content_type": "application/json"}, 413),
    ],
)
def test_bad_session_request(app: Flask, request_: dict[str, object], status: int) -> None:
    assert app.test_client().post("/session", **request_).status_code == status


def test_no_session_without_key(secrets_dir: Path) -> None:
    (secrets_dir / "flask-secret-key").unlink()
    answer = create_app().test_client().get("/session")
    assert answer.status_code == 503
    assert "flask-secret-key" in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/login", "/login/done", "/health", "/ready", "/session", "/static/style.css", "/none", "/fails"]
)
def test_security_headers(app: Flask, path: str) -> None:
    app.add_url_rule("/fails", view_func=_fail)
    with app.test_client().get(path) as answer:
        headers = answer.headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert "form-action 'self'; frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")


def test_one_proxy_is_believed(app: Flask) -> None:
    app.add_url_rule("/seen", view_func=_seen)
    headers = {"X-Forwarded-For": "198.51.100.9, 192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.test"}
    assert app.test_client().get("/seen", headers=headers).json == ["192.0.2.1", "https://a.test/"]


def test_loads_are_recorded(tmp_path: Path, canaries: dict[str, str]) -> None:
    log = tmp_path / "audit.jsonl"
    create_app()
    create_app()
    verify(log, {"v1": canaries["audit-log-signing-key"].encode()})
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(each["event"], each["secret"], each["source"]) for each in records] == [
        ("secret-loaded", name, "file") for name in SECRET_NAMES
    ] * 2


def test_missing_secret_is_recorded(secrets_dir: Path, tmp_path: Path) -> None:
    (secrets_dir / "flask-secret-key").unlink()
    create_app()
    first = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[0])
    assert (first["event"], first["secret"]) == ("secret-missing", "flask-secret-key")


def test_no_value_is_shown(
    app: Flask,
    tmp_path: Path,
    canaries: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    app.add_url_rule("/fails", view_func=_fail)
    client = app.test_client()
    seen = "".join(
        f"{(answer := client.get(path)).text}{answer.headers}"
        for path in ("/", "/health", "/ready", "/session", "/fails")
    )
    seen += caplog.text + "".join(capfd.readouterr()) + (tmp_path / "audit.jsonl").read_text() + repr(app.extensions)
    assert "Exception on /fails" in seen
    assert not [name for name, value in canaries.items() if value in seen]
    assert "canary-token" not in seen


def test_log_says_where_each_secret_came_from(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (secrets_dir / "flask-secret-key").unlink()
    (secrets_dir / "audit-log-signing-key").unlink()
    monkeypatch.setenv("FLASK_SECRET_KEY", "canary")
    create_app()
    sources = {vars(each)["secret"]: vars(each).get("source") for each in caplog.records if "secret" in vars(each)}
    assert sources == {
        "flask-secret-key": "environment",
        "keycloak-service-client-secret": "file",
        "audit-log-signing-key": None,
    }


def _fail() -> str:
    raise RuntimeError("an error without a value")


def _seen() -> list[str | None]:
    from flask import request

    return [request.remote_addr, request.host_url]
