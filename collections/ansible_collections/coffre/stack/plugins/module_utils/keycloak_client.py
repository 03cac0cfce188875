"""A confidential client of a realm: its secret agrees with the catalogue, or two live while one follows the other."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakDeleteError, KeycloakGetError, KeycloakPutError, raise_error_from_response

from . import compose
from .errors import CoffreError
from .keycloak import answered, granted, session, url

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


@dataclass(frozen=True)
class Held:
    """What Keycloak holds of a client: its secret, made at `created` (epoch s), and the one before if both are live."""

    current: str = field(repr=False)
    created: int
    rotated: str | None = field(repr=False)
    rotated_ends: int


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
            mended += [kind for kind, entry in ENTRIES if _ensure_entry(keeper, realm, kind, entry, dry)]
            # After the policies: they say how long the secret that is set lives.
            if "secret" in mended and not dry:
                settle(keeper, realm, client, secret)
    return mended


def obstacles(admin: KeycloakAdmin, realm: str, client: str, secret: str) -> list[str]:
    """Why a client with this secret cannot be rotated now, as sentences. Reads only."""
    if not granted(str(admin.connection.server_url), realm, client, secret):
        return [
            f"Keycloak refuses the deployed secret of the client {client} of realm {realm}: run site.yml, which "
            "repairs it."
        ]
    held = _held(admin, _identity(admin, realm, client))
    return [problem for problem in (_unready(admin, realm), _overlapping(held, client, realm)) if problem]


def rotate(admin: KeycloakAdmin, realm: str, client: str, old: str, since: int) -> str:
    """Let Keycloak choose a client's next secret while the old one lives on, and return the new one.

    Repeated after a crash it returns what the first call made: a secret made at `since` (epoch s) or later that
    follows the old one. Raises CoffreError, nothing changed, where another secret is current or a second one live.
    """
    identity = _identity(admin, realm, client)
    held = _held(admin, identity)
    if _follows(held, old, since):
        return held.current
    if held.current != old:
        raise CoffreError(
            f"The secret of the client {client} of realm {realm} is not the deployed one; nothing was changed: "
            "run site.yml, which repairs it."
        )
    # Without the policy the call would end the old secret, and so it would the older of two live ones.
    if problem := _unready(admin, realm) or _overlapping(held, client, realm):
        raise CoffreError(problem)
    return str(admin.generate_client_secrets(identity)["value"])


def unfinished(admin: KeycloakAdmin, realm: str, client: str, old: str, since: int) -> bool:
    """Whether `rotate` made a secret, or `settle`, which puts the old one back, was cut short.

    So it is, too, where the old one no longer counts: its time beside a new one that nobody learned may be over.
    """
    held = _held(admin, _identity(admin, realm, client))
    if _follows(held, old, since) or held.current == held.rotated == old:
        return True
    return not granted(str(admin.connection.server_url), realm, client, old)


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
            "see that the client is enabled, confidential and has a service account."
        )


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
        raise CoffreError(
            f"Realm {realm} has no client {client}; the secret was set nowhere: create the client, or remove the "
            "realm and restart Keycloak, which imports it anew."
        )
    return identity


def _held(admin: KeycloakAdmin, identity: str) -> Held:
    found = admin.get_client(identity)
    attributes: dict[str, str] = found.get("attributes") or {}
    ends = _seconds(attributes, "client.secret.rotated.expiration.time")
    rotated = attributes.get("client.secret.rotated") if ends > time.time() else None
    return Held(found.get("secret", ""), _seconds(attributes, "client.secret.creation.time"), rotated, ends)


def _seconds(attributes: dict[str, str], name: str) -> int:
    """An attribute that is a time, in epoch seconds; 0 without it."""
    text = attributes.get(name) or "0"
    return int(text) if text.isdigit() else 0


def _follows(held: Held, old: str, since: int) -> bool:
    return held.current != old and held.rotated == old and held.created >= since


def _unready(admin: KeycloakAdmin, realm: str) -> str:
    """Why the realm does not let two secrets of a client live at once, or ""."""
    missing = [kind for kind, entry in ENTRIES if _ensure_entry(admin, realm, kind, entry, dry=True)]
    if not missing:
        return ""
    return (
        f"Realm {realm} lacks the client {' and '.join(missing)} that let two secrets live at once; nothing was "
        "changed: run site.yml, which puts them there."
    )


def _overlapping(held: Held, client: str, realm: str) -> str:
    """Why a client cannot be rotated as long as a second secret lives, or ""."""
    if held.rotated in (None, held.current):
        return ""
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(held.rotated_ends))
    return (
        f"The client {client} of realm {realm} has a second secret, which Coffre did not give it and which lives until "
        f"{until}; nothing was changed: see who uses it, then revoke it in the admin console (the client, Credentials, "
        "Rotated secret) or wait until then."
    )
