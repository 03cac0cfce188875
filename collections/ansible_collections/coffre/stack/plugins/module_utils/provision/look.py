"""What Azure has of a vault, and of what stands around it. Reads only."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import SourceError
from ..keyvault.arm import Manager, Refused
from . import refusals
from .resources import (
    Resource,
    Seen,
    event_path,
    identity_path,
    in_group,
    subnet_rules,
    vault_path,
    workspace_path,
)
from .settings import CONNECTED, Wanted


def look(manager: Manager, wanted: Wanted) -> Seen:
    """Everything that matters to the plan. Raises Refused, and SourceError for a subscription that is none."""
    about = manager.get("subscription", f"/subscriptions/{wanted.subscription}")
    if about is None:
        raise SourceError(refusals.no_subscription(wanted))
    seen = Seen(tenant=str(about.get("tenantId", "")))
    seen.group = manager.settled("group", in_group(wanted))
    if seen.group is not None or wanted.workspace.startswith("/"):
        seen.workspace = manager.settled("workspace", workspace_path(wanted))
    if seen.group is not None and wanted.identity:
        seen.identity = manager.get("identity", identity_path(wanted))
    if seen.group is not None:
        seen.vault = manager.settled("vault", vault_path(wanted))
    seen.machines = {path: machine(manager, path) for path in wanted.machines}
    seen.subnets = {path: manager.get("subnet", path) for path in wanted.subnets}
    if wanted.action_group:
        seen.actions = manager.get("action group", wanted.action_group)
    if seen.vault is None:
        _name(manager, wanted, seen)
    else:
        around(manager, wanted, seen)
    seen.managed = managed(manager, wanted) | of_machines(wanted, seen)
    seen.unregistered = tuple(each for each in _namespaces(wanted, seen) if not _registered(manager, wanted, each))
    return seen


def around(manager: Manager, wanted: Wanted, seen: Seen) -> None:
    """What hangs on a vault that is there."""
    seen.assignments = assignments(manager, wanted)
    seen.settings = settings(manager, wanted)
    if wanted.action_group:
        seen.event = manager.settled("event", event_path(wanted))


def assignments(manager: Manager, wanted: Wanted) -> list[dict[str, Any]]:
    """The role assignments at the vault, and what it inherits."""
    return manager.listed("assignment", f"{vault_path(wanted)}/providers/Microsoft.Authorization/roleAssignments")


def settings(manager: Manager, wanted: Wanted) -> list[dict[str, Any]]:
    """The vault's diagnostic settings."""
    return manager.listed("diagnostics", f"{vault_path(wanted)}/providers/Microsoft.Insights/diagnosticSettings")


def machine(manager: Manager, path: str) -> dict[str, Any] | None:
    return manager.get("connected machine" if CONNECTED.fullmatch(path) else "virtual machine", path)


def _name(manager: Manager, wanted: Wanted, seen: Seen) -> None:
    """Whether the name is free, and if not, whether it is that of a deleted vault of ours."""
    provider = f"/subscriptions/{wanted.subscription}/providers/Microsoft.KeyVault"
    question = {"name": wanted.name, "type": "Microsoft.KeyVault/vaults"}
    seen.taken = manager.post("vault", f"{provider}/checkNameAvailability", question).get("nameAvailable") is False
    if seen.taken:
        deleted = manager.listed("vault", f"{provider}/deletedVaults")
        mine = (each for each in deleted if str(each.get("name", "")).lower() == wanted.name.lower())
        seen.deleted = next(mine, None)


def _judges_writers(wanted: Wanted) -> bool:
    """Whether an application is to write that may be a managed identity."""
    return not wanted.identity_writes and any(who.type == "ServicePrincipal" for who in wanted.writers)


