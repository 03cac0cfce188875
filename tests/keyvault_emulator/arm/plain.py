"""Resource groups, workspaces, managed identities, machines, and what others made."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ..access import TENANT, Identity, guid
from ..vault import Body
from .errors import ArmError, bad, no_group, no_linked_right
from .ids import Place, parse
from .kinds import Answer, Call, Kind, Resource, now, under_way

if TYPE_CHECKING:
    from ..world import World

ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


class Group(Kind):
    """Resource groups."""

    def found(self, world: World, place: Place) -> Resource:
        """As above, with the error that groups have."""
        if place.key not in world.resources.kept:
            raise no_group(place.name)
        return world.resources.kept[place.key]

    def list(self, world: World, place: Place) -> list[Body]:
        """All of a subscription."""
        start = f"{place.scope.lower()}/resourcegroups/"
        return [
            self.shown(each)
            for key, each in sorted(world.resources.kept.items())
            if key.startswith(start) and "/" not in key.removeprefix(start)
        ]

    def check(self, call: Call) -> None:
        """A group must have a location."""
        if not call.body.get("location"):
            raise bad("The location property is required for this definition.", "LocationRequired")

    def fill(self, call: Call) -> None:
        """It is done at once."""
        call.body["properties"] = {"provisioningState": "Succeeded"}

    def delete(self, world: World, place: Place) -> Answer:
        """A group goes with all that is in it; vaults are deleted softly."""
        self.found(world, place)
        for vault in list(world.vaults.values()):
            if f"{place.key}/" in vault.resource():
                world.delete_vault(vault.name)
        for key in [each for each in world.resources.kept if f"{each}/".startswith(f"{place.key}/")]:
            del world.resources.kept[key]
        return Answer(None, 202, under_way(world, place) if world.polls else {})


class Workspace(Kind):
    """Log Analytics workspaces."""

    slow = True

    def check(self, call: Call) -> None:
        """The retention has bounds."""
        days = (call.body.get("properties") or {}).get("retentionInDays", 30)
        if days is not None and not (30 <= days <= 730 or days in (7, -1)):
            raise bad(f"'RetentionInDays' property doesn't match the SKU limits: {days}", "InvalidParameter")

    def fill(self, call: Call) -> None:
        """The SKU comes back in lower case."""
        before: Body = call.old.get("properties") or {}
        told: Body = call.body.get("properties") or {}
        sku: Body = told.get("sku") or {"name": "pergb2018"}
        call.body["properties"] = {
            "customerId": before.get("customerId") or guid(f"customer/{call.place.key}"),
            "retentionInDays": told.get("retentionInDays") or 30,
            "sku": sku | {"name": sku["name"].lower(), "lastSkuUpdate": before.get("modifiedDate") or now()},
            "features": {
                "legacy": 0,
                "searchVersion": 1,
                "enableLogAccessUsingOnlyResourcePermissions": True,
            }
            | (told.get("features") or {}),
            "workspaceCapping": {
                "dailyQuotaGb": -1.0,
                "quotaNextResetTime": now(),
                "dataIngestionStatus": "RespectQuota",
            }
            | (told.get("workspaceCapping") or {}),
            "publicNetworkAccessForIngestion": told.get("publicNetworkAccessForIngestion") or "Enabled",
            "publicNetworkAccessForQuery": told.get("publicNetworkAccessForQuery") or "Enabled",
            "createdDate": before.get("createdDate") or now(),
            "modifiedDate": now(),
        }
        call.body["etag"] = f'"{guid(now())}"'

    def shown(self, kept: Resource, asked: bool = True) -> Body:
        """It is being made for a while."""
        body = super().shown(kept, asked)
        body["properties"]["provisioningState"] = kept.state
        return body


class UserAssigned(Kind):
    """User-assigned managed identities, which the identity endpoint then knows."""

    def fill(self, call: Call) -> None:
        """The ids follow from the resource's, so that they are the same in every run."""
        known: Body = call.body.get("properties") or {}
        key = call.place.key
        ids = guid(f"client/{key}"), guid(f"object/{key}")
        call.world.identities[key] = Identity(key, *ids, TENANT, False, resource=key)
        call.body["properties"] = {
            "isolationScope": known.get("isolationScope") or "None",
            "tenantId": TENANT,
            "clientId": ids[0],
            "principalId": ids[1],
        }

    def shown(self, kept: Resource, asked: bool = True) -> Body:
        """The group's segment comes back in lower case."""
        body = super().shown(kept, asked)
        return body | {"id": body["id"].replace("/resourceGroups/", "/resourcegroups/")}

    def delete(self, world: World, place: Place) -> Answer:
        """Its role assignments stay, as those of nobody."""
        world.identities.pop(place.key, None)
        return super().delete(world, place)


