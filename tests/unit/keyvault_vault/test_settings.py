"""What stack_vault may say; all that is wrong is told at once, before Azure is asked."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import arm
from ansible_collections.coffre.stack.plugins.module_utils.provision import settings
from tests.unit.keyvault_vault import given

KEYVAULT = {"url": "https://coffre.vault.azure.net"}


def test_the_least_that_must_be_said() -> None:
    found = settings.settings("demo", given.data(), KEYVAULT)
    assert (found.name, found.workspace, found.identity) == ("coffre", "demo-audit", "demo-hosts")
    assert (found.retention_days, found.purge_protection, found.identity_writes) == (90, True, False)
    assert found.tags == {"coffre-owner": "demo"}
    assert found.credential.type == "azure_cli"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "x"}, "unknown key `name`"),
    ({"subscription": "prod"}, "`subscription` must be the id"),
    ({"subscription": None}, "`subscription` must be the id"),
    ({"resource_group": "a/b"}, "`resource_group` must be"),
    ({"location": "West Europe"}, "`location` must be a region of Azure in one word"),
    ({"retention_days": 91}, "`retention_days` must be a whole number from 7 to 90"),
    ({"retention_days": True}, "`retention_days` must be"),
    ({"purge_protection": "yes"}, "`purge_protection` must be true or false"),
    ({"workspace": "/subscriptions/x"}, "`workspace` must be the name"),
    ({"workspace": ""}, "`workspace` must be the name"),
    ({"identity": "a b"}, "`identity` must be a name"),
    ({"machines": ["one"]}, "`machines` must be a list of ids"),
    ({"machines": given.MACHINE}, "`machines` must be a list of ids"),
    ({"machines": [given.MACHINE], "identity": ""}, "`machines` has virtual machines, and no `identity`"),
    ({"identity": "", "identity_writes": True}, "`identity_writes` is true, and no `identity`"),
    ({"readers": [given.PERSON]}, "`readers` must be a list of {principal"),
    ({"writers": [{"principal": given.PERSON}]}, "`writers` must be a list of {principal"),
    ({"writers": [{"principal": "me", "type": "User"}]}, "`writers` must be a list of {principal"),
    ({"writers": [{"principal": given.PERSON, "type": "Robot"}]}, "each type one of User, Group, ServicePrincipal"),
    ({"addresses": ["10.0.0.1"]}, "`addresses` must be a list of public IPv4"),
    ({"addresses": ["2001:db8::1"]}, "`addresses` must be a list of public IPv4"),
    ({"addresses": ["203.0.113.7/24"]}, "`addresses` must be a list of public IPv4"),
    ({"subnets": ["hosts"]}, "`subnets` must be a list of ids"),
    ({"action_group": "on-call"}, "`action_group` must be the id"),
    ({"tags": {"cost": 12}}, "`tags` must be texts"),
    ({"tags": {"cost": "1", "Cost": "2"}}, "`tags` must be texts"),
    ({"credential": {"type": "password"}}, "`credential` needs a `type`"),
]


@pytest.mark.parametrize(("more", "sentence"), WRONG, ids=[str(more) for more, _ in WRONG])
def test_what_makes_no_sense_is_refused(more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SourceError, match="stack_vault is wrong: ") as told:
        settings.settings("demo", given.data(**more), KEYVAULT)
    assert sentence in str(told.value)


def test_all_of_it_is_told_at_once() -> None:
    with pytest.raises(SourceError, match=r"`location`.*`retention_days`.*`subnets`"):
        settings.settings("demo", given.data(location=1, retention_days=0, subnets=7), KEYVAULT)
    with pytest.raises(SourceError, match="stack_vault is no mapping"):
        settings.settings("demo", None, KEYVAULT)


@pytest.mark.parametrize("name", ["coffre-owner", "Coffre-Owner"])
def test_nobody_takes_the_stacks_tag_away(name: str) -> None:
    found = settings.settings("demo", given.data(tags={name: "other", "cost": "12"}), KEYVAULT)
    assert found.tags == {"coffre-owner": "demo", "cost": "12"}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://coffre.vault.azure.net", "management.azure.com"),
        ("https://coffre.vault.azure.net:9442", "management.azure.com:9442"),
        ("https://coffre.vault.azure.cn", "management.chinacloudapi.cn"),
        ("https://coffre.vault.usgovcloudapi.net", "management.usgovcloudapi.net"),
    ],
)
def test_each_cloud_is_managed_in_its_own_place(url: str, host: str) -> None:
    assert arm.host_of(settings.settings("demo", given.data(), {"url": url}).keyvault) == host
