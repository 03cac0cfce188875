"""Vaults as Resource Manager knows them: each is the vault that the data plane serves."""

from __future__ import annotations

import copy
import dataclasses
import re
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

from ..access import TENANT
from ..vault import Body, Vault
from . import documented
from .errors import ArmError, bad, no_linked_right, no_resource
from .ids import Place, parse
from .kinds import Answer, Call, Kind, Resource, same_location, stamped

if TYPE_CHECKING:
    from ..world import World

SPELLING = "Microsoft.KeyVault/vaults"
NAME = re.compile(r"(?!.*--)[A-Za-z][0-9A-Za-z-]{1,22}[0-9A-Za-z]")
IN_USE = (
    "The vault name '{}' is already in use. Vault names are globally unique so it is possible that the name is already "
    "taken. If you are sure that the vault name was not taken then it is possible that a vault with the same name was "
    "recently deleted but not purged after being placed in a recoverable state. If the vault is in a recoverable state "
    "then the vault will need to be purged before reusing the name. For more information about VaultAlreadyExists, "
    "soft delete and purging a vault follow this link https://go.microsoft.com/fwlink/?linkid=2147740."
)
RECOVERABLE = (
    "A vault with the same name already exists in deleted state. You need to either recover or purge existing key "
    "vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft delete."
)
# What the vault holds itself; the other properties are kept as they were put.
OWN = ("tenantId", "enableRbacAuthorization", "enableSoftDelete", "softDeleteRetentionInDays", "enablePurgeProtection")
OWN_NAMES = {*OWN, "createMode", "vaultUri", "provisioningState", "hsmPoolResourceId", documented.EXTRA}


class Vaults(Kind):
    """Vaults that are there."""

    verbs = ("GET", "PUT", "PATCH", "DELETE")

    def found(self, world: World, place: Place) -> Resource:
        """A vault of this subscription and group.

        Raises:
            ArmError: 404.
        """
        vault = world.vaults.get(place.name.lower())
        if vault is None or not mine(vault, place):
            raise no_resource(SPELLING, place.name, place.group)
        return resource(world, vault)

    def list(self, world: World, place: Place) -> list[Body]:
        """All vaults of a group, or of a subscription."""
        inside = [each for each in world.vaults.values() if each.resource().startswith(f"{place.scope.lower()}/")]
        return [self.described(world, resource(world, each)) for each in sorted(inside, key=lambda each: each.name)]

    def put(self, call: Call) -> Answer:
        """Make, change or recover a vault."""
        world, place, body = call.world, call.place, call.body
        if not NAME.fullmatch(place.name):
            raise bad(
                f"The vault name '{place.name}' is invalid. A vault's name must be between 3-24 alphanumeric "
                "characters. The name must begin with a letter, end with a letter or digit, and not contain "
                "consecutive hyphens. Follow this link for more information: "
                "https://go.microsoft.com/fwlink/?linkid=2147742",
                "VaultNameNotValid",
            )
        there = world.vaults.get(place.name.lower())
        if there is not None and not mine(there, place):
            raise ArmError(409, "VaultAlreadyExists", IN_USE.format(place.name))
        told: Body = body.get("properties") or {}
        subnets(call, told)
        if there is None and (gone := world.deleted_vaults.get(place.name.lower())) is not None:
            there = recovered(world, gone[0], place, str(told.get("createMode", "default")))
        else:
            check(place, body, there)
        made = there is None
        vault = there or Vault(place.name, TENANT, subscription=place.subscription, group=place.group)
        if str(told.get("createMode", "default")).lower() != "recover":
            fill(vault, body, made)
        world.vaults[place.name.lower()] = vault
        kept = resource(world, vault)
        kept.id = kept.id if not made else place.path
        kept.body["systemData"] = stamped(kept.body.get("systemData") or {}, call.caller)
        kept.pending = world.polls if made else 0
        return Answer(self.described(world, kept, asked=False), 201 if made else 200)

    def patch(self, call: Call) -> Answer:
        """Change what is named."""
        before, body = self.get(call.world, call.place), call.body
        merged = before | body | {"properties": before["properties"] | (body.get("properties") or {})}
        return self.put(dataclasses.replace(call, body=merged))

    def delete(self, world: World, place: Place) -> Answer:
        """Delete a vault softly, with all that hangs on it."""
        if place.name.lower() not in world.vaults or not mine(world.vaults[place.name.lower()], place):
            return Answer(None, 204)
        world.delete_vault(place.name)
        return Answer(None, 200)

    def get(self, world: World, place: Place) -> Body:
        """A vault, as it is now."""
        return self.described(world, self.found(world, place))

    def described(self, world: World, kept: Resource, asked: bool = True) -> Body:
        """A vault as it is answered."""
        if asked and kept.pending:
            kept.pending -= 1
        vault = world.vaults[kept.id.rpartition("/")[2].lower()]
        properties = copy.deepcopy(vault.settings) | {
            "tenantId": vault.tenant,
            "enableRbacAuthorization": vault.model == "rbac",
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": vault.recoverable_days,
            "vaultUri": f"https://{vault.name.lower()}.vault.azure.net/",
            "provisioningState": "RegisteringDns" if kept.pending else "Succeeded",
            documented.EXTRA: {"of": vault.name},
        }
        properties |= {"enablePurgeProtection": True} if vault.purge_protection else {}
        return {
            "id": kept.id,
            "name": vault.name,
            "type": SPELLING,
            "location": vault.location,
            "tags": dict(vault.tags),
            "systemData": kept.body.get("systemData") or {},
            "properties": properties,
        }


