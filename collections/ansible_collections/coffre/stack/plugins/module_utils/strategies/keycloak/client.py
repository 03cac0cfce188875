"""A confidential client of a realm: its secret agrees with the catalogue, or two live while one follows the other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakDeleteError, KeycloakGetError, KeycloakPutError, raise_error_from_response

from ...engines import compose
from ...engines.base import Container
from ...errors import Aside, CoffreError
from ...paths import StackPaths
from .session import Instance, answered, granted, login

# What lets a client's old secret live beside the new one while a rotation is under way. The period is ten
# years, because any update of a client whose secret is older would replace the secret. The old one lives on for 30
# days, because a rotation that stays open is undone by containers that start with it, before it is put back.
PROFILE: dict[str, Any] = {
    "name": "secret-rotation",
    "description": "Two secrets live at once while a client adopts a new one; they end by rotation, not by age.",
    "executors": [
        {
            "executor": "secret-rotation",
            "configuration": {
                "expiration-period": 315360000,
                "rotated-expiration-period": 2592000,
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
ENTRIES = (("profiles", PROFILE), ("policies", POLICY))

# What lets a client authenticate by a secret and obtain a token, and what is said of one that has it otherwise.
ABLE: dict[str, tuple[Any, str]] = {
    "enabled": (True, "is disabled"),
    "protocol": ("openid-connect", "has another protocol"),
    "publicClient": (False, "is public"),
    "bearerOnly": (False, "only takes tokens"),
    "clientAuthenticatorType": ("client-secret", "authenticates by other means than a secret"),
    "serviceAccountsEnabled": (True, "has no service account"),
}
# Where the image has the realms that Keycloak imports at its first start.
IMPORTS = "/opt/keycloak/data/import"


@dataclass(frozen=True)
class ClientSecrets:
    """What Keycloak holds of a client: its secret, made at `created` (epoch s), and the one before if both are live."""

    current: str = field(repr=False)
    created: int
    rotated: str | None = field(repr=False)
    rotated_ends: int


def ensure_client(
    paths: StackPaths,
    instance: Instance,
    realm: str,
    client: str,
    secret: str,
    admin: tuple[str, str],
    dry: bool = False,
) -> tuple[list[str], list[str]]:
    """Make a client's secret, and its realm's rotation profile and policy, agree, and give the realm what it lacks of
    the clients and roles that the image has for it, which Keycloak itself imports into a new realm only.

    Returns what was repaired, and a sentence for each thing that somebody may have wanted otherwise. `admin` is (name,
    password) of an admin of realm master. A client whose secret is the deployed one and authenticates is left alone.
    """
    server = instance.url
    with answered(f"let the client {client} of realm {realm} authenticate"):
        accepted = granted(server, realm, client, secret)
        with login(paths, instance, *admin) as keeper:
            if isinstance(keeper, str) and dry:
                return ([] if accepted else ["secret"]), []  # a real run repairs the admin first, and then sees more
            if isinstance(keeper, str):
                raise CoffreError(
                    f"Keycloak refuses its admin {admin[0]}; nothing was changed: "
                    "run site.yml again, which repairs the admin first."
                )
            repaired, told = ([], []) if accepted else _enable(keeper, instance.container, realm, client, dry)
            if dry and {"realm", "client"} & set(repaired):
                return repaired, told  # there may be none to look at
            repaired += _ensure_import(keeper, instance.container, realm, dry)
            repaired += [kind for kind, entry in ENTRIES if _ensure_entry(keeper, realm, kind, entry, dry)]
            held = _held(keeper, _identity(keeper, realm, client))
            if not (accepted or granted(server, realm, client, secret)):
                repaired.append("secret")
            elif held.current != secret:
                repaired.append("secret")
                told.append(_replaced(held, client, realm) + " The deployed one is made current again, which ends it.")
            # After the policies: they say how long the secret that is set lives.
            if "secret" in repaired and not dry:
                settle(keeper, realm, client, secret)
    return repaired, told


def trouble(server: str, admin: KeycloakAdmin | None, realm: str, client: str, secret: str) -> list[str]:
    """Why a client's deployed secret does not count, or not for good, as sentences. Reads only.

    Without an admin less can be told. What a rotation puts right by itself is an `Aside`.
    """
    accepted = granted(server, realm, client, secret)
    if admin is None:
        return [] if accepted else [f"{_refused(realm, client)}: run site.yml, which repairs it."]
    if not accepted and (why := _unable(admin, realm, client)):
        return [f"{_refused(realm, client)}, for {', '.join(why)}: run site.yml, which puts that right."]
    if not accepted:
        return [f"{_refused(realm, client)}, which has another: run site.yml, which sets it."]
    found: list[str] = []
    if problem := _unready(admin, realm):
        found.append(problem)
    held = _held(admin, _identity(admin, realm, client))
    if held.current != secret:
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(held.rotated_ends))
        found.append(
            Aside(
                f"{_replaced(held, client, realm)} The deployed one is accepted until {until} only: run site.yml or a "
                "rotation, which make the deployed one current again and so end the other; give whoever uses that the "
                "one in force."
            )
        )
    return found


def blockers(admin: KeycloakAdmin, realm: str, client: str, secret: str) -> list[str]:
    """Why a client with this secret cannot be rotated now, as sentences, as of `trouble`. Reads only."""
    found = trouble(str(admin.connection.server_url), admin, realm, client, secret)
    if not found and (problem := _overlapping(_held(admin, _identity(admin, realm, client)), client, realm)):
        found.append(problem)
    return found


def rotate(admin: KeycloakAdmin, realm: str, client: str, old: str) -> str:
    """Let Keycloak choose a client's next secret while the old one lives on, and return the new one.

    Where another secret is current, made by a call whose answer was lost or by somebody else, nobody of the stack has
    it: the old one is made current again first. Raises CoffreError, nothing changed, where a second one is live.
    """
    identity = _identity(admin, realm, client)
    # Without the policy the call would end the old secret, and so it would the older of two live ones.
    if problem := _unready(admin, realm):
        raise CoffreError(problem)
    held = _held(admin, identity)
    if held.current != old:
        settle(admin, realm, client, old)
    elif problem := _overlapping(held, client, realm):
        raise CoffreError(problem)
    return str(admin.generate_client_secrets(identity)["value"])


def unsettled(admin: KeycloakAdmin, realm: str, client: str, old: str) -> bool:
    """Whether a secret is not the current one of a client, or `settle`, which makes it that, was cut short."""
    server, held = str(admin.connection.server_url), _held(admin, _identity(admin, realm, client))
    return held.current != old or held.rotated == old or not granted(server, realm, client, old)


def settle(admin: KeycloakAdmin, realm: str, client: str, secret: str) -> None:
    """Make a secret the only one of a client, and prove it. Raises CoffreError when Keycloak refuses it."""
    server, identity = str(admin.connection.server_url), _identity(admin, realm, client)
    if _held(admin, identity).current != secret or not granted(server, realm, client, secret):
        # An update of a client whose secret has outlived its period makes Keycloak choose one itself, and keep ours
        # as the old one for a time: a grant would succeed, so what is current is compared. The next update does not.
        for _ in range(2):
            admin.update_client(identity, admin.get_client(identity) | {"secret": secret})
            if _held(admin, identity).current == secret:
                break
    rotated = f"admin/realms/{realm}/clients/{identity}/client-secret/rotated"
    raise_error_from_response(admin.connection.raw_delete(rotated), KeycloakDeleteError)
    if not granted(server, realm, client, secret):
        raise CoffreError(
            f"Keycloak still refuses the client {client} of realm {realm} after its secret was set: "
            + (", ".join(_unable(admin, realm, client)) or "see the log of its container")
            + "."
        )


def _enable(
    admin: KeycloakAdmin, container: Container, realm: str, client: str, dry: bool
) -> tuple[list[str], list[str]]:
    """Let a realm and a client be there and able to obtain a token by a secret; what was repaired and what to say.

    One that is gone is made as the image's import has it. Raises CoffreError where the import has none.
    """
    why = _unable(admin, realm, client)
    if not why:
        return [], []
    repaired, told = "client", [f"Repaired: {', '.join(why)}."]
    found = _realm(admin, realm)
    if not found or not found["enabled"]:
        repaired = "realm"
    if dry:
        return [repaired], told
    if not found:
        admin.create_realm(_imported(container, realm, None))
    elif not found["enabled"]:
        admin.update_realm(realm, {"realm": realm, "enabled": True})
    admin.change_current_realm(realm)
    identity = admin.get_client_id(client)
    if identity is None:
        admin.create_client(_imported(container, realm, client))
        return [repaired], told
    able = {name: wanted for name, (wanted, _) in ABLE.items()}
    present = admin.get_client(identity)
    if any(present.get(name) != wanted for name, wanted in able.items()):
        admin.update_client(identity, present | able)
    user = admin.get_client_service_account_user(identity)
    if not user["enabled"]:
        admin.update_user(user["id"], user | {"enabled": True})
    return [repaired], told


def _unable(admin: KeycloakAdmin, realm: str, client: str) -> list[str]:
    """What of a realm and a client keeps it from obtaining a token by whatever secret, as clauses."""
    found = _realm(admin, realm)
    if not found:
        return [f"realm {realm} is gone"]
    disabled = [] if found["enabled"] else [f"realm {realm} is disabled"]
    admin.change_current_realm(realm)
    identity = admin.get_client_id(client)
    if identity is None:
        return [*disabled, f"the client {client} is gone"]
    present = admin.get_client(identity)
    amiss = [f"the client {client} {said}" for name, (wanted, said) in ABLE.items() if present.get(name) != wanted]
    if not amiss and not admin.get_client_service_account_user(identity)["enabled"]:
        amiss = [f"the service account of the client {client} is disabled"]
    return disabled + amiss


def _realm(admin: KeycloakAdmin, realm: str) -> dict[str, Any] | None:
    """A realm's settings; None where there is no such realm."""
    try:
        found: dict[str, Any] = admin.get_realm(realm)
    except KeycloakGetError as error:
        if error.response_code != 404:
            raise
        return None
    return found


