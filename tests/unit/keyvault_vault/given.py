"""A vault as the inventory describes it, and what Azure tells of one that is as described."""

from __future__ import annotations

from typing import Any

from ansible_collections.coffre.stack.plugins.module_utils.provision import resources, settings

SUBSCRIPTION = "00000000-0000-0000-0000-00000000000a"
TENANT = "00000000-0000-0000-0000-00000000000b"
PERSON = "00000000-0000-0000-0000-0000000000c1"
MADE = "00000000-0000-0000-0000-0000000000c2"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/coffre"
WORKSPACE = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/demo-audit"
MACHINE = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/one"
ARC = f"{GROUP}/providers/Microsoft.HybridCompute/machines/two"
SUBNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/Net/subnets/Hosts"
ACTIONS = f"{GROUP}/providers/Microsoft.Insights/actionGroups/On-Call"


def data(**more: Any) -> dict[str, Any]:
    """stack_vault with all that it must have."""
    return {"subscription": SUBSCRIPTION, "resource_group": "rg", "location": "westeurope", **more}


def wanted(**more: Any) -> settings.Wanted:
    given = data(writers=[{"principal": PERSON, "type": "User"}]) | more
    return settings.settings("demo", given, {"url": "https://coffre.vault.azure.net"})


def seen(want: settings.Wanted) -> resources.Seen:
    """What Azure has after a run: what was put, with its own ways of writing it."""
    found = resources.Seen(tenant=TENANT)
    for path in want.machines:
        found.machines[path] = {"identity": {"type": "SystemAssigned", "principalId": MADE[:-1] + "9"}}
    for path in want.subnets:
        found.subnets[path] = {"properties": {"serviceEndpoints": [{"service": "Microsoft.KeyVault"}]}}
    found.actions = {} if want.action_group else None
    for each in resources.resources(want, found):
        if each.changes:
            each.keep(answer(each))
    return found


def answer(each: resources.Resource) -> dict[str, Any]:
    """A resource as Azure tells it once it was put."""
    body = resources.merged(each.found or {}, each.ours)
    own: dict[str, Any] = {"id": each.path, "name": each.path.rpartition("/")[2], "systemData": {}, "etag": "1"}
    properties = body.get("properties", {})
    if each.kind == "identity":
        properties = {"principalId": MADE, "clientId": MADE}
    if each.kind == "assignment":
        properties = {**properties, "scope": VAULT.lower().replace("resourcegroups", "resourceGroups")}
    if each.kind == "workspace":
        properties = {**properties, "sku": {"name": "pergb2018"}, "customerId": MADE, "provisioningState": "Succeeded"}
    return {**body, **own, "properties": properties} if properties or each.kind == "identity" else {**body, **own}
