"""Runs against the emulated Azure: the first, the next, the interrupted, and those that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.doctor import provisioned
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import arm
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.keyvault.refusals import Fault
from ansible_collections.coffre.stack.plugins.module_utils.keyvault.settings import Credential
from ansible_collections.coffre.stack.plugins.module_utils.provision import look, run
from ansible_collections.coffre.stack.plugins.module_utils.provision.resources import READER, WRITER
from ansible_collections.coffre.stack.plugins.module_utils.sources import keyvault as source
from tests.keyvault_emulator import surface
from tests.keyvault_emulator.access import guid
from tests.keyvault_emulator.vault import SUBSCRIPTION
from tests.keyvault_emulator.world import MACHINE
from tests.unit import described
from tests.unit.keyvault_vault.azure import ACTIONS, GROUP, NET, OPERATOR, VAULT, Azure

# A diagnostic setting of the vault as it should be.
SENT: dict[str, Any] = {
    "name": "coffre",
    "properties": {
        "workspaceId": f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/shop-audit",
        "logs": [{"category": "AuditEvent", "enabled": True}],
    },
}
ALL: dict[str, Any] = {
    "action_group": ACTIONS,
    "machines": [MACHINE],
    "tags": {"cost": "12"},
    "addresses": ["203.0.113.7", "198.51.100.0/24"],
    "subnets": [NET],
}


@pytest.mark.parametrize("more", [{}, ALL], ids=["least", "all"])
def test_from_an_empty_subscription_to_a_vault_and_not_again(azure: Azure, more: dict[str, Any]) -> None:
    azure.more = more
    first = azure.run()
    assert first.problem == ""
    assert len(first.made) == len(first.plan) == (7 if not more else 9)
    assert first.ids["client_id"] and first.ids["vault_id"] == VAULT
    second = azure.run()
    assert (second.plan, second.made, second.problem) == ([], [], "")
    assert azure.writes() == {}
    assert all(name.startswith(("GET ", "token", "connections")) for name in azure.control.count())
    assert second.calls["writes"] == 0
    assert second.ids == first.ids


def test_a_dry_run_of_an_empty_subscription_tells_everything_and_does_nothing(azure: Azure) -> None:
    azure.more = ALL
    told = azure.run(check=True, confirm="")
    assert azure.writes() == {}
    assert len(told.plan) == 9
    assert all(line.startswith("make ") for line in told.plan[:8])
    assert "Purge protection can never be switched off again, so this needs CONFIRM=shop." in told.notes
    assert any("answers nobody but 198.51.100.0/24, 203.0.113.7/32, /subscriptions/" in note for note in told.notes)
    assert azure.run().made == [line.partition(" ")[2].partition(":")[0] for line in told.plan]


@pytest.mark.parametrize("confirm", ["", "shop2", "yes"])
def test_what_cannot_be_undone_is_asked_for(azure: Azure, confirm: str) -> None:
    told = azure.run(confirm=confirm)
    assert "run make vault ... CONFIRM=shop. Nothing was changed." in told.problem
    assert len(told.plan) == 7 and told.made == []
    assert azure.writes() == {}


def test_without_purge_protection_there_is_nothing_to_confirm(azure: Azure) -> None:
    azure.more = {"purge_protection": False}
    assert azure.run(confirm="").problem == ""
    azure.more = {}
    told = azure.run(confirm="")
    assert told.plan == ["change vault shop: enablePurgeProtection true"]
    assert "CONFIRM=shop" in told.problem and azure.writes() == {}
    assert azure.run().made == ["vault shop"]
    assert azure.run(confirm="").plan == []


def test_what_others_put_is_kept(azure: Azure) -> None:
    azure.more = ALL
    azure.run()
    vault = azure.emulator.world.vaults["shop"]
    vault.tags["department"] = "finance"
    vault.settings["enabledForDeployment"] = True
    azure.more = {**ALL, "tags": {"cost": "13"}}
    assert "vault shop" in azure.run().made
    assert vault.tags == {"coffre-owner": "shop", "department": "finance", "cost": "13"}
    assert vault.settings["enabledForDeployment"] is True
    assert azure.run().plan == []


def test_only_what_was_made_by_it_can_read_and_write(azure: Azure) -> None:
    """The rights in force are those that were put, and the log has who read."""
    azure.run()
    azure.control.put("shop", "a", "value")
    listed = azure.emulator.world.assignments("shop")
    here = {
        (each["properties"]["principalId"], each["properties"]["roleDefinitionId"].rpartition("/")[2])
        for each in listed
        if each["properties"]["scope"] == VAULT.lower()
    }
    identity = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop-hosts"
    assert here == {(OPERATOR, WRITER), (guid(f"object/{identity.lower()}"), READER)}
    with keyvault.Vault(azure.wanted().keyvault, write=True) as vault:
        assert "a" in (vault.listing() or {})


def test_a_right_that_takes_its_time_is_waited_for_and_told(azure: Azure) -> None:
    azure.control.set(late_rights=4)
    told = azure.run()
    assert told.problem == ""
    assert any(note.startswith("The right to read arrived after") for note in told.notes)
    assert azure.control.count()["list"] >= 4


def test_a_host_waits_itself_for_the_right_that_it_was_given(azure: Azure) -> None:
    """Nobody but the host can be who it is."""
    azure.more = {"machines": [MACHINE]}
    azure.control.set(late_rights=4)
    made = azure.run()
    azure.control.put("shop", "a", "value")
    reader = Credential("managed_identity", client_id=made.ids["client_id"])
    entry = {"name": "a", "consumers": ["host"], "strategy": "replace"}
    catalogue = described.parse({"secrets": [entry], "services": []})
    found = source.read(catalogue, {}, {}, replace(azure.wanted().keyvault, read=reader), "refuse")
    assert found.values["a"].value == b"value"
    assert found.warnings[0].startswith("A right that was just given takes minutes to arrive, so this was asked again")


def test_a_right_that_does_not_arrive_is_told_and_no_failure(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "RIGHTS_SECONDS", 0.05)
    azure.control.set(late_rights=1000)
    told = azure.run()
    assert told.problem == ""
    assert any(note.startswith("The right to read has not arrived after") for note in told.notes)


@pytest.mark.parametrize("polls", [1, 3])
def test_what_azure_makes_slowly_is_waited_for(azure: Azure, polls: int) -> None:
    azure.more = ALL
    azure.control.set(polls=polls)
    assert azure.run().problem == ""
    assert azure.control.count()["GET vaults"] >= polls
    assert azure.run().plan == []


FAULTS = [
    ("status", {"status": 429, "retry_after": 0}),
    ("status", {"status": 429}),
    ("status", {"status": 500}),
    ("status", {"status": 503}),
    ("reset", {}),
    ("lost", {}),
    ("half", {}),
]


@pytest.mark.parametrize(("kind", "how"), FAULTS)
def test_weather_passes(azure: Azure, kind: str, how: dict[str, Any]) -> None:
    azure.control.fault(kind, "arm", count=3, **how)
    azure.control.fault(kind, "PUT vaults", count=2, **how)
    azure.control.fault(kind, "PUT roleAssignments", skip=1, count=1, **how)
    assert azure.run().problem == ""
    assert azure.emulator.world.transient_errors.faults == []  # all of it came
    assert azure.run().plan == []


def test_bad_weather_that_lasts_ends_with_what_was_made_and_the_next_run_goes_on(azure: Azure) -> None:
    azure.control.fault("status", "PUT vaults", count=0, status=503, retry_after=60)
    told = azure.run()
    assert "did not come to an end within 20 s (status 503)" in told.problem
    assert told.problem.endswith(
        "Done so far: resource group shop; workspace shop-audit; identity shop-hosts. Begun, so that it may be there: "
        "vault shop. The next run goes on from there."
    )
    azure.control.clear_faults()
    assert azure.run().made[0] == "vault shop"
    assert azure.run().plan == []


def test_bad_weather_before_the_first_step_says_that_nothing_was_changed(azure: Azure) -> None:
    azure.control.fault("status", "GET permissions", count=0, status=429, retry_after=3600)
    assert "did not come to an end within 20 s (status 429)" in azure.refused()


def test_what_cannot_even_ask_changes_nothing(azure: Azure, tmp_path: Path) -> None:
    ca = tmp_path / "none"
    with pytest.raises(CoffreError, match=r"has no certificate of an authority.*Nothing was changed\.$"):
        run.provision(replace(azure.wanted(), keyvault=replace(azure.wanted().keyvault, ca=ca)))


def test_a_principal_that_is_nobody_is_told(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be one that was made just now, so it is asked for again, and named in the end."""
    monkeypatch.setitem(surface.MESSAGES, 400, ("PrincipalNotFound", "canary"))
    azure.seconds = 1
    azure.control.fault("status", "PUT roleAssignments", skip=1, count=0, status=400)
    told = azure.run().problem
    assert f"Entra ID knows no ServicePrincipal {OPERATOR}: run again if it is new, else correct it" in told
    assert "canary" not in told and "Done so far: resource group shop" in told
    assert azure.control.count()["PUT roleassignments"] > 2


