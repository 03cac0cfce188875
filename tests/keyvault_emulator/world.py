"""All that the emulator knows: vaults, identities and their grants, weather and counters."""

from __future__ import annotations

import random
import re
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from threading import RLock
from typing import Any

import jwt

from .vault import LOCATION, Vault, VaultError

RESOURCE = "https://vault.azure.net"
AUDIENCE = re.compile(rf"{re.escape(RESOURCE)}(:\d+)?/?")
TENANT = "11111111-0000-4000-8000-000000000000"
IDENTITY_HEADER = "emulator"
KINDS = ("status", "reset", "lost", "half", "slow")

# What an operation needs: the right by an access policy's word, and the data action of a role.
ACTIONS = "Microsoft.KeyVault/vaults/secrets/"
OPERATIONS = {
    "get": ("get", "getSecret/action"),
    "list": ("list", "readMetadata/action"),
    "versions": ("list", "readMetadata/action"),
    "set": ("set", "setSecret/action"),
    "update": ("set", "update/action"),
    "delete": ("delete", "delete"),
    "list_deleted": ("list", "readMetadata/action"),
    "get_deleted": ("get", "readMetadata/action"),
    "recover": ("recover", "recover/action"),
    "purge": ("purge", "purge/action"),
    "backup": ("backup", "backup/action"),
    "restore": ("restore", "restore/action"),
}
RIGHTS = ("get", "list", "set", "delete", "recover", "purge", "backup", "restore")


# A vault's settings, with what they may be where that is a choice.
VAULT_SETTINGS: dict[str, tuple[str, ...]] = {
    "tenant": (),
    "purge_protection": (),
    "recoverable_days": (),
    "model": ("rbac", "policy"),
    "closed": ("", "ForbiddenByFirewall", "ForbiddenByConnection"),
}


