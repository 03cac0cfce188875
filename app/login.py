"""Who is signed in. Keycloak tells it once, by an ID token, and the app's own session keeps it.

The session is a cookie that the browser can read and not change, so it holds no token that opens anything: Keycloak's
access token is dropped as soon as it came, and the client gets none to renew it. The ID token stays for the logout,
which names by it the session of Keycloak's that is to end.
"""

import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, cast

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import FlaskOAuth2App, OAuth
from flask import Flask, current_app, redirect, session, url_for
from joserfc.errors import JoseError
from werkzeug.wrappers import Response

from app import runtime
from app.config.settings import Config
from app.keycloak import TIMEOUTS

OPERATOR = "operator"
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
# As Keycloak's own session at most: then Keycloak says anew who it is, and what they may do.
LASTS = 10 * 3600.0  # seconds
# As many at once ask Keycloak for a token, so that a silent one does not hold every thread of the app.
_asking = threading.BoundedSemaphore(4)
_NAME = "keycloak"
_KEY = "person"


class LoginError(Exception):
    """Nobody was signed in. `retry` is whether trying again later is what helps: Keycloak gave no answer."""

    def __init__(self, *, retry: bool) -> None:
        super().__init__()
        self.retry = retry


@dataclass(frozen=True)
class Person:
    """Who is signed in: the name to log in by, the name to be called by, and the app's roles that they have.

    `form` is what each form of theirs brings back, which another site cannot know.
    """

    user: str
    name: str
    roles: tuple[str, ...]
    since: float
    form: str

    @property
    def operator(self) -> bool:
        """Whether they may see what the app was given."""
        return OPERATOR in self.roles

    def sent(self, form: str) -> bool:
        """Whether a form with this in it is theirs."""
        return hmac.compare_digest(self.form.encode(), form.encode())


class _BackChannel(FlaskOAuth2App.client_cls):  # type: ignore[misc]
    """Keycloak's endpoints for the app itself; no proxy and no netrc of the environment comes between."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, default_timeout=TIMEOUTS, **settings)
        self.trust_env = False


class _Keycloak(FlaskOAuth2App):  # type: ignore[misc]
    client_cls = _BackChannel


def register(app: Flask, settings: Config) -> None:
    """Let an app sign people in: they are sent to Keycloak's public address, and the app itself asks the inner one."""
    front, back = (f"{url}/protocol/openid-connect" for url in (settings.issuer, settings.realm_url))
    oauth = OAuth(app)
    oauth.oauth2_client_cls = _Keycloak
    oauth.register(
        _NAME,
        client_id=settings.login_client_id,
        authorize_url=f"{front}/auth",
        access_token_url=settings.token_url,
        jwks_uri=f"{back}/certs",
        end_session_endpoint=f"{front}/logout",
        issuer=settings.issuer,
        id_token_signing_alg_values_supported=ALGORITHMS,
        client_kwargs={
            "scope": "openid",
            "code_challenge_method": "S256",
            "token_endpoint_auth_method": "none",
        },
    )


def begin() -> Response:
    """Send the browser to Keycloak. One login at a time: what another one left in the session goes."""
    for key in [key for key in session if key.startswith("_state_")]:
        del session[key]
    return cast(Response, _client().authorize_redirect(_public("login.done")))


def finish() -> None:
    """Take what Keycloak sent the browser back with, and begin a session of that person. Raises LoginError."""
    if not _asking.acquire(blocking=False):
        raise LoginError(retry=True)
    try:
        token = _client().authorize_access_token()
        claims, id_token = token["userinfo"], token["id_token"]
    except requests.RequestException:
        raise LoginError(retry=True) from None
    except (OAuthError, JoseError, KeyError, ValueError):
        raise LoginError(retry=False) from None
    finally:
        _asking.release()
    session.clear()
    user = str(claims.get("preferred_username") or claims["sub"])
    session[_KEY] = {
        "user": user,
        "name": str(claims.get("name") or user),
        "roles": [str(each) for each in claims.get("roles") or []],
        "since": time.time(),
        "form": secrets.token_urlsafe(24),
        "id_token": id_token,
    }


def person() -> Person | None:
    """Who sends this request; None if nobody is signed in, or it is too long ago."""
    kept = session.get(_KEY)
    if not kept or not 0 <= time.time() - kept["since"] < LASTS:
        return None
    session.modified = True  # signs it anew, with the key in force
    return Person(kept["user"], kept["name"], tuple(kept["roles"]), kept["since"], kept["form"])


def end() -> Response:
    """End the app's session, and send the browser to Keycloak, which ends its own and sends it home."""
    kept = session.get(_KEY) or {}
    session.clear()
    if "id_token" not in kept:
        return redirect(url_for("home.home"), 303)
    client = _client()
    # No state: whoever comes home from there is nobody, whatever the address says.
    there = client.create_logout_url(_public("home.home"), kept["id_token"], state="")
    return redirect(there["url"], 303)


def _public(endpoint: str) -> str:
    """Where a browser reaches a page, whatever name the request was for."""
    return f"{runtime.current().settings.public_url}{url_for(endpoint)}"


def _client() -> _Keycloak:
    return cast(_Keycloak, current_app.extensions["authlib.integrations.flask_client"].create_client(_NAME))
