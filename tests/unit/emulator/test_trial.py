"""The trial's own parts: its inventory names what the emulator will make, and its certificate gets into the vault."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from ansible_collections.coffre.stack.plugins.module_utils.provision.resources import identity_path
from ansible_collections.coffre.stack.plugins.module_utils.provision.settings import settings
from tests.keyvault_emulator import trial
from tests.keyvault_emulator.access import guid
from tests.keyvault_emulator.server import Emulator
from tests.keyvault_emulator.world import MACHINE

INVENTORY = Path(__file__).parents[3] / "inventory/trial/group_vars/all/trial.yml"


def test_inventory_names_the_identity_that_is_to_be_made() -> None:
    said: dict[str, Any] = yaml.safe_load(INVENTORY.read_text())
    keyvault = said["stack_secrets_keyvault"] | {"url": "https://coffre-trial.vault.azure.net", "ca": ""}
    wanted = settings(said["stack_name"], said["stack_vault"], keyvault)
    assert wanted.keyvault.read.client_id == guid(f"client/{identity_path(wanted).lower()}")
    assert wanted.machines == (MACHINE,)
    assert [each.id for each in wanted.writers] == [guid("object/operator")]


def test_certificate_is_put_once(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    who = {"type": "managed_identity", "client_id": guid("client/operator")}
    told = {"url": "https://coffre.vault.azure.net", "ca": str(emulator.ca), "write_credential": who}
    monkeypatch.setattr(sys, "argv", ["trial", json.dumps(told), "shop", str(tmp_path / "ca.pem")])
    trial.main()
    assert capsys.readouterr().out
    trial.main()
    assert not capsys.readouterr().out, "Ansible tells by this whether anything changed"
    version = emulator.world.vaults["coffre"].secrets[trial.NAME].versions[-1]
    assert version.tags["coffre-owner"] == "shop" and version.exp
    server = x509.load_pem_x509_certificates(version.value[version.value.index("-----BEGIN CERT") :].encode())[0]
    assert server.issuer == x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()).subject
