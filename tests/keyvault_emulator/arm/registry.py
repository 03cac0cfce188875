"""The types that are served."""

from __future__ import annotations

from .assignments import Assignments, Definitions, Permissions
from .deleted import DELETED, DeletedVaults
from .extensions import Diagnostics, Events
from .ids import GROUPS
from .kinds import Kind
from .plain import Existing, Group, Machine, Subnet, UserAssigned, Workspace
from .vaults import Vaults

KINDS: dict[str, Kind] = {
    each.spelling.lower(): each
    for each in (
        Vaults("Microsoft.KeyVault/vaults"),
        DeletedVaults(DELETED),
        DeletedVaults("Microsoft.KeyVault/deletedVaults"),
        Workspace("Microsoft.OperationalInsights/workspaces"),
        UserAssigned("Microsoft.ManagedIdentity/userAssignedIdentities"),
        Assignments("Microsoft.Authorization/roleAssignments"),
        Definitions("Microsoft.Authorization/roleDefinitions"),
        Permissions("Microsoft.Authorization/permissions"),
        Diagnostics("Microsoft.Insights/diagnosticSettings"),
        Existing("Microsoft.Insights/actionGroups"),
        Existing("Microsoft.HybridCompute/machines"),
        Subnet("Microsoft.Network/virtualNetworks/subnets"),
        Events("Microsoft.EventGrid/eventSubscriptions"),
        Machine("Microsoft.Compute/virtualMachines"),
    )
} | {GROUPS: Group("Microsoft.Resources/resourceGroups")}
NAMESPACES = {each.spelling.partition("/")[0].lower(): each.spelling.partition("/")[0] for each in KINDS.values()}