def test_a_run_that_is_killed_after_any_step_goes_on(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    azure.more = ALL
    put = arm.Manager.put

    def killed(*arguments: Any) -> None:
        put(*arguments)
        raise KeyboardInterrupt

    for left in range(8, -1, -1):
        with monkeypatch.context() as patch:
            patch.setattr(arm.Manager, "put", killed)
            with pytest.raises(KeyboardInterrupt):
                azure.run()
        assert sum(azure.writes().values()) == 1
        assert len(azure.run(check=True, confirm="").plan) == left
        assert azure.writes() == {}


def test_a_first_step_that_is_refused_changed_nothing(azure: Azure) -> None:
    azure.control.fault("status", "PUT resourceGroups", status=403)
    assert azure.run().problem.endswith("allow a few minutes. Nothing was changed.")


def test_a_right_that_is_taken_away_meanwhile_ends_with_what_was_made(azure: Azure) -> None:
    azure.control.fault("status", "PUT vaults", status=403)
    told = azure.run()
    assert "lacks Microsoft.KeyVault/vaults/write on" in told.problem
    assert told.problem.endswith("identity shop-hosts. The next run goes on from there.")
    assert azure.run().made[0] == "vault shop"


@pytest.mark.parametrize("kind", ["workspaces", "eventSubscriptions"])
def test_what_azure_fails_to_make_is_made_by_the_next_run(azure: Azure, kind: str) -> None:
    azure.more = ALL
    azure.control.set(polls=1)
    azure.control.fault("failed", f"PUT {kind}")
    assert "and tells that it failed: its activity log in the portal says why" in azure.run().problem
    assert azure.run().problem == ""
    assert azure.writes()[f"PUT {kind.lower()}"] == 1
    assert azure.run().plan == []


def test_pages_are_turned(azure: Azure) -> None:
    azure.run()
    azure.control.set(page=1)
    assert azure.run().plan == []


def test_a_name_that_somebody_has(azure: Azure) -> None:
    azure.control.vault("shop", subscription="00000000-0000-4000-8000-0000000000ff")
    assert "The name shop is taken, by somebody else's vault" in azure.refused()


def test_a_deleted_vault_comes_back_where_that_is_asked_for(azure: Azure) -> None:
    azure.run()
    azure.control.put("shop", "a", "value")
    azure.control.delete_vault("shop")
    assert "recover it with -e recover=true" in azure.refused()
    plan = azure.run(recover=True, check=True).plan
    assert plan[0].startswith("recover vault shop: ") and azure.writes() == {}
    told = azure.run(recover=True, confirm="")
    assert told.problem == ""
    assert told.made[0] == "vault shop" and "Key Vault Secrets User for the identity shop-hosts" in told.made
    with keyvault.Vault(azure.wanted().keyvault, write=True) as vault:
        assert "a" in (vault.listing() or {})
    assert azure.run().plan == []


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"retention_days": 30}, "keeps what is deleted for 90 days, which cannot be changed"),
        ({"purge_protection": False}, "has purge protection, which cannot be switched off"),
        ({"location": "northeurope"}, "is in westeurope and cannot move"),
    ],
)
def test_what_cannot_come_back_as_it_is_to_be_stays_deleted(azure: Azure, more: dict[str, Any], sentence: str) -> None:
    azure.run()
    azure.control.delete_vault("shop")
    plan = azure.run(recover=True, check=True).plan
    assert plan[1] == "change vault shop: enableRbacAuthorization true; enableSoftDelete true"
    azure.more = more
    assert sentence in azure.refused(recover=True)


