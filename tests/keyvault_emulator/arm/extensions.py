"""What hangs on a vault: diagnostic settings and event subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..vault import Body, VaultError
from .errors import ArmError, bad, no_linked_right, no_resource
from .ids import Place, parse
from .kinds import Answer, Call, Caller, Kind, Resource
from .vaults import scope_exists

if TYPE_CHECKING:
    from ..world import World

LOGS = {"AuditEvent": ("audit", "allLogs"), "AzurePolicyEvaluationDetails": ("allLogs",)}
GROUPS = ("audit", "allLogs")
METRICS = ("AllMetrics",)
SHARED_KEYS = "Microsoft.OperationalInsights/workspaces/sharedKeys/action"
LIMIT = 5
NEVER: Body = {"enabled": False, "days": 0}


class Extension(Kind):
    """A resource on another one, which has to be there."""

    tracked = False

    def list(self, world: World, place: Place) -> list[Body]:
        """All on one resource."""
        return [self.shown(each) for each in on(world, place.scope, self.spelling)]

    def check(self, call: Call) -> None:
        """It hangs on something."""
        if not scope_exists(call.world, call.place.scope):
            above = parse(call.place.scope)
            raise no_resource("Microsoft.KeyVault/vaults", above.name, above.group)


def on(world: World, scope: str, spelling: str) -> list[Resource]:
    """What hangs on one resource."""
    start = f"{scope.lower()}/providers/{spelling.lower()}/"
    return [each for key, each in sorted(world.resources.kept.items()) if key.startswith(start)]


class Diagnostics(Extension):
    """Diagnostic settings, whose errors have no `error` around them."""

    def check(self, call: Call) -> None:
        """The destination, the categories, and how many there are."""
        try:
            super().check(call)
            world, place = call.world, call.place
            told: Body = call.body.get("properties") or {}
            others = [each for each in on(world, place.scope, self.spelling) if each.id.lower() != place.key]
            destination(world, place, told, call.caller)
            categories(told)
            if len(others) >= LIMIT:
                raise ArmError(
                    409,
                    "Conflict",
                    f"The limit of {LIMIT} diagnostic settings was reached. To create new diagnostic setting, delete "
                    "an existing one.",
                )
            for other in others:
                sink(told, other)
        except VaultError as error:
            raise ArmError(error.status, error.code, error.message, bare=error.status != 403) from None

    def fill(self, call: Call) -> None:
        """Every category is told of, also those that are off, unless groups were named."""
        told: Body = call.body["properties"]
        logs = [spelled(each) for each in told.get("logs") or []]
        if not any(each["categoryGroup"] for each in logs):
            named = {each["category"] for each in logs}
            logs += [spelled({"category": each, "enabled": False}) for each in LOGS if each not in named]
        metrics = [
            {
                "timeGrain": None,
                "category": each["category"],
                "enabled": bool(each.get("enabled")),
                "retentionPolicy": NEVER,
            }
            for each in told.get("metrics") or [{"category": "AllMetrics"}]
        ]
        call.body["properties"] = {
            "storageAccountId": told.get("storageAccountId"),
            "serviceBusRuleId": None,
            "workspaceId": told.get("workspaceId"),
            "eventHubAuthorizationRuleId": told.get("eventHubAuthorizationRuleId"),
            "eventHubName": told.get("eventHubName"),
            "metrics": metrics,
            "logs": logs,
            "logAnalyticsDestinationType": told.get("logAnalyticsDestinationType"),
        }

    def put(self, call: Call) -> Answer:
        """A new one is answered with 200 too."""
        answer = super().put(call)
        answer.status = 200
        return answer

    def shown(self, kept: Resource, asked: bool = True) -> Body:
        """The ids come back in lower case, but for the setting's own name."""
        body = super().shown(kept, asked)
        scope, _, name = kept.id.rpartition("/")
        nothing = {"location": None, "kind": None, "tags": None, "identity": None}
        return body | nothing | {"id": f"{scope.lower()}/{name}"}


def destination(world: World, place: Place, told: Body, caller: Caller) -> None:
    """Refuse a setting that leads nowhere."""
    if not any(told.get(key) for key in ("workspaceId", "storageAccountId", "eventHubAuthorizationRuleId")):
        raise bad("At least one data sink needs to be specified.")
    if workspace := told.get("workspaceId"):
        if not world.rights.may(caller.oid, SHARED_KEYS, workspace):
            raise no_linked_right(caller.client, caller.oid, SHARED_KEYS, place.path, workspace)
        if workspace.lower() not in world.resources.kept:
            raise ArmError(404, "ResourceNotFound", f"The Resource '{workspace}' was not found.")


