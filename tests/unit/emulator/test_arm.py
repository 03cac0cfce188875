"""Resource Manager: what Microsoft documents of statuses, bodies and refusals, and that its world is the vaults'."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from tests.keyvault_emulator.access import TENANT, guid
from tests.keyvault_emulator.roles import SECRETS_OFFICER, SECRETS_USER
from tests.keyvault_emulator.server import Emulator
from tests.keyvault_emulator.vault import SUBSCRIPTION
from tests.keyvault_emulator.world import MACHINE

from .conftest import Connect

BASE = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{BASE}/resourceGroups/shop"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/shop-vault"
WORKSPACE = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/logs"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/hosts"
SETTING = f"{VAULT}/providers/Microsoft.Insights/diagnosticSettings/audit"
EVENT = f"{VAULT}/providers/Microsoft.EventGrid/eventSubscriptions/expiry"
ACTIONS = f"{GROUP}/providers/Microsoft.Insights/actionGroups/on-call"
NET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/Net/subnets/Hosts"
DELETED = f"{BASE}/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/shop-vault"
RIGHTS = f"{VAULT}/providers/Microsoft.Authorization/roleAssignments"
VERSIONS = {
    "microsoft.keyvault": "2026-02-01",
    "microsoft.operationalinsights": "2025-07-01",
    "microsoft.managedidentity": "2024-11-30",
    "microsoft.authorization": "2022-04-01",
    "microsoft.insights": "2021-05-01-preview",
    "microsoft.eventgrid": "2025-02-15",
    "microsoft.network": "2024-05-01",
}
PLACE = {"location": "West Europe"}
SKU = {"family": "A", "name": "standard"}
Body = dict[str, Any]


def vault(**properties: Any) -> Body:
    """The body of a vault."""
    return {**PLACE, "tags": {"owner": "shop"}, "properties": {"tenantId": TENANT, "sku": SKU, **properties}}


def right(principal: str, role: str = SECRETS_USER, kind: str | None = "ServicePrincipal") -> Body:
    """The body of a role assignment."""
    roles = f"{BASE}/providers/Microsoft.Authorization/roleDefinitions"
    properties = {"roleDefinitionId": f"{roles}/{role}", "principalId": principal}
    return {"properties": properties | ({"principalType": kind} if kind else {})}


def setting(workspace: str = WORKSPACE, **log: Any) -> Body:
    """The body of a diagnostic setting."""
    logs = [{"enabled": True, **(log or {"category": "AuditEvent"})}]
    return {"properties": {"workspaceId": workspace, "logs": logs}}


def alert(**more: Any) -> Body:
    """The body of an event subscription."""
    inner = {"severity": "Sev2", "description": "soon", "actionGroups": [ACTIONS]}
    properties = {
        "destination": {"endpointType": "MonitorAlert", "properties": inner},
        "filter": {"includedEventTypes": ["Microsoft.KeyVault.SecretNearExpiry"]},
        "eventDeliverySchema": "CloudEventSchemaV1_0",
    }
    return {"properties": properties | more}


Ask = Callable[..., tuple[int, Body]]


@pytest.fixture
def ask(emulator: Emulator) -> Iterator[Ask]:
    """Ask Resource Manager: (method, id, body, who), with the version that belongs to the id; (status, body)."""
    with requests.Session() as session:
        # Whatever the developer's shell trusts.
        session.trust_env = False
        session.verify = str(emulator.ca)

        def call(method: str, path: str, body: Any = None, who: str = "operator", **query: str) -> tuple[int, Body]:
            identity = emulator.world.identities[who]
            token = emulator.world.tokens.issue(identity, "https://management.azure.com")["access_token"]
            namespace = path.lower().rpartition("/providers/")[2].split("/")[0]
            asked = {"api-version": VERSIONS.get(namespace, "2024-11-01")} | query
            url = path if path.startswith("https:") else f"https://management.azure.com{path}"
            headers = {"Authorization": f"Bearer {token}"}
            answer = session.request(
                method, url, params=None if "?" in url else asked, json=body, headers=headers, timeout=30
            )
            call.headers = answer.headers  # type: ignore[attr-defined]
            return answer.status_code, answer.json() if answer.content else {}

        yield call


@pytest.fixture
def made(ask: Ask, emulator: Emulator) -> Ask:
    """A group with a workspace, an identity, an action group and a vault."""
    emulator.control.set(polls=0)
    for path, body in ((GROUP, PLACE), (WORKSPACE, PLACE), (IDENTITY, PLACE), (VAULT, vault())):
        assert ask("PUT", path, body)[0] == 201
    emulator.control.resource(ACTIONS, {"properties": {"groupShortName": "oncall"}})
    return ask


def code(answer: tuple[int, Body]) -> tuple[int, str]:
    """(status, code) of a refusal, with or without `error` around it."""
    status, body = answer
    return status, body.get("error", body)["code"]


RIGHT = f"{RIGHTS}/{uuid.UUID(int=1)}"
IN_ORDER: dict[str, tuple[Body, tuple[int, int]]] = {
    GROUP: (PLACE, (201, 200)),
    WORKSPACE: ({**PLACE, "properties": {"sku": {"name": "PerGB2018"}, "retentionInDays": 90}}, (201, 200)),
    IDENTITY: (PLACE, (201, 200)),
    VAULT: (vault(), (201, 200)),
    RIGHT: (right(guid("object/host")), (201, 200)),
    SETTING: (setting(), (200, 200)),
    EVENT: (alert(), (201, 200)),
}


@pytest.mark.parametrize("path", IN_ORDER)
def test_put_put_and_get(ask: Ask, emulator: Emulator, path: str) -> None:
    emulator.control.set(polls=0)
    emulator.control.resource(ACTIONS, {"properties": {"groupShortName": "oncall"}})
    for each, (body, statuses) in IN_ORDER.items():
        if each == path:
            assert ask("GET", path)[0] == 404
            assert (ask("PUT", path, body)[0], ask("PUT", path, body)[0]) == statuses
            break
        ask("PUT", each, body)
    status, read = ask("GET", path)
    assert (status, read["name"], read["id"].lower()) == (200, path.rpartition("/")[2], path.lower())


def test_an_absent_resource(made: Ask) -> None:
    assert code(made("GET", f"{VAULT}x")) == (404, "ResourceNotFound")
    assert code(made("GET", VAULT.replace("/shop/", "/other/"))) == (404, "ResourceGroupNotFound")
    assert code(made("GET", f"{RIGHTS}/{uuid.UUID(int=1)}")) == (404, "RoleAssignmentNotFound")


def test_azure_writes_things_its_own_way(made: Ask, emulator: Emulator) -> None:
    emulator.control.resource(NET, {"properties": {"serviceEndpoints": [{"service": "Microsoft.KeyVault"}]}})
    rules = {
        "defaultAction": "Deny",
        "bypass": "None",
        "ipRules": [{"value": "203.0.113.7"}, {"value": "198.51.100.0/24"}],
        "virtualNetworkRules": [{"id": NET}],
    }
    _, body = made("PUT", VAULT, vault(networkAcls=rules))
    told = body["properties"]["networkAcls"]
    assert [each["value"] for each in told["ipRules"]] == ["203.0.113.7/32", "198.51.100.0/24"]
    assert told["virtualNetworkRules"][0]["id"] == NET.lower()
    _, body = made("PUT", VAULT, vault(networkAcls={"defaultAction": "Allow", "bypass": "AzureServices"}))
    assert body["properties"]["networkAcls"] is None
    assert body["location"] == "westeurope" and "undocumentedByAzure" in body["properties"]
    assert made("GET", IDENTITY)[1]["id"].startswith(f"{BASE}/resourcegroups/")
    made("PUT", SETTING, setting())
    _, body = made("GET", SETTING)
    assert body["id"] == SETTING.lower()
    assert [(each["category"], each["enabled"]) for each in body["properties"]["logs"]] == [
        ("AuditEvent", True),
        ("AzurePolicyEvaluationDetails", False),
    ]


def test_a_subnet_is_let_in_where_the_vault_would_know_it(made: Ask, emulator: Emulator) -> None:
    rules = {"defaultAction": "Deny", "virtualNetworkRules": [{"id": NET}]}
    assert code(made("PUT", VAULT, vault(networkAcls=rules))) == (404, "ResourceNotFound")
    emulator.control.resource(NET, {"properties": {"serviceEndpoints": [{"service": "Microsoft.Storage"}]}})
    assert code(made("PUT", VAULT, vault(networkAcls=rules))) == (400, "SubnetsHaveNoServiceEndpointsConfigured")
    careless = {**rules, "virtualNetworkRules": [{"id": NET, "ignoreMissingVnetServiceEndpoint": True}]}
    assert made("PUT", VAULT, vault(networkAcls=careless))[0] == 200
    assert set(made("GET", NET)[1]) == {"id", "name", "type", "properties"}
    emulator.control.identity("deputy")
    emulator.control.assign("deputy", "Key Vault Contributor")
    assert code(made("PUT", VAULT, vault(networkAcls=careless), who="deputy")) == (403, "LinkedAuthorizationFailed")


NAME = f"{RIGHTS}/{uuid.UUID(int=7)}"
HOST = guid("object/host")
REFUSALS: dict[str, tuple[str, str, Any, tuple[int, str]]] = {
    "no version": ("GET", f"{VAULT}?", None, (400, "MissingApiVersionParameter")),
    "old version": ("GET", f"{VAULT}?api-version=2023-07-01", None, (400, "NoRegisteredProviderFound")),
    "another subscription": (
        "GET",
        VAULT.replace(SUBSCRIPTION, str(uuid.UUID(int=3))),
        None,
        (404, "SubscriptionNotFound"),
    ),
    "unknown key": ("PUT", VAULT, vault(colour="red"), (400, "InvalidRequestContent")),
    "wrong type": ("PUT", VAULT, vault(softDeleteRetentionInDays="90"), (400, "InvalidRequestContent")),
    "another region": ("PUT", VAULT, vault() | {"location": "northeurope"}, (409, "InvalidResourceLocation")),
    "another tenant": ("PUT", VAULT, vault(tenantId=str(uuid.UUID(int=3))), (400, "VaultTenantIdInvalid")),
    "another retention": ("PUT", VAULT, vault(softDeleteRetentionInDays=30), (400, "BadRequest")),
    "no soft delete": ("PUT", VAULT, vault(enableSoftDelete=False), (400, "BadRequest")),
    "purge protection off": ("PUT", VAULT, vault(enablePurgeProtection=False), (400, "BadRequest")),
    "no policies": ("PUT", VAULT, vault(enableRbacAuthorization=False), (400, "BadRequest")),
    "a bad name": ("PUT", f"{GROUP}/providers/Microsoft.KeyVault/vaults/a--b", vault(), (400, "VaultNameNotValid")),
    "a taken name": (
        "PUT",
        f"{GROUP}/providers/Microsoft.KeyVault/vaults/theirs",
        vault(),
        (409, "VaultAlreadyExists"),
    ),
    "no principal type": (
        "PUT",
        NAME,
        right(guid(f"object/{IDENTITY.lower()}"), kind=None),
        (400, "PrincipalNotFound"),
    ),
    "a wrong principal type": (
        "PUT",
        NAME,
        right(guid(f"object/{IDENTITY.lower()}"), kind="User"),
        (400, "UnmatchedPrincipalType"),
    ),
    "no such role": ("PUT", NAME, right(HOST, str(uuid.UUID(int=9))), (400, "RoleDefinitionDoesNotExist")),
    "a name that is no id": ("PUT", f"{RIGHTS}/me", right(HOST), (400, "InvalidRoleAssignmentId")),
    "another category": ("PUT", SETTING, setting(category="Audit"), (400, "BadRequest")),
    "no destination": ("PUT", SETTING, {"properties": {"logs": []}}, (400, "BadRequest")),
    "no workspace": ("PUT", SETTING, setting(f"{WORKSPACE}x"), (404, "ResourceNotFound")),
    "another schema": ("PUT", EVENT, alert(eventDeliverySchema="EventGridSchema"), (400, "InvalidRequest")),
    "a machine that is put": ("PUT", MACHINE, PLACE, (405, "MethodNotAllowed")),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(made: Ask, emulator: Emulator, case: str) -> None:
    emulator.control.vault("theirs", subscription=str(uuid.UUID(int=4)))
    method, path, body, expected = REFUSALS[case]
    assert code(made(method, path, body)) == expected


def test_insights_sends_its_errors_bare(made: Ask) -> None:
    assert made("PUT", SETTING, setting(category="Audit"))[1].keys() == {"code", "message"}


def test_five_settings_and_no_sink_twice(made: Ask) -> None:
    for number in range(5):
        assert made("PUT", f"{WORKSPACE}{number}", PLACE)[0] == 201
        assert made("PUT", f"{SETTING}{number}", setting(f"{WORKSPACE}{number}"))[0] == 200
    assert code(made("PUT", SETTING, setting())) == (409, "Conflict")
    made("DELETE", f"{SETTING}4")
    assert "already used" in made("PUT", SETTING, setting(f"{WORKSPACE}1", categoryGroup="audit"))[1]["message"]
    assert made("PUT", SETTING, setting(f"{WORKSPACE}4", categoryGroup="allLogs"))[0] == 200


def test_same_right_under_another_name(made: Ask) -> None:
    made("PUT", NAME, right(HOST))
    other = f"{RIGHTS}/{uuid.UUID(int=8)}"
    assert code(made("PUT", other, right(HOST))) == (409, "RoleAssignmentExists")
    assert code(made("PUT", NAME, right(HOST, SECRETS_OFFICER))) == (400, "RoleAssignmentUpdateNotPermitted")


def test_listing_of_rights_in_pages(made: Ask, emulator: Emulator) -> None:
    for number in range(3):
        made("PUT", f"{RIGHTS}/{uuid.UUID(int=number)}", right(str(uuid.UUID(int=number))))
    made("PUT", f"{RIGHTS.replace(VAULT, GROUP)}/{uuid.UUID(int=9)}", right(HOST))
    emulator.control.set(page=2)
    found, link = [], RIGHTS
    while link:
        _, page = made("GET", link, **({"$filter": "atScope()"} if link == RIGHTS else {}))
        assert len(page["value"]) <= 2
        found += page["value"]
        link = page.get("nextLink", "")
    assert len(found) == 5, "the vault's three, the group's and the owner's"
    _, mine = made("GET", RIGHTS, **{"$filter": f"assignedTo('{HOST}')"})
    assert [each["properties"]["principalId"] for each in mine["value"]] == [HOST]
    assert code(made("GET", RIGHTS, **{"$filter": "scope() eq 1"})) == (400, "UnsupportedFilter")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_without_the_right_nothing_is_told(made: Ask, method: str) -> None:
    for path in (VAULT, f"{VAULT}x"):
        assert code(made(method, path, vault(), who="host")) == (403, "AuthorizationFailed")


def test_rights_are_those_of_roles(made: Ask, emulator: Emulator) -> None:
    emulator.control.identity("deputy")
    emulator.control.assign("deputy", "Contributor")
    assert made("PUT", VAULT, vault(), who="deputy")[0] == 200
    assert code(made("PUT", NAME, right(HOST), who="deputy")) == (403, "AuthorizationFailed")
    emulator.control.assign("deputy", "Key Vault Data Access Administrator", VAULT)
    assert made("PUT", NAME, right(HOST), who="deputy")[0] == 201
    owner = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
    assert code(made("PUT", f"{RIGHTS}/{uuid.UUID(int=1)}", right(HOST, owner), who="deputy"))[0] == 403
    permissions = made("GET", f"{VAULT}/providers/Microsoft.Authorization/permissions", who="deputy")[1]["value"]
    assert ["*"] in [each["actions"] for each in permissions] and len(permissions) == 2


def test_linked_resources_need_a_right_too(made: Ask, emulator: Emulator) -> None:
    emulator.control.identity("deputy")
    emulator.control.assign("deputy", "Key Vault Contributor")
    emulator.control.assign("deputy", "Virtual Machine Contributor")
    attach = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}}
    assert code(made("PATCH", MACHINE, attach, who="deputy")) == (403, "LinkedAuthorizationFailed")
    emulator.control.assign("deputy", "Managed Identity Operator")
    assert made("PATCH", MACHINE, attach, who="deputy")[0] == 200


def test_unregistered_provider(made: Ask, emulator: Emulator) -> None:
    emulator.control.provider("Microsoft.EventGrid", registered=False)
    provider = f"{BASE}/providers/Microsoft.EventGrid"
    assert made("GET", provider)[1]["registrationState"] == "NotRegistered"
    assert code(made("PUT", EVENT, alert())) == (409, "MissingSubscriptionRegistration")
    made("POST", f"{provider}/register")
    assert made("PUT", EVENT, alert())[0] == 201


def test_tokens(ask: Ask, emulator: Emulator) -> None:
    emulator.control.identity("stranger", tenant=str(uuid.UUID(int=5)))
    assert code(ask("GET", BASE, who="stranger")) == (401, "InvalidAuthenticationTokenTenant")
    wrong = emulator.world.tokens.issue(emulator.world.identities["operator"], "https://vault.azure.net")
    for header, expected in (({}, "AuthenticationFailed"), (wrong, "InvalidAuthenticationToken")):
        headers = {"Authorization": f"Bearer {header['access_token']}"} if header else {}
        session = requests.Session()
        session.trust_env = False
        with session:
            answer = session.get(
                f"https://management.azure.com{BASE}", headers=headers, verify=str(emulator.ca), timeout=30
            )
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, expected)


def test_work_that_goes_on_after_the_answer(ask: Ask, emulator: Emulator) -> None:
    ask("PUT", GROUP, PLACE)
    emulator.control.set(polls=2)
    status, body = ask("PUT", WORKSPACE, PLACE)
    link = ask.headers["Azure-AsyncOperation"]  # type: ignore[attr-defined]
    assert (status, body["properties"]["provisioningState"]) == (201, "Creating")
    assert urlsplit(link).hostname == "management.azure.com"
    assert [ask("GET", link)[1]["status"] for _ in range(2)] == ["InProgress", "Succeeded"]
    assert ask("GET", WORKSPACE)[1]["properties"]["provisioningState"] == "Succeeded"
    emulator.control.fault("failed", "PUT workspaces")
    ask("PUT", f"{WORKSPACE}x", PLACE)
    link = ask.headers["Azure-AsyncOperation"]  # type: ignore[attr-defined]
    assert [ask("GET", link)[1]["status"] for _ in range(2)] == ["InProgress", "Failed"]
    assert ask("GET", f"{WORKSPACE}x")[1]["properties"]["provisioningState"] == "Failed"


def test_faults_and_counts_of_its_own(ask: Ask, emulator: Emulator) -> None:
    emulator.control.fault("status", "*", status=500, count=0)
    emulator.control.fault("status", "PUT resourcegroups", status=429, retry_after=3)
    assert ask("PUT", GROUP, PLACE)[0] == 429 and ask.headers["Retry-After"] == "3"  # type: ignore[attr-defined]
    assert ask("PUT", GROUP, PLACE)[0] == 201
    emulator.control.fault("status", "arm", status=503)
    assert [ask("GET", GROUP)[0] for _ in range(2)] == [503, 200]
    count = emulator.control.count()
    assert (count["PUT resourcegroups"], count["GET resourcegroups"]) == (2, 2)


def test_a_vault_that_is_put_is_the_vault_that_is_read(made: Ask, connect: Connect) -> None:
    client = connect("shop-vault")
    with pytest.raises(HttpResponseError, match="ForbiddenByRbac"):
        client.set_secret("alpha", "one")
    made("PUT", NAME, right(guid("object/operator"), SECRETS_OFFICER))
    client.set_secret("alpha", "one")
    reader = connect("shop-vault", "host")
    made("PUT", f"{RIGHTS}/{uuid.UUID(int=8)}", right(HOST))
    assert reader.get_secret("alpha").value == "one"
    with pytest.raises(HttpResponseError, match="ForbiddenByRbac"):
        reader.set_secret("alpha", "two")
    made("DELETE", NAME)
    with pytest.raises(HttpResponseError, match="ForbiddenByRbac"):
        client.get_secret("alpha")


def test_a_right_may_be_late(made: Ask, emulator: Emulator, connect: Connect) -> None:
    emulator.control.set(late_rights=2)
    made("PUT", NAME, right(HOST))
    reader = connect("shop-vault", "host")
    for _ in range(2):
        with pytest.raises(HttpResponseError, match="ForbiddenByRbac"):
            list(reader.list_properties_of_secrets())
    assert list(reader.list_properties_of_secrets()) == []


def test_an_identity_counts_on_the_machine_that_has_it(made: Ask, connect: Connect) -> None:
    made("PUT", NAME, right(guid(f"object/{IDENTITY.lower()}")))
    reader = connect("shop-vault", IDENTITY.lower())
    with pytest.raises(ClientAuthenticationError):
        list(reader.list_properties_of_secrets())
    _, machine = made("GET", MACHINE)
    kind = f"{machine['identity']['type']}, UserAssigned"
    _, machine = made("PATCH", MACHINE, {"identity": {"type": kind, "userAssignedIdentities": {IDENTITY: {}}}})
    assert machine["identity"]["principalId"] == HOST
    assert list(reader.list_properties_of_secrets()) == []


def test_network_rules_shut_the_vault(made: Ask, connect: Connect) -> None:
    made("PUT", NAME, right(HOST))
    reader = connect("shop-vault", "host")
    for address, shut in (("203.0.113.7", True), ("127.0.0.0/8", False)):
        rules = {"defaultAction": "Deny", "bypass": "None", "ipRules": [{"value": address}], "virtualNetworkRules": []}
        made("PUT", VAULT, vault(networkAcls=rules))
        if shut:
            with pytest.raises(HttpResponseError, match="ForbiddenByFirewall"):
                list(reader.list_properties_of_secrets())
        else:
            assert list(reader.list_properties_of_secrets()) == []


def test_reads_are_logged_where_a_setting_says_so(made: Ask, emulator: Emulator, connect: Connect) -> None:
    made("PUT", NAME, right(HOST))
    reader = connect("shop-vault", "host")
    list(reader.list_properties_of_secrets())
    assert emulator.control.logged("shop-vault") == []
    made("PUT", SETTING, setting())
    list(reader.list_properties_of_secrets())
    assert [(each["operation"], each["oid"]) for each in emulator.control.logged("shop-vault")] == [("list", HOST)]


def test_a_deleted_vault_can_be_recovered_and_keeps_its_name(made: Ask, emulator: Emulator) -> None:
    made("PUT", NAME, right(guid("object/operator"), SECRETS_OFFICER))
    made("PUT", SETTING, setting())
    made("PUT", VAULT, vault(enablePurgeProtection=True))
    emulator.control.put("shop-vault", "alpha", "one")
    assert made("DELETE", VAULT)[0] == 200
    assert code(made("GET", VAULT)) == (404, "ResourceNotFound")
    assert "shop-vault" not in emulator.world.vaults, "its name resolves no more"
    assert made("GET", DELETED)[1]["properties"]["purgeProtectionEnabled"] is True
    assert code(made("PUT", VAULT, vault())) == (409, "ConflictError")
    question = {"name": "shop-vault", "type": "Microsoft.KeyVault/vaults"}
    free = made("POST", f"{BASE}/providers/Microsoft.KeyVault/checkNameAvailability", question)[1]
    assert (free["nameAvailable"], free["reason"]) == (False, "AlreadyExists")
    assert made("POST", f"{DELETED}/purge")[0] == 405
    assert made("PUT", VAULT, vault(createMode="recover"))[0] == 200
    assert "alpha" in emulator.world.vaults["shop-vault"].secrets
    assert made("GET", f"{RIGHTS}?api-version=2022-04-01&$filter=atScope()")[1]["value"][1:] == []
    assert code(made("GET", SETTING)) == (404, "ResourceNotFound")
