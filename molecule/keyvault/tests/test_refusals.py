"""What a vault refuses is told with every name at once; nothing changes on the host, and the stack goes on.

Here by the host's own requests, through its own network and trust; tests/unit/keyvault has every kind of refusal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import adding
from staging import MADE, STACK, play, vault_settings

from tests.keyvault_emulator.control import Control

testinfra_hosts = ["ansible://debian13"]

CANARY = "canary-Zx81_never-printed"
EXTRA = ["extra-absent", "extra-line", "extra-shut"]


@pytest.fixture
def extra(vault: Control) -> Iterator[tuple[str, ...]]:
    """Arguments for three more secrets: one is not in the vault, one cannot be used, one may not be read."""
    vault.put(STACK, "extra-line", f"{CANARY}\n")
    vault.put(STACK, "extra-shut", CANARY)
    vault.revoke("host", STACK)
    vault.grant("host", STACK, ["list"])
    for name in (*MADE, "proxy-tls", "extra-absent", "extra-line"):
        vault.grant("host", STACK, ["get"], [name])
    yield adding([{"name": name, "strategy": "replace"} for name in EXTRA], app={"secrets": EXTRA})
    for name in EXTRA:
        vault.delete(STACK, name, purge=True)


@pytest.mark.usefixtures("untouched")
def test_secrets(extra: tuple[str, ...]) -> None:
    refused = play("site", "-vvv", *extra)
    said = " ".join(refused.output.split())
    assert refused.status != 0
    for sentence in (
        "extra-absent is missing",
        "make ensure-secrets",
        "extra-line cannot be used",
        "ends with a newline",
        "extra-shut may not be read",
        "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        "az role assignment create",
    ):
        assert sentence in said, refused.output
    assert CANARY not in refused.output


@pytest.mark.usefixtures("vault", "untouched")
def test_a_vault_that_the_host_does_not_trust(tmp_path: Path) -> None:
    refused = play("secrets", "-e", vault_settings(tmp_path, ca="/etc/ssl/certs/ca-certificates.crt"))
    assert refused.status != 0
    assert "is not trusted" in " ".join(refused.output.split()), refused.output
