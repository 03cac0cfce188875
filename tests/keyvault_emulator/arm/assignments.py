"""Role assignments: each is a right on the vaults' data plane and in Resource Manager."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ..access import TENANT
from ..roles import ASSIGNING, Assignment, within
from ..vault import SUBSCRIPTION, Body
from . import documented
from .errors import ArmError, bad, no_resource, no_right
from .ids import Place
from .kinds import Answer, Call, Caller, Kind, now
from .vaults import scope_exists

if TYPE_CHECKING:
    from ..world import World

SPELLING = "Microsoft.Authorization/roleAssignments"
DEFINITIONS = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
TYPES = ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")


class Assignments(Kind):
    """Who has which role where."""

    def get(self, world: World, place: Place) -> Body:
        """One, by its name and scope.

        Raises:
            ArmError: 404.
        """
        return shown(find(world, place))

    def list(self, world: World, place: Place, condition: str = "") -> list[Body]:
        """Those at a scope, above it and below it; `condition` ($filter) leaves out some.

        Raises:
            ArmError: a condition that is not documented.
        """
        here = place.scope.lower()
        near = [each for each in world.rights.assignments if each.covers(here) or within(each.scope, here)]
        match condition.replace(" ", ""):
            case "":
                pass
            case "atScope()":
                near = [each for each in near if each.covers(here)]
            case asked if asked.startswith(("principalId eq'", "principalIdeq'", "assignedTo('")) and "'" in asked:
                principal = asked.partition("'")[2].partition("'")[0]
                near = [each for each in near if each.principal == principal.lower()]
            case asked:
                raise bad(f"The filter '{asked}' is not supported.", "UnsupportedFilter")
        return [shown(each) for each in near]

    def put(self, call: Call) -> Answer:
        """Assign a role.

        Raises:
            ArmError: 400, 403, 404 or 409.
        """
        world, place, caller = call.world, call.place, call.caller
        told: Body = call.body.get("properties") or {}
        role = str(told.get("roleDefinitionId", "")).rpartition("/")[2].lower()
        principal = str(told.get("principalId", "")).lower()
        kind = told.get("principalType")
        check(world, place, role, principal, kind)
        if not world.rights.may_assign(caller.oid, role, place.scope):
            raise no_right(caller.client, caller.oid, ASSIGNING[0], place.path)
        scope, name = place.scope.lower(), place.name.lower()
        for each in world.rights.assignments:
            same = (each.scope, each.principal, each.role) == (scope, principal, role)
            if each.name == name and each.scope == scope:
                if not same:
                    raise bad(
                        "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
                        "RoleAssignmentUpdateNotPermitted",
                    )
                return Answer(shown(each), 200)
            if same:
                message = f"The role assignment already exists. The ID of the existing role assignment is {each.name}."
                raise ArmError(409, "RoleAssignmentExists", message.replace(each.name, each.name.replace("-", "")))
        more = {key: told[key] for key in ("description", "condition", "conditionVersion") if told.get(key)}
        more |= {"createdBy": caller.oid, "updatedBy": caller.oid, "createdOn": now()}
        made = Assignment(name, scope, principal, role, kind or "ServicePrincipal", more, world.late_rights)
        world.rights.assignments.append(made)
        return Answer(shown(made), 201)

    def delete(self, world: World, place: Place) -> Answer:
        """Take a role from somebody."""
        try:
            gone = find(world, place)
        except ArmError:
            return Answer(None, 204)
        world.rights.assignments.remove(gone)
        return Answer(shown(gone), 200)


def find(world: World, place: Place) -> Assignment:
    """The assignment of a place.

    Raises:
        ArmError: 404.
    """
    for each in world.rights.assignments:
        if each.name == place.name.lower() and each.scope == place.scope.lower():
            return each
    raise ArmError(404, "RoleAssignmentNotFound", f"The role assignment '{place.name}' is not found.")


def check(world: World, place: Place, role: str, principal: str, kind: str | None) -> None:
    """Refuse an assignment that makes no sense.

    Raises:
        ArmError: 400 or 404.
    """
    for text, what in ((place.name, "InvalidRoleAssignmentId"), (principal, "InvalidPrincipalId")):
        try:
            uuid.UUID(text)
        except ValueError:
            raise bad(f"The ID '{text}' is not valid. It must be a GUID.", what) from None
    if not scope_exists(world, place.scope):
        name = place.scope.rpartition("/")[2]
        raise no_resource("Microsoft.KeyVault/vaults", name, place.group)
    if world.rights.role(role) is None:
        raise bad(f"The specified role definition with ID '{role}' does not exist.", "RoleDefinitionDoesNotExist")
    if kind is not None and kind not in TYPES:
        raise bad(f"The principal type '{kind}' is not valid.", "InvalidPrincipalType")
    known = next((each for each in world.identities.values() if each.object_id == principal), None)
    if kind is None and (known is None or known.resource):
        raise bad(
            f"Principal {principal.replace('-', '')} does not exist in the directory {TENANT}. Check that you have the "
            "correct principal ID. If you are creating this principal and then immediately assigning a role, this "
            "error might be related to a replication delay. In this case, set the role assignment principalType "
            "property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
            "PrincipalNotFound",
        )
    if kind is not None and known is not None and known.resource and kind != "ServicePrincipal":
        raise bad(
            f"The PrincipalId '{principal.replace('-', '')}' has type 'ServicePrincipal' , which is different from "
            f"specified PrinciaplType '{kind}'.",
            "UnmatchedPrincipalType",
        )


def shown(each: Assignment) -> Body:
    """An assignment as it is answered; the scope of a vault comes back in lower case."""
    return {
        "id": f"{each.scope}/providers/{SPELLING}/{each.name}",
        "name": each.name,
        "type": SPELLING,
        "properties": {
            "roleDefinitionId": DEFINITIONS + each.role,
            "principalId": each.principal,
            "principalType": each.principal_type,
            "scope": each.scope,
            "condition": None,
            "conditionVersion": None,
            "createdOn": each.made,
            "updatedOn": each.made,
            "delegatedManagedIdentityResourceId": None,
            "description": None,
            documented.EXTRA: {"of": each.name},
        }
        | each.more,
    }


class Permissions(Kind):
    """What the caller may do at a scope."""

    verbs = ("GET",)

    def of(self, world: World, place: Place, caller: Caller) -> list[Body]:
        """All roles of the caller there."""
        return [dict(role.permission()) for role in world.rights.held(caller.oid, place.scope)]


class Definitions(Kind):
    """The roles that there are."""

    verbs = ("GET",)

    def get(self, world: World, place: Place) -> Body:
        """One, by its id.

        Raises:
            ArmError: 404.
        """
        role = world.rights.role(place.name.lower())
        if role is None:
            raise ArmError(404, "RoleDefinitionDoesNotExist", f"The role definition '{place.name}' does not exist.")
        return {
            "id": DEFINITIONS + place.name.lower(),
            "name": place.name.lower(),
            "type": "Microsoft.Authorization/roleDefinitions",
            "properties": {
                "roleName": role.name,
                "type": "CustomRole" if role.custom else "BuiltInRole",
                "description": role.name,
                "assignableScopes": ["/"],
                "permissions": [role.permission()],
            },
        }
