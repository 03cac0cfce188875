"""Prove session keys before and after they are put in force: `python -m app.proof rehearse|confirm ADDRESS`.

Reads one JSON object from standard input, {"current": KEY, "previous": [KEY, ...], "refused": [KEY, ...]} with keys in
base64. Sessions under the current key and each previous one must go on, and be signed anew with the current one; those
under a refused key must begin anew. `rehearse` tries that in this process with the app's own code, `confirm` asks the
app that runs at an address. Exits 0, or else with one sentence on standard error, and a status that says the same,
because whoever hands over keys does not pass on what is printed:

2  the keys cannot be the app's                    5  no session is signed anew with the current key
3  a session under the current key is refused      6  a session under a refused key is accepted
4  a session under a previous key is refused       7  the app gives no session
"""

import base64
import http.client
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature, URLSafeTimedSerializer

from app.api import session
from app.config.settings import decoded
from app.sessions import COOKIE, sign_sessions

TIMEOUT = 6.0  # seconds
VISITS = 41

# Sends a session's cookie, and gives how many visits were counted and the cookie that came back.
Visit = Callable[[str], tuple[int, str]]


class ProofError(Exception):
    """One sentence that may be shown: it holds no value. `status` is what the program exits with."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Keys:
    """The key that signs, those before it that still count, and those that no longer do."""

    current: str = field(repr=False)
    previous: Sequence[str] = field(repr=False)
    refused: Sequence[str] = field(repr=False)


def read(text: str) -> Keys:
    """The keys that standard input brings. ProofError if they cannot be the app's."""
    try:
        data = json.loads(text)
        current, previous, refused = (
            [base64.b64decode(key, validate=True) for key in keys]
            for keys in ([data["current"]], data["previous"], data["refused"])
        )
    except (ValueError, KeyError, TypeError):
        raise ProofError(2, "Standard input is no JSON object of keys in base64.") from None
    try:
        return Keys(_texts(current)[0], _texts(previous), _texts(refused))
    except ValueError as error:
        raise ProofError(2, str(error)) from None


def _texts(keys: Sequence[bytes]) -> list[str]:
    return [decoded("flask-secret-key", key) for key in keys]


def prove(keys: Keys, visit: Visit) -> None:
    """Raise ProofError unless all sessions are treated as they should be."""
    for key in (keys.current, *keys.previous):
        which = "the current" if key == keys.current else "a previous"
        visits, cookie = visit(_serializer(key).dumps({"visits": VISITS}))
        if visits != VISITS + 1:
            raise ProofError(3 if key == keys.current else 4, f"A session signed with {which} key is not accepted.")
        if _visits(keys.current, cookie) != visits:
            raise ProofError(5, f"A session signed with {which} key is not signed anew with the current one.")
    if any(visit(_serializer(key).dumps({"visits": VISITS}))[0] != 1 for key in keys.refused):
        raise ProofError(6, "A session signed with a withdrawn key is still accepted.")


def rehearse(keys: Keys, cookie: str) -> tuple[int, str]:
    """Visit an app of these keys that lives in this process only."""
    app = _app(keys.current, keys.previous)
    app.register_blueprint(session.blueprint)
    answer = app.test_client(use_cookies=False).get("/session", headers={"Cookie": f"{COOKIE}={cookie}"})
    return answer.get_json()["visits"], _given(answer.headers.get("Set-Cookie"))


def confirm(address: str, port: int, cookie: str) -> tuple[int, str]:
    """Visit the app that runs at an address."""
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/session", headers={"Cookie": f"{COOKIE}={cookie}"})
        answer = connection.getresponse()
        return int(json.loads(answer.read())["visits"]), _given(answer.getheader("Set-Cookie"))
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise ProofError(7, f"The app gives no session ({type(error).__name__}).") from None
    finally:
        connection.close()


def _app(current: str, previous: Sequence[str] = ()) -> Flask:
    app = Flask(__name__)
    sign_sessions(app, current, previous)
    return app


def _serializer(key: str) -> URLSafeTimedSerializer:
    serializer = SecureCookieSessionInterface().get_signing_serializer(_app(key))
    assert serializer
    return serializer


def _visits(key: str, cookie: str) -> int | None:
    """The visits that a cookie holds, or None if this key did not sign it."""
    try:
        return int(_serializer(key).loads(cookie)["visits"])
    except BadSignature:
        return None


def _given(header: str | None) -> str:
    return (header or "").partition(";")[0].removeprefix(f"{COOKIE}=")


def main(step: str, text: str, address: str = "") -> ProofError | None:
    """What is wrong, if anything is."""
    try:
        keys = read(text)
        prove(keys, partial(confirm, address, 8000) if step == "confirm" else partial(rehearse, keys))
    except ProofError as error:
        return error
    return None


if __name__ == "__main__":
    if wrong := main(sys.argv[1], sys.stdin.read(), *sys.argv[2:]):
        print(wrong, file=sys.stderr)
        sys.exit(wrong.status)
