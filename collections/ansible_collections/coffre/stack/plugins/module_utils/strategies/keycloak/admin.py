"""Keycloak's permanent admin: made or repaired where it cannot log in, and given another password."""

from __future__ import annotations

import os
import pty
import re
import secrets
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakError, KeycloakGetError

from ... import engines
from ...engines import compose
from ...engines.base import Container
from ...errors import ByHand, CoffreError
from ...paths import StackPaths
from .session import Instance, answered, login, refusal, session

if TYPE_CHECKING:
    from ..postgres_role.server import Database

BOOTSTRAP_SECONDS = 300.0
BOOTSTRAP_PREFIX = "coffre-bootstrap-"
# Ends the one-time password, so that a password policy takes it that asks for so many characters of each kind.
PLEASING = "abcdABCD0123-_+="
PROMPTS = (b"Enter password:", b"Enter password again:")
DAYS_30 = 30 * 24 * 3600
# What realm master is to have, by the switch without which the rest means nothing; it has none of it by itself. A
# lockout ends by itself, and no single fast failure makes one: a rotation sees the old password refused.
GUARDS: dict[str, dict[str, bool | int]] = {
    "bruteForceProtected": {
        "permanentLockout": False,
        "failureFactor": 10,
        "waitIncrementSeconds": 60,
        "maxFailureWaitSeconds": 900,
        "quickLoginCheckMilliSeconds": 0,
    },
    "eventsEnabled": {"eventsExpiration": DAYS_30},
    "adminEventsEnabled": {"adminEventsDetailsEnabled": False},
}
SECOND_FACTOR = """
SELECT EXISTS (SELECT FROM credential JOIN user_entity u ON u.id = user_id JOIN realm r ON r.id = u.realm_id
  WHERE r.name = 'master' AND u.username = {user} AND type = 'otp')
"""
# What is wrong with an admin, by Keycloak's answer to the right password, or by the event that it logs.
WRONG = {
    "Account disabled": "is disabled: run site.yml, which enables it again.",
    "Account is not fully set up": "has to do something at its next login (Required user actions): run site.yml, which "
    "takes that off it.",
    "user_temporarily_disabled": "is locked for a while, because somebody tried wrong passwords: run site.yml, which "
    'unlocks it, and see in the log of its container who it was (type="LOGIN_ERROR").',
    "user_not_found": "is gone: run site.yml, which makes it anew.",
}


