"""Whatever the transient errors: a host has the old set or the new set, inside one time limit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from staging import STACK, containers, play, vault_settings, versions

from tests.keyvault_emulator.control import Control

testinfra_hosts = ["ansible://debian13"]


def renew(vault: Control, *names: str) -> dict[str, str]:
    """New versions of secrets by other hands; their ids."""
    return {name: vault.put(STACK, name, f"renewed-{time.time_ns()}-0123456789abcdef") for name in names}


# One that its library sees, one that ends a connection, and one of the machine's identity; tests/unit/keyvault has all.
FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 429, "retry_after": 1, "count": 3},
    {"kind": "half", "operation": "get", "count": 2},
    {"kind": "status", "status": 503, "operation": "token", "count": 2},
]


@pytest.mark.usefixtures("untouched")
def test_past_the_limit_the_run_fails(vault: Control, tmp_path: Path) -> None:
    vault.fault("status", status=503, count=0)
    began = time.monotonic()
    failed = play("secrets", "-e", vault_settings(tmp_path, seconds=4))
    took = time.monotonic() - began
    assert failed.status != 0 and "within 4 s" in " ".join(failed.output.split()), failed.output
    assert took < 20


@pytest.mark.usefixtures("untouched")
def test_or_goes_on_with_what_the_host_has(vault: Control, tmp_path: Path) -> None:
    vault.fault("reset", "token", count=0)
    kept = play("site", "-e", vault_settings(tmp_path, seconds=3, unavailable="keep"))
    assert kept.status == 0 and kept.recap["debian13"]["changed"] == 0, kept.output
    assert "goes on with the versions that it has" in " ".join(kept.output.split())


def test_a_vault_that_fails_midway_leaves_the_old_set_and_errors_that_pass_do_not(
    vault: Control, host: Any, tmp_path: Path
) -> None:
    before = versions(host)
    new = renew(vault, "audit-log-signing-key", "flask-secret-key")
    vault.fault("status", "get", name="flask-secret-key", status=503, count=0)
    assert play("secrets", "-e", vault_settings(tmp_path, seconds=3)).status != 0
    assert versions(host) == before
    vault.clear_faults()
    for fault in FAULTS:
        vault.fault(**fault)
    staged = play("secrets")
    assert staged.status == 0, staged.output
    assert versions(host).items() >= new.items()


def test_other_hands_change_what_nobody_checks_and_nothing_else(vault: Control, host: Any) -> None:
    assert play("site").status == 0
    before, ran = versions(host), containers(host)
    new = renew(vault, "flask-secret-key", "keycloak-service-client-secret", "keycloak-db-password")
    adopted = play("site")
    assert adopted.status == 0, adopted.output
    said = " ".join(adopted.output.split())
    for name in ("keycloak-service-client-secret", "keycloak-db-password"):
        assert f"another version of {name}" in said, adopted.output
    after = versions(host)
    assert after["flask-secret-key"] == new["flask-secret-key"]
    assert {name for name in after if after[name] != before[name]} == {"flask-secret-key"}
    assert {name for name, each in containers(host).items() if each != ran[name]} == {"app"}


def test_doctor_tells_of_the_drift(vault: Control) -> None:
    renew(vault, "keycloak-service-client-secret")
    examined = play("doctor")
    assert "keycloak-service-client-secret" in examined.output and "make rotate-secret" in examined.output
