"""Keycloak's permanent admin, and a client whose secret agrees with the catalogue.

Talks from the host to a healthy Keycloak at its container's address: the proxy may well keep the
admin API shut. Passwords and secrets go into request bodies and a terminal, nowhere else.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from keycloak import KeycloakAdmin, KeycloakOpenID, KeycloakOpenIDConnection
from keycloak.exceptions import (
    KeycloakConnectionError,
    KeycloakDeleteError,
    KeycloakError,
    KeycloakGetError,
    KeycloakPutError,
    raise_error_from_response,
)

from . import compose, containers
from .errors import CoffreError

REQUEST_SECONDS = 15
BOOTSTRAP_SECONDS = 300.0
BOOTSTRAP_PREFIX = "coffre-bootstrap-"
REFUSALS = ("invalid_grant", "invalid_client", "unauthorized_client")
PROMPTS = (b"Enter password:", b"Enter password again:")

# What lets a client's old secret live beside the new one while a rotation is under way. The period is ten
# years, because any update of a client whose secret is older would replace the secret.
PROFILE: dict[str, Any] = {
    "name": "secret-rotation",
    "description": "Two secrets live at once while a client adopts a new one; they end by rotation, not by age.",
    "executors": [
        {
            "executor": "secret-rotation",
            "configuration": {
                "expiration-period": 315360000,
                "rotated-expiration-period": 86400,
                "remaining-rotation-period": 0,
            },
        }
    ],
}
POLICY: dict[str, Any] = {
    "name": "secret-rotation",
    "description": "Confidential clients can be rotated.",
    "enabled": True,
    "conditions": [{"condition": "client-access-type", "configuration": {"type": ["confidential"]}}],
    "profiles": ["secret-rotation"],
}


def url(container: compose.Container) -> str:
    return f"http://{containers.address(container)}:8080"


def ensure_admin(file: Path, container: compose.Container, user: str, password: str, dry: bool = False) -> list[str]:
    """Make the permanent admin of realm master log in with this password; return what was mended.

    `admin` stands for the admin itself, made or repaired through a one-time admin that is then gone;
    `leftovers` for one-time admins of a run that was cut short. `file` is the stack's Compose file.
    """
    server = url(container)
    with answered("let its admin log in"):
        with session(server, user, password) as admin:
            if admin is not None and (left := _leftovers(admin)) is not None:
                if not dry:
                    _remove(admin, left)
                return ["leftovers"] if left else []
        if dry:
            return ["admin"]
        name, once = BOOTSTRAP_PREFIX + secrets.token_hex(8), secrets.token_urlsafe(32)
        bootstrap(file, container, name, once)
        with session(server, name, once) as helper:
            if helper is None:
                raise CoffreError(f"Keycloak refuses the one-time admin {name} that its own command made; run again.")
            try:
                _repair(helper, user, password)
                with session(server, user, password) as admin:
                    if admin is None or (left := _leftovers(admin)) is None:
                        raise CoffreError(
                            f"Keycloak still refuses {user} after its password and role were set: look in the admin "
                            "console for a second factor or a lockout of this user."
                        )
                    _remove(admin, left)
            except BaseException:
                with suppress(KeycloakError):
                    _remove(helper, _leftovers(helper) or [])
                raise
        with session(server, name, once) as helper:
            if helper is not None:
                raise CoffreError(f"The one-time admin {name} can still log in: delete it in realm master.")
        return ["admin"]


def ensure_client(
    container: compose.Container,
    realm: str,
    client: str,
    secret: str,
    admin: tuple[str, str],
    dry: bool = False,
) -> list[str]:
    """Make a client's secret, and its realm's rotation profile and policy, agree; return what was mended.

    `admin` is (name, password) of an admin of realm master. A secret that authenticates is left alone,
    and with it everything else of the client.
    """
    server = url(container)
    with answered(f"let the client {client} of realm {realm} authenticate"):
        mended = [] if granted(server, realm, client, secret) else ["secret"]
        with session(server, *admin) as keeper:
            if keeper is None and dry:
                return mended  # a real run repairs the admin first, and only then sees the policies
            if keeper is None:
                raise CoffreError(
                    f"Keycloak refuses its admin {admin[0]}; nothing was changed: "
                    "run site.yml again, which repairs the admin first."
                )
            policies = f"admin/realms/{realm}/client-policies"
            for kind, entry in (("profiles", PROFILE), ("policies", POLICY)):
                if _ensure_entry(keeper, f"{policies}/{kind}", kind, entry, dry):
                    mended.append(kind)
            # After the policies: they say how long the secret that is set lives.
            if "secret" in mended and not dry:
                _set_secret(keeper, server, realm, client, secret)
    return mended


def granted(server: str, realm: str, client: str, secret: str) -> bool:
    """Whether a client-credentials grant succeeds with this secret; False only when Keycloak refuses it.

    Raises CoffreError for a realm that is none.
    """
    openid = KeycloakOpenID(server, realm, client, client_secret_key=secret, timeout=REQUEST_SECONDS)
    try:
        openid.token(grant_type="client_credentials")
    except KeycloakError as error:
        if error.response_code == 404:
            raise CoffreError(
                f"Keycloak has no realm {realm}; nothing was changed: restart Keycloak, which imports it."
            ) from None
        if not _refusal(error):
            raise
        return False
    return True


@contextmanager
def session(server: str, user: str, password: str) -> Iterator[KeycloakAdmin | None]:
    """A session of an admin of realm master, logged out at the end; None when Keycloak refuses the login."""
    connection = KeycloakOpenIDConnection(
        server, username=user, password=password, realm_name="master", timeout=REQUEST_SECONDS
    )
    try:
        connection.get_token()
        admin = KeycloakAdmin(connection=connection)
    except KeycloakError as error:
        if not _refusal(error):
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


def bootstrap(file: Path, container: compose.Container, user: str, password: str) -> None:
    """Make a temporary admin by Keycloak's own command, in a one-off container beside the running ones.

    A second JVM in the running container would take it to its memory limit. The command joins no
    cluster and serves no request. It asks for the password, which is typed at a terminal of ours, so
    that it is in no argument and no environment; what the terminal shows is thrown away.
    Raises CoffreError.
    """
    command = ["docker", "compose", "--file", str(file), "run", "--rm", "--no-deps", container.service]
    command += [*_database_options(container), "bootstrap-admin", "user", "--optimized", "--username", user]
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        try:
            _type(ours, password, time.monotonic() + BOOTSTRAP_SECONDS)
            status = process.wait(timeout=30)
        finally:
            process.kill()
            process.wait()
    except (TimeoutError, subprocess.TimeoutExpired):
        raise CoffreError(
            f"Keycloak's command bootstrap-admin did not end within {BOOTSTRAP_SECONDS:.0f} s; no admin was changed: "
            "run site.yml again."
        ) from None
    finally:
        os.close(ours)
    if status != 0:
        raise CoffreError(
            f"Keycloak's command bootstrap-admin failed (exit status {status}); no admin was changed: "
            f"see what `docker compose --file {file} run --rm --no-deps {container.service} "
            f"{' '.join(_database_options(container))} bootstrap-admin user --optimized` says."
        )


def _type(terminal: int, password: str, deadline: float) -> None:
    """Answer each prompt with the password and read on until the other side closes. Raises TimeoutError."""
    prompts, shown = list(PROMPTS), b""
    while True:
        if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # how Linux says that nobody holds the terminal any more
            return
        if not chunk:
            return
        shown += chunk
        if prompts and prompts[0] in shown:
            shown = shown.partition(prompts.pop(0))[2]
            os.write(terminal, password.encode() + b"\r")


def _database_options(container: compose.Container) -> list[str]:
    """How the running Keycloak was told to reach its database, which the command must be told alike."""
    command = json.loads(compose.call(["docker", "inspect", "--format", "{{json .Config.Cmd}}", container.id]))
    return [word for word in command or [] if word.startswith(("--config-file=", "--db-"))]


def _refusal(error: KeycloakError) -> bool:
    """Whether an error is a no to a credential, in the words of RFC 6749; the status is 400 or 401."""
    try:
        return json.loads(error.response_body or b"")["error"] in REFUSALS
    except (ValueError, KeyError, TypeError):
        return False


def _leftovers(admin: KeycloakAdmin) -> list[str] | None:
    """The ids of one-time admins that are still there; None if this user is no admin who may see them."""
    try:
        users = admin.get_users({"search": BOOTSTRAP_PREFIX})
    except KeycloakGetError as error:
        if error.response_code == 403:
            return None
        raise
    return [user["id"] for user in users if user["username"].startswith(BOOTSTRAP_PREFIX)]


def _remove(admin: KeycloakAdmin, users: list[str]) -> None:
    for user in users:
        admin.delete_user(user)


def _repair(admin: KeycloakAdmin, user: str, password: str) -> None:
    """Make `user` a permanent admin of realm master with this password, and end the sessions it has."""
    found = admin.get_users({"username": user, "exact": True})
    if found:
        identity = found[0]["id"]
        attributes = {k: v for k, v in found[0].get("attributes", {}).items() if k != "is_temporary_admin"}
        admin.update_user(identity, found[0] | {"enabled": True, "requiredActions": [], "attributes": attributes})
    else:
        identity = admin.create_user({"username": user, "enabled": True})
    admin.set_user_password(identity, password, temporary=False)
    admin.assign_realm_roles(identity, [admin.get_realm_role("admin")])
    admin.user_logout(identity)


def _ensure_entry(admin: KeycloakAdmin, path: str, kind: str, entry: dict[str, Any], dry: bool) -> bool:
    """Put one entry into a realm's whole list of client profiles or policies, keeping the others. True if changed."""
    answer: Any = raise_error_from_response(admin.connection.raw_get(path), KeycloakGetError)
    found: list[dict[str, Any]] = answer[kind]
    same = [each for each in found if each["name"] == entry["name"]]
    if same and all(same[0].get(key) == value for key, value in entry.items()):
        return False
    if not dry:
        others = [each for each in found if each["name"] != entry["name"]]
        body = json.dumps({kind: [*others, entry]})
        raise_error_from_response(admin.connection.raw_put(path, data=body), KeycloakPutError)
    return True


def _set_secret(admin: KeycloakAdmin, server: str, realm: str, client: str, secret: str) -> None:
    """Set a client's secret, the only one from then on, and prove it. Raises CoffreError when Keycloak refuses it."""
    admin.change_current_realm(realm)
    identity = admin.get_client_id(client)
    if identity is None:
        raise CoffreError(
            f"Realm {realm} has no client {client}; the secret was set nowhere: create the client, or remove the "
            "realm and restart Keycloak, which imports it anew."
        )
    # An update of a client whose secret has outlived its period makes Keycloak choose one itself, and keep ours as
    # the old one for a day: a grant would succeed, so what is current is compared. The next update does not do that.
    for _ in range(2):
        admin.update_client(identity, admin.get_client(identity) | {"secret": secret})
        if admin.get_client_secrets(identity).get("value") == secret:
            break
    rotated = f"admin/realms/{realm}/clients/{identity}/client-secret/rotated"
    raise_error_from_response(admin.connection.raw_delete(rotated), KeycloakDeleteError)
    if not granted(server, realm, client, secret):
        raise CoffreError(
            f"Keycloak still refuses the client {client} of realm {realm} after its secret was set: "
            "see that the client is enabled, confidential and has a service account."
        )
