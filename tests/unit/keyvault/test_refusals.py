"""Refusals: every secret concerned is named at once, with what to type; nothing of a value is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError, VaultUnavailable
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from tests.keyvault_emulator import certificates

from .conftest import LONG_AGO, Host

SOON_OVER = (0.01, 0.01, 18.0)  # pauses in s; the last leaves no time to read what it would have waited for
SOON = int(time.time()) + 86_400
READER = 'az role assignment create --role "Key Vault Secrets User" --assignee-object-id {} '


def refusal(host: Host) -> str:
    before = host.seen
    with pytest.raises(SourceError) as raised:
        host.run()
    assert not isinstance(raised.value, VaultUnavailable)
    assert "value of" not in str(raised.value)
    assert host.seen == before
    return str(raised.value)


def test_every_kind_and_every_secret_at_once(host: Host) -> None:
    host.fill("good")
    host.add("absent-a")
    host.add("absent-b", keyvault={"name": "Other"})
    attributes: dict[str, dict[str, Any]] = {
        "off": {"enabled": False},
        "early": {"nbf": SOON},
        "old": {"exp": LONG_AGO + 9},
        "long": {},
        "line": {},
        "blob": {},
        "gone": {},
    }
    for name, more in attributes.items():
        host.add(name, kind="bytes" if name == "blob" else "text")
        value = {"long": "x" * 25_601, "line": "value of line\n", "blob": "value of blob"}.get(name, "value of it")
        if name != "long":
            host.put(name, value, **more)
    host.control.delete("coffre", "gone")
    host.emulator.world.vaults["coffre"].put("long", "x", {}, LONG_AGO, "")
    host.emulator.world.vaults["coffre"].secrets["long"].versions[-1].value = "x" * 25_601
    told = refusal(host)
    assert told.startswith("The vault coffre does not give what the catalogue needs: ")
    for part in (
        "absent-a and absent-b (Other in the vault) are missing: run 'make ensure-secrets ENV=...'",
        "off is disabled: run 'az keyvault secret set-attributes --vault-name coffre --name off --enabled true'",
        "early is not valid yet: wait until 20",
        "old, on 2023-11-14T22:13:29Z, has expired: put in a new version, or set `expired`",
        "long cannot be used: the value is longer than 25600 bytes",
        "line cannot be used: the value ends with a newline: remove it, or set stack_secrets_trailing_newline to strip",
        "blob cannot be used: the value is neither base64 nor PEM",
        "gone is deleted, and can be recovered: run 'az keyvault secret recover --vault-name coffre --name gone'",
    ):
        assert part in told
    assert "good" not in told


@pytest.mark.parametrize("model", ["rbac", "policy"])
def test_what_right_is_lacking_and_who_grants_it(host: Host, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setattr(keyvault, "BACKOFF", SOON_OVER)
    host.control.vault("coffre", model=model)
    host.fill("one", "two", "three")
    host.control.revoke("host", "coffre")
    host.control.grant("host", "coffre", ["get", "list"], ["three"])
    who = host.emulator.world.identities["host"].object_id
    told = refusal(host)
    assert "one and two may not be read by this identity: " in told
    assert "three" not in told
    if model == "rbac":
        assert f"the identity {who} lacks Microsoft.KeyVault/vaults/secrets/getSecret/action on the vault" in told
        assert READER.format(who) in told
        assert told.count('/vaults/coffre"') == 1
    else:
        assert f"'az keyvault set-policy --name coffre --object-id {who} --secret-permissions get list'" in told


WAITED = "A right that was just given takes minutes to arrive, so this was asked again for "


def late(host: Host, calls: int) -> None:
    """The vault is yet to hear of every right."""
    for each in host.emulator.world.rights.assignments:
        each.late = calls


def test_a_first_read_waits_for_its_right_and_says_so(host: Host) -> None:
    host.fill("one", "two")
    late(host, 5)
    assert len(host.run()) == 2
    assert len(host.warnings) == 1 and host.warnings[0].startswith(WAITED)
    assert host.count()["get"] == 7
    host.run()
    assert host.warnings == []


def test_a_right_that_does_not_arrive_is_told_with_every_name(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyvault, "BACKOFF", SOON_OVER)
    host.fill("one", "two")
    host.control.revoke("host", "coffre")
    told = refusal(host)
    assert "one and two may not be read by this identity: " in told and told.endswith(" s.") and WAITED in told
    assert host.count()["get"] == 6


def test_a_right_that_was_taken_away_is_told_at_once(host: Host) -> None:
    host.fill("one", "two")
    host.run()
    host.control.revoke("host", "coffre")
    host.count()
    assert WAITED not in refusal(host)
    assert host.count()["get"] == 2


def test_another_vault_lets_nobody_in_yet(host: Host) -> None:
    """What a host holds of one vault is no right that it had at another."""
    host.fill("one")
    host.run()
    host.move("one")
    late(host, 2)
    assert host.run() == {"one": b"value of another"}
    assert host.warnings[0].startswith(WAITED)


@pytest.mark.parametrize("shut", [{"model": "policy"}, {"closed": "ForbiddenByFirewall"}])
def test_what_no_right_opens_is_not_waited_for(host: Host, shut: dict[str, str]) -> None:
    host.fill("one")
    host.control.revoke("host", "coffre")
    host.control.vault("coffre", **shut)
    assert WAITED not in refusal(host)
    assert host.count()["get"] == 1


def test_rights_that_a_read_can_do_without_are_not_waited_for(host: Host) -> None:
    """To list secrets, and to see the deleted ones."""
    host.fill("one")
    host.add("absent")
    host.control.revoke("host", "coffre")
    host.control.grant("host", "coffre", ["get"])
    assert WAITED not in refusal(host)
    count = host.count()
    assert (count["get"], count["get_deleted"], count["list"]) == (2, 1, 1)


def test_who_may_read_may_not_write(host: Host) -> None:
    with (
        keyvault.Vault(host.settings(), write=True) as vault,
        pytest.raises(
            SourceError, match=r'lacks Microsoft.KeyVault/vaults/secrets/setSecret/action.*"Key Vault Secrets O'
        ),
    ):
        vault.put("new", "value of new", tags={}, content_type="", expires=None)


def test_who_writes_is_told_all_that_writing_needs(host: Host) -> None:
    """The command replaces the rights that the identity has."""
    host.control.vault("coffre", model="policy")
    host.put("old", "value of old")
    host.control.delete("coffre", "old")
    told = []
    with keyvault.Vault(host.settings(), write=True) as vault:
        for work in (
            lambda: vault.put("new", "value of new", tags={}, content_type="", expires=None),
            lambda: vault.recover("old"),
        ):
            with pytest.raises(SourceError) as raised:
                work()
            told.append(str(raised.value))
    assert "'set'" in told[0] and "'recover'" in told[1]
    assert all("--secret-permissions get list set recover'" in each for each in told)


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ("ForbiddenByFirewall", "run 'az keyvault network-rule add --name coffre --ip-address 127.0.0.1'"),
        ("ForbiddenByConnection", "or give the host a private endpoint"),
        ("ForbiddenByNsp", "have an access rule of the perimeter let its address in"),
    ],
)
def test_the_vaults_firewall(host: Host, closed: str, words: str) -> None:
    host.fill("key")
    host.control.vault("coffre", closed=closed)
    told = refusal(host)
    assert "of the vault coffre keeps this host out" in told and words in told
    assert host.count()["get"] == 1


def test_another_tenant(host: Host) -> None:
    host.fill("key")
    other = "22222222-0000-4000-8000-000000000000"
    host.control.vault("coffre", tenant=other)
    told = refusal(host)
    assert f"The vault coffre belongs to the tenant {other}, and this identity to 11111111-" in told


def test_no_such_vault(host: Host) -> None:
    host.add("key")
    host.options["url"] = "https://nowhere.vault.azure.net"
    started = time.monotonic()
    assert "nowhere.vault.azure.net is not found, says the name service: check `url`" in refusal(host)
    assert time.monotonic() - started < 2


def test_a_certificate_that_is_not_trusted(host: Host, tmp_path_factory: pytest.TempPathFactory) -> None:
    host.fill("key")
    host.options["ca"] = str(certificates.ensure(tmp_path_factory.mktemp("another"))[0])
    started = time.monotonic()
    told = refusal(host)
    assert "The certificate of coffre.vault.azure.net is not trusted (" in told and "set `ca`" in told
    assert time.monotonic() - started < 2


def test_no_authority_in_the_file(host: Host, tmp_path_factory: pytest.TempPathFactory) -> None:
    host.fill("key")
    empty = tmp_path_factory.mktemp("empty") / "ca.pem"
    empty.write_text("value of ca")
    host.options["ca"] = str(empty)
    assert f"{empty} has no certificate of an authority" in refusal(host)


def test_expired_may_be_a_warning(host: Host) -> None:
    host.add("old", "key_ring")
    host.put("old", "value of old", exp=LONG_AGO + 9)
    host.options["expired"] = "warn"
    for _ in range(2):
        assert host.run() == {"old": b"value of old"}
        assert host.warnings == ["old has expired on 2023-11-14T22:13:29Z: put in a new version."]
    host.options["expired"] = "refuse"
    assert "old, on 2023-11-14T22:13:29Z, has expired" in refusal(host)


@pytest.mark.parametrize("change", [{"enabled": False}, {"exp": LONG_AGO + 9}, None])
def test_what_a_host_holds_is_refused_too(host: Host, change: dict[str, Any] | None) -> None:
    """The vault is what a lost host comes back from: what it no longer gives is told at once."""
    host.fill("key", "verified", strategy="keycloak_client")
    host.run()
    if change is None:
        host.control.delete("coffre", "key")
    else:
        version = host.emulator.world.vaults["coffre"].secrets["key"].versions[-1]
        for name, value in change.items():
            setattr(version, name, value)
        version.updated = LONG_AGO + 60
    assert "key" in refusal(host)
