"""All that one emulator knows, and the commands of its control API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from threading import RLock
from typing import Any

from .access import OPERATIONS, RIGHTS, TENANT, Grant, Identity, Tokens, guid
from .transient_errors import KINDS, Fault, TransientErrors
from .vault import Vault

# A vault's settings, with what they may be where that is a choice.
VAULT_SETTINGS: dict[str, tuple[str, ...]] = {
    "tenant": (),
    "purge_protection": (),
    "recoverable_days": (),
    "model": ("rbac", "policy"),
    "closed": ("", "ForbiddenByFirewall", "ForbiddenByConnection"),
}


@dataclass
class World:
    """The state of one emulator; `lock` guards vaults, identities and grants.

    `clock`: seconds by which the vaults' clock is ahead; `moving_seconds`: how long a deletion or recovery takes to
    show. The public methods but now() are the control API's commands; each takes and returns what JSON can hold.
    """

    clock: int = 0
    moving_seconds: float = 0.0
    vaults: dict[str, Vault] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    tokens: Tokens = field(default_factory=Tokens)
    transient_errors: TransientErrors = field(default_factory=TransientErrors)
    lock: RLock = field(default_factory=RLock, repr=False)

    def now(self) -> int:
        """The vaults' time."""
        return int(time.time()) + self.clock

    def vault(self, name: str, **settings: Any) -> None:
        """A new and empty vault, or another setting of one that is there: see Vault."""
        with self.lock:
            vault = self.vaults.setdefault(name, Vault(name, TENANT))
            for key, value in settings.items():
                if key not in VAULT_SETTINGS:
                    raise ValueError(f"a vault has no setting {key}")
                if VAULT_SETTINGS[key] and value not in VAULT_SETTINGS[key]:
                    raise ValueError(f"{key} of a vault is one of {', '.join(VAULT_SETTINGS[key])}")
                setattr(vault, key, value)

    def identity(
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
        """Set the rights of an identity on a vault (no secrets named), or add some on these secrets."""
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
        """Delete a secret, or let nothing be left of it, be it deleted or not, whatever the vault's protection."""
        with self.lock:
            if purge:
                self.vaults[vault].secrets.pop(name.lower(), None)
                self.vaults[vault].deleted.pop(name.lower(), None)
            else:
                self.vaults[vault].delete(name, self.now())

    def fault(self, **settings: Any) -> None:
        """A fault from now on, after those that are there already: see Fault."""
        made = Fault(**settings)
        if made.kind not in KINDS or made.operation not in {*OPERATIONS, "challenge", "token", "*"}:
            raise ValueError("no such kind of fault, or no such operation")
        self.transient_errors.add(made)

    def clear_faults(self) -> None:
        """No faults."""
        self.transient_errors.clear()

    def set(self, **settings: float) -> None:
        """Set latency_ms, token_seconds, clock or moving_seconds."""
        for key, value in settings.items():
            match key:
                case "latency_ms":
                    self.transient_errors.latency_ms = value
                case "token_seconds":
                    self.tokens.seconds = int(value)
                case "clock":
                    self.clock = int(value)
                case "moving_seconds":
                    self.moving_seconds = value
                case _:
                    raise ValueError(f"no setting {key}")

    def expire_tokens(self) -> None:
        """End the life of every token issued so far."""
        self.tokens.expire()

    def count(self, reset: bool = False) -> dict[str, int]:
        """The calls since the last reset, by operation; `connections`: those opened to the vaults."""
        return self.transient_errors.counted(reset)

    def reset(self) -> None:
        """Back to the beginning: the vaults that are there, but new; no faults, no counts."""
        with self.lock:
            names = list(self.vaults)
            for each in (self.vaults, self.identities, self.grants):
                each.clear()
            self.transient_errors, self.clock, self.moving_seconds = TransientErrors(), 0, 0.0
            self.set(token_seconds=Tokens.seconds)
            self.populate(names)

    def populate(self, vaults: Sequence[str]) -> None:
        """The vaults named; `host`, the machine's own identity, may read them, and `operator` may do anything."""
        self.identity("host", system=True)
        self.identity("operator")
        for name in vaults:
            self.vault(name)
            self.grant("host", name, ["get", "list"])
            self.grant("operator", name, RIGHTS)
