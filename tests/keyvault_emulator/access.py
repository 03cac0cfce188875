"""Who asks, by which token, and what each may do."""

from __future__ import annotations

import random
import re
import time
import uuid
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import jwt

from .roles import Rights
from .vault import LOCATION, Vault, VaultError

RESOURCE = "https://vault.azure.net"
AUDIENCE = re.compile(rf"{re.escape(RESOURCE)}(:\d+)?/?")
TENANT = "11111111-0000-4000-8000-000000000000"
TOKEN_SECONDS = 86_400

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


def guid(name: str) -> str:
    """The same id for the same name in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://vault.azure.net/emulator/{name}"))


@dataclass(frozen=True)
class Identity:
    """Who may ask for tokens. `system`: the machine's own managed identity; `certificate`, `federated`: what proves it
    at the login endpoint (a PEM certificate, the content of a token file); `resource`: the id of a user-assigned
    managed identity that Resource Manager made, which counts on a machine once it is attached to it."""

    name: str
    client_id: str
    object_id: str
    tenant: str
    system: bool
    certificate: str = ""
    federated: str = ""
    resource: str = ""


@dataclass
class Tokens:
    """Makes and checks tokens. `seconds`: how long one lives."""

    seconds: int = TOKEN_SECONDS
    _key: bytes = field(default_factory=lambda: random.SystemRandom().randbytes(32), repr=False)
    _issued: int = 0
    _revoked: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def issue(self, identity: Identity, resource: str) -> dict[str, Any]:
        """A token with its life: {access_token, expires_on, expires_in}."""
        now = int(time.time())
        with self._lock:
            self._issued += 1
            number = self._issued
        claims = {
            "aud": resource.removesuffix("/.default"),
            "iss": f"https://sts.windows.net/{identity.tenant}/",
            "iat": now,
            "nbf": now - 5,
            "exp": now + self.seconds,
            "appid": identity.client_id,
            "oid": identity.object_id,
            "tid": identity.tenant,
            "uti": str(number),
        }
        token = jwt.encode(claims, self._key, algorithm="HS256")
        return {"access_token": token, "expires_on": claims["exp"], "expires_in": self.seconds}

    def expire(self) -> None:
        """End the life of every token issued so far."""
        self._revoked = self._issued

    def read(self, authorization: str | None) -> dict[str, Any]:
        """The claims of the token in an Authorization header.

        Raises:
            jwt.ExpiredSignatureError: its life is over.
            jwt.PyJWTError: there is none, or not one of this emulator's.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise jwt.InvalidTokenError
        claims = dict(jwt.decode(token, self._key, algorithms=["HS256"], options={"verify_aud": False}))
        if int(claims["uti"]) <= self._revoked:
            raise jwt.ExpiredSignatureError
        return claims

    def check(self, authorization: str | None, vault: Vault) -> dict[str, Any]:
        """The claims of the token in an Authorization header.

        Raises:
            VaultError: no token, or not one for this vault: 401.
        """
        if not (authorization or "").lower().startswith("bearer "):
            raise unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
        try:
            claims = self.read(authorization)
        except jwt.ExpiredSignatureError:
            raise unauthorized("[TokenExpired] Error validating token: 'S2S12086'.") from None
        except jwt.PyJWTError:
            raise unauthorized("AKV10046: Unable to resolve the key used for signature validation.") from None
        if not AUDIENCE.fullmatch(claims["aud"]):
            raise unauthorized(f"AKV10022: Invalid audience. Expected {RESOURCE}, found: {claims['aud']}.")
        if claims["tid"] != vault.tenant:
            raise unauthorized(
                f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{vault.tenant}/, "
                f"found {claims['iss']}."
            )
        return claims


def permit(rights: Rights, claims: dict[str, Any], vault: Vault, operation: str, name: str, address: str) -> None:
    """Refuse what the firewall, or the lack of a right, refuses.

    Raises:
        VaultError: 403, worded as the vault's permission model does.
    """
    words = f"appid={claims['appid']};oid={claims['oid']};iss={claims['iss']}"
    where = f"Vault: {vault.name};location={LOCATION}"
    if closed := vault.shut(address):
        reason = {
            "ForbiddenByFirewall": "Client address is not authorized and caller is not a trusted service.\r\n"
            f"Client address: {address}",
            "ForbiddenByConnection": "Public network access is disabled and request is not from a trusted service "
            "nor via an approved private link.",
            "ForbiddenByNsp": "The request was forbidden by NSP policy.",
        }[closed]
        raise forbidden(f"{reason}\r\nCaller: {words}\r\n{where}", closed)
    right, action = OPERATIONS[operation]
    if vault.model == "rbac" and action == "readMetadata/action":
        right = "list"
    if rights.reads(claims["oid"], right, vault.resource(name), vault.model == "policy"):
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


def unauthorized(message: str) -> VaultError:
    """The refusal of a token."""
    return VaultError(401, "Unauthorized", message)


def forbidden(message: str, inner: str) -> VaultError:
    """The refusal of a caller."""
    return VaultError(403, "Forbidden", message, inner)
