"""Keycloak as the host talks to it: an admin's session, a client's grant, and answers told without a value.

Asks a healthy container at its address, for the proxy may well keep the admin API shut. Passwords and
secrets go into request bodies, nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from keycloak import KeycloakAdmin, KeycloakOpenID, KeycloakOpenIDConnection
from keycloak.exceptions import KeycloakConnectionError, KeycloakError

from . import compose, containers
from .errors import CoffreError

SERVICE = "keycloak"
REQUEST_SECONDS = 15
# A container's address has no TLS; else every connection would load the system's authorities first, for 0.05 s.
PLAIN: dict[str, Any] = {"verify": False}
REFUSALS = ("invalid_grant", "invalid_client", "unauthorized_client")


def url(container: compose.Container) -> str:
    return f"http://{containers.address(container)}:8080"


def granted(server: str, realm: str, client: str, secret: str) -> bool:
    """Whether a client-credentials grant succeeds with this secret; False only when Keycloak refuses it.

    Raises CoffreError for a realm that is none.
    """
    openid = KeycloakOpenID(server, realm, client, client_secret_key=secret, timeout=REQUEST_SECONDS, **PLAIN)
    try:
        openid.token(grant_type="client_credentials")
    except KeycloakError as error:
        if error.response_code == 404:
            raise CoffreError(
                f"Keycloak has no realm {realm}; nothing was changed: restart Keycloak, which imports it."
            ) from None
        if not refusal(error):
            raise
        return False
    return True


@contextmanager
def session(server: str, user: str, password: str) -> Iterator[KeycloakAdmin | None]:
    """A session of an admin of realm master, logged out at the end; None when Keycloak refuses the login."""
    # No request is repeated by itself: a second call for a client's new secret would end the one in use.
    connection = KeycloakOpenIDConnection(
        server, username=user, password=password, realm_name="master", timeout=REQUEST_SECONDS, max_retries=0, **PLAIN
    )
    try:
        connection.get_token()
        admin = KeycloakAdmin(connection=connection)
    except KeycloakError as error:
        if not refusal(error):
            raise
        admin = None
    try:
        yield admin
    finally:
        if admin is not None and connection.token is not None:
            with suppress(KeycloakError):  # the user may be gone by now, and its sessions with it
                connection.keycloak_openid.logout(connection.token["refresh_token"])


@contextmanager
def answered(what: str) -> Iterator[None]:
    """Turn what the client library raises into a sentence; its own messages quote the answer's body."""
    # A proxy named in the environment must not see these requests.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*"
    try:
        yield
    except KeycloakConnectionError:
        raise CoffreError(
            f"Keycloak gave no answer when asked to {what}: see the log of its container, then run site.yml again."
        ) from None
    except KeycloakError as error:
        raise CoffreError(
            f"Keycloak answered {error.response_code} when asked to {what}: "
            "see the log of its container, then run site.yml again."
        ) from None


def refusal(error: KeycloakError) -> bool:
    """Whether an error is a no to a credential, in the words of RFC 6749; the status is 400 or 401."""
    try:
        return json.loads(error.response_body or b"")["error"] in REFUSALS
    except (ValueError, KeyError, TypeError):
        return False