def categories(told: Body) -> None:
    """Refuse categories that a vault does not have."""
    for each in told.get("logs") or []:
        category, group = each.get("category"), each.get("categoryGroup")
        if (category is None) == (group is None):
            raise bad("Each log needs either a category or a category group.")
        if category not in (None, *LOGS):
            raise bad(f"Category '{category}' is not supported.")
        if group not in (None, *GROUPS):
            raise bad(f"Category group '{group}' is not supported.")
    for each in told.get("metrics") or []:
        if each.get("category") not in METRICS:
            raise bad(f"Metric category '{each.get('category')}' is not supported.")


def sink(told: Body, other: Resource) -> None:
    """Refuse a category that goes to the same workspace already."""
    theirs: Body = other.body["properties"]
    if str(told.get("workspaceId") or "").lower() != str(theirs.get("workspaceId") or "none").lower():
        return
    if both := sorted(covered(told.get("logs") or []) & covered(theirs.get("logs") or [])):
        raise ArmError(
            409,
            "Conflict",
            f"Data sink '{told['workspaceId']}' is already used in diagnostic setting '{other.id.rpartition('/')[2]}' "
            f"for category '{both[0]}'. Data sinks can't be reused in different settings on the same category for the "
            "same resource.",
        )


def covered(logs: list[Body]) -> set[str]:
    """The categories that are on."""
    on = [each for each in logs if each.get("enabled")]
    named = {each.get("category") for each in on} | {each.get("categoryGroup") for each in on}
    return {category for category, groups in LOGS.items() if category in named or named & set(groups)}


def spelled(log: Body) -> Body:
    """A log as it is answered."""
    return {
        "category": log.get("category"),
        "categoryGroup": log.get("categoryGroup"),
        "enabled": bool(log.get("enabled")),
        "retentionPolicy": NEVER,
    }


def audited(world: World, vault: str) -> bool:
    """Whether a vault, by its id, logs who reads it."""
    settings = on(world, vault, "Microsoft.Insights/diagnosticSettings")
    return any("AuditEvent" in covered(each.body["properties"]["logs"]) for each in settings)


class Events(Extension):
    """Event subscriptions."""

    slow = True

    def check(self, call: Call) -> None:
        """An alert needs the schema of CloudEvents, and action groups that are there."""
        super().check(call)
        told: Body = call.body.get("properties") or {}
        to: Body = told.get("destination") or {}
        if to.get("endpointType") not in ("MonitorAlert", "WebHook", "EventHub", "StorageQueue"):
            raise bad("The event subscription destination is missing or not supported.", "InvalidRequest")
        if to["endpointType"] != "MonitorAlert":
            return
        inner: Body = to.get("properties") or {}
        if told.get("eventDeliverySchema") != "CloudEventSchemaV1_0":
            raise bad("Monitor alert destinations need the delivery schema CloudEventSchemaV1_0.", "InvalidRequest")
        if inner.get("severity") not in ("Sev0", "Sev1", "Sev2", "Sev3", "Sev4"):
            raise bad("The severity of a monitor alert is one of Sev0 to Sev4.", "InvalidRequest")
        for each in inner.get("actionGroups") or []:
            if each.lower() not in call.world.resources.kept:
                raise bad(f"The action group '{each}' was not found.", "InvalidRequest")
        for each in (told.get("filter") or {}).get("includedEventTypes") or []:
            if not each.startswith("Microsoft.KeyVault."):
                raise bad(
                    f"The event type '{each}' is not one of the topic type Microsoft.KeyVault.vaults.", "InvalidRequest"
                )

    def fill(self, call: Call) -> None:
        """What was not said is told too."""
        told: Body = call.body["properties"]
        defaults: dict[str, Any] = {
            "labels": None,
            "retryPolicy": {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
            "deadLetterDestination": None,
        }
        told["topic"] = call.place.scope.replace("/providers/Microsoft.KeyVault/", "/providers/microsoft.keyvault/")
        told["filter"] = {"subjectBeginsWith": "", "subjectEndsWith": ""} | (told.get("filter") or {})
        call.body["properties"] = defaults | told

    def shown(self, kept: Resource, asked: bool = True) -> Body:
        """It is being made for a while."""
        body = super().shown(kept, asked)
        body["properties"]["provisioningState"] = kept.state
        return body
