"""What a vault refuses is told with every name at once; nothing changes on the host, and the stack goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machines import on_machine
from staging import MADE, PROXY_TLS, STACK, play, vault_settings, write_variables

from tests.keyvault_emulator.control import Control

testinfra_hosts = ["ansible://debian13"]

CANARY = "canary-Zx81_never-printed"
NOW = int(time.time())
TWO = ["extra-one", "extra-two"]


def put(vault: Control, value: str = CANARY) -> None:
    for name in TWO:
        vault.put(STACK, name, value)


def forbidden(vault: Control) -> None:
    put(vault)
    vault.revoke("host", STACK)
    vault.grant("host", STACK, ["list"])
    for name in (*MADE, "proxy-tls"):
        vault.grant("host", STACK, ["get"], [name])


# One that is not there, one whose value is read and refused, one that is not given; tests/unit/keyvault has every kind.
REFUSALS: list[tuple[Callable[[Control], None], tuple[str, ...]]] = [
    (lambda _: None, ("extra-one and extra-two are missing", "make ensure-secrets")),
    (lambda vault: put(vault, f"{CANARY}\n"), ("extra-one and extra-two cannot be used", "ends with a newline")),
    (
        forbidden,
        (
            "extra-one and extra-two may not be read",
            "Microsoft.KeyVault/vaults/secrets/getSecret/action",
            "az role assignment create",
        ),
    ),
]


@pytest.fixture
def extra(tmp_path: Path, vault: Control) -> str:
    """A catalogue with two more secrets, which the vault has never had."""
    for name in TWO:
        vault.delete(STACK, name, purge=True)
    own = [{"name": name, "consumers": ["app"], "strategy": "replace"} for name in TWO]
    return write_variables(tmp_path, stack_catalogue_own=[PROXY_TLS, *own])


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("plant", "sentences"),
    REFUSALS,
    ids=["missing", "newline", "no-permission"],
)
def test_secrets(plant: Callable[[Control], None], sentences: tuple[str, ...], vault: Control, extra: str) -> None:
    plant(vault)
    refused = play("site", "-vvv", "-e", extra)
    said = " ".join(refused.output.split())
    assert refused.status != 0
    for sentence in sentences:
        assert sentence in said, refused.output
    assert CANARY not in refused.output


@pytest.mark.usefixtures("untouched")
def test_another_tenant(vault: Control) -> None:
    vault.identity("host", system=True, tenant="22222222-0000-4000-8000-000000000000")
    refused = play("secrets")
    vault.identity("host", system=True)
    assert refused.status != 0
    assert "belongs to the tenant 11111111-0000-4000-8000-000000000000" in " ".join(refused.output.split())


@pytest.mark.usefixtures("vault", "untouched")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"url": "https://coffre-nowhere.vault.azure.net", "seconds": 5}, "coffre-nowhere"),
        ({"ca": "/etc/ssl/certs/ca-certificates.crt"}, "is not trusted"),
        ({"url": f"http://{STACK}.vault.azure.net"}, "url"),
    ],
    ids=["not-found", "not-trusted", "not-https"],
)
def test_the_vault_itself(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    refused = play("secrets", "-e", vault_settings(tmp_path, **change))
    assert refused.status != 0
    assert sentence in " ".join(refused.output.split()), refused.output


def test_an_expired_version_can_be_a_warning(vault: Control, tmp_path: Path) -> None:
    value = on_machine(f"cat /run/coffre/{STACK}/app/*/flask-secret-key | tail -n 1")
    vault.put(STACK, "flask-secret-key", value, exp=NOW - 60)
    refused = play("secrets")
    warned = play("secrets", "-e", vault_settings(tmp_path, expired="warn"))
    vault.put(STACK, "flask-secret-key", value)
    assert play("site").status == 0
    assert refused.status != 0 and "flask-secret-key" in refused.output
    assert warned.status == 0 and "has expired on" in " ".join(warned.output.split()), warned.output
