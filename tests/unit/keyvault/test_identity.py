"""Credentials: chosen by evidence, never waiting for what is not there, their failures told apart."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError, VaultUnavailable
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import identity as keyvault_identity

from .conftest import Host

TENANT = "11111111-0000-4000-8000-000000000000"
OTHER = "22222222-0000-4000-8000-000000000000"
WORKLOAD = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": "/f"}
VARIABLES = [
    *WORKLOAD,
    *keyvault_identity.ENDPOINTS,
    "IDENTITY_HEADER",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_TOKEN_CREDENTIALS",
]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host on which nothing speaks of Azure; returns a folder that is its PATH."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keyvault_identity, "CHASSIS", tmp_path / "chassis")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, text: str) -> None:
    """An `az` that is a shell script."""
    (folder / "az").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "az").chmod(0o755)


def signed_in(host: Host) -> str:
    """What an `az` does that somebody logged in with."""
    fetch = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1]).read().decode())"
    return f"exec '{sys.executable}' -c '{fetch}' {host.emulator.outside}/az/operator"


@pytest.mark.parametrize(
    ("environment", "chassis", "az", "found"),
    [
        ({}, "", False, []),
        ({}, "1234\n", False, []),
        (WORKLOAD, "", False, ["workload_identity"]),
        ({"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}, "", False, []),
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1/"}, "", False, ["managed_identity"]),
        ({}, "7783-7084-3265-9085-8269-3286-77\n", False, ["managed_identity"]),
        ({}, "7783-7084-3265-9085-8269-3286-77\n", True, ["managed_identity", "cli"]),
        ({}, "", True, ["cli"]),
        ({"AZURE_CLIENT_CERTIFICATE_PATH": "/c.pem"}, "", False, ["environment"]),
    ],
)
def test_evidence(tmp_path: Path, environment: dict[str, str], chassis: str, az: bool, found: list[str]) -> None:
    if chassis:
        (tmp_path / "chassis").write_text(chassis)
    if az:
        program(tmp_path, "exit 1")
    told = keyvault_identity.evidence(environment | {"PATH": str(tmp_path)}, tmp_path / "chassis")
    assert told == found


def test_a_host_without_an_identity_is_told_so_at_once(host: Host, bare: Path) -> None:  # noqa: ARG001
    host.fill("key")
    host.options["credential"] = {"type": "default"}
    started = time.monotonic()
    with pytest.raises(SourceError, match="This host has no Azure identity") as raised:
        host.run()
    assert time.monotonic() - started < 0.5
    assert not isinstance(raised.value, VaultUnavailable)


def test_the_default_tries_nothing_without_evidence(host: Host, bare: Path) -> None:
    program(bare, signed_in(host))
    host.fill("key")
    host.options["credential"] = {"type": "default"}
    started = time.monotonic()
    assert host.run() == {"key": b"value of key"}
    assert time.monotonic() - started < 2, "the metadata service must not have been asked"
    made = keyvault_identity.build(host.settings().read, None, 5)  # type: ignore[arg-type]
    assert isinstance(made, DefaultAzureCredential)
    assert [type(each).__name__ for each in made.credentials] == ["AzureCliCredential"]


def test_the_metadata_service_of_a_machine_in_azure(host: Host, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "chassis").write_text(keyvault_identity.AZURE_CHASSIS)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", host.emulator.outside)
    # Nobody's proxy may stand between a machine and its metadata service.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    host.fill("key")
    for kind in ("default", "managed_identity"):
        host.options["credential"] = {"type": kind}
        assert host.run() == {"key": b"value of key"}


def test_a_user_assigned_identity(host: Host) -> None:
    host.fill("key")
    made = host.control.identity("other")
    host.control.grant("other", "coffre", ["get", "list"])
    host.control.revoke("host", "coffre")
    host.options["credential"] = {"type": "managed_identity", "client_id": made["client_id"]}
    assert host.run() == {"key": b"value of key"}
    host.options["credential"]["client_id"] = OTHER
    with pytest.raises(SourceError, match=f"does not have the managed identity {OTHER}: assign it") as raised:
        host.run()
    assert not isinstance(raised.value, VaultUnavailable)


def test_the_azure_cli(host: Host, bare: Path) -> None:
    host.fill("key")
    host.options["credential"] = {"type": "azure_cli"}
    for script, words in (
        ("echo \"Please run 'az login'\" >&2; exit 1", "run 'az login' there"),
        ("exit 127", "az login"),
    ):
        program(bare, script)
        with pytest.raises(SourceError, match=words):
            host.run()
    program(bare, signed_in(host))
    assert host.run() == {"key": b"value of key"}
    assert host.count()["token"] == 1


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client's RSA key and certificate in one PEM file."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "host")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2120, 1, 1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("client") / "client.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize("kind", ["client_certificate", "workload_identity"])
def test_entra_id(host: Host, certificate: Path, tmp_path: Path, kind: str) -> None:
    host.fill("key")
    token = tmp_path / "token"
    token.write_text("value of a federated token")
    public = certificate.read_text().partition("-----BEGIN CERTIFICATE-----")
    proof = {"certificate": public[1] + public[2]} if kind == "client_certificate" else {"federated": token.read_text()}
    made = host.control.identity("other", **proof)
    host.control.grant("other", "coffre", ["get", "list"])
    file = {"certificate": str(certificate)} if kind == "client_certificate" else {"token_file": str(token)}
    options: dict[str, Any] = {"type": kind, "tenant_id": TENANT, "client_id": made["client_id"], **file}
    host.options["credential"] = options
    assert host.run() == {"key": b"value of key"}
    assert host.count()["token"] == 1
    host.options["credential"] = options | {"client_id": OTHER}
    with pytest.raises(SourceError, match=rf"no token to the credential {kind} \(AADSTS700016\)"):
        host.run()
    host.options["credential"] = options | {"tenant_id": OTHER}
    with pytest.raises(SourceError, match=f"belongs to the tenant {TENANT}, and the credential to {OTHER}"):
        host.run()


def test_a_certificate_without_a_key(host: Host, certificate: Path, tmp_path: Path) -> None:
    host.fill("key")
    half = tmp_path / "half.pem"
    half.write_text(certificate.read_text().partition("-----BEGIN CERTIFICATE-----")[2])
    host.options["credential"] = {
        "type": "client_certificate",
        "tenant_id": TENANT,
        "client_id": OTHER,
        "certificate": str(half),
    }
    with pytest.raises(SourceError, match="must have an RSA key and its certificate, as PEM"):
        host.run()


def test_logins_of_other_programs_are_left_out(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A .netrc would take the token's place, and go to whoever answers for the vault."""
    (tmp_path / ".netrc").write_text("default login somebody password unwanted\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    host.fill("key")
    assert host.run() == {"key": b"value of key"}
