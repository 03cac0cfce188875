"""Roles and who holds them where, for the vaults' secrets and for Resource Manager alike.

The built-in roles are those of https://learn.microsoft.com/azure/role-based-access-control/built-in-roles, as far as
what this emulator serves.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

RIGHTS = ("get", "list", "set", "delete", "recover", "purge", "backup", "restore")
# The data actions that each word stands for, below Microsoft.KeyVault/vaults/secrets/.
DATA_ACTIONS = {
    "get": ("getSecret/action",),
    "list": ("readMetadata/action",),
    "set": ("setSecret/action", "update/action"),
    "delete": ("delete",),
    "recover": ("recover/action",),
    "purge": ("purge/action",),
    "backup": ("backup/action",),
    "restore": ("restore/action",),
}


@dataclass(frozen=True)
class Role:
    """What a holder may do: `actions` of Resource Manager, with wildcards, but for `excepted`; `rights` on secrets.

    `assigns`: the roles, by id, that it may assign, where a condition of it says so; empty: any.
    """

    name: str
    actions: tuple[str, ...] = ()
    excepted: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()
    assigns: tuple[str, ...] = ()
    custom: bool = False

    def allows(self, action: str) -> bool:
        """Whether a holder may do an action of Resource Manager, such as Microsoft.KeyVault/vaults/read."""
        asked = action.lower()
        return any(fnmatchcase(asked, each.lower()) for each in self.actions) and not any(
            fnmatchcase(asked, each.lower()) for each in self.excepted
        )

    def permission(self) -> dict[str, list[str]]:
        """As Resource Manager lists it."""
        data = [f"Microsoft.KeyVault/vaults/secrets/{each}" for right in self.rights for each in DATA_ACTIONS[right]]
        return {
            "actions": list(self.actions),
            "notActions": list(self.excepted),
            "dataActions": data,
            "notDataActions": [],
        }


SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
VAULT_ADMINISTRATOR = "00482a5a-887f-4fb3-b363-3b7fe8e74483"
VAULT_READER = "21090545-7ca7-4776-b22c-e363652d74d2"
METADATA = (
    "Microsoft.Authorization/*/read",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.KeyVault/checkNameAvailability/read",
    "Microsoft.KeyVault/deletedVaults/read",
    "Microsoft.KeyVault/locations/*/read",
    "Microsoft.KeyVault/vaults/*/read",
)
ASSIGNING = ("Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete")
BUILT_IN = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": Role("Owner", ("*",)),
    "b24988ac-6180-42a0-ab88-20f7382dd24c": Role(
        "Contributor", ("*",), ("Microsoft.Authorization/*/delete", "Microsoft.Authorization/*/write")
    ),
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": Role("Reader", ("*/read",)),
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": Role("User Access Administrator", ("*/read", "Microsoft.Authorization/*")),
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": Role("Role Based Access Control Administrator", ("*/read", *ASSIGNING)),
    "f25e0fa2-a7c8-4377-a976-54943a77a395": Role(
        "Key Vault Contributor",
        (
            "Microsoft.Authorization/*/read",
            "Microsoft.KeyVault/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ),
        ("Microsoft.KeyVault/locations/deletedVaults/purge/action",),
    ),
    "8b54135c-b56d-4d72-a534-26097cfdc8d8": Role(
        "Key Vault Data Access Administrator",
        (*ASSIGNING, "Microsoft.Authorization/*/read", *METADATA, "Microsoft.Resources/subscriptions/read"),
        assigns=(SECRETS_USER, SECRETS_OFFICER, VAULT_ADMINISTRATOR, VAULT_READER),
    ),
    "92aaf0da-9dab-42b6-94a3-d43ce8d16293": Role(
        "Log Analytics Contributor",
        ("*/read", "Microsoft.Insights/diagnosticSettings/*", "Microsoft.OperationalInsights/*"),
    ),
    "749f88d5-cbae-40b8-bcfc-e573ddc772fa": Role(
        "Monitoring Contributor",
        (
            "*/read",
            "Microsoft.Insights/actionGroups/*",
            "Microsoft.Insights/diagnosticSettings/*",
            "Microsoft.OperationalInsights/workspaces/write",
            "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
        ),
    ),
    "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59": Role(
        "Managed Identity Contributor",
        (
            "Microsoft.ManagedIdentity/userAssignedIdentities/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/write",
            "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ),
    ),
    "f1a07417-d97a-45cb-824c-7a7467783830": Role(
        "Managed Identity Operator",
        (
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
            "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
        ),
    ),
    "9980e02c-c2be-4d73-94e8-173b1dc7cf3c": Role(
        "Virtual Machine Contributor",
        (
            "Microsoft.Authorization/*/read",
            "Microsoft.Compute/virtualMachines/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ),
    ),
    "1e241071-0855-49ea-94dc-649edcd759de": Role("EventGrid Contributor", ("Microsoft.EventGrid/*",)),
    SECRETS_USER: Role("Key Vault Secrets User", rights=("get", "list")),
    SECRETS_OFFICER: Role("Key Vault Secrets Officer", METADATA, rights=RIGHTS),
    VAULT_ADMINISTRATOR: Role("Key Vault Administrator", METADATA, rights=RIGHTS),
    VAULT_READER: Role("Key Vault Reader", METADATA, rights=("list",)),
}


def by_name(name: str) -> str:
    """The id of a built-in role."""
    for guid, role in BUILT_IN.items():
        if role.name == name:
            return guid
    raise ValueError(f"no such role: {name}")


@dataclass
class Assignment:
    """A role, by id, that a principal, by object id, has at `scope` (a resource's id in lower case) and below.

    `late`: how many calls of a vault it is yet to miss, before the vaults have heard of it.
    """

    name: str
    scope: str
    principal: str
    role: str
    principal_type: str = "ServicePrincipal"
    more: dict[str, Any] = field(default_factory=dict)
    late: int = 0
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    def covers(self, scope: str) -> bool:
        """Whether it counts at `scope`."""
        return within(scope, self.scope)


def within(scope: str, above: str) -> bool:
    """Whether a scope is another one, or lies below it."""
    return f"{scope.lower().rstrip('/')}/".startswith(f"{above.lower().rstrip('/')}/")


@dataclass
class Rights:
    """Who may do what where."""

    assignments: list[Assignment] = field(default_factory=list)
    custom: dict[str, Role] = field(default_factory=dict)

    def role(self, guid: str) -> Role | None:
        """The role of an id."""
        return BUILT_IN.get(guid) or self.custom.get(guid)

    def custom_role(self, rights: Iterable[str]) -> str:
        """The id of a role that is made of rights on secrets."""
        words = tuple(sorted(set(rights)))
        guid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://vault.azure.net/emulator/role/{','.join(words)}"))
        self.custom[guid] = Role(f"may {', '.join(words)}", rights=words, custom=True)
        return guid

    def held(self, principal: str, scope: str) -> list[Role]:
        """The roles that a principal has at `scope`, there or from above."""
        mine = (each for each in self.assignments if each.principal == principal and each.covers(scope))
        return [role for each in mine if (role := self.role(each.role))]

    def may(self, principal: str, action: str, scope: str) -> bool:
        """Whether a principal may do an action of Resource Manager at `scope`."""
        return any(role.allows(action) for role in self.held(principal, scope))

    def may_assign(self, principal: str, role: str, scope: str) -> bool:
        """Whether a principal may assign, or take, a certain role at `scope`."""
        able = [each for each in self.held(principal, scope) if each.allows(ASSIGNING[0])]
        return any(not each.assigns or role in each.assigns for each in able)

    def reads(self, principal: str, right: str, resource: str, policy: bool) -> bool:
        """Whether a principal has a right at a vault's or secret's id; `policy`: by access policies, so that no
        built-in role counts. A right that is late misses this call."""
        for each in self.assignments:
            role = self.role(each.role)
            if each.principal != principal or role is None or not each.covers(resource) or right not in role.rights:
                continue
            if policy and not role.custom:
                continue
            if each.late:
                each.late -= 1
                continue
            return True
        return False