def test_a_deleted_vault_of_somebody_else(azure: Azure) -> None:
    azure.control.vault("shop", group="shop")
    azure.emulator.world.vaults["shop"].tags["coffre-owner"] = "other"
    azure.control.delete_vault("shop")
    assert "which is not of shop, and stays taken until" in azure.refused(recover=True)


def test_a_vault_without_our_tag(azure: Azure) -> None:
    azure.run()
    azure.emulator.world.vaults["shop"].tags.clear()
    told = azure.refused()
    assert f"run 'az tag update --resource-id {VAULT} --operation Merge --tags coffre-owner=shop'" in told


def test_a_retention_cannot_be_changed(azure: Azure) -> None:
    azure.run()
    azure.more = {"retention_days": 30}
    assert "for 90 days, which cannot be changed, and retention_days in stack_vault is 30" in azure.refused()


def test_another_tenants_identity(azure: Azure) -> None:
    azure.control.identity("stranger", tenant="22222222-0000-4000-8000-000000000000")
    told = azure.refused("stranger")
    assert "run 'az login --tenant 11111111-0000-4000-8000-000000000000'" in told


def test_another_subscription(azure: Azure) -> None:
    azure.more = {"subscription": "00000000-0000-4000-8000-0000000000ff"}
    assert "There is no subscription 00000000-0000-4000-8000-0000000000ff" in azure.refused()