def managed(manager: Manager, wanted: Wanted) -> frozenset[str]:
    """The subscription's user-assigned managed identities, where that matters."""
    if not _judges_writers(wanted):
        return frozenset()
    listing = f"/subscriptions/{wanted.subscription}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    ids: list[Any] = [each.get("properties", {}).get("principalId") for each in manager.listed("identity", listing)]
    return frozenset(str(each).lower() for each in ids if each)


def of_machines(wanted: Wanted, seen: Seen) -> frozenset[str]:
    """The identities that the machines listed have of their own, where that matters."""
    ids = [(each.get("identity") or {}).get("principalId") for each in seen.machines.values() if each]
    return frozenset(str(each).lower() for each in ids if each and _judges_writers(wanted))


def lacking(manager: Manager, wanted: Wanted, seen: Seen, plan: Iterable[Resource]) -> list[tuple[str, str]]:
    """(action, scope) of each right that the plan needs and that this identity is told not to have.

    Each is looked up at what is there already: what is to be made inherits from it.
    """
    held: dict[str, list[Mapping[str, Any]] | None] = {}
    missing: dict[tuple[str, str], None] = {}
    for action, scope in (need for each in plan for need in _needs(wanted, seen, each)):
        if scope not in held:
            held[scope] = _permissions(manager, scope)
        if not may(held[scope], action):
            missing[action, scope] = None
    return list(missing)


def _needs(wanted: Wanted, seen: Seen, each: Resource) -> Iterator[tuple[str, str]]:
    """(action, scope) of what has to be allowed to make or change a resource, at what is there and includes it."""
    group = in_group(wanted) if seen.group is not None else f"/subscriptions/{wanted.subscription}"
    scope = group
    if each.kind == "virtual machine":
        scope = each.path
        yield "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", group
    elif seen.vault is not None and each.path.startswith(vault_path(wanted)):
        scope = vault_path(wanted)
    if each.kind == "vault":
        new = [path for path in wanted.subnets if path.lower() not in subnet_rules(seen)]
        yield from (("Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action", path) for path in new)
    if each.kind == "diagnostics":
        place = wanted.workspace if wanted.workspace.startswith("/") else group
        yield "Microsoft.OperationalInsights/workspaces/sharedKeys/action", place
    yield refusals.writing(each.path), scope


def _permissions(manager: Manager, scope: str) -> list[Mapping[str, Any]] | None:
    """What this identity may do at a scope; None where Azure does not tell, and a PUT has to."""
    try:
        return list(manager.listed("assignment", f"{scope}/providers/Microsoft.Authorization/permissions"))
    except Refused:
        return None


def may(permissions: list[Mapping[str, Any]] | None, action: str) -> bool:
    """Whether one of some roles allows an action, by its patterns."""

    def matches(patterns: Iterable[str]) -> bool:
        return any(fnmatch.fnmatchcase(action.lower(), each.lower()) for each in patterns)

    return permissions is None or any(
        matches(each.get("actions") or []) and not matches(each.get("notActions") or []) for each in permissions
    )


def _namespaces(wanted: Wanted, seen: Seen) -> list[str]:
    """The resource providers of what is to be made."""
    needed = {
        "Microsoft.KeyVault": seen.vault is None,
        "Microsoft.OperationalInsights": seen.workspace is None and not wanted.workspace.startswith("/"),
        "Microsoft.ManagedIdentity": bool(wanted.identity) and seen.identity is None,
        "Microsoft.Insights": not seen.settings,
        "Microsoft.EventGrid": bool(wanted.action_group) and seen.event is None,
    }
    return [namespace for namespace, is_needed in needed.items() if is_needed]


def _registered(manager: Manager, wanted: Wanted, namespace: str) -> bool:
    """Whether the subscription is, as far as this identity may know; else Azure refuses, which is told then."""
    try:
        told = manager.get("provider", f"/subscriptions/{wanted.subscription}/providers/{namespace}")
    except Refused as error:
        if error.found.status == 403:
            return True
        raise
    return told is None or str(told.get("registrationState", "Registered")) == "Registered"
