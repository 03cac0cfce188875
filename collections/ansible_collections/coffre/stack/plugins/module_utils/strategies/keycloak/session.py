"""Keycloak as the host talks to it: an admin's session, a client's grant, and answers told without a value.

Asks a healthy container at its address, for the proxy may well keep the admin API shut. Passwords and
secrets go into request bodies, nowhere else.
"""

from __future__ import annotations

import atexit
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from keycloak import KeycloakAdmin, KeycloakOpenID, KeycloakOpenIDConnection
from keycloak.exceptions import KeycloakConnectionError, KeycloakError

from ... import engines
from ...engines import containers
from ...engines.base import Container
from ...errors import CoffreError
from ...host import objects
from ...paths import StackPaths

PORT = 8080
REQUEST_SECONDS = 15
GOODBYE_SECONDS = 2
# A container's address has no TLS; else every connection would load the system's authorities first, for 0.05 s.
PLAIN: dict[str, Any] = {"verify": False}
REFUSALS = ("invalid_grant", "invalid_client", "unauthorized_client")
# How it says no to a client whose service account or realm is disabled.
SHUT = ((401, "invalid_request"), (403, "access_denied"))
POLICY = re.compile(r"invalidPassword\w+Message")
# By service, user and password, what the module's login gave: one takes Keycloak a tenth of a second of hashing. The
# containers of a service have their sessions in common, and `_servers` has where one was asked last.
_logins: dict[tuple[str, str, str], dict[str, Any]] = {}
_servers: dict[str, str] = {}


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
    """A session of an admin of realm master by a login of its own; None when Keycloak refuses that."""
    connection = _connection(server, user, password)
    if _refused(connection):
        yield None
        return
    try:
        yield KeycloakAdmin(connection=connection)
    finally:
        _log_out(connection)


@contextmanager
def login(
    paths: StackPaths, instance: Instance, user: str, password: str, *, anew: bool = False
) -> Iterator[KeycloakAdmin | str]:
    """The session that all of a module share, logged out at its end, or Keycloak's own words for a refused login.

    It outlives its password: who has to know whether that counts now asks for a `session`, or for one `anew`.
    """
    connection = _connection(instance.url, user, password)
    key = (instance.container.service, user, password)
    before = _logins.get(key)
    if words := _refused(connection, None if anew else before):
        yield words
        return
    _servers[instance.container.service] = instance.url
    if not _logins:
        atexit.register(_end, paths)
    if anew and before:
        _log_out(connection, before)
    try:
        yield KeycloakAdmin(connection=connection)
    finally:
        _logins[key] = connection.token or {}


def _connection(server: str, user: str, password: str, seconds: int = REQUEST_SECONDS) -> KeycloakOpenIDConnection:
    # No request is repeated by itself: a second call for a client's new secret would end the one in use.
    return KeycloakOpenIDConnection(
        server, username=user, password=password, realm_name="master", timeout=seconds, max_retries=0, **PLAIN
    )


def _refused(connection: KeycloakOpenIDConnection, token: dict[str, Any] | None = None) -> str:
    """Log in, or go on with what an earlier login gave: "", or Keycloak's words for its refusal.

    Either has the connection renew its token in realm master, whichever realm is looked at later.
    """
    with suppress(KeycloakError):  # one that has ended is followed by another
        if token:
            connection.token = connection.keycloak_openid.refresh_token(token["refresh_token"])
            return ""
    try:
        connection.get_token()
    except KeycloakError as error:
        if not refusal(error):
            raise
        return _told(error)[1] or _told(error)[0]
    return ""


def _log_out(connection: KeycloakOpenIDConnection, token: dict[str, Any] | None = None) -> None:
    with suppress(KeycloakError):  # the user may be gone by now, and its sessions with it
        connection.keycloak_openid.logout(str((token or connection.token or {}).get("refresh_token")))


def _end(paths: StackPaths) -> None:
    """End the sessions of the module's logins, where Keycloak still answers and can be reached."""
    if paths.on_swarm and not objects.reads(paths):
        return
    with suppress(CoffreError, OSError), engines.of(paths).near(paths):
        for (service, user, password), token in _logins.items():
            _log_out(_connection(_servers[service], user, password, GOODBYE_SECONDS), token)
    _logins.clear()


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
