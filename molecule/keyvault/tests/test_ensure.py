"""ensure-secrets makes what the vault lacks, once, and says what it never makes."""

from __future__ import annotations

from typing import Any

import pytest
from machines import fetch
from staging import MADE, STACK, play, versions

from tests.keyvault_emulator.control import Control

testinfra_hosts = ["ansible://debian13"]


def said(output: str) -> str:
    return " ".join(output.split())


def test_an_empty_vault_is_refused_with_every_name(staging: Any) -> None:
    assert staging.unfilled.status != 0
    assert all(name in staging.unfilled.output for name in [*MADE, "proxy-tls"])
    assert "make ensure-secrets" in said(staging.unfilled.output)


def test_check_mode_tells_and_makes_nothing(staging: Any) -> None:
    assert staging.checked.status == 0, staging.checked.output
    assert "would be made: " in staging.checked.output
    assert all(name in staging.checked.output for name in MADE)


def test_it_makes_what_is_missing_and_leaves_the_certificate_to_a_person(staging: Any) -> None:
    assert staging.filled.status == 0, staging.filled.output
    assert "made: " in staging.filled.output and staging.filled.recap["debian13"]["changed"] == 1
    assert "az keyvault secret set" in staging.filled.output and "proxy-tls" in staging.filled.output


def test_it_never_makes_a_second_version(staging: Any) -> None:
    assert staging.filled_again.status == 0, staging.filled_again.output
    assert staging.filled_again.recap["debian13"]["changed"] == 0
    assert "kept: " in staging.filled_again.output


def test_staging_is_deployed_with_the_vaults_versions(staging: Any, host: Any) -> None:
    assert staging.deployed.status == 0, staging.deployed.output
    assert sorted(versions(host)) == [*MADE, "proxy-tls"]
    answer = fetch(host, "/ready", ca="/etc/ssl/staging-ca.pem", url="https://staging.test")
    assert answer[0] == 200, answer


def test_a_deleted_name_is_recovered_only_when_told(vault: Control) -> None:
    vault.delete(STACK, "flask-secret-key")
    refused = play("ensure_secrets")
    assert refused.status != 0 and "flask-secret-key" in refused.output and "recover=true" in refused.output
    recovered = play("ensure_secrets", "-e", "recover=true")
    assert recovered.status == 0 and "recovered: flask-secret-key" in recovered.output, recovered.output


@pytest.mark.usefixtures("untouched")
def test_an_unchanged_vault_costs_one_page(vault: Control) -> None:
    vault.count(reset=True)
    again = play("site")
    assert again.status == 0 and again.recap["debian13"]["changed"] == 0, again.output
    calls = vault.count()
    assert (calls.get("list"), calls.get("get", 0)) == (1, 0), calls
