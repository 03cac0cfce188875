"""Each resource as data: where it is, what of it is ours, and what that changes in what was found. Asks nobody."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..keyvault.settings import OWNER
from .settings import CONNECTED, VIRTUAL, Principal, Wanted, network

READER = "4633458b-17de-408a-b874-0445c86b69e6"
WRITER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
ROLES = {READER: "Key Vault Secrets User", WRITER: "Key Vault Secrets Officer"}
SETTING = "coffre"  # our diagnostic setting's name
EVENT = "coffre-expiry"
NEAR_EXPIRY = "Microsoft.KeyVault.SecretNearExpiry"
LATER = "known when it is made"
# What an answer has and a PUT must not: Azure's own account of a resource.
ENVELOPE = ("id", "name", "type", "systemData", "etag")
OWN_ACCOUNT = (
    "provisioningState", "vaultUri", "hsmPoolResourceId", "privateEndpointConnections", "customerId", "createdDate",
    "modifiedDate", "createdOn", "updatedOn", "createdBy", "updatedBy", "principalId", "clientId", "topic",
    "privateLinkScopedResources", "lastSkuUpdate", "quotaNextResetTime", "dataIngestionStatus",
)  # fmt: skip
FAILED = ("failed", "canceled")
# Keys whose texts Azure writes in a case of its own.
CASELESS = {"workspaceId", "roleDefinitionId", "principalId", "tenantId", "actionGroups", "location", "name", "id"}


@dataclass
class Seen:
    """What Azure was found to have, each None where it has nothing; then, as a run goes on, what it has since.

    `machines` and `subnets` by id; `actions` is the action group; `settings` are the vault's diagnostic settings,
    `assignments` the role assignments at and above it; `deleted` is the soft-deleted vault of this name, `taken`
    whether the name is somebody else's; `managed` are the principals that are managed identities, where that was asked,
    and `unregistered` the resource providers that are not registered.
    """

    tenant: str = ""
    group: dict[str, Any] | None = None
    workspace: dict[str, Any] | None = None
    identity: dict[str, Any] | None = None
    vault: dict[str, Any] | None = None
    settings: list[dict[str, Any]] = field(default_factory=list)
    assignments: list[dict[str, Any]] = field(default_factory=list)
    event: dict[str, Any] | None = None
    machines: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    subnets: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    actions: dict[str, Any] | None = None
    deleted: dict[str, Any] | None = None
    taken: bool = False
    managed: frozenset[str] = frozenset()
    unregistered: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resource:
    """Something that is to be at a path.

    `ours` is what of its body is ours, `found` what is there; `keep` takes the answer into Seen. A `method` other than
    PUT sends `ours` alone.
    """

    kind: str
    label: str
    path: str
    ours: Mapping[str, Any]
    found: Mapping[str, Any] | None
    keep: Callable[[dict[str, Any]], None]
    method: str = "PUT"

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """(key, value now, value then) of each difference that counts; empty where all is as it should be."""
        found = self.found or {}
        state = (found.get("properties") or {}).get("provisioningState")
        # A machine may have failed for reasons of its own.
        failed = self.method == "PUT" and bool(self.ours) and str(state).lower() in FAILED
        again = [("properties.provisioningState", state, "Succeeded")] if failed else []
        return [*differences(found, self.ours), *again]

    @property
    def body(self) -> dict[str, Any]:
        """What to send: ours over whatever else is there, because a PUT replaces."""
        return dict(self.ours) if self.method != "PUT" else merged(writable(self.found or {}), self.ours)


def differences(found: Any, ours: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where what was found is not what we want it to be, by Azure's own ways of writing the same."""
    if isinstance(ours, Mapping) and not ours:
        if key and found is None:  # it need only be there
            yield key, found, ours
    elif isinstance(ours, Mapping):
        there = found if isinstance(found, Mapping) else {}
        for name, value in ours.items():
            yield from differences(there.get(name), value, f"{key}.{name}" if key else name)
    elif normal(key, found) != normal(key, ours):
        yield key, found, ours


def normal(key: str, value: Any) -> Any:
    """A value in the one form in which it can be compared."""
    name = key.rpartition(".")[2]
    if name == "ipRules":
        return sorted(network(str(each.get("value", ""))) for each in value or [])
    if name == "virtualNetworkRules":
        return sorted(str(each.get("id", "")).lower() for each in value or [])
    if name == "logs":
        return sends_audit(value or [])
    if name == "location" and isinstance(value, str):
        return value.replace(" ", "").lower()
    if isinstance(value, str):
        return value.lower() if name in CASELESS else value
    if isinstance(value, list):
        return sorted((normal(key, each) for each in value), key=str)
    return value