def mine(vault: Vault, place: Place) -> bool:
    """Whether a vault is the one of a place, and not another of its name."""
    return vault.resource().lower() == place.key


def resource(world: World, vault: Vault) -> Resource:
    """What Resource Manager keeps of a vault beside the vault."""
    group = f"/subscriptions/{vault.subscription}/resourceGroups/{vault.group}"
    fresh = Resource(f"{group}/providers/{SPELLING}/{vault.name}", {"systemData": {}})
    return world.resources.kept.setdefault(vault.resource().lower(), fresh)


def check(place: Place, body: Body, there: Vault | None) -> None:
    """Refuse what a vault cannot be.

    Raises:
        ArmError: 400, or 409 for another location.
    """
    told: Body = body.get("properties") or {}
    sku: Body = told.get("sku") or {}
    if not body.get("location"):
        raise bad("The location property is required for this definition.", "LocationRequired")
    if there and not same_location(there.location, body["location"]):
        raise ArmError(
            409,
            "InvalidResourceLocation",
            f"The resource '{place.name}' already exists in location '{there.location}' in resource group "
            f"'{place.group}'. A resource with the same name cannot be created in location '{body['location']}'. "
            "Please select a new resource name.",
        )
    if told.get("tenantId") != TENANT:
        raise bad(f"The tenant ID '{told.get('tenantId')}' is not that of the subscription.", "VaultTenantIdInvalid")
    if sku.get("family") != "A" or str(sku.get("name")).lower() not in ("standard", "premium"):
        raise bad("The parameter 'sku' is missing or invalid.")
    if told.get("enablePurgeProtection") is False:
        raise bad(
            'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is '
            "an irreversible action."
        )
    if told.get("enableSoftDelete") is False:
        raise bad(
            'The property "enableSoftDelete" can be set to false only for creating new vault. Enabling the \'soft '
            "delete' functionality is irreversible."
        )
    days = told.get("softDeleteRetentionInDays")
    if days is not None and there and days != there.recoverable_days:
        raise bad('The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.')
    if days is not None and not 7 <= days <= 90:
        raise bad('The property "softDeleteRetentionInDays" must be between 7 and 90.')
    if told.get("enableRbacAuthorization") is False and told.get("accessPolicies") is None:
        raise bad("The parameter accessPolicies is not specified.")
    for rule in (told.get("networkAcls") or {}).get("ipRules") or []:
        try:
            ip_network(rule["value"], strict=False)
        except ValueError:
            raise bad(f"'{rule['value']}' is not a valid IPv4 address or CIDR.", "InvalidIPAddress") from None


JOIN = "Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action"


