"""Keycloak as the host talks to it: an admin's session, a client's grant, and answers told without a value.

Asks a healthy container at its address, for the proxy may well keep the admin API shut. Passwords and
secrets go into request bodies, nowhere else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from keycloak import KeycloakAdmin, KeycloakOpenID, KeycloakOpenIDConnection
from keycloak.exceptions import KeycloakConnectionError, KeycloakError

from ...engines import containers
from ...engines.base import Container
from ...errors import CoffreError

PORT = 8080
REQUEST_SECONDS = 15
# A container's address has no TLS; else every connection would load the system's authorities first, for 0.05 s.
PLAIN: dict[str, Any] = {"verify": False}
REFUSALS = ("invalid_grant", "invalid_client", "unauthorized_client")
# How it says no to a client whose service account or realm is disabled.
SHUT = ((401, "invalid_request"), (403, "access_denied"))
POLICY = re.compile(r"invalidPassword\w+Message")


@dataclass(frozen=True)
class Instance:
    """A running container of Keycloak, and the port at which it listens."""

    container: Container
    port: int = PORT

    @property
    def url(self) -> str:
        return f"http://{containers.address(self.container)}:{self.port}"


def granted(server: str, realm: str, client: str, secret: str) -> bool:
    """Whether a client-credentials grant succeeds with this secret; False only when Keycloak refuses it.

    It refuses a client or a realm that is disabled or gone, too.
    """
    openid = KeycloakOpenID(server, realm, client, client_secret_key=secret, timeout=REQUEST_SECONDS, **PLAIN)
    try:
        openid.token(grant_type="client_credentials")
    except KeycloakError as error:
        if not refusal(error) and error.response_code != 404 and (error.response_code, _told(error)[0]) not in SHUT:
            raise
        return False
    return True


@contextmanager
def session(server: str, user: str, password: str) -> Iterator[KeycloakAdmin | None]:
    """A session of an admin of realm master, logged out at the end; None when Keycloak refuses the login."""
    with login(server, user, password) as admin:
        yield None if isinstance(admin, str) else admin


@contextmanager
def login(server: str, user: str, password: str) -> Iterator[KeycloakAdmin | str]:
    """As `session`, but where Keycloak refuses the login its own words for that."""
    # No request is repeated by itself: a second call for a client's new secret would end the one in use.
    connection = KeycloakOpenIDConnection(
        server, username=user, password=password, realm_name="master", timeout=REQUEST_SECONDS, max_retries=0, **PLAIN
    )
    admin: KeycloakAdmin | str
    try:
        connection.get_token()
        admin = KeycloakAdmin(connection=connection)
    except KeycloakError as error:
        if not refusal(error):
            raise
        admin = _told(error)[1]
    try:
        yield admin
    finally:
        if not isinstance(admin, str) and connection.token is not None:
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
        kind, words = _told(error)
        if POLICY.fullmatch(kind):
            raise CoffreError(
                f"Keycloak was asked to {what}, and the password policy of realm master refuses it "
                f"({words.removesuffix('.')}): relax that policy in the admin console (Authentication, Policies), "
                "then run this again."
            ) from None
        raise CoffreError(
            f"Keycloak answered {error.response_code} when asked to {what}: "
            "see the log of its container, then run site.yml again."
        ) from None


def refusal(error: KeycloakError) -> bool:
    """Whether an error is a no to a credential, in the words of RFC 6749; the status is 400 or 401."""
    return _told(error)[0] in REFUSALS


def _told(error: KeycloakError) -> tuple[str, str]:
    """The kind of an error and its description, as Keycloak's answer has them; "" without."""
    try:
        body = json.loads(error.response_body or b"")
        return str(body["error"]), str(body.get("error_description", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""