def ensure_admin(
    paths: StackPaths,
    instance: Instance,
    user: str,
    password: str,
    dry: bool = False,
    *,
    second_factor: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Make the permanent admin of realm master log in with this password; return what was repaired.

    `admin` stands for the admin itself, made or repaired through a one-time admin that is then gone;
    `leftovers` for one-time admins of a run that was cut short; `realm` for what guards the logins of realm master.
    `second_factor` knows of one before half a minute is spent on a one-time admin.
    """
    server = instance.url
    with answered("let its admin log in"):
        with login(paths, instance, user, password, anew=True) as found:
            if not isinstance(found, str) and (left := _leftovers(found)) is not None:
                if not dry:
                    _remove(found, left)
                return (["leftovers"] if left else []) + (["realm"] if _guard(found, dry) else [])
        if second_factor():
            raise CoffreError(_two_factors(user))
        if dry:
            return ["admin"]
        name, once = BOOTSTRAP_PREFIX + secrets.token_hex(8), secrets.token_urlsafe(48) + PLEASING
        bootstrap(paths, instance.container, name, once)
        with session(server, name, once) as helper:
            if helper is None:
                raise CoffreError(f"Keycloak refuses the one-time admin {name} that its own command made; run again.")
            try:
                _repair(helper, user, password)
                with session(server, user, password) as admin:
                    if admin is None or (left := _leftovers(admin)) is None:
                        raise CoffreError(
                            f"Keycloak still refuses {user} after its password and role were set and it was unlocked: "
                            'see the log of its container (type="LOGIN_ERROR").'
                        )
                    _remove(admin, left)
                    _guard(admin)
            except BaseException:
                with suppress(KeycloakError):
                    _remove(helper, _leftovers(helper) or [])
                raise
        with session(server, name, once) as helper:
            if helper is not None:
                raise CoffreError(f"The one-time admin {name} can still log in: delete it in realm master.")
        return ["admin"]


@contextmanager
def administrator(
    paths: StackPaths, instance: Instance, user: str, passwords: Sequence[str]
) -> Iterator[KeycloakAdmin]:
    """A session of the permanent admin by the first of its passwords that Keycloak takes.

    Where it takes none, the admin is given the first one as `ensure_admin` does. Raises CoffreError.
    """
    for password in passwords:
        with login(paths, instance, user, password) as admin:
            if not isinstance(admin, str):
                yield admin
                return
    ensure_admin(paths, instance, user, passwords[0])
    with login(paths, instance, user, passwords[0]) as admin:
        if isinstance(admin, str):
            raise CoffreError(
                f"Keycloak refuses its admin {user} as soon as it was repaired: see the log of its container."
            )
        yield admin


def logs_in(instance: Instance, user: str, password: str) -> bool:
    """Whether an admin of realm master logs in with this password; False only when Keycloak refuses it."""
    with session(instance.url, user, password) as admin:
        return admin is not None


def set_password(paths: StackPaths, instance: Instance, user: str, password: str, before: Sequence[str]) -> None:
    """Make the permanent admin log in with this password, whichever of those it has: this one, one before, or none.

    Only one lives at a time: those before are refused from then on.
    """
    server = instance.url
    for each in (password, *before):
        with session(server, user, each) as admin:
            if admin is not None:
                if each != password:
                    admin.set_user_password(_identity(admin, user), password, temporary=False)
                return
    ensure_admin(paths, instance, user, password)


def end_sessions(instance: Instance, user: str, password: str) -> None:
    """Log the permanent admin out everywhere, and see a refresh token of before refused. Raises CoffreError."""
    with session(instance.url, user, password) as admin:
        if admin is None:
            raise CoffreError(f"Keycloak refuses its admin {user}, whose sessions go on: run site.yml to repair it.")
        token = admin.connection.token
        assert token
        admin.user_logout(_identity(admin, user))
        try:
            admin.connection.keycloak_openid.refresh_token(token["refresh_token"])
        except KeycloakError as error:
            if not refusal(error):
                raise
            return
    raise CoffreError(f"Keycloak still renews a session of {user} after its logout: end its sessions in the console.")


@contextmanager
def looking(
    paths: StackPaths, instance: Instance, user: str, password: str, second_factor: Callable[[], bool]
) -> Iterator[KeycloakAdmin | str]:
    """A session of the permanent admin, or a sentence why there is none, after one try. Reads only.

    Keycloak tells neither a second factor nor a lockout from a wrong password: `second_factor` knows of the first.
    """
    began = time.time()
    with login(paths, instance, user, password) as found:
        if isinstance(found, str):
            yield _why(instance.container, user, found, second_factor, began)
        elif _leftovers(found) is None:
            yield f"Keycloak's admin {user} has lost the rights of one: run site.yml, which gives them back."
        else:
            yield found


def second_factor(database: Database, name: str, user: str) -> bool:
    """Whether a user of realm master has a second factor, by Keycloak's own database of this name."""
    # Late: to load the client of a database takes as long as a login, and most have no need of one.
    from psycopg import sql

    from ..postgres_role import server as postgres

    query = sql.SQL(SECOND_FACTOR).format(user=sql.Literal(user)).as_string(None)
    return postgres.administer(database, [query], f"look for a second factor of {user}", name) == "t"


def blockers(admin: KeycloakAdmin) -> list[str]:
    """Why the permanent admin's password cannot be replaced now, as sentences. Reads only."""
    if "passwordHistory" in str(admin.get_realm("master").get("passwordPolicy", "")):
        return [
            "The password policy of realm master forbids a password of before, so a rotation could not be undone: "
            "take passwordHistory out of it."
        ]
    return []


def bootstrap(paths: StackPaths, container: Container, user: str, password: str) -> None:
    """Make a temporary admin by Keycloak's own command, in a container beside the running ones.

    A second JVM in the running container would take it to its memory limit. The command joins no
    cluster and serves no request. It asks for the password, which is typed at a terminal of ours, so
    that it is in no argument and no environment; what the terminal shows is thrown away.
    Raises CoffreError.
    """
    words = [*_database_options(container), "bootstrap-admin", "user", "--optimized"]
    with engines.of(paths).beside(paths, container.service) as beside:
        program = [*compose.entrypoint(container.image), *words]
        status = _run(["docker", "exec", "-it", beside.id, *program, "--username", user], password)
    if status != 0:
        raise CoffreError(
            f"Keycloak's command bootstrap-admin failed (exit status {status}); no admin was changed: see what "
            f"`{' '.join(program)}` says in a container of {container.service}, and whether a password policy of realm "
            "master refuses even a long password with characters of all kinds."
        )


def _run(command: Sequence[str], password: str) -> int:
    """Run a command at a terminal where it is given a password when it asks; its exit status. Raises CoffreError."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        try:
            _type(ours, password, time.monotonic() + BOOTSTRAP_SECONDS)
            return process.wait(timeout=30)
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


def _database_options(container: Container) -> list[str]:
    """How the running Keycloak was told to reach its database, which the command must be told alike."""
    return [word for word in container.arguments if word.startswith(("--config-file=", "--db-"))]


def _leftovers(admin: KeycloakAdmin) -> list[str] | None:
    """The ids of one-time admins that are still there; None if this user is no admin who may see them."""
    try:
        users = admin.get_users({"search": BOOTSTRAP_PREFIX})
    except KeycloakGetError as error:
        if error.response_code == 403:
            return None
        raise
    return [user["id"] for user in users if user["username"].startswith(BOOTSTRAP_PREFIX)]


def _why(container: Container, user: str, answer: str, second_factor: Callable[[], bool], began: float) -> str:
    """Why Keycloak refused the admin's deployed password, as a sentence, from its answer and what it logged since."""
    if answer not in WRONG and second_factor():
        return ByHand(_two_factors(user))
    said = WRONG.get(answer) or WRONG.get(_event(container, user, began))
    if said:
        return f"Keycloak's admin {user} {said}"
    return f"Keycloak refuses the deployed password of its admin {user}: run site.yml, which repairs it."


def _two_factors(user: str) -> str:
    return (
        f"Keycloak's admin {user} has a second factor, which automation cannot give: take it away in the admin console "
        f"(realm master, Users, {user}, Credentials), and give persons admins of their own."
    )


def _event(container: Container, user: str, began: float) -> str:
    """The error that Keycloak logged last of a login of a user since a time (epoch s); "" where it cannot be read."""
    with suppress(CoffreError):
        logs = ["service", "logs", "--raw", container.task] if container.elsewhere else ["logs", container.id]
        said = compose.call(["docker", *logs, "--since", f"{began:.3f}"])
        found = re.findall(rf'type="LOGIN_ERROR".* error="(\w+)".* username="{re.escape(user)}"', said)
        return str(found[-1]) if found else ""
    return ""


def _identity(admin: KeycloakAdmin, user: str) -> str:
    """Keycloak's own id of a user of realm master."""
    identity: str | None = admin.get_user_id(user)
    if identity is None:
        raise CoffreError(f"Realm master has no user {user}: run site.yml, which makes it.")
    return identity


def _remove(admin: KeycloakAdmin, users: list[str]) -> None:
    for user in users:
        admin.delete_user(user)


def _guard(admin: KeycloakAdmin, dry: bool = False) -> bool:
    """Switch on what is off of `GUARDS`, and leave what somebody has set; return whether anything was off."""
    realm = admin.get_realm("master")
    off = [switch for switch in GUARDS if not realm.get(switch)]
    if off and not dry:
        admin.update_realm("master", {k: v for switch in off for k, v in ({switch: True} | GUARDS[switch]).items()})
    return bool(off)


def _repair(admin: KeycloakAdmin, user: str, password: str) -> None:
    """Make `user` a permanent admin of realm master with this password, and end the sessions it has."""
    found = admin.get_users({"username": user, "exact": True})
    if found:
        identity = found[0]["id"]
        if any(each["type"] == "otp" for each in admin.get_credentials(identity)):
            raise CoffreError(_two_factors(user))
        admin.clear_bruteforce_attempts_for_user(identity)
        attributes = {k: v for k, v in found[0].get("attributes", {}).items() if k != "is_temporary_admin"}
        admin.update_user(identity, found[0] | {"enabled": True, "requiredActions": [], "attributes": attributes})
    else:
        identity = admin.create_user({"username": user, "enabled": True})
    admin.set_user_password(identity, password, temporary=False)
    admin.assign_realm_roles(identity, [admin.get_realm_role("admin")])
    admin.user_logout(identity)
