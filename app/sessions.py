"""How sessions are signed: with the key in force, while those under its predecessors still count."""

from collections.abc import Sequence
from datetime import timedelta

from flask import Flask

COOKIE = "__Host-session"
# A session that nobody used for so long is over; the catalogue keeps a previous key at least as long.
LIFETIME = timedelta(days=31)


def sign_sessions(app: Flask, key: str | None, previous: Sequence[str] = ()) -> None:
    """Give an app its keys, or none."""
    app.config.update(
        SECRET_KEY=key,
        SECRET_KEY_FALLBACKS=list(previous),
        PERMANENT_SESSION_LIFETIME=LIFETIME,
        SESSION_COOKIE_NAME=COOKIE,
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
    )
