"""Tokens: the real SDK with all its checks on gets in, and nobody else does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.identity import (
    AzureCliCredential,
    CertificateCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.keyvault_emulator.access import RESOURCE, TENANT
from tests.keyvault_emulator.server import Emulator

from .conftest import Connect


class Fixed:
    """A credential that has one token, whatever is asked."""

    def __init__(self, token: dict[str, Any]) -> None:
        self.token = AccessToken(token["access_token"], 4_000_000_000)

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """The token."""
        return self.token


def test_first_call_is_challenged_and_later_ones_are_not(emulator: Emulator, connect: Connect) -> None:
    client = connect()
    made = client.set_secret("alpha", "one")
    assert client.get_secret("alpha").value == "one"
    assert [each.name for each in client.list_properties_of_secrets()] == ["alpha"]
    assert made.id == f"https://coffre.vault.azure.net/secrets/alpha/{made.properties.version}"
    assert emulator.control.count() == {"connections": 1, "challenge": 1, "token": 1, "set": 1, "get": 1, "list": 1}


def test_port_other_than_443_passes_the_check_of_the_resource(emulator: Emulator, connect: Connect) -> None:
    connect(url=emulator.url("coffre")).set_secret("alpha", "one")


def test_identity_endpoint_of_a_virtual_machine(
    emulator: Emulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.outside)
    connect().set_secret("alpha", "one")
    with pytest.raises(CredentialUnavailableError, match="Identity not found"):
        ManagedIdentityCredential(client_id="nobody", retry_total=0).get_token(RESOURCE)


@pytest.mark.usefixtures("emulator")
def test_identity_that_the_machine_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CredentialUnavailableError, match="No User Assigned or Delegated Managed Identity found"):
        ManagedIdentityCredential(client_id="nobody").get_token(RESOURCE)
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with pytest.raises(CredentialUnavailableError, match="Unauthorized"):
        ManagedIdentityCredential().get_token(RESOURCE)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ("audience", "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure"),
        ("tenant", "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/11111111-.*found https://sts.*"),
        ("expired", r"\[TokenExpired\]"),
        ("revoked", r"\[TokenExpired\]"),
        ("forged", "AKV10046"),
    ],
)
def test_token_that_is_not_for_this_vault(emulator: Emulator, connect: Connect, spoilt: str, message: str) -> None:
    emulator.control.identity("stranger", tenant="22222222-0000-4000-8000-000000000000")
    emulator.control.set(token_seconds=-1 if spoilt == "expired" else 60)
    token = emulator.world.tokens.issue(
        emulator.world.identities["stranger" if spoilt == "tenant" else "operator"],
        "https://management.azure.com" if spoilt == "audience" else RESOURCE,
    )
    if spoilt == "revoked":
        emulator.control.expire_tokens()
    if spoilt == "forged":
        token["access_token"] = token["access_token"][:-4] + "AAAA"
    with pytest.raises(ClientAuthenticationError, match=message) as refused:
        connect(credential=Fixed(token)).get_secret("alpha")
    assert refused.value.status_code == 401
    assert TENANT in refused.value.response.headers["WWW-Authenticate"]  # type: ignore[union-attr]


def test_short_life_of_tokens_lasts_through_a_run(emulator: Emulator, connect: Connect) -> None:
    emulator.control.set(token_seconds=2)
    client = connect()
    for _ in range(3):
        client.set_secret("alpha", "one")
    assert emulator.control.count()["token"] == 3


def test_vault_that_is_not_there_does_not_resolve(connect: Connect) -> None:
    with pytest.raises(ServiceRequestError, match=r"(?i)name or service not known|failed to resolve"):
        connect("nowhere").get_secret("alpha")


def test_certificate_is_not_trusted_without_being_told(connect: Connect) -> None:
    with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(trust=True).get_secret("alpha")


@contextmanager
def certificate(folder: Path) -> Iterator[tuple[Path, str]]:
    """A file with a key and its certificate, and the certificate alone."""
    key = rsa.generate_private_key(65_537, 2_048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "host")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    start = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    made = made.not_valid_before(start.not_valid_before_utc).not_valid_after(start.not_valid_after_utc)
    public = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    file = folder / "host.pem"
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private) + public)
    yield file, public.decode()
    file.unlink()


def test_client_certificate(emulator: Emulator, connect: Connect) -> None:
    with certificate(emulator.ca.parent) as (file, public):
        known = emulator.control.identity("operator", certificate=public)
        for client_id, tenant, problem in (
            (known["client_id"], TENANT, ""),
            ("nobody", TENANT, "AADSTS700016"),
            (known["client_id"], "33333333-0000-4000-8000-000000000000", "AADSTS700016"),
        ):
            trust = str(emulator.ca)
            with CertificateCredential(tenant, client_id, str(file), connection_verify=trust) as credential:
                if problem:
                    with pytest.raises(ClientAuthenticationError, match=problem):
                        credential.get_token(f"{RESOURCE}/.default")
                else:
                    connect(credential=credential).set_secret("alpha", "one")
        emulator.control.identity("operator")
        with (
            CertificateCredential(TENANT, known["client_id"], str(file), connection_verify=trust) as credential,
            pytest.raises(ClientAuthenticationError, match="AADSTS700027"),
        ):
            credential.get_token(f"{RESOURCE}/.default")


def test_workload_identity(emulator: Emulator, connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("proof")
    known = emulator.control.identity("operator", federated="proof")
    trust = str(emulator.ca)

    def credential() -> WorkloadIdentityCredential:
        return WorkloadIdentityCredential(
            tenant_id=TENANT, client_id=known["client_id"], token_file_path=str(file), connection_verify=trust
        )

    with credential() as good:
        connect(credential=good).set_secret("alpha", "one")
    file.write_text("another")
    with credential() as bad, pytest.raises(ClientAuthenticationError, match="AADSTS70021"):
        bad.get_token(f"{RESOURCE}/.default")


def test_stand_in_of_the_azure_cli(
    emulator: Emulator, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "az"
    fetch = f"import urllib.request as u; print(u.urlopen('{emulator.outside}/az/operator').read().decode())"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{fetch}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    connect(credential=AzureCliCredential()).set_secret("alpha", "one")


def test_call_without_a_version_of_the_interface(connect: Connect) -> None:
    client = connect()
    client.set_secret("alpha", "one")
    with pytest.raises(HttpResponseError, match="api-version"):
        client._client.send_request(_bare("https://coffre.vault.azure.net/secrets")).raise_for_status()


def _bare(url: str) -> Any:
    from azure.core.rest import HttpRequest

    return HttpRequest("GET", url)
