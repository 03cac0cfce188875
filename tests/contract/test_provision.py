"""What a run makes, as Microsoft's own clients read it: the same tests for the emulator and for a real subscription."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.keyvault.settings import OWNER
from ansible_collections.coffre.stack.plugins.module_utils.provision.resources import READER, WRITER
from tests.keyvault_emulator.server import Emulator
from tests.keyvault_emulator.world import MACHINE

from .subscription import REAL, Land


def test_clients_read_what_was_made(land: Land) -> None:
    done = land.run(tags={"cost": "42"}, retention_days=30, workspace_days=60)
    assert not done.problem, done.problem
    found = land.read()
    vault = found["vault"].properties
    assert (vault.enable_rbac_authorization, vault.enable_soft_delete) == (True, True)
    assert (vault.soft_delete_retention_in_days, vault.enable_purge_protection) == (30, None)
    assert (vault.provisioning_state, vault.sku.name) == ("Succeeded", "standard")
    assert found["vault"].tags == {OWNER: land.name, "cost": "42"}
    assert (found["workspace"].retention_in_days, found["workspace"].provisioning_state) == (60, "Succeeded")
    logs = [each for setting in found["settings"] for each in setting.logs if each.enabled]
    assert [each.category for each in logs] == ["AuditEvent"]
    assert found["settings"][0].workspace_id.lower() == found["workspace"].id.lower()
    here = {each for each in map(held, found["assignments"]) if each[0] in (READER, WRITER)}
    assert here == {(READER, found["identity"].principal_id), (WRITER, land.me())}


def held(assignment: Any) -> tuple[str, str]:
    """(role, principal) of an assignment."""
    return assignment.role_definition_id.rpartition("/")[2], assignment.principal_id


@pytest.mark.parametrize("more", [{}, {"addresses": ["203.0.113.7", "198.51.100.0/24"]}], ids=["open", "shut"])
def test_second_run_asks_and_changes_nothing(land: Land, more: dict[str, Any]) -> None:
    first = land.run(**more)
    second = land.run(**more)
    assert (first.problem, second.problem) == ("", "")
    assert (second.plan, second.made, second.calls["writes"]) == ([], [], 0)


def test_dry_run_leaves_nothing(land: Land) -> None:
    planned = land.run(check=True)
    assert [line.split(":")[0] for line in planned.plan][:3] == [
        f"make resource group {land.name}",
        f"make workspace {land.name}-audit",
        f"make identity {land.name}-hosts",
    ]
    with pytest.raises(HttpResponseError) as told:
        land.vaults.get(land.name, land.name)
    assert told.value.error and told.value.error.code == "ResourceGroupNotFound"


def test_what_others_set_is_kept(land: Land) -> None:
    land.run()
    vault = land.vaults.get(land.name, land.name)
    vault.tags["theirs"] = "kept"
    vault.properties.enabled_for_deployment = True
    land.vaults.begin_create_or_update(land.name, land.name, vault).wait()
    done = land.run(tags={"ours": "new"})
    assert f"change vault {land.name}: tags.ours new" in done.plan
    after = land.vaults.get(land.name, land.name)
    assert after.tags == {OWNER: land.name, "theirs": "kept", "ours": "new"}
    assert after.properties.enabled_for_deployment is True


def test_right_under_another_name_is_recognised(land: Land) -> None:
    land.run(writers=[])
    roles = f"/subscriptions/{land.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    body = {
        "properties": {
            "roleDefinitionId": f"{roles}/{WRITER}",
            "principalId": land.me(),
            "principalType": "User" if REAL else "ServicePrincipal",
        }
    }
    land.assignments.create(land.vault, str(uuid.uuid4()), body)
    assert land.run().plan == []


def test_deleted_vault_comes_back_only_when_asked(land: Land) -> None:
    land.run()
    land.vaults.delete(land.name, land.name)
    with pytest.raises(CoffreError, match="-e recover=true"):
        land.run()
    back = land.run(recover=True)
    assert not back.problem, back.problem
    found = land.read()
    assert {READER, WRITER} <= {held(each)[0] for each in found["assignments"]} and found["settings"]
    assert land.run().plan == []


def test_retention_cannot_change(land: Land) -> None:
    land.run(retention_days=30)
    with pytest.raises(CoffreError, match="30"):
        land.run(retention_days=31)


@pytest.mark.skipif(bool(REAL), reason="what a test of a real subscription has not: a machine and an action group")
def test_clients_read_the_alert_and_the_machine(land: Land, emulator: Emulator) -> None:
    group = f"{MACHINE.partition('/providers/')[0]}/providers/Microsoft.Insights/actionGroups/on-call"
    emulator.control.resource(group, {"properties": {"groupShortName": "oncall"}})
    done = land.run(action_group=group, machines=[MACHINE])
    assert not done.problem, done.problem
    event = land.event()
    assert event.filter.included_event_types == ["Microsoft.KeyVault.SecretNearExpiry"]
    assert (event.destination.endpoint_type, event.destination.action_groups) == ("MonitorAlert", [group])
    assert event.provisioning_state == "Succeeded"
    assert land.read()["identity"].id.lower() in emulator.world.attached()
    assert land.run(action_group=group, machines=[MACHINE]).plan == []