def subnets(call: Call, told: Body) -> None:
    """Refuse rules for subnets that the caller may not use, or that a vault could not tell from the internet.

    Raises:
        ArmError: 403, 404 or 400.
    """
    world, caller = call.world, call.caller
    for rule in (told.get("networkAcls") or {}).get("virtualNetworkRules") or []:
        subnet = parse(rule["id"])
        if not world.rights.may(caller.oid, JOIN, subnet.key):
            raise no_linked_right(caller.client, caller.oid, JOIN, call.place.path, rule["id"])
        if subnet.key not in world.resources.kept:
            raise no_resource("Microsoft.Network/virtualNetworks/subnets", subnet.name, subnet.group)
        services = world.resources.kept[subnet.key].body["properties"].get("serviceEndpoints") or []
        lacking = "Microsoft.KeyVault" not in [each["service"] for each in services]
        if lacking and not rule.get("ignoreMissingVnetServiceEndpoint"):
            raise bad(
                f"Subnets {subnet.name} of virtual network {subnet.path.rpartition('/subnets/')[0]} do not have "
                "ServiceEndpoints for Microsoft.KeyVault resources configured. Add Microsoft.KeyVault to subnet's "
                "ServiceEndpoints collection before trying to ACL Microsoft.KeyVault resources to these subnets.",
                "SubnetsHaveNoServiceEndpointsConfigured",
            )


def fill(vault: Vault, body: Body, made: bool) -> None:
    """Let a vault be what a body says; since 2026-02-01 that is RBAC unless it says otherwise."""
    told: Body = body["properties"]
    vault.location = body["location"].replace(" ", "").lower()
    vault.tags = dict(body.get("tags") or {})
    vault.tenant = told["tenantId"]
    vault.model = "policy" if told.get("enableRbacAuthorization") is False else "rbac"
    vault.purge_protection = vault.purge_protection or bool(told.get("enablePurgeProtection"))
    if made:
        vault.recoverable_days = told.get("softDeleteRetentionInDays") or 90
    others = {key: copy.deepcopy(value) for key, value in told.items() if key not in OWN_NAMES}
    defaults: Body = {
        "accessPolicies": [],
        "enabledForDeployment": False,
        "publicNetworkAccess": "Enabled",
    }
    vault.settings = defaults | others | {"networkAcls": rules(told.get("networkAcls"))}


def rules(told: Body | None) -> Body | None:
    """Network rules as Azure writes them: nothing for Allow, a length behind an address, ids in lower case."""
    if not told or (
        str(told.get("defaultAction", "Allow")).lower() == "allow"
        and not told.get("ipRules")
        and not told.get("virtualNetworkRules")
    ):
        return None
    return {
        "bypass": told.get("bypass") or "AzureServices",
        "defaultAction": told.get("defaultAction") or "Allow",
        "ipRules": [{"value": str(ip_network(each["value"], strict=False))} for each in told.get("ipRules") or []],
        "virtualNetworkRules": [
            {
                "id": each["id"].lower(),
                "ignoreMissingVnetServiceEndpoint": bool(each.get("ignoreMissingVnetServiceEndpoint")),
            }
            for each in told.get("virtualNetworkRules") or []
        ],
    }


def recovered(world: World, gone: Vault, place: Place, mode: str) -> Vault:
    """A vault that was deleted, put back as it was, without its role assignments.

    Raises:
        ArmError: 409 where that was not asked for, or it is somebody else's.
    """
    if gone.subscription != place.subscription:
        raise ArmError(409, "VaultAlreadyExists", IN_USE.format(place.name))
    if mode.lower() != "recover" or gone.group.lower() != place.group.lower():
        raise ArmError(409, "ConflictError", RECOVERABLE)
    del world.deleted_vaults[place.name.lower()]
    return gone


def bury(world: World, name: str) -> None:
    """Delete a vault softly: its role assignments, audit and event subscriptions go for good."""
    vault = world.vaults.pop(name.lower())
    key = vault.resource().lower()
    world.deleted_vaults[name.lower()] = (vault, time.time() + world.clock)
    for each in [each for each in world.resources.kept if f"{each}/".startswith(f"{key}/")]:
        del world.resources.kept[each]
    held = world.rights.assignments
    held[:] = [each for each in held if not f"{each.scope}/".startswith(f"{key}/")]


def scope_exists(world: World, scope: str) -> bool:
    """Whether something can be hung on a scope: a subscription, a group, a vault or another resource."""
    place = parse(scope)
    if not place.group:
        return True
    vault = world.vaults.get(place.name.lower()) if place.kind == SPELLING.lower() else None
    return place.key in world.resources.kept or (vault is not None and mine(vault, place))
