"""All that one emulator knows, and the commands of its control API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from threading import RLock
from typing import Any

from .access import OPERATIONS, TENANT, Identity, Tokens, guid
from .arm import assignments, extensions, vaults
from .arm.ids import parse
from .arm.kinds import Resource, Resources
from .roles import RIGHTS, Assignment, Rights, by_name, within
from .transient_errors import KINDS, Fault, TransientErrors
from .vault import GROUP, LOCATION, SUBSCRIPTION, Body, Vault

# A vault's settings, with what they may be where that is a choice.
VAULT_SETTINGS: dict[str, tuple[str, ...]] = {
    "tenant": (),
    "purge_protection": (),
    "recoverable_days": (),
    "model": ("rbac", "policy"),
    "closed": ("", "ForbiddenByFirewall", "ForbiddenByConnection", "ForbiddenByNsp"),
    "subscription": (),
    "group": (),
    "tags": (),
}
# The machine that this is, as Resource Manager knows it; its own identity is `host`.
MACHINE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/host"


@dataclass
class World:
    """The state of one emulator; `lock` guards all but tokens and faults.

    `clock`: seconds by which the vaults' clock is ahead; `moving_seconds`: how long a deletion or recovery takes to
    show; `polls`: how often what Resource Manager makes is to be asked for until it is done; `late_rights`: how many
    calls of a vault each new role assignment misses; `page`: how many items a page of Resource Manager has (0: 100);
    `deleted_vaults`: with the time of their deletion; `audit`: who read what in vaults that log it; `first`: the vaults
    of the beginning. The public methods but now(), log() and attached() are the control API's commands; each takes and
    returns what JSON can hold.
    """

    clock: int = 0
    moving_seconds: float = 0.0
    vaults: dict[str, Vault] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    rights: Rights = field(default_factory=Rights)
    resources: Resources = field(default_factory=Resources)
    deleted_vaults: dict[str, tuple[Vault, float]] = field(default_factory=dict)
    polls: int = 1
    late_rights: int = 0
    page: int = 0
    audit: list[Body] = field(default_factory=list)
    first: tuple[str, ...] = ()
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
            group = f"/subscriptions/{vault.subscription}/resourceGroups/{vault.group}"
            if group.lower() not in self.resources.kept:
                self.resource(group, {"properties": {"provisioningState": "Succeeded"}})

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
        principal = guid(f"object/{identity}")
        with self.lock:
            there, held = self.vaults[vault], self.rights.assignments
            role = self.rights.custom_role(rights)
            if not secrets:
                held[:] = [each for each in held if (each.principal, each.scope) != (principal, there.resource())]
            for scope in [there.resource(name) for name in secrets] or [there.resource()]:
                held.append(Assignment(guid(f"{principal}{role}{scope}"), scope, principal, role))

    def revoke(self, identity: str, vault: str) -> None:
        """Take all rights of an identity on a vault."""
        principal, scope = guid(f"object/{identity}"), self.vaults[vault].resource()
        with self.lock:
            held = self.rights.assignments
            held[:] = [each for each in held if each.principal != principal or not within(each.scope, scope)]

    def assign(self, identity: str, role: str, scope: str = "") -> None:
        """Let an identity have a built-in role, by its name, at a scope; by default the subscription."""
        principal, where, guid_of = guid(f"object/{identity}"), self._scope(scope), by_name(role)
        with self.lock:
            name = guid(f"{principal}{guid_of}{where}")
            self.rights.assignments.append(Assignment(name, where, principal, guid_of))

    def unassign(self, identity: str, scope: str = "") -> None:
        """Take all roles that an identity has at a scope itself."""
        principal, where = guid(f"object/{identity}"), self._scope(scope)
        with self.lock:
            held = self.rights.assignments
            held[:] = [each for each in held if (each.principal, each.scope) != (principal, where)]

    def _scope(self, scope: str) -> str:
        return (scope or f"/subscriptions/{SUBSCRIPTION}").lower().rstrip("/")

    def resource(self, id: str, body: Body) -> None:
        """A resource that somebody else made, with its whole body; none where that is empty."""
        with self.lock:
            self.resources.kept.pop(id.lower(), None)
            if body:
                self.resources.kept[id.lower()] = Resource(id, {"location": LOCATION, "systemData": {}} | body)

    def provider(self, namespace: str, registered: bool) -> None:
        """Register a resource provider, or not."""
        known = self.resources.unregistered
        known.discard(namespace.lower()) if registered else known.add(namespace.lower())

    def delete_vault(self, name: str) -> None:
        """Delete a vault softly."""
        with self.lock:
            vaults.bury(self, name)

    def log(self, vault: Vault, operation: str, name: str, oid: str, status: int) -> None:
        """Note a call of a vault that logs them."""
        if extensions.audited(self, vault.resource()):
            self.audit.append({"vault": vault.name, "operation": operation, "name": name, "oid": oid, "status": status})

    def logged(self, vault: str) -> list[Body]:
        """What was noted of a vault."""
        return [each for each in self.audit if each["vault"] == vault]

    def assignments(self, vault: str) -> list[Body]:
        """The role assignments at a vault or above."""
        return assignments.Assignments("").list(self, parse(f"{self.vaults[vault].resource()}/providers/x/y"))

    def attached(self) -> set[str]:
        """The ids of the user-assigned identities that machines have."""
        identities = [each.body.get("identity") or {} for each in self.resources.kept.values()]
        return {key.lower() for each in identities for key in each.get("userAssignedIdentities") or {}}

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
        named = {*OPERATIONS, "challenge", "token", "*", "arm"}
        if made.kind not in KINDS or (made.operation not in named and " " not in made.operation):
            raise ValueError("no such kind of fault, or no such operation")
        self.transient_errors.add(made)

    def clear_faults(self) -> None:
        """No faults."""
        self.transient_errors.clear()

    def set(self, **settings: float) -> None:
        """Set latency_ms, token_seconds, clock, moving_seconds, polls, late_rights or page."""
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
                case "polls" | "late_rights" | "page":
                    setattr(self, key, int(value))
                case _:
                    raise ValueError(f"no setting {key}")

    def expire_tokens(self) -> None:
        """End the life of every token issued so far."""
        self.tokens.expire()

    def count(self, reset: bool = False) -> dict[str, int]:
        """The calls since the last reset, by operation; `connections`: those opened to the vaults."""
        return self.transient_errors.counted(reset)

    def reset(self) -> None:
        """Back to the beginning: the vaults of the beginning, but new; no faults, no counts."""
        with self.lock:
            for each in (self.vaults, self.deleted_vaults, self.identities, self.audit):
                each.clear()
            self.rights, self.resources, self.transient_errors = Rights(), Resources(), TransientErrors()
            self.set(token_seconds=Tokens.seconds, clock=0, moving_seconds=0.0, polls=1, late_rights=0, page=0)
            self.populate(self.first)

    def populate(self, vaults: Sequence[str]) -> None:
        """The vaults named; `host`, the machine's own identity, may read them, and `operator` may do anything with
        their secrets, and owns the subscription."""
        self.first = tuple(vaults)
        host = self.identity("host", system=True)
        self.identity("operator")
        self.assign("operator", "Owner")
        self.resource(MACHINE.partition("/providers/")[0], {"properties": {"provisioningState": "Succeeded"}})
        own = {"type": "SystemAssigned", "principalId": host["object_id"], "tenantId": TENANT}
        self.resource(
            MACHINE, {"identity": own, "properties": {"provisioningState": "Succeeded", "vmId": guid("host")}}
        )
        for name in vaults:
            self.vault(name)
            self.grant("host", name, ["get", "list"])
            self.grant("operator", name, RIGHTS)