@pytest.mark.parametrize(
    ("namespace", "more"),
    [
        ("Microsoft.KeyVault", {}),
        ("Microsoft.OperationalInsights", {}),
        ("Microsoft.ManagedIdentity", {}),
        ("Microsoft.Insights", {}),
        ("Microsoft.EventGrid", {"action_group": ACTIONS}),
    ],
)
def test_a_resource_provider_that_is_not_registered(azure: Azure, namespace: str, more: dict[str, Any]) -> None:
    azure.more = more
    azure.control.provider(namespace, registered=False)
    assert f"--subscription {SUBSCRIPTION} --namespace {namespace}'" in azure.refused()
    azure.control.provider(namespace, registered=True)
    assert azure.run().problem == ""


def test_somebody_who_may_nothing(azure: Azure) -> None:
    azure.control.identity("nobody")
    assert "lacks Microsoft.Resources/subscriptions/resourceGroups/read on" in azure.refused("nobody")
    azure.run()
    told = azure.refused("nobody")
    assert f"--assignee-object-id {guid('object/nobody')}" in told


@pytest.mark.parametrize(
    ("role", "lacks"),
    [
        ("Reader", "lacks Microsoft.Resources/subscriptions/resourceGroups/write on"),
        ("Contributor", "lacks Microsoft.Authorization/roleAssignments/write on"),
    ],
)
def test_a_right_that_is_lacking_is_told_before_the_first_step(azure: Azure, role: str, lacks: str) -> None:
    azure.control.identity("clerk")
    azure.control.assign("clerk", role)
    assert lacks in azure.refused("clerk")
    plan = azure.run("clerk", check=True)
    assert len(plan.plan) == 7 and lacks in "".join(plan.notes)
    azure.run()
    assert azure.run("clerk").plan == []


def test_a_right_at_another_groups_workspace_is_asked_for_too(azure: Azure) -> None:
    azure.run()
    other = GROUP.replace("shop", "other")
    azure.control.resource(other, {"location": "westeurope"})
    azure.more = {"workspace": f"{other}/providers/Microsoft.OperationalInsights/workspaces/central"}
    azure.control.resource(azure.more["workspace"], {"location": "westeurope"})
    azure.control.identity("clerk")
    azure.control.assign("clerk", "Reader")
    azure.control.assign("clerk", "Contributor", GROUP)
    lacks = f"lacks Microsoft.OperationalInsights/workspaces/sharedKeys/action on {azure.more['workspace']}: "
    assert lacks in azure.refused("clerk")
    assert azure.run().made == ["diagnostic setting coffre"]


def test_an_identity_writes_only_where_that_is_said(azure: Azure) -> None:
    azure.more = {"identity": "", "writers": [{"principal": OPERATOR, "type": "ServicePrincipal"}]}
    azure.run()
    other = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/robot"
    azure.more = {"identity": "robot"}
    assert azure.run().problem == ""
    robot = {"principal": guid(f"object/{other.lower()}"), "type": "ServicePrincipal"}
    azure.more = {"identity": "robot", "writers": [robot]}
    assert "in `writers` is a managed identity, which every process of its machine can use" in azure.refused()
    azure.more = {"identity": "robot", "identity_writes": True}
    told = azure.run()
    assert told.made == ["Key Vault Secrets Officer for the identity robot"]
    assert run.LATE in told.notes
    assert any(
        "every process of a machine that has it can replace and delete every secret" in each for each in told.notes
    )