def writable(found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, without Azure's own account of it and without what it says nothing of."""
    body = {key: copy.deepcopy(value) for key, value in found.items() if key not in ENVELOPE and value is not None}
    return {key: value if key == "tags" else _ours_to_say(value) for key, value in body.items()}


def _ours_to_say(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _ours_to_say(each) for key, each in value.items() if key not in OWN_ACCOUNT and each is not None}


def merged(found: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """What was found with ours in its place; what has no place in ours is kept."""
    body = dict(found)
    for key, value in ours.items():
        there = body.get(key)
        body[key] = merged(there, value) if isinstance(value, Mapping) and isinstance(there, Mapping) else value
    return body


def sends_audit(logs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these logs of a diagnostic setting have AuditEvent, by its name or in a group."""
    return any(
        each.get("enabled") and (each.get("category") == "AuditEvent" or each.get("categoryGroup") in GROUPS)
        for each in logs
    )


GROUPS = ("audit", "allLogs")


def resources(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    """Everything that is to be there, in the order in which it is made; each sees what the ones before have become."""
    for stage in (group, workspace, identity, vault, diagnostics, assignments, event, machines):
        yield from stage(wanted, seen)


def in_group(wanted: Wanted) -> str:
    return f"/subscriptions/{wanted.subscription}/resourceGroups/{wanted.resource_group}"


def vault_path(wanted: Wanted) -> str:
    return f"{in_group(wanted)}/providers/Microsoft.KeyVault/vaults/{wanted.name}"


def workspace_path(wanted: Wanted) -> str:
    """The workspace's id, be it ours or another's."""
    if wanted.workspace.startswith("/"):
        return wanted.workspace
    return f"{in_group(wanted)}/providers/Microsoft.OperationalInsights/workspaces/{wanted.workspace}"


def identity_path(wanted: Wanted) -> str:
    return f"{in_group(wanted)}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{wanted.identity}"


def event_path(wanted: Wanted) -> str:
    return f"{vault_path(wanted)}/providers/Microsoft.EventGrid/eventSubscriptions/{EVENT}"


def tags(wanted: Wanted, found: Mapping[str, Any] | None) -> dict[str, str]:
    """Our tags by the names that they have there: to Azure, names that differ in case only are one."""
    there = {name.lower(): name for name in (found or {}).get("tags") or {}}
    return {there.get(name.lower(), name): value for name, value in wanted.tags.items()}


def group(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    """A group that is there is others' too, so nothing of it is ours."""
    ours = {} if seen.group else {"location": wanted.location, "tags": {OWNER: wanted.stack}}

    def keep(answer: dict[str, Any]) -> None:
        seen.group = answer

    label = f"resource group {wanted.resource_group}"
    yield Resource("group", label, in_group(wanted), ours, seen.group, keep)


def workspace(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    if wanted.workspace.startswith("/"):
        return
    ours: dict[str, Any] = {
        "tags": tags(wanted, seen.workspace),
        "properties": {"retentionInDays": wanted.workspace_days},
    }
    if seen.workspace is None:
        ours["location"] = wanted.location
        ours["properties"]["sku"] = {"name": "PerGB2018"}

    def keep(answer: dict[str, Any]) -> None:
        seen.workspace = answer

    yield Resource("workspace", f"workspace {wanted.workspace}", workspace_path(wanted), ours, seen.workspace, keep)


def identity(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    if not wanted.identity:
        return
    ours: dict[str, Any] = {"tags": tags(wanted, seen.identity)}
    if seen.identity is None:
        ours["location"] = wanted.location

    def keep(answer: dict[str, Any]) -> None:
        seen.identity = answer

    yield Resource("identity", f"identity {wanted.identity}", identity_path(wanted), ours, seen.identity, keep)


def subnet_rules(seen: Seen) -> dict[str, dict[str, Any]]:
    """The vault's rules for subnets, by the subnet's id in lower case."""
    acls = (seen.vault or {}).get("properties", {}).get("networkAcls") or {}
    return {str(each.get("id", "")).lower(): each for each in acls.get("virtualNetworkRules") or []}


def closed(seen: Seen) -> str:
    """What the vault says of public access where that counts for more than its rules; "" where these decide."""
    told = str((seen.vault or {}).get("properties", {}).get("publicNetworkAccess") or "Enabled")
    return "" if told.lower() == "enabled" else told


def vault(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    properties: dict[str, Any] = {"enableRbacAuthorization": True, "enableSoftDelete": True}
    properties["softDeleteRetentionInDays"] = wanted.retention_days
    if wanted.purge_protection:
        # Azure takes true or nothing: it cannot be switched off.
        properties["enablePurgeProtection"] = True
    if wanted.addresses or wanted.subnets:
        rules = subnet_rules(seen)
        properties["networkAcls"] = {
            "bypass": "None",
            "defaultAction": "Deny",
            "ipRules": [{"value": each} for each in wanted.addresses],
            "virtualNetworkRules": [{"id": each} | rules.get(each.lower(), {}) for each in wanted.subnets],
        }
    ours: dict[str, Any] = {"tags": tags(wanted, seen.vault), "properties": properties}
    if seen.vault is None:
        ours["location"] = wanted.location
        sku = {"family": "A", "name": "standard"}
        ours["properties"] = {"tenantId": seen.tenant, "sku": sku, "accessPolicies": [], **properties}

    def keep(answer: dict[str, Any]) -> None:
        seen.vault = answer

    yield Resource("vault", f"vault {wanted.name}", vault_path(wanted), ours, seen.vault, keep)


def returned(deleted: Mapping[str, Any]) -> dict[str, Any]:
    """A deleted vault as it would come back, by what Azure tells of it, which is little."""
    about = deleted.get("properties", {})
    properties: dict[str, Any] = {"enablePurgeProtection": about.get("purgeProtectionEnabled") or None}
    gone, purged = (about.get(key) for key in ("deletionDate", "scheduledPurgeDate"))
    if gone and purged:
        time = datetime.fromisoformat(purged) - datetime.fromisoformat(gone)
        properties["softDeleteRetentionInDays"] = round(time.total_seconds() / 86400)
    return {"tags": about.get("tags"), "location": about.get("location"), "properties": properties}


def recovery(wanted: Wanted, seen: Seen) -> Resource:
    """The soft-deleted vault, brought back as it was; what is to be otherwise is changed after that."""
    deleted = (seen.deleted or {}).get("properties", {})
    ours = {
        "location": deleted.get("location", wanted.location),
        "tags": dict(deleted.get("tags") or {}),
        "properties": {
            "tenantId": seen.tenant,
            "sku": {"family": "A", "name": "standard"},
            "accessPolicies": [],
            "createMode": "recover",
        },
    }

    def keep(answer: dict[str, Any]) -> None:
        seen.vault, seen.deleted = answer, None

    return Resource("vault", f"vault {wanted.name}", vault_path(wanted), ours, None, keep)


def audited(wanted: Wanted, seen: Seen) -> dict[str, Any] | None:
    """The diagnostic setting that brings the audit log to our workspace, whatever its name."""
    place = workspace_path(wanted).lower()
    for each in seen.settings:
        properties = each.get("properties", {})
        if str(properties.get("workspaceId", "")).lower() == place and sends_audit(properties.get("logs") or []):
            return each
    return None


def diagnostics(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    found = audited(wanted, seen) or next((each for each in seen.settings if each.get("name") == SETTING), None)
    name = (found or {}).get("name", SETTING)
    told = (found or {}).get("properties", {}).get("logs") or []
    logs = [{key: value for key, value in each.items() if value is not None} for each in told]
    if not sends_audit(logs):
        # Azure takes no setting that has both categories and groups.
        others = [each for each in logs if each.get("category") not in (None, "AuditEvent")]
        logs = [*others, {"category": "AuditEvent", "enabled": True}]
    ours = {"properties": {"workspaceId": workspace_path(wanted), "logs": logs}}

    def keep(answer: dict[str, Any]) -> None:
        seen.settings = [each for each in seen.settings if each.get("name") != name] + [answer]

    path = f"{vault_path(wanted)}/providers/Microsoft.Insights/diagnosticSettings/{name}"
    yield Resource("diagnostics", f"diagnostic setting {name}", path, ours, found, keep)


def principals(wanted: Wanted, seen: Seen) -> Iterator[tuple[str, Principal, str]]:
    """(role, principal, what to call it) of each right that is to be there; the id is LATER before it is known."""
    if wanted.identity:
        told = (seen.identity or {}).get("properties", {}).get("principalId", LATER)
        made = Principal(str(told).lower(), "ServicePrincipal")
        yield READER, made, f"the identity {wanted.identity}"
        if wanted.identity_writes:
            yield WRITER, made, f"the identity {wanted.identity}"
    for path in wanted.machines:
        if CONNECTED.fullmatch(path):
            own = str(((seen.machines.get(path) or {}).get("identity") or {}).get("principalId", "")).lower()
            yield READER, Principal(own, "ServicePrincipal"), f"the machine {path.rpartition('/')[2]}"
    for role, members in ((READER, wanted.readers), (WRITER, wanted.writers)):
        for each in members:
            yield role, each, f"{each.type} {each.id}"


def assignment_name(scope: str, principal: str, role: str) -> str:
    """The same name for the same right, whoever asks for it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|{principal}|{role}".lower()))


def role_of(found: Mapping[str, Any]) -> str:
    return str(found.get("properties", {}).get("roleDefinitionId", "")).rpartition("/")[2].lower()


def holder_of(found: Mapping[str, Any]) -> str:
    return str(found.get("properties", {}).get("principalId", "")).lower()


def scope_of(found: Mapping[str, Any]) -> str:
    """Where an assignment holds."""
    above = str(found.get("id", "")).lower().partition("/providers/microsoft.authorization/")[0]
    return str(found.get("properties", {}).get("scope") or above).lower()


def held(wanted: Wanted, seen: Seen, role: str, principal: str) -> dict[str, Any] | None:
    """The assignment of a role at the vault itself, under whatever name."""
    for each in seen.assignments:
        if (scope_of(each), holder_of(each), role_of(each)) == (vault_path(wanted).lower(), principal, role):
            return each
    return None


def assignments(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    scope = vault_path(wanted)
    roles = f"/subscriptions/{wanted.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    rights = {(role, who.id): (who, label) for role, who, label in reversed(list(principals(wanted, seen)))}
    for (role, _), (who, label) in reversed(rights.items()):
        found = held(wanted, seen, role, who.id)
        properties = {"roleDefinitionId": f"{roles}/{role}", "principalId": who.id, "principalType": who.type}
        name = assignment_name(scope, who.id, role)
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
        # One that is there is ours as it is: nothing of an assignment can be changed.
        ours: dict[str, Any] = {} if found else {"properties": properties}
        yield Resource("assignment", f"{ROLES[role]} for {label}", path, ours, found, seen.assignments.append)


def event(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    if not wanted.action_group:
        return
    # Azure Monitor takes events in no other schema.
    ours: dict[str, Any] = {
        "properties": {
            "destination": {
                "endpointType": "MonitorAlert",
                "properties": {
                    "severity": "Sev2",
                    "description": f"A secret of the vault {wanted.name} expires soon",
                    "actionGroups": [wanted.action_group],
                },
            },
            "filter": {"includedEventTypes": [NEAR_EXPIRY]},
            "eventDeliverySchema": "CloudEventSchemaV1_0",
        }
    }

    def keep(answer: dict[str, Any]) -> None:
        seen.event = answer

    yield Resource("event", f"event subscription {EVENT}", event_path(wanted), ours, seen.event, keep)


def machines(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    """The identity on each virtual machine. A machine of Arc's has one of its own only, which is a reader instead."""
    for path in wanted.machines:
        if not VIRTUAL.fullmatch(path):
            continue
        found = seen.machines.get(path) or {}
        now = found.get("identity") or {}
        has = any(each.lower() == identity_path(wanted).lower() for each in now.get("userAssignedIdentities") or {})
        # A PATCH adds to the identities that a machine has, but says its type anew.
        kind = "SystemAssigned, UserAssigned" if "SystemAssigned" in str(now.get("type", "")) else "UserAssigned"
        added = {"type": kind, "userAssignedIdentities": {identity_path(wanted): {}}}

        def keep(answer: dict[str, Any], path: str = path) -> None:
            seen.machines[path] = answer

        ours: dict[str, Any] = {} if has else {"identity": added}
        label = f"identity {wanted.identity} on the machine {path.rpartition('/')[2]}"
        yield Resource("virtual machine", label, path, ours, found, keep, method="PATCH")
