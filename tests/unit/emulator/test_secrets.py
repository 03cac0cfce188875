"""What a vault keeps, changes, forgets and gives back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient

from tests.keyvault_emulator.server import Emulator

from .conftest import Connect


def inner(error: HttpResponseError) -> str:
    """The code inside an error, as the SDK parsed it."""
    assert error.error
    return str((error.error.innererror or {}).get("code", ""))


def test_attributes_go_through(connect: Connect) -> None:
    starts, ends = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    before = datetime.now(UTC).replace(microsecond=0)
    connect().set_secret(
        "alpha", "one", content_type="text/plain", tags={"owner": "demo"}, not_before=starts, expires_on=ends
    )
    read = connect().get_secret("alpha").properties
    assert (read.not_before, read.expires_on) == (starts, ends)
    assert (read.content_type, read.tags, read.enabled) == ("text/plain", {"owner": "demo"}, True)
    assert (read.recovery_level, read.recoverable_days) == ("Recoverable+Purgeable", 90)
    assert read.created_on
    assert before <= read.created_on == (read.updated_on or before) <= datetime.now(UTC)
    assert re.fullmatch("[0-9a-f]{32}", read.version or "")


def test_new_version_inherits_nothing(connect: Connect) -> None:
    client = connect()
    first = client.set_secret("alpha", "one", content_type="x", tags={"a": "b"}, expires_on=datetime(2030, 1, 1))
    second = client.set_secret("Alpha", "two")
    assert (second.properties.tags, second.properties.content_type, second.properties.expires_on) == (None, None, None)
    assert client.get_secret("alpha").value == "two"
    assert client.get_secret("alpha", first.properties.version).value == "one"
    listed = {each.version for each in client.list_properties_of_secret_versions("alpha")}
    assert listed == {first.properties.version, second.properties.version}
    assert [each.name for each in client.list_properties_of_secrets()] == ["alpha"]


@pytest.mark.parametrize("value", ["", "é" * 12_800, "a" * 25_600, "-----BEGIN X-----\r\n\tAA==\n-----END X-----\n"])
def test_value_comes_back_as_it_is(connect: Connect, value: str) -> None:
    client = connect()
    client.set_secret("alpha", value)
    assert client.get_secret("alpha").value == value


@pytest.mark.parametrize(
    ("name", "value", "more"),
    [
        ("a_b", "one", {}),
        ("a" * 128, "one", {}),
        ("alpha", "a" * 25_601, {}),
        ("alpha", "é" * 12_801, {}),
        ("alpha", "one", {"tags": {f"tag{number}": "x" for number in range(16)}}),
        ("alpha", "one", {"tags": {"tag": "x" * 257}}),
        ("alpha", "one", {"content_type": "x" * 256}),
    ],
)
def test_limits(connect: Connect, name: str, value: str, more: dict[str, Any]) -> None:
    client = connect()
    with pytest.raises(HttpResponseError) as refused:
        client.set_secret(name, value, **more)
    assert refused.value.status_code == 400
    assert refused.value.error
    assert refused.value.error.code == "BadParameter"
    assert list(client.list_properties_of_secrets()) == []


def test_just_within_the_limits(connect: Connect) -> None:
    connect().set_secret("a" * 127, "one", tags={f"tag{number}": "x" * 256 for number in range(15)})


def test_update_changes_what_it_names_only(emulator: Emulator, connect: Connect) -> None:
    emulator.control.put("coffre", "alpha", "one", tags={"a": "b"}, created=1_700_000_000)
    client = connect()
    changed = client.update_secret_properties("alpha", content_type="x", expires_on=datetime(2030, 1, 1, tzinfo=UTC))
    read = client.get_secret("alpha")
    assert (read.value, read.properties.tags, read.properties.content_type) == ("one", {"a": "b"}, "x")
    assert read.properties.created_on == datetime.fromtimestamp(1_700_000_000, UTC)
    assert changed.updated_on
    assert changed.updated_on == read.properties.updated_on
    assert changed.updated_on > datetime(2026, 1, 1, tzinfo=UTC)


def test_disabled_version_is_listed_but_not_read(connect: Connect) -> None:
    client = connect()
    client.set_secret("alpha", "one", enabled=False)
    with pytest.raises(HttpResponseError, match="Operation get is not allowed on a disabled secret") as refused:
        client.get_secret("alpha")
    assert (refused.value.status_code, inner(refused.value)) == (403, "SecretDisabled")
    assert [each.enabled for each in client.list_properties_of_secrets()] == [False]
    client.update_secret_properties("alpha", enabled=True)
    assert client.get_secret("alpha").value == "one"


@pytest.mark.parametrize("attributes", [{"exp": 1_600_000_000}, {"nbf": 4_000_000_000}])
def test_dates_keep_nobody_from_reading(emulator: Emulator, connect: Connect, attributes: dict[str, int]) -> None:
    emulator.control.put("coffre", "alpha", "one", **attributes)  # type: ignore[arg-type]
    assert connect().get_secret("alpha").value == "one"


@pytest.mark.parametrize(("name", "version"), [("beta", None), ("alpha", "0" * 32)])
def test_what_is_not_there(connect: Connect, name: str, version: str | None) -> None:
    client = connect()
    client.set_secret("alpha", "one")
    with pytest.raises(
        ResourceNotFoundError, match=r"A secret with \(name/id\) .* was not found in this key"
    ) as refused:
        client.get_secret(name, version)
    assert refused.value.error
    assert refused.value.error.code == "SecretNotFound"


def gone(client: SecretClient) -> list[str | None]:
    """The names of the deleted secrets."""
    return [each.name for each in client.list_deleted_secrets()]


def test_deleted_name_is_blocked_until_recovered(connect: Connect) -> None:
    client = connect()
    made = client.set_secret("alpha", "one")
    deleted = client.begin_delete_secret("alpha").result()
    assert deleted.scheduled_purge_date
    assert deleted.deleted_date
    assert (deleted.scheduled_purge_date - deleted.deleted_date).days == 90
    assert deleted.recovery_id == "https://coffre.vault.azure.net/deletedsecrets/alpha"
    with pytest.raises(ResourceNotFoundError):
        client.get_secret("alpha")
    with pytest.raises(ResourceExistsError, match="in a deleted but recoverable state") as refused:
        client.set_secret("alpha", "two")
    assert inner(refused.value) == "ObjectIsDeletedButRecoverable"
    assert gone(client) == ["alpha"]
    assert client.get_deleted_secret("alpha").properties.version == made.properties.version
    client.begin_recover_deleted_secret("alpha").result()
    assert gone(client) == []
    assert client.get_secret("alpha").value == "one"
    with pytest.raises(ResourceNotFoundError, match="Deleted Secret not found: alpha"):
        client.get_deleted_secret("alpha")


def test_purge_frees_the_name_unless_the_vault_protects_it(emulator: Emulator, connect: Connect) -> None:
    client = connect()
    client.set_secret("alpha", "one")
    client.begin_delete_secret("alpha").result()
    emulator.control.vault("coffre", purge_protection=True, recoverable_days=7)
    assert client.get_deleted_secret("alpha").properties.recovery_level == "CustomizedRecoverable"
    with pytest.raises(HttpResponseError, match="purge protection is enabled for this vault") as refused:
        client.purge_deleted_secret("alpha")
    assert refused.value.status_code == 403
    emulator.control.vault("coffre", purge_protection=False)
    client.purge_deleted_secret("alpha")
    assert gone(client) == []
    client.set_secret("alpha", "two")


def test_deletion_and_recovery_take_their_time(emulator: Emulator, connect: Connect) -> None:
    client = connect()
    client.set_secret("alpha", "one")
    emulator.control.set(moving_seconds=60)
    client.begin_delete_secret("alpha")
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_secret("alpha")
    with pytest.raises(ResourceExistsError) as refused:
        client.set_secret("alpha", "two")
    assert inner(refused.value) == "ObjectIsBeingDeleted"
    emulator.control.set(moving_seconds=0)
    client.begin_recover_deleted_secret("alpha")
    emulator.control.set(moving_seconds=60)
    with pytest.raises(ResourceNotFoundError):
        client.get_secret("alpha")
    with pytest.raises(ResourceExistsError) as refused:
        client.set_secret("alpha", "two")
    assert inner(refused.value) == "ObjectIsBeingRecovered"


def test_backup_gives_all_versions_back(connect: Connect) -> None:
    client = connect()
    first = client.set_secret("alpha", "one")
    client.set_secret("alpha", "two")
    blob = client.backup_secret("alpha")
    assert blob
    assert b"one" not in blob
    with pytest.raises(ResourceExistsError):
        client.restore_secret_backup(blob)
    client.begin_delete_secret("alpha").result()
    client.purge_deleted_secret("alpha")
    assert client.restore_secret_backup(blob).name == "alpha"
    assert client.get_secret("alpha").value == "two"
    assert client.get_secret("alpha", first.properties.version).value == "one"
    with pytest.raises(HttpResponseError, match="corrupt"):
        client.restore_secret_backup(b"nonsense")
