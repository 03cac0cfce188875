"""Who may do what: rights per identity, vault and secret, in the words of each permission model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import SecretClient

from tests.keyvault_emulator.access import guid
from tests.keyvault_emulator.roles import RIGHTS
from tests.keyvault_emulator.server import Emulator

from .conftest import Connect

CALLS: dict[str, Callable[[SecretClient], object]] = {
    "get": lambda client: client.get_secret("alpha"),
    "list": lambda client: list(client.list_properties_of_secrets()),
    "versions": lambda client: list(client.list_properties_of_secret_versions("alpha")),
    "set": lambda client: client.set_secret("alpha", "two"),
    "update": lambda client: client.update_secret_properties("alpha", content_type="x"),
    "delete": lambda client: client.begin_delete_secret("alpha"),
    "list_deleted": lambda client: list(client.list_deleted_secrets()),
    "get_deleted": lambda client: client.get_deleted_secret("beta"),
    "recover": lambda client: client.begin_recover_deleted_secret("beta"),
    "purge": lambda client: client.purge_deleted_secret("beta"),
    "backup": lambda client: client.backup_secret("alpha"),
}


def refusal(call: Callable[[SecretClient], object], client: SecretClient) -> tuple[str, str]:
    """The inner code and the message of a refusal."""
    with pytest.raises(HttpResponseError) as refused:
        call(client)
    assert refused.value.status_code == 403
    assert refused.value.error
    assert refused.value.error.code == "Forbidden"
    return str((refused.value.error.innererror or {}).get("code")), refused.value.error.message or ""


@pytest.fixture
def filled(emulator: Emulator) -> Emulator:
    emulator.control.put("coffre", "alpha", "one")
    emulator.control.put("coffre", "beta", "one")
    emulator.control.delete("coffre", "beta")
    return emulator


@pytest.mark.parametrize(
    ("operation", "right", "action", "scope"),
    [
        ("get", "get", "secrets/getSecret/action", "/secrets/alpha"),
        ("list", "list", "secrets/readMetadata/action", "/vaults/coffre"),
        ("versions", "list", "secrets/readMetadata/action", "/secrets/alpha"),
        ("set", "set", "secrets/setSecret/action", "/secrets/alpha"),
        ("update", "set", "secrets/update/action", "/secrets/alpha"),
        ("delete", "delete", "secrets/delete", "/secrets/alpha"),
        ("list_deleted", "list", "secrets/readMetadata/action", "/vaults/coffre"),
        ("get_deleted", "list", "secrets/readMetadata/action", "/secrets/beta"),
        ("recover", "recover", "secrets/recover/action", "/secrets/beta"),
        ("purge", "purge", "secrets/purge/action", "/secrets/beta"),
        ("backup", "backup", "secrets/backup/action", "/secrets/alpha"),
    ],
)
def test_role_that_lacks_one_right(
    filled: Emulator, connect: Connect, operation: str, right: str, action: str, scope: str
) -> None:
    filled.control.grant("operator", "coffre", [each for each in RIGHTS if each != right])
    code, message = refusal(CALLS[operation], connect())
    assert code == "ForbiddenByRbac"
    assert f"Action: 'Microsoft.KeyVault/vaults/{action}'" in message
    assert f"{scope}'\r\nAssignment: (not found)" in message
    assert f"oid={guid('object/operator')};" in message
    filled.control.grant("operator", "coffre", [right])
    CALLS[operation](connect())


@pytest.mark.parametrize(
    ("operation", "right", "inner"),
    [
        ("get", "get", "AccessDenied"),
        ("list", "list", "AccessDenied"),
        ("set", "set", "AccessDenied"),
        ("update", "set", "AccessDenied"),
        ("get_deleted", "get", "AccessDenied"),
        ("purge", "purge", "ForbiddenByPolicy"),
    ],
)
def test_access_policy_that_lacks_one_right(
    filled: Emulator, connect: Connect, operation: str, right: str, inner: str
) -> None:
    filled.control.vault("coffre", model="policy")
    filled.control.grant("operator", "coffre", [each for each in RIGHTS if each != right])
    code, message = refusal(CALLS[operation], connect())
    assert code == inner
    assert f"does not have secrets {right} permission on key vault 'coffre;location=" in message
    filled.control.grant("operator", "coffre", [right])
    CALLS[operation](connect())


def test_right_on_one_secret_only(filled: Emulator, connect: Connect) -> None:
    filled.control.revoke("host", "coffre")
    filled.control.grant("host", "coffre", ["get"], ["Alpha"])
    client = connect(identity="host")
    assert client.get_secret("alpha").value == "one"
    assert refusal(lambda each: each.get_secret("gamma"), client)[0] == "ForbiddenByRbac"
    assert refusal(CALLS["list"], client)[0] == "ForbiddenByRbac"


@pytest.mark.parametrize(
    ("closed", "message"),
    [
        ("ForbiddenByFirewall", "Client address is not authorized and caller is not a trusted service.\r\nClient add"),
        ("ForbiddenByConnection", "Public network access is disabled"),
    ],
)
def test_firewall_comes_before_rights(filled: Emulator, connect: Connect, closed: str, message: str) -> None:
    filled.control.vault("coffre", closed=closed)
    filled.control.revoke("operator", "coffre")
    code, said = refusal(CALLS["get"], connect())
    assert code == closed
    assert said.startswith(message)


def test_vaults_are_apart(filled: Emulator, connect: Connect) -> None:
    filled.control.vault("other")
    filled.control.grant("operator", "other", ["list", "set"])
    client = connect("other")
    client.set_secret("gamma", "one")
    assert [each.name for each in client.list_properties_of_secrets()] == ["gamma"]
    assert [each.name for each in connect().list_properties_of_secrets()] == ["alpha"]
