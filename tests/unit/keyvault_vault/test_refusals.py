"""What forbids a run: each by one sentence, and none of it where all is well."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.keyvault.arm import Refused
from ansible_collections.coffre.stack.plugins.module_utils.keyvault.refusals import Fault, fault
from ansible_collections.coffre.stack.plugins.module_utils.provision import refusals
from ansible_collections.coffre.stack.plugins.module_utils.provision.resources import WRITER, Seen, assignment_name
from tests.unit.keyvault_vault import given

DELETED = {
    "vaultId": given.VAULT,
    "location": "westeurope",
    "scheduledPurgeDate": "2027-02-01T00:00:00Z",
    "tags": {"coffre-owner": "demo"},
}
APPLICATION = {"principal": given.PERSON, "type": "ServicePrincipal"}
Plant = Callable[[Seen], Any]


def gone(**more: Any) -> Plant:
    """A deleted vault in the place of the live one."""

    def plant(seen: Seen) -> None:
        seen.vault, seen.taken, seen.deleted = None, True, {"name": "coffre", "properties": DELETED | more}

    return plant


def vault(**more: Any) -> Plant:
    def plant(seen: Seen) -> None:
        assert seen.vault
        seen.vault["properties"] |= more

    return plant


def taken(seen: Seen) -> None:
    seen.vault, seen.taken = None, True


def managed(seen: Seen) -> None:
    """The writer is a managed identity, and has no right yet."""
    seen.managed, seen.assignments = frozenset([given.PERSON]), []


def setting(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {"workspaceId": "/other", "logs": [{"categoryGroup": "audit", "enabled": True}]},
    }


# What is planted in a world where all is as it should be, what else the inventory says, and what is told then.
REFUSED: dict[str, tuple[Plant, dict[str, Any], str]] = {
    "taken": (
        taken,
        {},
        "The name coffre is taken, by somebody else's vault",
    ),
    "deleted, ours": (gone(), {}, "its name stays taken until 2027-02-01: recover it with -e recover=true"),
    "deleted, another's": (gone(tags={"coffre-owner": "other"}), {}, "which is not of demo, and stays taken until"),
    "deleted, nobody's": (gone(tags=None), {}, "which is not of demo"),
    "deleted elsewhere": (gone(vaultId=given.VAULT.replace("/rg/", "/old/")), {}, "set resource_group in stack_vault"),
    "no tag": (
        lambda seen: seen.vault and seen.vault.pop("tags"),
        {},
        "has no tag coffre-owner, so nobody knows whose",
    ),
    "our tag in another case": (
        lambda seen: seen.vault and seen.vault.update(tags={"Coffre-Owner": "demo"}),
        {},
        "",
    ),
    "another's tag": (
        lambda seen: seen.vault and seen.vault["tags"].update({"coffre-owner": "other"}),
        {},
        "The vault coffre is there and belongs to other: if it is to be demo's, run 'az tag update --resource-id",
    ),
    "retention": (vault(softDeleteRetentionInDays=30), {}, "for 30 days, which cannot be changed"),
    "protected": (vault(), {"purge_protection": True}, ""),
    "protection off": (vault(enablePurgeProtection=True), {"purge_protection": False}, "which cannot be switched off"),
    "elsewhere": (
        lambda seen: seen.vault and seen.vault.update(location="northeurope"),
        {},
        "is in northeurope and cannot",
    ),
    "another tenant": (vault(tenantId=given.PERSON), {}, f"trusts the tenant {given.PERSON}"),
    "no workspace": (
        lambda seen: setattr(seen, "workspace", None),
        {"workspace": given.WORKSPACE},
        f"The workspace {given.WORKSPACE} is not there",
    ),
    "workspace of others": (
        lambda seen: seen.workspace and seen.workspace.pop("tags"),
        {},
        "The workspace demo-audit is there and not marked as demo's",
    ),
    "identity of others": (
        lambda seen: seen.identity and seen.identity.pop("tags"),
        {},
        "The identity demo-hosts is there and not marked as demo's",
    ),
    "too many settings": (
        lambda seen: setattr(seen, "settings", [setting(str(each)) for each in range(5)]),
        {},
        "has 5 diagnostic settings, none of which sends AuditEvent to the workspace, and Azure allows 5",
    ),
    "enough settings": (
        lambda seen: setattr(seen, "settings", [*(setting(str(each)) for each in range(4)), setting("coffre")]),
        {},
        "",
    ),
    "no machine": (
        lambda seen: seen.machines.update({given.MACHINE: None}),
        {"machines": [given.MACHINE]},
        f"The machine {given.MACHINE} is not there",
    ),
    "no identity of its own": (
        lambda seen: seen.machines.update({given.ARC: {"identity": None}}),
        {"machines": [given.ARC]},
        "has no identity: connect it to Azure Arc anew",
    ),
    "no action group": (
        lambda seen: setattr(seen, "actions", None),
        {"action_group": given.ACTIONS},
        f"The action group {given.ACTIONS} is not there: correct `action_group`",
    ),
    "no subnet": (
        lambda seen: seen.subnets.update({given.SUBNET: None}),
        {"subnets": [given.SUBNET]},
        f"The subnet {given.SUBNET} is not there: correct `subnets`",
    ),
    "a subnet that no vault knows": (
        lambda seen: seen.subnets.update({given.SUBNET: {"properties": {}}}),
        {"subnets": [given.SUBNET]},
        "has no service endpoint Microsoft.KeyVault, so the vault would let nobody in from there: run 'az network "
        f"vnet subnet update --ids {given.SUBNET} --service-endpoints Microsoft.KeyVault'.",
    ),
    "a subnet that another service knows": (
        lambda seen: seen.subnets.update(
            {
                given.SUBNET: {
                    "properties": {"serviceEndpoints": [{"service": "Microsoft.Storage"}, {"service": "$(x)"}]}
                }
            }
        ),
        {"subnets": [given.SUBNET]},
        "--service-endpoints Microsoft.Storage Microsoft.KeyVault'.",
    ),
    "a subnet, in another case": (
        lambda seen: seen.subnets.update(
            {given.SUBNET: {"properties": {"serviceEndpoints": [{"service": "microsoft.keyvault"}]}}}
        ),
        {"subnets": [given.SUBNET]},
        "",
    ),
    "not registered": (
        lambda seen: setattr(seen, "unregistered", ("Microsoft.EventGrid",)),
        {},
        "run 'az provider register --wait --subscription 00000000-0000-0000-0000-00000000000a --namespace Microsoft.Ev",
    ),
    "a managed writer": (
        managed,
        {"writers": [APPLICATION]},
        f"ServicePrincipal {given.PERSON} in `writers` is a managed identity",
    ),
    "a managed writer, said so": (
        managed,
        {"writers": [APPLICATION], "identity_writes": True},
        "",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_forbids_a_run(case: str) -> None:
    plant, more, sentence = REFUSED[case]
    want = given.wanted(**more)
    seen = given.seen(want)
    if want.workspace.startswith("/"):
        seen.workspace = {}
    assert refusals.found(want, seen, recover=False) == []
    plant(seen)
    told = refusals.found(want, seen, recover=False)
    assert len(told) == (1 if sentence else 0), told
    assert sentence in "".join(told)


def test_a_deleted_vault_of_ours_comes_back_where_that_is_asked_for() -> None:
    want = given.wanted()
    seen = given.seen(want)
    gone()(seen)
    assert refusals.found(want, seen, recover=True) == []
    gone(tags={"Coffre-Owner": "demo"})(seen)
    assert refusals.found(want, seen, recover=True) == []
    gone(tags={"coffre-owner": "other"})(seen)
    assert len(refusals.found(want, seen, recover=True)) == 1


FORBIDDEN = (
    "The client 'somebody' with object id 'o' does not have authorization to perform action '{action}' over scope "
    "'{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
)
LINKED = (
    "The client has permission to perform action 'Microsoft.Compute/virtualMachines/write' on scope '/x'; however, it "
    "does not have permission to perform action(s) 'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action' on "
    f"the linked scope(s) '{given.GROUP}/i' (respectively) or the linked scope(s) are invalid."
)
WRONG_TENANT = (
    "The access token is from the wrong issuer 'https://sts.windows.net/{a}/'. It must match the tenant "
    "'https://sts.windows.net/{b}/' associated with this subscription."
)
NOT_REGISTERED = "The subscription is not registered to use namespace 'Microsoft.OperationalInsights'. See https://a.b"
SETTINGS = f"{given.VAULT}/providers/Microsoft.Insights/diagnosticSettings/coffre"
RIGHT = f"{given.VAULT}/providers/Microsoft.Authorization/roleAssignments/x"
OFFICER = RIGHT[:-1] + assignment_name(given.VAULT, given.PERSON, WRITER)
# Request, answer (status, code, message), and what is told.
ANSWERS: list[tuple[str, str, tuple[int, str, str], str]] = [
    (
        "GET",
        given.VAULT,
        (
            403,
            "AuthorizationFailed",
            FORBIDDEN.format(oid="o", action="Microsoft.KeyVault/vaults/read", scope=given.VAULT),
        ),
        f"The identity {given.PERSON} lacks Microsoft.KeyVault/vaults/read on {given.VAULT}: run 'az role assignment "
        f'create --role "Reader" --assignee-object-id {given.PERSON} --assignee-principal-type User '
        f'--scope "{given.GROUP}"\', and allow a few minutes.',
    ),
    (
        "PUT",
        given.VAULT,
        (403, "AuthorizationFailed", "x"),
        f"lacks Microsoft.KeyVault/vaults/write on {given.VAULT}: ",
    ),
    (
        "PATCH",
        given.MACHINE,
        (403, "LinkedAuthorizationFailed", LINKED),
        f"lacks Microsoft.ManagedIdentity/userAssignedIdentities/assign/action on {given.GROUP}/i: run 'az role "
        'assignment create --role "Managed Identity Operator"',
    ),
    ("PUT", given.VAULT, (403, "x", ""), 'create --role "Key Vault Contributor"'),
    ("PUT", given.VAULT, (403, "RequestDisallowedByPolicy", ""), f"A policy of Azure's forbids to PUT {given.VAULT}"),
    (
        "PUT",
        given.VAULT,
        (409, "ScopeLocked", "canary"),
        f"A lock forbids to PUT {given.VAULT}, whoever asks: 'az lock",
    ),
    ("PUT", SETTINGS, (403, "x", ""), "lacks Microsoft.Insights/diagnosticSettings/write on"),
    ("PUT", SETTINGS, (403, "x", ""), 'create --role "Monitoring Contributor"'),
    ("PUT", RIGHT, (403, "x", ""), 'create --role "Key Vault Data Access Administrator"'),
    ("PUT", RIGHT, (403, "x", ""), "lacks Microsoft.Authorization/roleAssignments/write on"),
    ("PUT", given.GROUP, (403, "x", ""), "lacks Microsoft.Resources/subscriptions/resourceGroups/write on"),
    ("PUT", given.GROUP, (403, "x", ""), 'create --role "Contributor"'),
    (
        "GET",
        given.GROUP,
        (401, "InvalidAuthenticationTokenTenant", WRONG_TENANT.format(a=given.PERSON, b=given.TENANT)),
        f"another tenant than this identity's, which is {given.MADE}: run 'az login --tenant {given.TENANT}'",
    ),
    ("GET", given.GROUP, (401, "InvalidAuthenticationToken", ""), "see that this machine's clock is right"),
    ("GET", given.GROUP, (404, "SubscriptionNotFound", ""), f"There is no subscription {given.SUBSCRIPTION} that this"),
    (
        "GET",
        given.SUBNET.replace(given.SUBSCRIPTION, given.MADE),
        (404, "SubscriptionNotFound", ""),
        f"There is no subscription {given.MADE} that this identity can see: correct the ids in stack_vault",
    ),
    (
        "GET",
        given.SUBNET.replace(given.SUBSCRIPTION, given.MADE),
        (401, "InvalidAuthenticationTokenTenant", WRONG_TENANT.format(a=given.PERSON, b=given.TENANT)),
        f"The subscription {given.MADE} belongs to another tenant",
    ),
    (
        "PUT",
        given.WORKSPACE,
        (409, "MissingSubscriptionRegistration", NOT_REGISTERED),
        "The subscription is not registered for Microsoft.OperationalInsights: run 'az provider register --wait",
    ),
    (
        "PUT",
        given.VAULT,
        (409, "VaultAlreadyExists", "x"),
        "The name coffre is taken, by somebody else's vault or a del",
    ),
    ("PUT", OFFICER, (400, "UnmatchedPrincipalType", "canary"), f"Entra ID knows no User {given.PERSON}: run"),
    ("PUT", RIGHT, (400, "PrincipalNotFound", "canary"), "Entra ID knows no such principal: "),
    ("PUT", given.VAULT, (400, "BadRequest", "canary"), "Azure answers 400 (BadRequest) to PUT /subscriptions/"),
    ("PUT", given.VAULT, (400, "<b>", "canary"), "Azure answers 400 (no code) to PUT /subscriptions/"),
]


@pytest.mark.parametrize(
    "told", [{"code": "Conflict", "message": "m"}, {"error": {"code": "Conflict", "message": "m"}}]
)
def test_some_errors_have_nothing_around_them(told: dict[str, Any]) -> None:
    response = SimpleNamespace(json=lambda: told, headers={})
    found = fault(SimpleNamespace(response=response, status_code=409))
    assert (found.status, found.code, found.message) == (409, "Conflict", "m")


@pytest.mark.parametrize(("method", "path", "answer", "sentence"), ANSWERS)
def test_what_an_answer_means(method: str, path: str, answer: tuple[int, str, str], sentence: str) -> None:
    claims = {"oid": given.PERSON, "tid": given.MADE, "idtyp": "user"}
    error = Refused(Fault(*answer, "", None), method, path, claims)
    told = str(refusals.of_azure(error, given.wanted()))
    assert sentence in told
    assert "canary" not in told
