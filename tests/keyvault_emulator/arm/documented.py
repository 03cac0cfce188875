"""What Microsoft documents of each type: the API versions that are served, and the keys of a body.

Sources: Azure/azure-rest-api-specs, specification/{keyvault,authorization,msi,operationalinsights,monitor,eventgrid,
network,resources}/resource-manager, and the models of the azure-mgmt clients, with which a test compares these tables.
"""

from __future__ import annotations

from typing import Any

from .errors import bad
from .ids import GROUPS

# The control plane of vaults older than this retires on 2027-02-27.
VERSIONS: dict[str, tuple[str, ...]] = {
    "microsoft.keyvault": ("2026-02-01", "2026-05-15"),
    "microsoft.operationalinsights": ("2025-07-01",),
    "microsoft.managedidentity": ("2024-11-30",),
    "microsoft.eventgrid": ("2025-02-15",),
    "microsoft.authorization": ("2022-04-01",),
    "microsoft.insights/diagnosticsettings": ("2021-05-01-preview",),
    "microsoft.insights/actiongroups": ("2023-01-01",),
    "microsoft.network": ("2024-05-01",),
}

FREE: Any = None  # whatever the type, unexamined
TRACKED = {"id": str, "name": str, "type": str, "systemData": FREE, "location": str, "tags": FREE}
EXTENSION = {"id": str, "name": str, "type": str, "systemData": FREE}
RETENTION = {"enabled": bool, "days": int}

# A dict: an object with these keys; a list: an array of such; a type: a value of it.
KEYS: dict[str, dict[str, Any]] = {
    GROUPS: TRACKED | {"managedBy": str, "properties": {"provisioningState": str}},
    "microsoft.keyvault/vaults": TRACKED
    | {
        "properties": {
            "tenantId": str,
            "sku": {"family": str, "name": str},
            "accessPolicies": [
                {
                    "tenantId": str,
                    "objectId": str,
                    "applicationId": str,
                    "permissions": {"keys": [str], "secrets": [str], "certificates": [str], "storage": [str]},
                }
            ],
            "vaultUri": str,
            "hsmPoolResourceId": str,
            "enabledForDeployment": bool,
            "enabledForDiskEncryption": bool,
            "enabledForTemplateDeployment": bool,
            "enableSoftDelete": bool,
            "softDeleteRetentionInDays": int,
            "enableRbacAuthorization": bool,
            "createMode": str,
            "enablePurgeProtection": bool,
            "networkAcls": {
                "bypass": str,
                "defaultAction": str,
                "ipRules": [{"value": str}],
                "virtualNetworkRules": [{"id": str, "ignoreMissingVnetServiceEndpoint": bool}],
            },
            "provisioningState": str,
            "privateEndpointConnections": FREE,
            "publicNetworkAccess": str,
        }
    },
    "microsoft.operationalinsights/workspaces": TRACKED
    | {
        "etag": str,
        "identity": FREE,
        "properties": {
            "provisioningState": str,
            "customerId": str,
            "sku": {"name": str, "capacityReservationLevel": int, "lastSkuUpdate": str},
            "retentionInDays": int,
            "workspaceCapping": {"dailyQuotaGb": (int, float), "quotaNextResetTime": str, "dataIngestionStatus": str},
            "createdDate": str,
            "modifiedDate": str,
            "publicNetworkAccessForIngestion": str,
            "publicNetworkAccessForQuery": str,
            "forceCmkForQuery": bool,
            "privateLinkScopedResources": FREE,
            "features": FREE,
            "defaultDataCollectionRuleResourceId": str,
            "replication": FREE,
            "failover": FREE,
        },
    },
    "microsoft.managedidentity/userassignedidentities": TRACKED
    | {"properties": {"tenantId": str, "principalId": str, "clientId": str, "isolationScope": str}},
    "microsoft.authorization/roleassignments": {
        "id": str,
        "name": str,
        "type": str,
        "properties": {
            "scope": str,
            "roleDefinitionId": str,
            "principalId": str,
            "principalType": str,
            "description": str,
            "condition": str,
            "conditionVersion": str,
            "createdOn": str,
            "updatedOn": str,
            "createdBy": str,
            "updatedBy": str,
            "delegatedManagedIdentityResourceId": str,
        },
    },
    "microsoft.insights/diagnosticsettings": EXTENSION
    | {
        "properties": {
            "storageAccountId": str,
            "serviceBusRuleId": str,
            "eventHubAuthorizationRuleId": str,
            "eventHubName": str,
            "metrics": [{"timeGrain": str, "category": str, "enabled": bool, "retentionPolicy": RETENTION}],
            "logs": [{"category": str, "categoryGroup": str, "enabled": bool, "retentionPolicy": RETENTION}],
            "workspaceId": str,
            "marketplacePartnerId": str,
            "logAnalyticsDestinationType": str,
        },
    },
    "microsoft.eventgrid/eventsubscriptions": EXTENSION
    | {
        "properties": {
            "topic": str,
            "provisioningState": str,
            "destination": {
                "endpointType": str,
                "properties": {"severity": str, "description": str, "actionGroups": [str]},
            },
            "deliveryWithResourceIdentity": FREE,
            "filter": {
                "subjectBeginsWith": str,
                "subjectEndsWith": str,
                "includedEventTypes": [str],
                "isSubjectCaseSensitive": bool,
                "enableAdvancedFilteringOnArrays": bool,
                "advancedFilters": FREE,
            },
            "labels": [str],
            "expirationTimeUtc": str,
            "eventDeliverySchema": str,
            "retryPolicy": {"maxDeliveryAttempts": int, "eventTimeToLiveInMinutes": int},
            "deadLetterDestination": FREE,
            "deadLetterWithResourceIdentity": FREE,
        }
    },
    "microsoft.compute/virtualmachines": {
        "identity": {"type": str, "userAssignedIdentities": FREE, "principalId": str, "tenantId": str},
        "tags": FREE,
    },
}

# What Azure says beyond its documents, in every resource: whoever compares must not mind, and may send it back.
EXTRA = "undocumentedByAzure"


def examine(kind: str, body: Any) -> None:
    """Refuse a body with a key that is not documented, or a value of another type.

    Raises:
        ArmError: 400, naming the key.
    """
    if not isinstance(body, dict):
        raise bad("The request content was invalid and could not be deserialized.", "InvalidRequestContent")
    _examine(body, KEYS[kind], "")


def _examine(value: Any, allowed: Any, where: str) -> None:
    if allowed is FREE or value is None:
        return
    if isinstance(allowed, dict):
        _expect(isinstance(value, dict), value, where)
        for key, inner in value.items():
            # What Azure says of nothing may be said back to it.
            if key == EXTRA or inner is None:
                continue
            if key not in allowed:
                raise bad(f"Could not find member '{key}' on object at '{where or '/'}'.", "InvalidRequestContent")
            _examine(inner, allowed[key], f"{where}/{key}")
    elif isinstance(allowed, list):
        _expect(isinstance(value, list), value, where)
        for each in value:
            _examine(each, allowed[0], f"{where}[]")
    else:
        _expect(isinstance(value, allowed) and (allowed is bool or not isinstance(value, bool)), value, where)


def _expect(right: bool, value: Any, where: str) -> None:
    if not right:
        raise bad(f"Error converting value of type {type(value).__name__} at '{where}'.", "InvalidRequestContent")