def test_an_identity_that_writes_already_is_no_writer_either(azure: Azure) -> None:
    azure.run()
    hosts = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop-hosts".lower()
    azure.control.assign(hosts, "Key Vault Secrets Officer", VAULT)
    azure.more = {"writers": [{"principal": guid(f"object/{hosts}"), "type": "ServicePrincipal"}]}
    assert "in `writers` is a managed identity" in azure.refused()
    (rights,) = (each for each in provisioned.examine(azure.wanted()) if each.check == "vault rights")
    assert not rights.ok and f"the writer {guid(f'object/{hosts}')} is a managed identity" in rights.message
    azure.more = {**azure.more, "identity_writes": True}
    assert azure.run().plan == []


@pytest.mark.parametrize(
    ("more", "body", "sentence"),
    [
        ({"action_group": ACTIONS}, {}, f"The action group {ACTIONS} is not there: correct `action_group`"),
        ({"subnets": [NET]}, {}, f"The subnet {NET} is not there: correct `subnets`"),
        (
            {"subnets": [NET]},
            {"properties": {"serviceEndpoints": [{"service": "Microsoft.Storage"}]}},
            f"--ids {NET} --service-endpoints Microsoft.Storage Microsoft.KeyVault'",
        ),
    ],
    ids=["no action group", "no subnet", "no service endpoint"],
)
@pytest.mark.parametrize("check", [True, False])
def test_what_the_vault_is_to_name_is_looked_up_first(
    azure: Azure, more: dict[str, Any], body: dict[str, Any], sentence: str, check: bool
) -> None:
    azure.more = more
    azure.control.resource(more.get("subnets", [ACTIONS])[0], body)
    assert sentence in azure.refused(check=check)


def test_the_right_to_name_a_subnet_is_asked_for_before_the_first_step(azure: Azure) -> None:
    azure.more = {"subnets": [NET], "purge_protection": False}
    azure.run()
    azure.control.identity("clerk")
    azure.control.assign("clerk", "Reader")
    azure.control.assign("clerk", "Key Vault Contributor")
    azure.more |= {"addresses": ["203.0.113.7"]}
    assert "joinVia" not in "".join(azure.run("clerk", check=True).notes)  # the rule is there already
    azure.emulator.world.vaults["shop"].settings["networkAcls"] = None
    told = azure.refused("clerk")
    assert f"lacks Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action on {NET}: " in told
    assert 'create --role "Network Contributor"' in told


@pytest.mark.parametrize("public", ["Disabled", "SecuredByPerimeter", "securedByPerimeter"])
def test_a_vault_that_others_shut_stays_shut_and_its_rules_are_said_to_count_for_nothing(
    azure: Azure, public: str
) -> None:
    azure.run()
    vault = azure.emulator.world.vaults["shop"]
    vault.settings["publicNetworkAccess"] = public
    assert azure.run().notes == []
    azure.more = {"addresses": ["203.0.113.7"]}
    told = azure.run()
    assert told.made == ["vault shop"] and vault.settings["publicNetworkAccess"] == public
    assert told.notes[0].startswith(f"publicNetworkAccess of the vault shop is {public}, which this keeps: ")
    assert told.notes[1:] == [
        "The vault shop keeps this machine out: let it in by a private endpoint or a network security perimeter if "
        "make ensure-secrets is to run here."
    ]
    assert azure.run().plan == []


PAST = 60.0  # a pause in s that outlasts the limit
UNDER_WAY = ["/workspaces/shop-audit", "/vaults/shop", "/eventsubscriptions/coffre-expiry"]


