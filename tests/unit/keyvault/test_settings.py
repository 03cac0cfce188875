"""The settings: every problem at once, before anything is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import settings as keyvault_settings
from ansible_collections.coffre.stack.plugins.module_utils.keyvault.settings import Credential

URL = "https://coffre.vault.azure.net"


def test_defaults() -> None:
    made = keyvault_settings.settings({"url": f"{URL}/"})
    assert (made.url, made.name, made.read, made.write) == (URL, "coffre", Credential(), Credential())
    assert (made.seconds, made.unavailable, made.expired, made.expires_soon_days) == (60, "fail", "refuse", 30)
    assert made.ca == Path("/etc/ssl/certs/ca-certificates.crt")


def test_two_identities() -> None:
    made = keyvault_settings.settings(
        {"url": URL, "credential": {"type": "managed_identity"}, "write_credential": {"type": "azure_cli"}}
    )
    assert (made.read.type, made.write.type) == ("managed_identity", "azure_cli")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://coffre.vault.azure.net"}, "`url` is 'http://coffre.vault.azure.net': use the form"),
        ({"url": "https://coffre.example.org"}, "`url` is"),
        ({"url": "https://ab.vault.azure.net"}, "`url` is"),
        ({"url": "https://a--b.vault.azure.net"}, "`url` is"),
        ({"url": "https://coffre.vault.azure.net.example.org"}, "`url` is"),
        ({"url": None}, "`url` is"),
        ({"seconds": 0}, "`seconds` must be a whole number from 1 to 3600"),
        ({"seconds": "60"}, "`seconds` must be"),
        ({"expires_soon_days": True}, "`expires_soon_days` must be"),
        ({"unavailable": "wait"}, "`unavailable` is 'wait': use one of fail, keep"),
        ({"expired": "ignore"}, "`expired` is 'ignore': use one of refuse, warn"),
        ({"ca": "ca.pem"}, "`ca` must be the absolute path"),
        ({"retries": 3}, "it has an unknown key `retries`"),
        ({"credential": "azure_cli"}, "`credential` needs a `type`: use one of default, managed_identity"),
        ({"credential": {"type": "client_secret"}}, "`credential` needs a `type`"),
        ({"credential": {"type": ["azure_cli"]}}, "`credential` needs a `type`"),
        ({"credential": {"type": "azure_cli", "client_id": "x"}}, "(azure_cli) has no use for `client_id`"),
        ({"credential": {"type": "client_certificate"}}, "(client_certificate) lacks `certificate`"),
        (
            {"write_credential": {"type": "workload_identity", "token_file": "token"}},
            "`write_credential.token_file` must be an absolute path",
        ),
        ({"credential": {"type": "azure_cli", "tenant_id": "a b"}}, "`credential.tenant_id` is 'a b'"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError) as raised:
        keyvault_settings.settings({"url": URL} | change)
    assert words in str(raised.value)


@pytest.mark.parametrize("data", [None, {}, [], "https://coffre.vault.azure.net", {"seconds": 1}])
def test_no_vault(data: Any) -> None:
    with pytest.raises(SourceError, match="needs stack_secrets_keyvault with the vault's `url`"):
        keyvault_settings.settings(data)


def test_everything_at_once() -> None:
    with pytest.raises(SourceError) as raised:
        keyvault_settings.settings({"url": "x", "seconds": 0, "expired": "", "credential": {"type": "x"}})
    assert str(raised.value).count(";") == 3


@pytest.mark.parametrize(("mode", "sound"), [(0o400, True), (0o600, True), (0o640, False), (0o604, False)])
def test_the_client_certificate_is_roots_alone(tmp_path: Path, mode: int, sound: bool) -> None:
    path = tmp_path / "client.pem"
    credential = Credential("client_certificate", "c", "t", path)
    settings = keyvault_settings.settings({"url": URL})
    assert "is missing" in keyvault_settings.blockers(settings, credential)[0]
    path.write_text("x")
    path.chmod(mode)
    assert bool(keyvault_settings.blockers(settings, credential)) is not sound


def test_files_that_are_not_there(tmp_path: Path) -> None:
    settings = keyvault_settings.settings({"url": URL, "ca": str(tmp_path / "ca.pem")})
    credential = Credential("workload_identity", token_file=tmp_path / "token")
    found = keyvault_settings.blockers(settings, credential)
    assert len(found) == 2 and "as `ca`, is no file" in found[0] and "token file" in found[1]
