"""What the doctor says of the vault itself: of a good one nothing, and of each that is worse what is worse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.doctor import provisioned
from ansible_collections.coffre.stack.plugins.module_utils.doctor.target import Check
from tests.keyvault_emulator.access import guid
from tests.keyvault_emulator.world import MACHINE
from tests.unit.keyvault_vault.azure import ACTIONS, GROUP, OPERATOR, VAULT, Azure

HOSTS = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop-hosts"
GOOD: dict[str, Any] = {"action_group": ACTIONS, "machines": [MACHINE], "addresses": ["203.0.113.7", "127.0.0.1"]}


def examined(azure: Azure, who: str = "operator") -> dict[str, Check]:
    return {each.check: each for each in provisioned.examine(azure.wanted(who))}


def made(azure: Azure) -> None:
    """A vault as good as can be; whoever made it owns the subscription, which it inherits."""
    azure.more = GOOD
    assert azure.run().problem == ""


def test_a_good_vault_has_nothing_but_what_it_inherits(azure: Azure) -> None:
    made(azure)
    azure.control.count(reset=True)
    found = examined(azure)
    assert azure.writes() == {}
    assert list(found) == list(provisioned.LOOKS)
    assert all(each.ok for each in found.values())
    assert [name for name, each in found.items() if each.warn] == ["vault rights"]
    assert found["vault rights"].message == (
        f"inherited: Owner for ServicePrincipal {OPERATOR} from {VAULT.lower().partition('/resourcegroups')[0]}"
    )
    assert found["vault network"].message == "reached from 2 networks and 0 subnets only"


def vault(**more: Any) -> Callable[[Azure], None]:
    def plant(azure: Azure) -> None:
        for name, value in more.items():
            setattr(azure.emulator.world.vaults["shop"], name, value)

    return plant


def rules(told: Any, public: str | None = None) -> Callable[[Azure], None]:
    def plant(azure: Azure) -> None:
        azure.emulator.world.vaults["shop"].settings |= {"networkAcls": told, "publicNetworkAccess": public}

    return plant


def without(kind: str) -> Callable[[Azure], None]:
    """What hangs on the vault is gone."""

    def plant(azure: Azure) -> None:
        kept = azure.emulator.world.resources.kept
        for key in [key for key in kept if f"/{kind}/" in key]:
            del kept[key]

    return plant


def elsewhere(azure: Azure) -> None:
    kept = azure.emulator.world.resources.kept
    next(each for key, each in kept.items() if "/diagnosticsettings/" in key).body["properties"]["workspaceId"] = "/w"


def assign(identity: str, role: str, scope: str = VAULT) -> Callable[[Azure], None]:
    def plant(azure: Azure) -> None:
        if identity not in azure.emulator.world.identities:
            azure.control.identity(identity)
        azure.control.assign(identity, role, scope)

    return plant


# What is planted, which check tells of it, whether that passes, and what it says.
WORSE: dict[str, tuple[Callable[[Azure], None], str, bool, str]] = {
    "no RBAC": (vault(model="policy"), "vault rights", False, "goes by access policies"),
    "no purge protection": (vault(purge_protection=False), "vault deletion", False, "has no purge protection"),
    "no audit": (without("diagnosticsettings"), "vault audit", False, "no diagnostic setting of the vault shop"),
    "audit elsewhere": (elsewhere, "vault audit", True, "AuditEvent goes elsewhere than to the workspace"),
    "no rules": (rules(None), "vault network", True, "every address reaches the vault shop"),
    "rules that let all in": (rules({"defaultAction": "Allow"}), "vault network", True, "every address reaches"),
    "no alert": (without("eventsubscriptions"), "vault alert", True, "nobody is told of secrets that expire soon"),
    "a reader that writes": (
        assign(HOSTS.lower(), "Key Vault Secrets Officer"),
        "vault rights",
        False,
        "holds more than Key Vault Secrets User: Key Vault Secrets Officer",
    ),
    "a reader that owns": (
        assign(HOSTS.lower(), "Owner", GROUP),
        "vault rights",
        False,
        "holds more than Key Vault Secrets User: Owner",
    ),
    "a stranger": (
        assign("stranger", "Key Vault Secrets User"),
        "vault rights",
        True,
        f"not in the inventory: Key Vault Secrets User for ServicePrincipal {guid('object/stranger')}",
    ),
    "a stranger above": (
        assign("stranger", "Key Vault Administrator", GROUP),
        "vault rights",
        True,
        f"inherited: Key Vault Administrator for ServicePrincipal {guid('object/stranger')} from {GROUP.lower()}",
    ),
    "a stranger below": (
        assign("stranger", "Key Vault Secrets User", f"{VAULT}/secrets/a"),
        "vault rights",
        True,
        f"not in the inventory: Key Vault Secrets User for ServicePrincipal {guid('object/stranger')}",
    ),
}


@pytest.mark.parametrize("case", WORSE)
def test_what_is_worse_is_told(azure: Azure, case: str) -> None:
    plant, name, ok, sentence = WORSE[case]
    made(azure)
    plant(azure)
    found = examined(azure)
    assert (found[name].ok, found[name].warn) == (ok, ok)
    assert sentence in found[name].message
    # All else is as of a good vault.
    assert {key for key, each in found.items() if each.warn or not each.ok} == {name, "vault rights"}


def test_an_identity_that_is_to_write_is_no_reader_with_too_much(azure: Azure) -> None:
    azure.more = {**GOOD, "identity_writes": True}
    assert azure.run().problem == ""
    assert examined(azure)["vault rights"].ok


def test_a_shut_vault_needs_no_rules(azure: Azure) -> None:
    made(azure)
    rules(None, "Disabled")(azure)
    assert examined(azure)["vault network"].message == "reached by private endpoints only"


@pytest.mark.parametrize("spelling", ["SecuredByPerimeter", "securedByPerimeter"])
def test_a_vault_behind_a_perimeter_is_not_open(azure: Azure, spelling: str) -> None:
    made(azure)
    rules(None, spelling)(azure)
    told = examined(azure)["vault network"]
    assert (told.ok, told.warn) == (True, False)
    assert told.message == ("reached by private endpoints, and by what its network security perimeter lets in, only")


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_who_may_not_look_says_so_in_one_line(azure: Azure, who: str) -> None:
    made(azure)
    azure.control.identity("nobody")
    azure.control.identity("stranger", tenant="22222222-0000-4000-8000-000000000000")
    (told,) = examined(azure, who).values()
    assert (told.check, told.ok, told.warn) == ("vault itself", True, True)
    assert told.message.startswith("not checked: ")


# What is refused, which check that leaves undone ("vault itself" for a part of one), and what its line names.
UNSEEN = {
    "GET roleAssignments": ("vault rights", "Microsoft.Authorization/roleAssignments/read on "),
    "GET diagnosticSettings": ("vault audit", "Microsoft.Insights/diagnosticSettings/read on "),
    "GET eventSubscriptions": ("vault alert", "Microsoft.EventGrid/eventSubscriptions/read on "),
    "GET virtualMachines": (
        "vault itself",
        f"the machine {MACHINE}. The identity {OPERATOR} lacks Microsoft.Compute/virtualMachines/read on {MACHINE}: ",
    ),
    "GET userAssignedIdentities": ("vault itself", "the identity shop-hosts. The identity "),
}


@pytest.mark.parametrize("refused", UNSEEN)
@pytest.mark.parametrize("status", [403, 409])
def test_what_cannot_be_seen_hides_nothing_else(azure: Azure, refused: str, status: int) -> None:
    name, words = UNSEEN[refused]
    made(azure)
    vault(purge_protection=False)(azure)
    azure.more = {**GOOD, "writers": [{"principal": OPERATOR, "type": "User"}]}  # so that nobody is looked up by a list
    azure.control.fault("status", refused, count=0, status=status)
    listed = provisioned.examine(azure.wanted())
    found = {each.check: each for each in listed}
    assert [each.check for each in listed] == list(provisioned.LOOKS) + ["vault itself"] * (name == "vault itself")
    assert (found[name].ok, found[name].warn) == (True, True)
    assert found[name].message.startswith("not checked: ")
    assert words in found[name].message or status == 409
    assert not found["vault deletion"].ok
    assert all(each.ok for check, each in found.items() if check != "vault deletion")
    vault(model="policy")(azure)  # which the vault tells itself
    rights = examined(azure)["vault rights"]
    assert not rights.ok and "goes by access policies" in rights.message


def test_what_is_not_known_of_the_inventory_accuses_nobody(azure: Azure) -> None:
    """The identity's own right looks like a stranger's where nobody may tell whose it is."""
    made(azure)
    azure.control.fault("status", "GET userAssignedIdentities", count=0, status=403)
    found = examined(azure)
    assert "not in what could be seen of the inventory: Key Vault Secrets User for" in found["vault rights"].message


def test_a_machine_is_judged_where_the_other_identities_are_not_seen(azure: Azure) -> None:
    own = guid("object/host")
    azure.more = {**GOOD, "writers": [{"principal": own, "type": "User"}]}
    assert azure.run().problem == ""
    azure.more = {**GOOD, "writers": [{"principal": own, "type": "ServicePrincipal"}]}
    azure.control.fault("status", "GET userAssignedIdentities", count=0, status=403)
    found = provisioned.examine(azure.wanted())
    assert [each.message.partition(". ")[0] for each in found[-2:]] == [
        "not checked: the identity shop-hosts",
        "not checked: the managed identities",
    ]
    assert not found[0].ok and f"the writer {own} is a managed identity" in found[0].message


def test_weather_at_one_of_them_hides_nothing_else(azure: Azure) -> None:
    made(azure)
    azure.control.fault("status", "GET virtualMachines", count=0, status=503, retry_after=60)
    found = examined(azure)
    assert found["vault itself"].message.startswith(f"not checked: the machine {MACHINE}. Azure, or what proves")
    assert all(each.ok for each in found.values())


def test_a_vault_that_is_not_made_yet(azure: Azure) -> None:
    (told,) = examined(azure).values()
    assert told.message == "not checked: the vault shop is not in shop: run make vault"