class Existing(Kind):
    """What somebody else made, such as action groups and Arc's machines."""

    verbs = ("GET",)


class Subnet(Existing):
    """Subnets, which have no location of their own."""

    tracked = False

    def shown(self, kept: Resource, asked: bool = True) -> Body:
        """As Azure tells it: with nothing of what all other resources have."""
        body = super().shown(kept, asked)
        return {key: body[key] for key in ("id", "name", "type", "properties")}


class Machine(Kind):
    """Virtual machines, which somebody else made; of one only the identity changes here."""

    verbs = ("GET", "PATCH")

    def patch(self, call: Call) -> Answer:
        """Merge identities into those that are attached; null takes one away."""
        world, place, caller = call.world, call.place, call.caller
        kept = self.found(world, place)
        told: Body = call.body.get("identity") or {}
        ids = told.get("userAssignedIdentities") or {}
        for each in ids:
            identity = parse(each)
            if not world.rights.may(caller.oid, ASSIGN, identity.key):
                raise no_linked_right(caller.client, caller.oid, ASSIGN, place.path, each)
            if identity.key not in world.resources.kept:
                raise bad(f"Resource '{each}' was not found.", "FailedIdentityOperation")
        kept.body["tags"] = call.body.get("tags", kept.body.get("tags"))
        if told:
            kept.body["identity"] = merged(world, kept.body.get("identity") or {}, told, place)
        headers = under_way(world, place) if world.polls else {}
        return Answer(self.shown(kept), 202 if headers else 200, headers)

    def shown(self, kept: Resource, asked: bool = True) -> Body:
        """With the ids of the identities that are attached, one segment of them in lower case."""
        body = super().shown(kept, asked)
        identity: Body = body.get("identity") or {}
        attached = identity.get("userAssignedIdentities") or {}
        if attached:
            identity["userAssignedIdentities"] = {
                each.replace("/resourceGroups/", "/resourcegroups/"): ids for each, ids in attached.items()
            }
        return body


def ids_of(world: World, identity: str) -> Body:
    """The ids of a user-assigned identity."""
    known = world.identities.get(identity.lower())
    return {"principalId": known.object_id, "clientId": known.client_id} if known else {}


def merged(world: World, old: Body, told: Body, place: Place) -> Body:
    """The identities of a machine after a PATCH; a type without user-assigned ones takes them all away."""
    attached: dict[str, Any] = dict(old.get("userAssignedIdentities") or {})
    for each, what in (told.get("userAssignedIdentities") or {}).items():
        attached = {key: value for key, value in attached.items() if key.lower() != each.lower()}
        if what is not None:
            attached[each] = ids_of(world, each)
    kind = told.get("type") or old.get("type") or "None"
    body: Body = {"type": kind}
    if "SystemAssigned" in kind:
        body |= {"principalId": old.get("principalId") or guid(f"object/{place.key}"), "tenantId": TENANT}
    if "UserAssigned" in kind:
        if not attached:
            raise ArmError(400, "InvalidParameter", "The identity ids must not be null or empty for 'UserAssigned'.")
        body["userAssignedIdentities"] = copy.deepcopy(attached)
    return body