def guid(name: str) -> str:
    """The same id for the same name in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://vault.azure.net/emulator/{name}"))


@dataclass(frozen=True)
class Identity:
    """Who may ask for tokens. `system`: the machine's own managed identity; `certificate`, `federated`: what proves it
    at the login endpoint (a PEM certificate, the content of a token file)."""

    name: str
    client_id: str
    object_id: str
    tenant: str
    system: bool
    certificate: str = ""
    federated: str = ""


@dataclass(frozen=True)
class Grant:
    """Rights of an identity on a vault, or on some of its secrets only."""

    identity: str
    vault: str
    rights: tuple[str, ...]
    secrets: tuple[str, ...] = ()


@dataclass
class Fault:
    """Bad weather for some calls.

    `operation`: a name of OPERATIONS, `challenge` (a call without a token), `token`, or `*` (any call of a vault);
    `name`: a secret's, or `*`; of the calls that match, `skip` go well first, then `count` are hit (0: all) with
    probability `share`. `kind`: `status` (answer `status`, with `retry_after` seconds where it is not None), `reset`
    (nothing was done), `lost` (it was done, the answer is lost by a reset), `half` (the answer breaks off), `slow`
    (`seconds` late).
    """

    kind: str
    operation: str = "*"
    name: str = "*"
    skip: int = 0
    count: int = 1
    share: float = 1.0
    status: int = 503
    retry_after: int | None = None
    seconds: float = 0.0

    def meets(self, operation: str, name: str) -> bool:
        """Whether a call is one of those meant; it uses up `skip`."""
        wide = self.operation == "*" and operation != "token"
        if not (wide or self.operation == operation) or self.name.lower() not in ("*", name.lower()):
            return False
        if self.skip:
            self.skip -= 1
            return False
        return True


@dataclass
class World:
    """The state of one emulator; every method may be called from any thread.

    `latency_ms`: added to every call; `token_seconds`: how long a token lives; `clock`: seconds by which the vaults'
    clock is ahead; `moving_seconds`: how long a deletion or recovery takes to show.
    """

    latency_ms: float = 0.0
    token_seconds: int = 86_400
    clock: int = 0
    moving_seconds: float = 0.0
    vaults: dict[str, Vault] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    lock: RLock = field(default_factory=RLock, repr=False)
    _key: bytes = field(default_factory=lambda: random.SystemRandom().randbytes(32), repr=False)
    _issued: int = 0
    _revoked: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(4), repr=False)  # noqa: S311

    def now(self) -> int:
        """The vaults' time."""
        return int(time.time()) + self.clock

    # Tokens

    def token(self, identity: Identity, resource: str) -> dict[str, Any]:
        """A token with its life: {access_token, expires_on, expires_in}."""
        now = int(time.time())
        with self.lock:
            self._issued += 1
            claims = {
                "aud": resource.removesuffix("/.default"),
                "iss": f"https://sts.windows.net/{identity.tenant}/",
                "iat": now,
                "nbf": now - 5,
                "exp": now + self.token_seconds,
                "appid": identity.client_id,
                "oid": identity.object_id,
                "tid": identity.tenant,
                "uti": str(self._issued),
            }
        return {
            "access_token": jwt.encode(claims, self._key, algorithm="HS256"),
            "expires_on": claims["exp"],
            "expires_in": self.token_seconds,
        }

    def expire_tokens(self) -> None:
        """End the life of every token issued so far."""
        with self.lock:
            self._revoked = self._issued

    def caller(self, authorization: str | None, vault: Vault) -> tuple[Identity, str]:
        """Who asks, with the words by which Key Vault names it.

        Raises:
            VaultError: no token, or not one for this vault: 401.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"], options={"verify_aud": False})
        except jwt.ExpiredSignatureError:
            raise unauthorized("[TokenExpired] Error validating token: 'S2S12086'.") from None
        except jwt.PyJWTError:
            raise unauthorized("AKV10046: Unable to resolve the key used for signature validation.") from None
        if int(claims["uti"]) <= self._revoked:
            raise unauthorized("[TokenExpired] Error validating token: 'S2S12086'.")
        if not AUDIENCE.fullmatch(claims["aud"]):
            raise unauthorized(f"AKV10022: Invalid audience. Expected {RESOURCE}, found: {claims['aud']}.")
        if claims["tid"] != vault.tenant:
            raise unauthorized(
                f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{vault.tenant}/, "
                f"found {claims['iss']}."
            )
        by_id = {each.object_id: each for each in self.identities.values()}
        return by_id[claims["oid"]], f"appid={claims['appid']};oid={claims['oid']};iss={claims['iss']}"

    # Permissions

    def permit(self, identity: Identity, words: str, vault: Vault, operation: str, name: str, address: str) -> None:
        """Refuse what the firewall, or the lack of a right, refuses.

        Raises:
            VaultError: 403, worded as the vault's permission model does.
        """
        where = f"Vault: {vault.name};location={LOCATION}"
        if vault.closed:
            reason = {
                "ForbiddenByFirewall": "Client address is not authorized and caller is not a trusted service.\r\n"
                f"Client address: {address}",
                "ForbiddenByConnection": "Public network access is disabled and request is not from a trusted service "
                "nor via an approved private link.",
            }[vault.closed]
            raise forbidden(f"{reason}\r\nCaller: {words}\r\n{where}", vault.closed)
        right, action = OPERATIONS[operation]
        if vault.model == "rbac" and action == "readMetadata/action":
            right = "list"
        for grant in self.grants:
            mine = grant.identity == identity.name and grant.vault == vault.name and right in grant.rights
            if mine and (not grant.secrets or name.lower() in grant.secrets):
                return
        if vault.model == "policy":
            raise forbidden(
                f"The user, group or application '{words}' does not have secrets {right} permission on key vault "
                f"'{vault.name};location={LOCATION}'. For help resolving this issue, please see "
                "https://go.microsoft.com/fwlink/?linkid=2125287",
                "ForbiddenByPolicy" if right == "purge" else "AccessDenied",
            )
        raise forbidden(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
            f"definitions were changed recently, please observe propagation time.\r\nCaller: {words}\r\n"
            f"Action: '{ACTIONS}{action}'\r\nResource: '{vault.resource(name)}'\r\nAssignment: (not found)\r\n"
            f"DenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\n{where}\r\n",
            "ForbiddenByRbac",
        )

    # Weather

    def weather(self, operation: str, name: str) -> Fault | None:
        """Count a call, let its latency pass, and say which fault it meets."""
        with self.lock:
            self.counters[operation] += 1
            met = next((fault for fault in self.faults if fault.meets(operation, name)), None)
            if met and self._dice.random() >= met.share:
                met = None
            if met and met.count:
                met.count -= 1
                if not met.count:
                    self.faults.remove(met)
        time.sleep(self.latency_ms / 1000 + (met.seconds if met and met.kind == "slow" else 0.0))
        return met

    # What the control API does; each takes and returns what JSON can hold.

    def add_vault(self, name: str, **settings: Any) -> None:
        """A new and empty vault, or another setting of one that is there: see Vault."""
        with self.lock:
            vault = self.vaults.setdefault(name, Vault(name, TENANT))
            for key, value in settings.items():
                if key not in VAULT_SETTINGS:
                    raise ValueError(f"a vault has no setting {key}")
                if VAULT_SETTINGS[key] and value not in VAULT_SETTINGS[key]:
                    raise ValueError(f"{key} of a vault is one of {', '.join(VAULT_SETTINGS[key])}")
                setattr(vault, key, value)

    def add_identity(
        self,
        name: str,
        tenant: str = TENANT,
        system: bool = False,
        client_id: str = "",
        certificate: str = "",
        federated: str = "",
    ) -> dict[str, Any]:
        """A new identity, or another one under a name that is there; its ids follow from the name by default."""
        made = Identity(
            name, client_id or guid(f"client/{name}"), guid(f"object/{name}"), tenant, system, certificate, federated
        )
        with self.lock:
            self.identities[name] = made
        return asdict(made)

    def grant(self, identity: str, vault: str, rights: Sequence[str], secrets: Sequence[str] = ()) -> None:
        """Set the rights of an identity on a vault (no secrets named), or on these secrets beside the others."""
        if unknown := set(rights) - set(RIGHTS):
            raise ValueError(f"no such right: {', '.join(sorted(unknown))}")
        made = Grant(identity, vault, tuple(rights), tuple(name.lower() for name in secrets))
        with self.lock:
            if not secrets:
                self.grants = [
                    each for each in self.grants if (each.identity, each.vault) != (identity, vault) or each.secrets
                ]
            self.grants.append(made)

    def revoke(self, identity: str, vault: str) -> None:
        """Take all rights of an identity on a vault."""
        with self.lock:
            self.grants = [each for each in self.grants if (each.identity, each.vault) != (identity, vault)]

    def put(
        self,
        vault: str,
        name: str,
        value: str,
        attributes: dict[str, Any] | None = None,
        content_type: str | None = None,
        tags: dict[str, str] | None = None,
        version: str = "",
        created: int | None = None,
        updated: int | None = None,
    ) -> str:
        """A new version, as a PUT makes it but without a call, and dated at will; returns its id."""
        body = {"attributes": attributes or {}, "contentType": content_type, "tags": tags}
        with self.lock:
            made = self.vaults[vault].put(name, value, body, self.now(), version)
            made.created = made.created if created is None else created
            made.updated = max(made.created, made.created if updated is None else updated)
        return made.id

    def delete(self, vault: str, name: str, purge: bool = False) -> None:
        """Delete a secret, and purge it too if told so, whatever the vault's protection."""
        with self.lock:
            self.vaults[vault].delete(name, self.now())
            if purge:
                del self.vaults[vault].deleted[name.lower()]

    def fault(self, **settings: Any) -> None:
        """Bad weather from now on, after that which is on its way already: see Fault."""
        made = Fault(**settings)
        if made.kind not in KINDS or made.operation not in {*OPERATIONS, "challenge", "token", "*"}:
            raise ValueError("no such kind of fault, or no such operation")
        with self.lock:
            self.faults.append(made)

    def clear_faults(self) -> None:
        """Good weather."""
        with self.lock:
            self.faults.clear()

    def set(self, **settings: float) -> None:
        """Set latency_ms, token_seconds, clock or moving_seconds."""
        for key, value in settings.items():
            if key not in {"latency_ms", "token_seconds", "clock", "moving_seconds"}:
                raise ValueError(f"no setting {key}")
            setattr(self, key, value)

    def count(self, reset: bool = False) -> dict[str, int]:
        """The calls since the last reset, by operation; `connections`: those opened to the vaults."""
        with self.lock:
            counted = dict(self.counters)
            if reset:
                self.counters.clear()
        return counted

    def reset(self) -> None:
        """Back to the beginning: the vaults that are there, but new; no faults, no counts."""
        with self.lock:
            names = list(self.vaults)
            for each in (self.vaults, self.identities, self.grants, self.faults, self.counters):
                each.clear()
            self.latency_ms, self.token_seconds, self.clock, self.moving_seconds = 0.0, 86_400, 0, 0.0
            self.populate(names)

    def populate(self, vaults: Sequence[str]) -> None:
        """The vaults named; `host`, the machine's own identity, may read them, and `operator` may do anything."""
        self.add_identity("host", system=True)
        self.add_identity("operator")
        for name in vaults:
            self.add_vault(name)
            self.grant("host", name, ["get", "list"])
            self.grant("operator", name, RIGHTS)


def unauthorized(message: str) -> VaultError:
    """The refusal of a token."""
    return VaultError(401, "Unauthorized", message)


def forbidden(message: str, inner: str) -> VaultError:
    """The refusal of a caller."""
    return VaultError(403, "Forbidden", message, inner)
