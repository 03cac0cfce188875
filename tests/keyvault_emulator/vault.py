"""Vaults and their secrets: what Azure documents of them, without HTTP.

Times are whole seconds since the epoch, as Key Vault counts them. Bodies are what Key Vault answers as JSON.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import secrets as random_source
import uuid
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Body = dict[str, Any]

NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
VALUE_BYTES = 25_600
TAGS = 15
TAG_CHARACTERS = 256
CONTENT_TYPE_CHARACTERS = 255
PAGE = 25
LOCATION = "westeurope"
SUBSCRIPTION = "00000000-0000-4000-8000-000000000000"
GROUP = "emulator"


class VaultError(Exception):
    """An answer that is an error: HTTP status, Key Vault's code, message and inner code."""

    def __init__(self, status: int, code: str, message: str, inner: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.inner = status, code, message, inner

    def body(self) -> Body:
        """The error as Key Vault words it in JSON."""
        error: Body = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return {"error": error}


def bad(message: str) -> VaultError:
    """The refusal of a parameter."""
    return VaultError(400, "BadParameter", message)


def not_found(name: str) -> VaultError:
    """The refusal of a name, or name/version, that is not there."""
    return VaultError(
        404,
        "SecretNotFound",
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may "
        "be able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182",
    )


@dataclass
class Version:
    """One value of a secret."""

    id: str
    value: str
    created: int
    updated: int
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    content_type: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Secret:
    """A name with its versions, the oldest first; `since`: when it was deleted or recovered."""

    name: str
    versions: list[Version] = field(default_factory=list)
    since: int = 0


@dataclass
class Vault:
    """One vault. `model`: rbac or policy; `closed`: the inner code with which its firewall refuses, or empty.

    `subscription` to `settings` are Resource Manager's: where it lies, and what else was said of it, as in a body.
    """

    name: str
    tenant: str
    model: str = "rbac"
    purge_protection: bool = False
    recoverable_days: int = 90
    closed: str = ""
    subscription: str = SUBSCRIPTION
    group: str = GROUP
    location: str = LOCATION
    tags: dict[str, str] = field(default_factory=dict)
    settings: Body = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    deleted: dict[str, Secret] = field(default_factory=dict)
    backups: dict[str, Secret] = field(default_factory=dict)

    def resource(self, name: str = "") -> str:
        """The resource id of the vault, or of a secret in it, as error messages write it."""
        group = f"/subscriptions/{self.subscription}/resourcegroups/{self.group.lower()}"
        vault = f"{group}/providers/microsoft.keyvault/vaults/{self.name}"
        return f"{vault}/secrets/{name.lower()}" if name else vault

    def shut(self, address: str) -> str:
        """The inner code with which a call from `address` is refused, or nothing."""
        if self.closed:
            return self.closed
        public = str(self.settings.get("publicNetworkAccess", "")).lower()
        if public in ("disabled", "securedbyperimeter"):
            return "ForbiddenByConnection" if public == "disabled" else "ForbiddenByNsp"
        rules: Body = self.settings.get("networkAcls") or {}
        if str(rules.get("defaultAction", "")).lower() != "deny":
            return ""
        open_to = [ip_network(each["value"], strict=False) for each in rules.get("ipRules") or []]
        return "" if any(ip_address(address) in each for each in open_to) else "ForbiddenByFirewall"

    def put(self, name: str, value: Any, body: Body, now: int, version: str = "") -> Version:
        """A new version of `name`; only what `body` says of it, for nothing is inherited.

        Raises:
            VaultError: the name, value or attributes break a limit, or the name is in a deleted state.
        """
        check_name(name)
        if not isinstance(value, str):
            raise bad("Property value has invalid value\r\n")
        if len(value.encode()) > VALUE_BYTES:
            raise bad(f"The value of the secret exceeds the maximum size of {VALUE_BYTES} bytes.")
        self._not_deleted(name)
        made = changed(Version(version or uuid.uuid4().hex, value, now, now), body)
        self.secrets.setdefault(name.lower(), Secret(name)).versions.append(made)
        return made

    def secret(self, name: str) -> Secret:
        """The secret `name`, which is not a deleted one."""
        check_name(name)
        try:
            return self.secrets[name.lower()]
        except KeyError:
            raise not_found(name) from None

    def version(self, name: str, version: str = "") -> tuple[Secret, Version]:
        """The secret with its version, the current one by default."""
        secret = self.secret(name)
        if not version:
            return secret, secret.versions[-1]
        for each in secret.versions:
            if each.id == version:
                return secret, each
        raise not_found(f"{name}/{version}")

    def update(self, name: str, version: str, body: Body, now: int) -> tuple[Secret, Version]:
        """Change what `body` says of a version; its value cannot change."""
        secret, found = self.version(name, version)
        made = dataclasses.replace(changed(found, body), updated=now)
        secret.versions[secret.versions.index(found)] = made
        return secret, made

    def delete(self, name: str, now: int) -> Secret:
        """Move `name` to the deleted ones."""
        secret = self.secret(name)
        secret.since = now
        self.deleted[name.lower()] = self.secrets.pop(name.lower())
        return secret

    def gone(self, name: str) -> Secret:
        """The deleted secret `name`."""
        check_name(name)
        try:
            return self.deleted[name.lower()]
        except KeyError:
            raise VaultError(404, "SecretNotFound", f"Deleted Secret not found: {name}") from None

    def recover(self, name: str, now: int) -> Secret:
        """Move a deleted `name` back."""
        secret = self.gone(name)
        secret.since = now
        self.secrets[name.lower()] = self.deleted.pop(name.lower())
        return secret

    def purge(self, name: str) -> None:
        """Forget a deleted `name`, unless the vault protects it."""
        self.gone(name)
        if self.purge_protection:
            raise VaultError(
                403,
                "Forbidden",
                'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault '
                "service will automatically purge it after the retention period has passed.\r\n"
                f"Vault: {self.name};location={LOCATION}",
            )
        del self.deleted[name.lower()]

    def backup(self, name: str) -> str:
        """A ticket for all versions of `name` as they are now."""
        ticket = random_source.token_urlsafe(48)
        self.backups[ticket] = copy.deepcopy(self.secret(name))
        return ticket

    def restore(self, ticket: Any) -> Secret:
        """The secret of a ticket, put back under its name, which must be free."""
        kept = self.backups.get(ticket) if isinstance(ticket, str) else None
        if kept is None:
            raise bad("Backup blob contains invalid or corrupt version.")
        self._not_deleted(kept.name)
        if kept.name.lower() in self.secrets:
            raise VaultError(409, "Conflict", f"A secret with the name {kept.name} already exists in this key vault.")
        self.secrets[kept.name.lower()] = copy.deepcopy(kept)
        return kept

    def _not_deleted(self, name: str) -> None:
        if name.lower() in self.deleted:
            raise VaultError(
                409,
                "Conflict",
                f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; "
                "in this state, the secret can only be recovered or purged.",
                "ObjectIsDeletedButRecoverable",
            )

    def properties(self, base: str, secret: Secret, version: Version, with_version: bool = True) -> Body:
        """What is told of a version beside its value; `base`: the vault's URL."""
        path = f"{base}/secrets/{secret.name}"
        attributes: Body = {"enabled": version.enabled}
        attributes |= {} if version.nbf is None else {"nbf": version.nbf}
        attributes |= {} if version.exp is None else {"exp": version.exp}
        attributes |= {"created": version.created, "updated": version.updated}
        level = "Recoverable" if self.recoverable_days == 90 else "CustomizedRecoverable"
        attributes["recoveryLevel"] = level if self.purge_protection else f"{level}+Purgeable"
        attributes["recoverableDays"] = self.recoverable_days
        body: Body = {} if version.content_type is None else {"contentType": version.content_type}
        body |= {"id": f"{path}/{version.id}" if with_version else path, "attributes": attributes}
        return body | ({"tags": version.tags} if version.tags else {})

    def epitaph(self, base: str, secret: Secret, with_version: bool = True) -> Body:
        """What is told of a deleted secret."""
        return {
            "recoveryId": f"{base}/deletedsecrets/{secret.name}",
            "deletedDate": secret.since,
            "scheduledPurgeDate": secret.since + self.recoverable_days * 86_400,
        } | self.properties(base, secret, secret.versions[-1], with_version)


def check_name(name: str) -> None:
    """Refuse a name that no secret may have."""
    if not NAME.fullmatch(name):
        raise bad(f"The request URI contains an invalid name: {name}")


def changed(version: Version, body: Body) -> Version:
    """The version with what `body`, of a PUT or PATCH, says of it; what it does not name stays."""
    attributes = body.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise bad("Property attributes has invalid value\r\n")
    new: dict[str, Any] = {}
    for key, kind in (("enabled", bool), ("nbf", int), ("exp", int)):
        if (value := attributes.get(key)) is not None:
            if type(value) is not kind:
                raise bad(f"Property {key} has invalid value\r\n")
            new[key] = value
    if (tags := body.get("tags")) is not None:
        new["tags"] = _tags(tags)
    if (content_type := body.get("contentType")) is not None:
        if not isinstance(content_type, str) or len(content_type) > CONTENT_TYPE_CHARACTERS:
            raise bad("Property contentType has invalid value\r\n")
        new["content_type"] = content_type
    return dataclasses.replace(version, **new)


def _tags(tags: Any) -> dict[str, str]:
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise bad("Property tags has invalid value\r\n")
    if len(tags) > TAGS:
        raise bad(f"The number of tags exceeds the maximum of {TAGS}.")
    if any(len(text) > TAG_CHARACTERS for pair in tags.items() for text in pair):
        raise bad(f"A tag's name or value exceeds {TAG_CHARACTERS} characters.")
    return dict(tags)
