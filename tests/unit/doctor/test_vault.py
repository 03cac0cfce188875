"""The doctor's comparison with the vault: what is wrong there is told, in versions and dates, and nothing is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.doctor import checks as doctor
from ansible_collections.coffre.stack.plugins.module_utils.doctor import files as doctor_files
from ansible_collections.coffre.stack.plugins.module_utils.doctor import target as examined
from ansible_collections.coffre.stack.plugins.module_utils.doctor import vault as doctor_vault
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.sources.keyvault import KeyVault
from tests.keyvault_emulator.control import Control
from tests.keyvault_emulator.server import Emulator
from tests.unit import described

DAY = 86400
NOW = int(time.time())
VAULT = "coffre"
CANARY = "canary-5c0b1d7e-canary"
API, DB, KEY, DISK, JOB = (digit * 32 for digit in "12345")
NEW = "a" * 32
CATALOGUE: dict[str, Any] = {
    "secrets": [
        {"name": "api-key", "consumers": ["app"], "strategy": "key_ring", "keyvault": {"name": "Api-Key-Staging"}},
        {"name": "db-password", "consumers": ["app"], "strategy": "postgres_role"},
        {"name": "disk-key", "consumers": ["app"], "strategy": "fixed"},
        {"name": "job-key", "consumers": ["app", "jobs"], "strategy": "key_ring", "settings": {"signers": ["jobs"]}},
        {"name": "tls-key", "consumers": ["app"], "strategy": "replace", "keyvault": {"version": KEY}},
    ],
    "services": [
        {"name": "app", "uid": 60611, "gid": 60611, "adopt": "start_first"},
        {"name": "jobs", "uid": 60612, "gid": 60612, "adopt": "restart", "compose": {"deploy": {"replicas": 2}}},
    ],
}
HELD = {"api-key": API, "db-password": DB, "disk-key": DISK, "job-key": JOB, "tls-key": KEY}


@pytest.fixture
def vault(emulator: Emulator) -> Control:
    """A vault that is protected and has what the host has, for another 200 days."""
    emulator.control.vault(VAULT, purge_protection=True)
    put(emulator.control, "api-key-staging", version=API)
    put(emulator.control, "db-password", version=DB)
    put(emulator.control, "tls-key", version=KEY)
    put(emulator.control, "disk-key", version=DISK)
    put(emulator.control, "job-key", version=JOB)
    return emulator.control


@pytest.fixture
def target(emulator: Emulator, vault: Control, tmp_path: Path) -> examined.Target:
    assert vault
    settings = keyvault.settings(
        {"url": f"https://{VAULT}.vault.azure.net", "ca": str(emulator.ca), "credential": {"type": "managed_identity"}}
    )
    target = examined.Target(
        StackPaths("demo", tmp_path / "run", tmp_path / "lib"),
        described.parse(CATALOGUE),
        ("https://localhost:1/ready",),
        None,
        examined.History(None, (), "nothing to look at"),
        source=KeyVault("demo", settings),
    )
    secrets = {name: state.Version(version, state.now()) for name, version in HELD.items()}
    target.__dict__["state"] = state.State("demo", secrets)
    return target


def put(vault: Control, name: str, *, age: int = 100 * DAY, lasts: int | None = 300 * DAY, **more: Any) -> None:
    """A version made `age` seconds ago that lasts so long from then on."""
    vault.put(VAULT, name, CANARY, created=NOW - age, exp=None if lasts is None else NOW - age + lasts, **more)


def newer(vault: Control, name: str, **more: Any) -> None:
    put(vault, name, age=DAY, **more)


def test_a_vault_that_agrees_passes_and_no_value_is_asked_for(target: examined.Target, vault: Control) -> None:
    assert doctor_vault.reachable(target) == f"https://{VAULT}.vault.azure.net tells 5 versions of 5 secrets"
    for check in (doctor_vault.drift, doctor_vault.expiry, doctor_vault.protection):
        assert not isinstance(check(target), examined.Caution)
    counted = vault.count()
    assert counted["versions"] == 5
    assert "get" not in counted


FAILING: list[tuple[Callable[[Control], None], Callable[[examined.Target], str], str]] = [
    (
        lambda vault: newer(vault, "db-password", version=NEW),
        doctor_vault.drift,
        "run 'make rotate-secret SECRET=db-pas",
    ),
    (lambda vault: newer(vault, "disk-key", version=NEW), doctor_vault.drift, "it is fixed, and never replaced: put"),
    (lambda vault: newer(vault, "job-key", version=NEW), doctor_vault.drift, "run 'make rotate-secret SECRET=job-k"),
    (lambda vault: newer(vault, "api-key-staging", enabled=False), doctor_vault.drift, "is disabled in the vault"),
    (lambda vault: newer(vault, "api-key-staging", nbf=NOW + DAY), doctor_vault.drift, "is not valid before 2"),
    (lambda vault: vault.delete(VAULT, "db-password"), doctor_vault.drift, "db-password is not in the vault: recover"),
    (lambda vault: vault.delete(VAULT, "Api-Key-Staging", purge=True), doctor_vault.drift, "api-key (Api-Key-Staging "),
    (lambda vault: lost_pin(vault), doctor_vault.drift, f"tls-key has no version {KEY} in the vault"),
    (lambda vault: newer(vault, "db-password", lasts=3600, version=DB[:31] + "f"), doctor_vault.drift, "db-password"),
    (lambda vault: expired(vault), doctor_vault.expiry, "api-key has expired on 2"),
]


def lost_pin(vault: Control) -> None:
    vault.delete(VAULT, "tls-key", purge=True)
    newer(vault, "tls-key")


def expired(vault: Control) -> None:
    vault.delete(VAULT, "api-key-staging", purge=True)
    put(vault, "api-key-staging", version=API, lasts=99 * DAY)


@pytest.mark.parametrize(("plant", "check", "sentence"), FAILING, ids=[sentence for _, _, sentence in FAILING])
def test_what_a_run_would_refuse_or_not_mend_fails(
    plant: Callable[[Control], None],
    check: Callable[[examined.Target], str],
    sentence: str,
    target: examined.Target,
    vault: Control,
) -> None:
    plant(vault)
    with pytest.raises(CoffreError) as failure:
        check(target)
    assert sentence in str(failure.value)
    assert CANARY not in str(failure.value)


def soon(vault: Control) -> None:
    vault.delete(VAULT, "api-key-staging", purge=True)
    put(vault, "api-key-staging", version=API, lasts=129 * DAY)


def endless(vault: Control) -> None:
    vault.delete(VAULT, "db-password", purge=True)
    put(vault, "db-password", version=DB, lasts=None)


WARNING: list[tuple[Callable[[Control], None], Callable[[examined.Target], str], str]] = [
    (
        lambda vault: newer(vault, "api-key-staging", version=NEW),
        doctor_vault.drift,
        f"api-key (Api-Key-Staging in the vault) is {API} here and {NEW} in the vault, since 2",
    ),
    (soon, doctor_vault.expiry, "expire within 30 days: api-key on 2"),
    (endless, doctor_vault.expiry, "never expire: db-password"),
    (
        lambda vault: vault.vault(VAULT, purge_protection=False),
        doctor_vault.protection,
        f"the vault {VAULT} has no purge protection (recovery level Recoverable+Purgeable)",
    ),
    (
        lambda vault: vault.vault(VAULT, purge_protection=False, recoverable_days=7),
        doctor_vault.protection,
        "CustomizedRecoverable+Purgeable",
    ),
]


@pytest.mark.parametrize(("plant", "check", "sentence"), WARNING, ids=[sentence for _, _, sentence in WARNING])
def test_what_is_to_be_seen_to_warns(
    plant: Callable[[Control], None],
    check: Callable[[examined.Target], str],
    sentence: str,
    target: examined.Target,
    vault: Control,
) -> None:
    plant(vault)
    note = check(target)
    assert isinstance(note, examined.Caution)
    assert sentence in note
    assert CANARY not in note


def test_a_newer_version_leaves_a_pinned_secret_alone(target: examined.Target, vault: Control) -> None:
    newer(vault, "tls-key")
    assert not isinstance(doctor_vault.drift(target), examined.Caution)


def test_of_two_versions_of_one_second_the_hosts_is_no_drift(target: examined.Target, vault: Control) -> None:
    put(vault, "api-key-staging", version=NEW)
    assert not isinstance(doctor_vault.drift(target), examined.Caution)


def test_what_a_consumer_could_not_adopt_is_drift(target: examined.Target, vault: Control) -> None:
    """The state names what was read, and the service goes on with what it had, whose end is what counts."""
    newer(vault, "api-key-staging", version=NEW)
    bundle = state.Bundle({name: [name] for name in HELD}, HELD, state.now(), 60611, 60611)
    target.state.secrets["api-key"] = state.Version(NEW, state.now())
    target.state.services["app"] = state.ServiceState("0a1b2c3d4e5f", None, {"0a1b2c3d4e5f": bundle})
    assert f"api-key (Api-Key-Staging in the vault) is {API} here and {NEW} in the vault" in doctor_vault.drift(target)
    target.source = KeyVault("demo", replace(target.vault, expires_soon_days=250))
    assert "api-key on 2" in doctor_vault.expiry(target)
    with pytest.raises(CoffreError, match="app did not become ready with the version that was read last of api-key, "):
        doctor_files.staged(target)


def test_settings_say_how_soon_is_soon_and_what_expiry_means(target: examined.Target, vault: Control) -> None:
    expired(vault)
    target.source = KeyVault("demo", replace(target.vault, expired="warn", expires_soon_days=250))
    note = doctor_vault.expiry(target)
    assert isinstance(note, examined.Caution)
    assert "api-key has expired on 2" in note
    assert "expire within 250 days: db-password on 2" in note


def test_more_than_a_page_of_versions_is_compared_with_its_last(target: examined.Target, vault: Control) -> None:
    for number in range(40):
        put(vault, "api-key-staging", age=90 * DAY - number, version=f"{number:032x}")
    assert f"and {39:032x} in the vault" in doctor_vault.drift(target)


def unreachable(vault: Control) -> None:
    vault.fault("reset", count=0)


def closed(vault: Control) -> None:
    vault.vault(VAULT, closed="ForbiddenByFirewall")


def not_permitted(vault: Control) -> None:
    vault.grant("host", VAULT, ["get"])


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (unreachable, "gave no usable answer within 1 s"),
        (closed, "firewall"),
        (not_permitted, "lacks Microsoft.KeyVault/vaults/secrets/readMetadata/action"),
    ],
    ids=["unreachable", "closed", "not permitted"],
)
def test_a_vault_that_tells_nothing_fails_one_check(
    plant: Callable[[Control], None], sentence: str, target: examined.Target, vault: Control
) -> None:
    plant(vault)
    target.source = KeyVault("demo", replace(target.vault, seconds=1))
    found = {check.check: check for check in doctor.examine(target)}
    assert not found["vault"].ok
    assert sentence in found["vault"].message
    assert found["vault"].message.endswith("What to do: the running stack does not need the vault, the next run does.")
    assert found["vault protection"].message == "not checked, because of: vault"
    assert "Traceback" not in found["vault"].message


def test_without_a_vault_nothing_is_said_of_it(target: examined.Target) -> None:
    target.source = Demo("demo")
    assert [check.check for check in doctor.examine(target)] == [each.name for each in doctor.EXAMINATIONS]