@pytest.mark.parametrize("ending", UNDER_WAY)
def test_what_another_run_is_making_is_waited_for(azure: Azure, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was killed, or that runs at the same time."""
    azure.more = {"action_group": ACTIONS}
    azure.run()
    (made,) = (each for key, each in azure.emulator.world.resources.kept.items() if key.endswith(ending))
    made.pending = 3
    assert azure.run().plan == []
    assert made.pending == 0
    made.pending = 9
    monkeypatch.setattr(keyvault, "BACKOFF", (0.01, PAST))
    told = azure.refused()
    assert f"did not come to an end within 20 s ({made.id.rpartition('/')[2]} is " in told
    assert "run again later" in told


def test_a_group_that_is_being_deleted_is_waited_for(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    azure.control.resource(GROUP, {"properties": {"provisioningState": "Deleting"}})
    monkeypatch.setattr(keyvault, "BACKOFF", (0.01, PAST))
    assert "within 20 s (shop is Deleting): run again later" in azure.refused()


def test_a_shut_vault_says_that_this_machine_is_outside(azure: Azure) -> None:
    azure.run()
    azure.more = {"addresses": ["203.0.113.7"]}
    azure.control.vault("shop", closed="ForbiddenByFirewall")
    told = azure.run()
    assert told.problem == ""
    assert any("keeps this machine at " in note and "out: add its address" in note for note in told.notes)


def test_more_diagnostic_settings_than_azure_allows(azure: Azure) -> None:
    azure.run()
    world = azure.emulator.world
    kept = world.resources.kept
    ours = next(each for key, each in kept.items() if key.endswith("/diagnosticsettings/coffre"))
    elsewhere = {**ours.body["properties"], "workspaceId": None, "storageAccountId": "/s"}
    azure.control.resource(ours.id, {})
    for number in range(5):
        azure.control.resource(ours.id.replace("coffre", f"other{number}"), {"properties": elsewhere})
    assert "has 5 diagnostic settings, none of which sends AuditEvent to the workspace" in azure.refused()


def test_who_writes_elsewhere_is_not_tried_and_no_failure(azure: Azure, tmp_path: Path) -> None:
    """A certificate that lies on a host only."""
    writer = {"type": "client_certificate", "tenant_id": "t", "client_id": "c", "certificate": str(tmp_path / "none")}
    azure.writer = writer
    told = azure.run()
    assert told.problem == ""
    assert any(note.startswith("The vault was not tried from here: ") for note in told.notes)


def test_a_right_that_others_gave_meanwhile_is_no_failure(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the act, under another name."""
    azure.run()
    monkeypatch.setattr(look, "around", lambda _manager, _wanted, seen: seen.settings.append(SENT))
    for each in azure.emulator.world.rights.assignments:
        each.name = guid(each.name)
    told = azure.run()
    assert (len(told.plan), told.made, told.problem) == (2, [], "")


def test_what_is_begun_may_not_be_there_yet(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 202 that names no place to ask, and a GET that comes too early."""

    def answer(status: int, body: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(status_code=status, headers={}, content=b"{}", json=lambda: body)

    made = {"properties": {"provisioningState": "Succeeded"}}
    early = arm.Refused(Fault(404, "ResourceNotFound", "", "", None), "GET", VAULT, {})
    answers: list[Any] = [answer(202, {}), early, answer(200, made)]

    def ask(*_: Any) -> Any:
        if isinstance(found := answers.pop(0), Exception):
            raise found
        return found

    monkeypatch.setattr(arm.Manager, "_ask", ask)
    with arm.Manager(azure.wanted().keyvault, azure.wanted().credential) as manager:
        assert manager.put("vault", VAULT, {}) == made


PENDING = [
    ("ResourceGroupNotFound", "PUT"),
    ("PrincipalNotFound", "PUT"),
    ("AnotherOperationInProgress", "PUT"),
    ("AnotherOperationInProgress", "PATCH"),
]


@pytest.mark.parametrize(("code", "method"), PENDING)
def test_what_was_made_just_now_may_not_be_known_yet(code: str, method: str) -> None:
    assert arm.Manager._passes(Fault(400, code, "", "", None), method)
    assert not arm.Manager._passes(Fault(400, code, "", "", None), "GET")
    assert not arm.Manager._passes(Fault(400, "BadRequest", "", "", None), method)


@pytest.mark.parametrize("link", ["https://elsewhere.invalid/a/b?c=1", "http://management.azure.com:80/a/b?c=1"])
def test_no_link_of_an_answer_leads_the_token_elsewhere(azure: Azure, link: str) -> None:
    with arm.Manager(azure.wanted().keyvault, azure.wanted().credential) as manager:
        assert manager._local(link) == "https://management.azure.com/a/b?c=1"
        assert manager._local("") == ""
