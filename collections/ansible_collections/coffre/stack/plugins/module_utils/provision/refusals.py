"""Why a vault is not made as the inventory says it, a sentence each. Nothing of an answer is quoted but its code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import SourceError
from ..keyvault.arm import Refused
from ..keyvault.settings import OWNER
from .resources import (
    SETTING,
    WRITER,
    Seen,
    assignment_name,
    audited,
    identity_path,
    in_group,
    principals,
    returned,
    vault_path,
    workspace_path,
)
from .settings import CONNECTED, Wanted

MOST_SETTINGS = 5  # diagnostic settings that a resource can have
ACTION = re.compile(r"perform action '([\w.]+/[\w./]+)'")
SCOPE = re.compile(r"(?:over|on)(?: the following)? scope(?:\(s\))? '(/[^']+)'")
LINKED = re.compile(r"action\(s\) '([\w./]+)' on the linked scope\(s\) '(/[^']+)'")
TENANT = re.compile(r"must match(?: one of)? the tenants? '?https://sts\.[^/]+/([0-9a-f-]{36})", re.IGNORECASE)
SERVICE = re.compile(r"Microsoft\.[\w.]+")
ENDPOINT = "Microsoft.KeyVault"  # the service endpoint by which a vault knows a subnet
NAMESPACE = re.compile(r"namespace '(Microsoft\.\w+)'", re.IGNORECASE)
# By provider: the least of Azure's own roles that may do what is done there.
ROLES = {
    "microsoft.keyvault": "Key Vault Contributor",
    "microsoft.operationalinsights": "Log Analytics Contributor",
    "microsoft.managedidentity": "Managed Identity Contributor",
    "microsoft.insights": "Monitoring Contributor",
    "microsoft.eventgrid": "EventGrid EventSubscription Contributor",
    "microsoft.compute": "Virtual Machine Contributor",
    "microsoft.network": "Network Contributor",
    "microsoft.authorization": "Key Vault Data Access Administrator",
}


def found(wanted: Wanted, seen: Seen, recover: bool) -> list[str]:
    """A sentence for each thing that was found and forbids to go on; each is about nothing that a run could change."""
    name = [*_name(wanted, seen, recover)]
    vault = returned(seen.deleted) if seen.deleted and not name else seen.vault
    return [*name, *_vault(wanted, vault, seen.tenant), *_others(wanted, seen), *_rights(wanted, seen)]


def owner(resource: Mapping[str, Any] | None) -> str:
    """Whose a resource is, by its tag, whose name may be written in any case."""
    tags = (resource or {}).get("tags") or {}
    return next((str(value) for name, value in tags.items() if name.lower() == OWNER), "")


def _name(wanted: Wanted, seen: Seen, recover: bool) -> Iterator[str]:
    name = wanted.name
    if seen.vault is not None or (seen.deleted is None and not seen.taken):
        return
    if seen.deleted is None:
        yield (
            f"The name {name} is taken, by somebody else's vault or by one in another resource group: choose another "
            "in `url` of stack_secrets_keyvault, or set resource_group in stack_vault to the one that has it."
        )
        return
    about = seen.deleted.get("properties", {})
    place = str(about.get("vaultId", ""))
    until = str(about.get("scheduledPurgeDate", ""))[:10]
    if owner({"tags": about.get("tags")}) != wanted.stack:
        yield (
            f"The name {name} is that of a deleted vault which is not of {wanted.stack}, and stays taken until "
            f"{until}: choose another in `url` of stack_secrets_keyvault."
        )
    elif place.lower() != vault_path(wanted).lower():
        yield (f"The vault {name} was deleted, and comes back only as {place}: set resource_group in stack_vault so.")
    elif not recover:
        yield (
            f"The vault {name} was deleted, with all its secrets, and its name stays taken until {until}: recover it "
            "with -e recover=true (make vault ARGS='-e recover=true'), or choose another name."
        )


def _vault(wanted: Wanted, vault: Mapping[str, Any] | None, home: str) -> Iterator[str]:
    """`home` is the tenant that the subscription belongs to."""
    if vault is None:
        return
    name, properties = wanted.name, vault.get("properties", {})
    if owner(vault) != wanted.stack:
        whose = f"belongs to {owner(vault)}" if owner(vault) else f"has no tag {OWNER}, so nobody knows whose"
        yield (
            f"The vault {name} is there and {whose}: if it is to be {wanted.stack}'s, run 'az tag update --resource-id "
            f"{vault_path(wanted)} --operation Merge --tags {OWNER}={wanted.stack}'."
        )
        return
    days = properties.get("softDeleteRetentionInDays")
    if properties.get("enableSoftDelete") is not False and days not in (None, wanted.retention_days):
        yield (
            f"The vault {name} keeps what is deleted for {days} days, which cannot be changed, and retention_days in "
            f"stack_vault is {wanted.retention_days}: say {days} there."
        )
    if properties.get("enablePurgeProtection") and not wanted.purge_protection:
        yield (
            f"The vault {name} has purge protection, which cannot be switched off, and purge_protection in stack_vault "
            "is false: say true there."
        )
    place = str(vault.get("location") or "").replace(" ", "").lower()
    if place and place != wanted.location:
        yield f"The vault {name} is in {place} and cannot move, and location in stack_vault is {wanted.location}."
    tenant = str(properties.get("tenantId", "")).lower()
    if tenant and home and tenant != home.lower():
        yield (
            f"The vault {name} trusts the tenant {tenant}, and its subscription belongs to {home}: nobody of "
            "that one can read it."
        )


def _others(wanted: Wanted, seen: Seen) -> Iterator[str]:
    foreign = wanted.workspace.startswith("/")
    if foreign and seen.workspace is None:
        yield f"The workspace {wanted.workspace} is not there: correct `workspace` in stack_vault."
    elif not foreign and seen.workspace is not None and owner(seen.workspace) != wanted.stack:
        yield (
            f"The workspace {wanted.workspace} is there and not marked as {wanted.stack}'s: to use it as it is, give "
            f"its id in `workspace` of stack_vault, {workspace_path(wanted)}."
        )
    if seen.identity is not None and owner(seen.identity) != wanted.stack:
        yield (
            f"The identity {wanted.identity} is there and not marked as {wanted.stack}'s, so others may have it: take "
            'another name in `identity` of stack_vault, or give its principal id in `readers` and `identity: ""`, or '
            f"run 'az tag update --resource-id {identity_path(wanted)} --operation Merge --tags "
            f"{OWNER}={wanted.stack}'."
        )
    named = any(each.get("name") == SETTING for each in seen.settings)
    if len(seen.settings) >= MOST_SETTINGS and not named and not audited(wanted, seen):
        yield (
            f"The vault {wanted.name} has {len(seen.settings)} diagnostic settings, none of which sends AuditEvent to "
            f"the workspace, and Azure allows {MOST_SETTINGS}: remove one, or add the workspace to one."
        )
    for path, machine in seen.machines.items():
        if machine is None:
            yield f"The machine {path} is not there: correct `machines` in stack_vault."
        elif CONNECTED.fullmatch(path) and not (machine.get("identity") or {}).get("principalId"):
            yield f"The machine {path} has no identity: connect it to Azure Arc anew ('azcmagent connect')."
    yield from _named(wanted, seen)
    for namespace in seen.unregistered:
        yield (
            f"The subscription is not registered for {namespace}: run 'az provider register --wait --subscription "
            f"{wanted.subscription} --namespace {namespace}'."
        )


def _named(wanted: Wanted, seen: Seen) -> Iterator[str]:
    """What the vault is to name, and somebody else makes."""
    if wanted.action_group and seen.actions is None:
        yield f"The action group {wanted.action_group} is not there: correct `action_group` in stack_vault."
    for path, subnet in seen.subnets.items():
        if subnet is None:
            yield f"The subnet {path} is not there: correct `subnets` in stack_vault."
            continue
        told = [str(each.get("service", "")) for each in subnet.get("properties", {}).get("serviceEndpoints") or []]
        if ENDPOINT.lower() not in (each.lower() for each in told):
            # The command replaces the list.
            services = " ".join([*(each for each in told if SERVICE.fullmatch(each)), ENDPOINT])
            yield (
                f"The subnet {path} has no service endpoint {ENDPOINT}, so the vault would let nobody in from there: "
                f"run 'az network vnet subnet update --ids {path} --service-endpoints {services}'."
            )


def _rights(wanted: Wanted, seen: Seen) -> Iterator[str]:
    if wanted.identity_writes:
        return
    for role, who, label in principals(wanted, seen):
        if role == WRITER and who.id in seen.managed:
            yield (
                f"{label} in `writers` is a managed identity, which every process of its machine can use: give the "
                "right to a person or an application with a certificate, or set identity_writes: true in stack_vault."
            )


def of_azure(error: Refused, wanted: Wanted) -> SourceError:
    """The error that an answer means, whichever request it was to."""
    answer, claims = error.found, error.claims
    if answer.status == 401:
        ours = str(claims.get("tid", "")) or "another"
        theirs = TENANT.search(answer.message)
        if answer.code == "InvalidAuthenticationTokenTenant":
            told = theirs[1] if theirs else "TENANT"
            return SourceError(
                f"The subscription {_subscription(error.path, wanted)} belongs to another tenant than this identity's, "
                f"which is {ours}: run 'az login --tenant {told}', or set tenant_id in `credential` of stack_vault."
            )
        return SourceError("Azure does not accept this identity's token: see that this machine's clock is right.")
    if answer.code == "RequestDisallowedByPolicy":
        return SourceError(
            f"A policy of Azure's forbids to {error.method} {error.path}, whoever asks: the subscription's activity "
            "log names it, and whoever governs the subscription can make an exception."
        )
    if answer.code == "ScopeLocked":
        return SourceError(
            f"A lock forbids to {error.method} {error.path}, whoever asks: 'az lock list --resource-group "
            f"{wanted.resource_group}' tells it, and whoever set it can remove it."
        )
    if answer.status == 403:
        return SourceError(_right(error, wanted))
    if answer.code == "SubscriptionNotFound":
        return SourceError(no_subscription(wanted, _subscription(error.path, wanted)))
    if answer.code in ("MissingSubscriptionRegistration", "SubscriptionNotRegistered"):
        namespace = NAMESPACE.search(answer.message)
        about = namespace[1] if namespace else _provider(error.path)[0]
        return SourceError(
            f"The subscription is not registered for {about}: run 'az provider register --wait --subscription "
            f"{wanted.subscription} --namespace {about}'."
        )
    if answer.code in ("VaultAlreadyExists", "ConflictError") and error.path.lower() == vault_path(wanted).lower():
        return SourceError(
            f"The name {wanted.name} is taken, by somebody else's vault or a deleted one: choose another in `url` of "
            "stack_secrets_keyvault."
        )
    if answer.code in ("PrincipalNotFound", "UnmatchedPrincipalType"):
        return SourceError(
            f"Entra ID knows no {_holder(error.path, wanted)}: run again if it is new, else correct it in `readers` "
            "and `writers` of stack_vault."
        )
    code = answer.code if re.fullmatch(r"\w{1,60}", answer.code) else "no code"
    return SourceError(
        f"Azure answers {answer.status} ({code}) to {error.method} {error.path}: see what stack_vault says of it."
    )


def _holder(path: str, wanted: Wanted) -> str:
    """Type and id of who was to have the right at a path."""
    name = path.rpartition("/")[2]
    for role, who, label in principals(wanted, Seen()):
        if assignment_name(vault_path(wanted), who.id, role) == name:
            return label
    return "such principal"


def _subscription(path: str, wanted: Wanted) -> str:
    """The id of the subscription that a path lies in."""
    return next(iter(re.findall(r"^/subscriptions/([0-9a-f-]{36})", path, re.IGNORECASE)), wanted.subscription)


def no_subscription(wanted: Wanted, which: str = "") -> str:
    """`which` is the one that was asked, where it may be another than the vault's."""
    asked = which or wanted.subscription
    what = "`subscription`" if asked.lower() == wanted.subscription else "the ids"
    return (
        f"There is no subscription {asked} that this identity can see: correct {what} in stack_vault, or log in as "
        "somebody who can ('az login', 'az account list')."
    )