def _ensure_import(admin: KeycloakAdmin, container: Container, realm: str, dry: bool) -> list[str]:
    """Add the clients and roles that a realm lacks of its import, and touch no other; `import` if there were any."""
    try:
        wanted = _import(container, realm)
    except (CoffreError, ValueError):
        return []  # an image of somebody's own, without one
    admin.change_current_realm(realm)
    clients = [each for each in wanted.get("clients", []) if admin.get_client_id(each["clientId"]) is None]
    roles = wanted.get("roles", {})
    of_realm = _unnamed(roles.get("realm", []), admin.get_realm_roles)
    of_clients = {
        name: _unnamed(given, partial(_client_roles, admin, name)) for name, given in roles.get("client", {}).items()
    }
    if not (clients or of_realm or any(of_clients.values())):
        return []
    if not dry:
        lacking = {"clients": clients, "roles": {"realm": of_realm, "client": of_clients}}
        admin.partial_import_realm(realm, {"ifResourceExists": "SKIP", **lacking})
    return ["import"]


def _unnamed(wanted: list[dict[str, Any]], there: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Those wanted whose name none has that is there, which is looked up only if any are wanted."""
    names = {each["name"] for each in there()} if wanted else set()
    return [each for each in wanted if each["name"] not in names]


def _client_roles(admin: KeycloakAdmin, client: str) -> list[dict[str, Any]]:
    identity = admin.get_client_id(client)
    return list(admin.get_client_roles(identity)) if identity else []


def _import(container: Container, realm: str) -> dict[str, Any]:
    """A realm as Keycloak's image has it for the import. Raises CoffreError or ValueError where it has none."""
    found: dict[str, Any] = json.loads(compose.file_of_image(container.image, f"{IMPORTS}/{realm}-realm.json"))
    return found


def _imported(container: Container, realm: str, client: str | None) -> dict[str, Any]:
    """A realm, or a client of it, as the image has it. Raises CoffreError where it has none."""
    try:
        found = _import(container, realm)
        return found if client is None else next(each for each in found["clients"] if each["clientId"] == client)
    except (CoffreError, ValueError, KeyError, StopIteration):
        what = f"Realm {realm} has no client {client}" if client else f"Keycloak has no realm {realm}"
        raise CoffreError(
            f"{what}, and its image has none to import; the secret was set nowhere: make it in the admin console, a "
            "confidential client with a service account, then run site.yml again."
        ) from None


def _ensure_entry(admin: KeycloakAdmin, realm: str, kind: str, entry: dict[str, Any], dry: bool) -> bool:
    """Put one entry into a realm's whole list of client profiles or policies, keeping the others. True if changed."""
    path = f"admin/realms/{realm}/client-policies/{kind}"
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


def _identity(admin: KeycloakAdmin, realm: str, client: str) -> str:
    """Keycloak's own id of a client; the session works on its realm from then on."""
    admin.change_current_realm(realm)
    identity: str | None = admin.get_client_id(client)
    if identity is None:
        raise CoffreError(f"Realm {realm} has no client {client}; nothing was changed: run site.yml, which makes it.")
    return identity


def _held(admin: KeycloakAdmin, identity: str) -> ClientSecrets:
    found = admin.get_client(identity)
    attributes: dict[str, str] = found.get("attributes") or {}
    ends = _seconds(attributes, "client.secret.rotated.expiration.time")
    rotated = attributes.get("client.secret.rotated") if ends > time.time() else None
    return ClientSecrets(found.get("secret", ""), _seconds(attributes, "client.secret.creation.time"), rotated, ends)


def _seconds(attributes: dict[str, str], name: str) -> int:
    """An attribute that is a time, in epoch seconds; 0 without it."""
    text = attributes.get(name) or "0"
    return int(text) if text.isdigit() else 0


def _refused(realm: str, client: str) -> str:
    return f"Keycloak refuses the deployed secret of the client {client} of realm {realm}"


def _replaced(held: ClientSecrets, client: str, realm: str) -> str:
    made = time.strftime(" on %Y-%m-%d at %H:%M UTC", time.gmtime(held.created)) if held.created else ""
    return (
        f"Somebody gave the client {client} of realm {realm} another secret{made} (Regenerate in the admin console, or "
        "a rotation that was cut short)."
    )


def _unready(admin: KeycloakAdmin, realm: str) -> str:
    """Why the realm does not let two secrets of a client live at once, or ""."""
    missing = [kind for kind, entry in ENTRIES if _ensure_entry(admin, realm, kind, entry, dry=True)]
    if not missing:
        return ""
    return (
        f"Realm {realm} lacks the client {' and '.join(missing)} that let two secrets live at once; nothing was "
        "changed: run site.yml, which puts them there."
    )


def _overlapping(held: ClientSecrets, client: str, realm: str) -> str:
    """Why a client cannot be rotated as long as a second secret lives, or ""."""
    if held.rotated in (None, held.current):
        return ""
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(held.rotated_ends))
    return (
        f"The client {client} of realm {realm} has a second secret, which Coffre did not give it and which lives until "
        f"{until}; nothing was changed: see who uses it, then revoke it in the admin console (the client, Credentials, "
        "Rotated secret) or wait until then."
    )
