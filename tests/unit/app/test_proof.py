"""Sessions under every key of a ring go on, others begin anew; the proof sees each way in which that fails."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import environments
import pytest
from flask import Flask
from werkzeug.serving import BaseWSGIServer, make_server

from app import create_app, proof
from app.proof import Keys, ProofError
from app.sessions import COOKIE, LIFETIME

NEW, OLD, OLDER, RETIRED = (f"canary-session-key-{number}" for number in range(4))
HTTPS = {"base_url": "https://localhost"}


@pytest.fixture
def ring(secrets_dir: Path) -> Callable[..., Flask]:
    """Makes an app whose sessions are signed with the first key, while the others still count."""

    def make(current: str, *previous: str) -> Flask:
        for path in secrets_dir.glob("flask-secret-key*"):
            path.unlink()
        (secrets_dir / "flask-secret-key").write_text(current)
        for number, key in enumerate(previous):
            (secrets_dir / f"flask-secret-key.{number:032x}").write_text(key)
        return create_app()

    return make


def test_a_session_outlives_two_rotations_at_once_and_ends_with_its_key(ring: Callable[..., Flask]) -> None:
    cookie = _cookie(ring(OLDER), None)
    assert _visits(ring(NEW, OLD, OLDER), cookie) == 2
    assert _visits(ring(OLD, OLDER), cookie) == 2
    renewed = _cookie(ring(NEW, OLDER), cookie)
    assert _visits(ring(NEW), renewed) == 3
    assert _visits(ring(NEW, OLD), cookie) == 1


def _cookie(app: Flask, cookie: str | None) -> str:
    client = app.test_client(use_cookies=False)
    answer = client.get("/session", headers={"Cookie": f"{COOKIE}={cookie}"} if cookie else {}, **HTTPS)
    return answer.headers["Set-Cookie"].partition(";")[0].removeprefix(f"{COOKIE}=")


def _visits(app: Flask, cookie: str) -> int:
    answer = app.test_client(use_cookies=False).get("/session", headers={"Cookie": f"{COOKIE}={cookie}"}, **HTTPS)
    assert answer.json
    return int(answer.json["visits"])


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], int]]:
    """Serves apps on the loopback; gives the port."""
    servers: list[tuple[BaseWSGIServer, threading.Thread]] = []

    def start(app: Flask) -> int:
        server = make_server("127.0.0.1", 0, app)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server.server_port

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("has", "keys", "sentence"),
    [
        ((NEW,), Keys(NEW, (), ()), None),
        ((NEW, OLD, OLDER), Keys(NEW, (OLD, OLDER), (RETIRED,)), None),
        ((NEW, OLD), Keys(NEW, (OLD,), (OLDER, RETIRED)), None),
        ((OLD,), Keys(NEW, (OLD,), ()), "signed with the current key is not accepted"),
        ((NEW,), Keys(NEW, (OLD,), ()), "signed with a previous key is not accepted"),
        ((OLD, NEW), Keys(NEW, (OLD,), ()), "is not signed anew with the current one"),
        ((NEW, OLD), Keys(NEW, (), (OLD,)), "signed with a withdrawn key is still accepted"),
    ],
)
def test_confirm(
    ring: Callable[..., Flask], serve: Callable[[Flask], int], has: tuple[str, ...], keys: Keys, sentence: str | None
) -> None:
    visit = partial(proof.confirm, "127.0.0.1", serve(ring(*has)))
    if sentence is None:
        proof.prove(keys, visit)
        return
    with pytest.raises(ProofError, match=sentence) as caught:
        proof.prove(keys, visit)
    assert "canary" not in str(caught.value)


def test_confirm_without_an_app() -> None:
    with pytest.raises(ProofError, match=r"gives no session \(ConnectionRefusedError\)"):
        proof.prove(Keys(NEW, (), ()), partial(proof.confirm, "127.0.0.1", 1))


def _text(current: bytes, previous: tuple[bytes, ...] = (), refused: tuple[bytes, ...] = ()) -> str:
    return json.dumps(
        {
            "current": base64.b64encode(current).decode(),
            "previous": [base64.b64encode(key).decode() for key in previous],
            "refused": [base64.b64encode(key).decode() for key in refused],
        }
    )


def test_rehearse_as_a_command() -> None:
    command = [sys.executable, "-m", "app.proof", "rehearse"]
    root = Path(__file__).parents[3]
    text = _text(NEW.encode(), (OLD.encode(), OLDER.encode()), (RETIRED.encode(),))
    done = subprocess.run(command, cwd=root, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = _text(NEW.encode(), refused=(NEW.encode(),))
    done = subprocess.run(command, cwd=root, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == "A session signed with a withdrawn key is still accepted.\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *((text, "no JSON object") for text in ("", "[]", "{}", '{"current": "%%", "previous": [], "refused": []}')),
        (_text(b"\xffcanary"), "not UTF-8 text"),
        (_text(b"canary\n"), "ends in a newline"),
        (_text(NEW.encode(), (b"",)), "is empty"),
    ],
)
def test_unusable_keys(text: str, sentence: str) -> None:
    wrong = proof.main("rehearse", text)
    assert wrong and wrong.status == 2
    assert sentence in str(wrong)
    assert "canary" not in str(wrong)


def test_the_catalogue_keeps_a_key_as_long_as_the_app_keeps_a_session() -> None:
    (secret,) = (each for each in environments.catalogue("demo")["secrets"] if each["name"] == "flask-secret-key")
    assert secret["settings"]["keep_days"] >= LIFETIME.days
    assert secret["settings"]["probe"][1:] == ["-m", proof.__name__]
