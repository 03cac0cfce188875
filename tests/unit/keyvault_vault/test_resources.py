"""What counts as a change of a resource, and what is sent for one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.provision import resources, run, settings
from tests.unit.keyvault_vault import given

RULES = {"addresses": ["203.0.113.7", "198.51.100.0/24"], "subnets": [given.SUBNET]}
ALL: dict[str, Any] = {**RULES, "action_group": given.ACTIONS, "machines": [given.MACHINE], "tags": {"cost": "12"}}


def changed(want: settings.Wanted, found: resources.Seen) -> list[str]:
    """The labels of what a run would change."""
    return [each.label for each in resources.resources(want, copy.deepcopy(found)) if each.changes]


def test_an_empty_subscription_gets_everything_in_the_order_of_need() -> None:
    want = given.wanted(**ALL)
    assert changed(want, resources.Seen(tenant=given.TENANT, machines={given.MACHINE: {}})) == [
        "resource group rg",
        "workspace demo-audit",
        "identity demo-hosts",
        "vault coffre",
        "diagnostic setting coffre",
        "Key Vault Secrets User for the identity demo-hosts",
        f"Key Vault Secrets Officer for User {given.PERSON}",
        "event subscription coffre-expiry",
        "identity demo-hosts on the machine one",
    ]


@pytest.mark.parametrize("more", [{}, ALL, {"identity": ""}, {"identity_writes": True}, {"machines": [given.ARC]}])
def test_what_was_made_is_not_made_again(more: dict[str, Any]) -> None:
    want = given.wanted(**more)
    assert changed(want, given.seen(want)) == []


def edit(found: resources.Seen, *path: str, value: Any) -> None:
    """Set something in what was seen, by its keys."""
    there: Any = getattr(found, path[0])
    for key in path[1:-1]:
        there = there[key]
    there[path[-1]] = value


# (keys within what was seen, what Azure tells in this place): its own way of writing the same, or none of our business.
SAME: list[tuple[tuple[str, ...], Any]] = [
    (
        ("vault", "properties", "networkAcls", "ipRules"),
        [{"value": "203.0.113.7/32"}, {"value": "198.51.100.0/24"}],
    ),
    (
        ("vault", "properties", "networkAcls", "ipRules"),
        [{"value": "203.0.113.7"}, {"value": "198.51.100.0/24", "name": "office"}],
    ),
    (
        ("vault", "properties", "networkAcls", "virtualNetworkRules"),
        [{"id": given.SUBNET.lower(), "ignoreMissingVnetServiceEndpoint": False}],
    ),
    (("vault", "location"), "West Europe"),
    (("vault", "tags", "department"), "finance"),
    (("vault", "tags"), {"Coffre-Owner": "demo", "COST": "12"}),
    (("vault", "properties", "accessPolicies"), [{"objectId": given.PERSON}]),
    (("vault", "properties", "publicNetworkAccess"), "Enabled"),
    (("vault", "properties", "somethingNew"), {"a": 1}),
    (("vault", "properties", "sku"), {"family": "A", "name": "premium"}),
    (("workspace", "properties", "sku"), {"name": "CapacityReservation"}),
    (("workspace", "properties", "features"), {"immediatePurgeDataOn30Days": True}),
    (("group", "tags"), None),
    (("group", "location"), "northeurope"),
    (("event", "properties", "destination", "properties", "actionGroups"), [given.ACTIONS.lower()]),
    (("event", "properties", "retryPolicy"), {"maxDeliveryAttempts": 30}),
]


@pytest.mark.parametrize(("keys", "value"), SAME, ids=[f"{'.'.join(keys)} {value}" for keys, value in SAME])
def test_azures_own_ways_are_no_change(keys: tuple[str, ...], value: Any) -> None:
    want = given.wanted(**ALL)
    found = given.seen(want)
    edit(found, *keys, value=value)
    assert changed(want, found) == []


def test_no_rules_are_wanted_and_azure_tells_none() -> None:
    want = given.wanted()
    found = given.seen(want)
    edit(found, "vault", "properties", "networkAcls", value=None)
    assert changed(want, found) == []


OTHER: list[tuple[tuple[str, ...], Any]] = [
    (("vault", "properties", "enableRbacAuthorization"), False),
    (("vault", "properties", "enableRbacAuthorization"), None),
    (("vault", "properties", "enableSoftDelete"), False),
    (("vault", "properties", "enablePurgeProtection"), None),
    (("vault", "properties", "networkAcls"), None),
    (("vault", "properties", "networkAcls", "defaultAction"), "Allow"),
    (("vault", "properties", "networkAcls", "bypass"), "AzureServices"),
    (("vault", "properties", "networkAcls", "ipRules"), [{"value": "203.0.113.7/32"}]),
    (("vault", "properties", "networkAcls", "virtualNetworkRules"), []),
    (("vault", "tags", "cost"), "13"),
    (("workspace", "properties", "retentionInDays"), 30),
    (("event", "properties", "destination", "properties", "actionGroups"), []),
    (("event", "properties", "filter"), {"includedEventTypes": ["Microsoft.KeyVault.SecretExpired"]}),
]


@pytest.mark.parametrize(("keys", "value"), OTHER, ids=[f"{'.'.join(keys)} {value}" for keys, value in OTHER])
def test_what_differs_is_changed_and_what_is_others_is_kept(keys: tuple[str, ...], value: Any) -> None:
    want = given.wanted(**ALL)
    found = given.seen(want)
    edit(found, keys[0], "tags", value={**(getattr(found, keys[0]).get("tags") or {}), "department": "finance"})
    edit(found, keys[0], "properties", "somethingNew", value={"a": 1})
    edit(found, *keys, value=value)
    (each,) = (each for each in resources.resources(want, copy.deepcopy(found)) if each.changes)
    assert each.body["tags"]["department"] == "finance"
    assert each.body["properties"]["somethingNew"] == {"a": 1}
    assert not {"id", "name", "type", "systemData", "etag"} & set(each.body)
    assert not {"provisioningState", "vaultUri", "customerId"} & set(each.body["properties"])
    each.keep(given.answer(each))
    found = copy.deepcopy(found)
    setattr(found, keys[0], given.answer(each))
    assert changed(want, found) == []


def test_a_tag_is_one_in_whatever_case_its_name_is_written() -> None:
    want = given.wanted(tags={"cost": "12"})
    found = given.seen(want)
    edit(found, "vault", "tags", value={"Coffre-Owner": "demo", "Cost": "11"})
    (each,) = (each for each in resources.resources(want, found) if each.changes)
    assert each.body["tags"] == {"Coffre-Owner": "demo", "Cost": "12"}


def test_a_subnets_rule_keeps_what_others_set() -> None:
    want = given.wanted(subnets=[given.SUBNET])
    found = given.seen(want)
    rule = {"id": given.SUBNET.lower(), "ignoreMissingVnetServiceEndpoint": True}
    edit(found, "vault", "properties", "networkAcls", "virtualNetworkRules", value=[rule, {"id": "/other"}])
    (each,) = (each for each in resources.resources(want, found) if each.changes)
    assert each.body["properties"]["networkAcls"]["virtualNetworkRules"] == [rule]


@pytest.mark.parametrize("kind", ["workspace", "vault", "event"])
@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_what_did_not_come_to_be_is_made_again(kind: str, state: str) -> None:
    want = given.wanted(**ALL)
    found = given.seen(want)
    edit(found, kind, "properties", "provisioningState", value=state)
    (each,) = (each for each in resources.resources(want, found) if each.changes)
    assert each.kind == kind
    assert "provisioningState" not in each.body["properties"]
    assert run.planned(want, found).plan == [f"change {each.label}: provisioningState {state} -> Succeeded"]


def test_a_machine_that_failed_is_its_owners() -> None:
    want = given.wanted(**ALL)
    found = given.seen(want)
    found.machines[given.MACHINE] = {
        **(found.machines[given.MACHINE] or {}),
        "properties": {"provisioningState": "Failed"},
    }
    assert changed(want, found) == []


def test_azures_own_account_is_not_sent_back_however_deep() -> None:
    want = given.wanted()
    found = given.seen(want)
    capping = {"dailyQuotaGb": 2.0, "quotaNextResetTime": "2027-01-01", "dataIngestionStatus": "RespectQuota"}
    edit(found, "workspace", "properties", "workspaceCapping", value=capping)
    edit(found, "workspace", "properties", "sku", value={"name": "pergb2018", "lastSkuUpdate": "2027-01-01"})
    edit(found, "workspace", "properties", "privateLinkScopedResources", value=[{"resourceId": "/a"}])
    edit(found, "workspace", "properties", "retentionInDays", value=30)
    edit(found, "workspace", "tags", "createdBy", value="finance")
    (each,) = (each for each in resources.resources(want, found) if each.changes)
    assert each.body["tags"] == {"coffre-owner": "demo", "createdBy": "finance"}
    assert each.body["properties"] == {
        "retentionInDays": 90,
        "sku": {"name": "pergb2018"},
        "workspaceCapping": {"dailyQuotaGb": 2.0},
    }


def test_what_is_listed_twice_counts_once() -> None:
    want = given.wanted(subnets=[given.SUBNET, given.SUBNET.lower()], machines=[given.MACHINE, given.MACHINE])
    assert len(want.machines) == 1
    found = given.seen(want)
    edit(found, "vault", "properties", "networkAcls", "virtualNetworkRules", value=[{"id": given.SUBNET.lower()}])
    assert changed(want, found) == []


# What the logs of a setting to our workspace are, and whether they have the audit log.
LOGS = [
    ([{"category": "AuditEvent", "enabled": True}], True),
    ([{"category": "AuditEvent", "enabled": True, "retentionPolicy": {"days": 0}, "categoryGroup": None}], True),
    ([{"categoryGroup": "audit", "enabled": True}], True),
    ([{"categoryGroup": "allLogs", "enabled": True}], True),
    ([{"category": "AuditEvent", "enabled": False}], False),
    ([{"categoryGroup": "audit", "enabled": False}], False),
    ([{"category": "AzurePolicyEvaluationDetails", "enabled": True}], False),
    ([], False),
    (None, False),
]


@pytest.mark.parametrize("name", ["coffre", "somebodys"])
@pytest.mark.parametrize(("logs", "has"), LOGS)
def test_an_audit_log_is_known_under_any_name(name: str, logs: Any, has: bool) -> None:
    want = given.wanted()
    found = given.seen(want)
    place = given.WORKSPACE.lower()
    found.settings = [{"name": name, "properties": {"workspaceId": place, "logs": logs, "metrics": []}}]
    assert changed(want, found) == ([] if has else ["diagnostic setting coffre"])


def test_an_audit_log_elsewhere_is_not_ours() -> None:
    want = given.wanted()
    found = given.seen(want)
    found.settings[0]["name"] = "elsewhere"
    found.settings[0]["properties"]["workspaceId"] = given.WORKSPACE + "2"
    assert changed(want, found) == ["diagnostic setting coffre"]


def test_our_setting_keeps_its_other_categories_and_loses_its_groups() -> None:
    want = given.wanted()
    found = given.seen(want)
    policy = {"category": "AzurePolicyEvaluationDetails", "enabled": True}
    logs = [{"categoryGroup": "audit", "category": None, "enabled": False}, policy]
    found.settings[0]["properties"] |= {"logs": logs, "storageAccountId": "/s"}
    (each,) = (each for each in resources.resources(want, found) if each.changes)
    assert each.body["properties"]["logs"] == [policy, {"category": "AuditEvent", "enabled": True}]
    assert each.body["properties"]["storageAccountId"] == "/s"


def test_our_setting_keeps_groups_that_have_the_audit_log() -> None:
    want = given.wanted()
    found = given.seen(want)
    logs = [{"categoryGroup": "allLogs", "category": None, "enabled": True}]
    found.settings[0]["properties"] |= {"logs": logs, "workspaceId": given.WORKSPACE + "2"}
    (each,) = (each for each in resources.resources(want, found) if each.changes)
    assert each.body["properties"]["logs"] == [{"categoryGroup": "allLogs", "enabled": True}]
    assert each.body["properties"]["workspaceId"] == given.WORKSPACE


def test_a_right_is_known_under_any_name_but_at_the_vault_only() -> None:
    want = given.wanted()
    found = given.seen(want)
    for each in found.assignments:
        each["name"], each["id"] = "another", f"{given.VAULT}/providers/Microsoft.Authorization/roleAssignments/another"
        each["properties"]["principalId"] = each["properties"]["principalId"].upper()
        each["properties"]["principalType"] = "Unknown"
        each["properties"]["roleDefinitionId"] = each["properties"]["roleDefinitionId"].partition(given.SUBSCRIPTION)[2]
    assert changed(want, found) == []
    found.assignments[0]["properties"]["scope"] = given.GROUP
    assert changed(want, found) == ["Key Vault Secrets User for the identity demo-hosts"]


def test_a_right_has_one_name_whoever_asks() -> None:
    one = resources.assignment_name(given.VAULT, given.PERSON, resources.READER)
    assert one == resources.assignment_name(given.VAULT.lower(), given.PERSON.upper(), resources.READER)
    assert one != resources.assignment_name(given.VAULT, given.PERSON, resources.WRITER)


def test_every_right_says_whose_it_is_and_no_identity_writes_unasked() -> None:
    def rights(want: settings.Wanted) -> set[tuple[str, str, str]]:
        each = (each["properties"] for each in given.seen(want).assignments)
        return {(one["principalId"], one["principalType"], one["roleDefinitionId"].rpartition("/")[2]) for one in each}

    identity = (given.MADE, "ServicePrincipal", resources.READER)
    writes = (given.MADE, "ServicePrincipal", resources.WRITER)
    person = (given.PERSON, "User", resources.WRITER)
    assert rights(given.wanted()) == {identity, person}
    assert rights(given.wanted(identity_writes=True)) == {identity, person, writes}
    twice = {"principal": given.MADE, "type": "ServicePrincipal"}
    assert rights(given.wanted(readers=[twice])) == {identity, person}
    machine = (given.MADE[:-1] + "9", "ServicePrincipal", resources.READER)
    assert rights(given.wanted(machines=[given.ARC])) == {identity, person, machine}


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        ({}, "UserAssigned"),
        (None, "UserAssigned"),
        ({"type": "SystemAssigned"}, "SystemAssigned, UserAssigned"),
        ({"type": "UserAssigned", "userAssignedIdentities": {"/other": {}}}, "UserAssigned"),
    ],
)
def test_a_machine_keeps_the_identities_it_has(now: Any, kind: str) -> None:
    want = given.wanted(machines=[given.MACHINE])
    found = given.seen(want)
    found.machines[given.MACHINE] = {"identity": now, "properties": {"hardwareProfile": {}}}
    (each,) = (each for each in resources.resources(want, found) if each.changes)
    assert (each.method, each.body) == (
        "PATCH",
        {"identity": {"type": kind, "userAssignedIdentities": {resources.identity_path(want): {}}}},
    )
    has = {resources.identity_path(want).lower(): {"clientId": given.MADE}}
    found.machines[given.MACHINE] = {"identity": {"type": kind, "userAssignedIdentities": has}}
    assert changed(want, found) == []


def test_the_plan_has_a_line_for_each_resource() -> None:
    want = given.wanted(addresses=["203.0.113.7"])
    found = given.seen(want)
    edit(found, "vault", "properties", "enableRbacAuthorization", value=False)
    edit(found, "vault", "properties", "networkAcls", "ipRules", value=[{"value": "203.0.113.8/32"}])
    outcome = run.planned(want, found)
    assert outcome.plan == [
        "change vault coffre: enableRbacAuthorization false -> true; "
        "networkAcls.ipRules 203.0.113.8/32 -> 203.0.113.7/32"
    ]
    assert outcome.diff[0]["before"] == (
        "properties.enableRbacAuthorization: false\nproperties.networkAcls.ipRules: 203.0.113.8/32\n"
    )
    assert run.planned(want, given.seen(want)).plan == []
    empty = run.planned(want, resources.Seen(tenant=given.TENANT))
    assert "make vault coffre: " in "\n".join(empty.plan)
    assert "make Key Vault Secrets User for the identity demo-hosts" in empty.plan
    assert resources.LATER in empty.diff[5]["after"]
    assert empty.diff[0]["before"] == ""