def _provider(path: str) -> tuple[str, str]:
    """(namespace, type) of what a path ends in."""
    _, there, last = path.rpartition("/providers/")
    parts = last.split("/")
    return (parts[0], "/".join(parts[1::2])) if there else ("Microsoft.Resources", "/".join(parts[1::2]))


def writing(path: str) -> str:
    """The action that puts something at a path."""
    return "/".join([*_provider(path), "write"])


def _right(error: Refused, wanted: Wanted) -> str:
    """The right that an answer tells to be lacking."""
    answer = error.found
    namespace, kind = _provider(error.path)
    verb = {"GET": "read", "POST": "read"}.get(error.method, "write")
    told, where, linked = (each.search(answer.message) for each in (ACTION, SCOPE, LINKED))
    action = told[1] if told else f"{namespace}/{kind}/{verb}"
    scope = where[1] if where else error.path
    if linked:  # what is asked for may be done, but not with what it names
        action, scope = linked[1], linked[2]
    return lacks(action, scope, error.claims, wanted)


def lacks(action: str, scope: str, claims: Mapping[str, Any], wanted: Wanted) -> str:
    """Which right is lacking on which scope, and the command that grants it."""
    role = "Reader" if action.endswith("/read") else ROLES.get(action.partition("/")[0].lower(), "Contributor")
    if action.endswith("/assign/action"):
        role = "Managed Identity Operator"
    who = str(claims.get("oid") or "OBJECT-ID")
    type_ = "User" if claims.get("idtyp") == "user" or "upn" in claims else "ServicePrincipal"
    return (
        f'The identity {who} lacks {action} on {scope}: run \'az role assignment create --role "{role}" '
        f'--assignee-object-id {who} --assignee-principal-type {type_} --scope "{_grantable(scope, wanted)}"\', and '
        "allow a few minutes."
    )


def _grantable(scope: str, wanted: Wanted) -> str:
    """Where to grant a right: on what is there, so not on what is to be made."""
    inside = scope.lower().startswith(in_group(wanted).lower() + "/")
    return in_group(wanted) if inside else scope
