"""Vaults that were deleted, and the names that they and the others take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..vault import Body, Vault
from .errors import ArmError
from .ids import Place
from .kinds import Answer, Kind, under_way
from .vaults import IN_USE, NAME, SPELLING

if TYPE_CHECKING:
    from ..world import World

DELETED = "Microsoft.KeyVault/locations/deletedVaults"


class DeletedVaults(Kind):
    """Vaults that were deleted, and can be recovered."""

    verbs = ("GET", "POST")

    def get(self, world: World, place: Place) -> Body:
        """One of them, in its location.

        Raises:
            ArmError: 404.
        """
        gone = world.deleted_vaults.get(place.name.lower())
        if gone is None or gone[0].subscription != place.subscription or f"/{gone[0].location}/" not in place.key:
            message = f"The deleted vault '{place.name}' could not be found in subscription '{place.subscription}'."
            raise ArmError(404, "DeletedVaultNotFound", message)
        return epitaph(*gone)

    def list(self, world: World, place: Place) -> list[Body]:
        """All of the subscription."""
        own = [each for each in world.deleted_vaults.values() if each[0].subscription == place.subscription]
        return [epitaph(*each) for each in own]

    def post(self, world: World, place: Place) -> Answer:
        """Purge one.

        Raises:
            ArmError: 404, or it is protected.
        """
        self.get(world, place)
        if world.deleted_vaults[place.name.lower()][0].purge_protection:
            raise ArmError(405, "MethodNotAllowed", "Operation 'DeletedVaultPurge' is not allowed.")
        del world.deleted_vaults[place.name.lower()]
        return Answer(None, 202, under_way(world, place))


def epitaph(vault: Vault, since: float) -> Body:
    """What is told of a deleted vault."""

    def date(at: float) -> str:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    base = f"/subscriptions/{vault.subscription}"
    return {
        "id": f"{base}/providers/Microsoft.KeyVault/locations/{vault.location}/deletedVaults/{vault.name}",
        "name": vault.name,
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": f"{base}/resourceGroups/{vault.group}/providers/{SPELLING}/{vault.name}",
            "location": vault.location,
            "deletionDate": date(since),
            "scheduledPurgeDate": date(since + vault.recoverable_days * 86_400),
            "tags": dict(vault.tags),
            "purgeProtectionEnabled": True if vault.purge_protection else None,
        },
    }


def name_available(world: World, body: Any) -> Body:
    """Whether a vault may have a name, which all tenants share."""
    name = str((body or {}).get("name", "")) if isinstance(body, dict) else ""
    if not NAME.fullmatch(name):
        return {"nameAvailable": False, "reason": "AccountNameInvalid", "message": f"The name '{name}' is invalid."}
    if name.lower() in world.vaults or name.lower() in world.deleted_vaults:
        return {"nameAvailable": False, "reason": "AlreadyExists", "message": IN_USE.format(name)}
    return {"nameAvailable": True}
