"""A PEM fits its server only where key, chain, names and dates agree."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Generate
from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.values import certificates, generate

NAMES = ("iam.example.org", "10.0.0.1")
NOW = datetime.now(UTC)
AUTHORITY = generate.authority("demo", Generate("certificate_authority", names=NAMES, days=30))
GOOD = generate.certificate(Generate("certificate", names=NAMES, days=20), AUTHORITY)
OTHER = generate.authority("demo", Generate("certificate_authority", names=NAMES, days=30))


def pem(*certificates_: x509.Certificate, key: ec.EllipticCurvePrivateKey = GOOD.key) -> bytes:
    return generate.Certified(key, list(certificates_)).pem()


def signed(
    hosts: tuple[str, ...] = (), usage: x509.ObjectIdentifier | None = None, issuer: generate.Certified = AUTHORITY
) -> bytes:
    """A certificate as other tools make them, with the chain of its issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "iam.example.org")]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=20))
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, hosts)]), critical=False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return pem(builder.sign(issuer.key, hashes.SHA256()), issuer.certificate, key=key)


def encrypted() -> bytes:
    locked = serialization.BestAvailableEncryption(b"canary")
    key = GOOD.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    return key + GOOD.certificate.public_bytes(serialization.Encoding.PEM)


HOST = NAMES[:1]
CASES: dict[str, tuple[bytes, tuple[str, ...], str | None]] = {
    "right": (GOOD.pem(), NAMES, None),
    "without its chain": (pem(GOOD.certificate), NAMES, None),
    "of no name": (GOOD.pem(), (), None),
    "by a wildcard": (signed(("*.example.org",)), HOST, None),
    "in capitals": (signed(("IAM.example.org",)), HOST, None),
    "for servers": (signed(HOST, ExtendedKeyUsageOID.SERVER_AUTH), HOST, None),
    "for anything": (signed(HOST, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE), HOST, None),
    "no PEM": (b"canary", NAMES, "has no private key"),
    "locked key": (encrypted(), NAMES, "has no private key that opens without a password"),
    "no certificate": (GOOD.pem().partition(b"-----BEGIN CERT")[0], NAMES, "has no certificate"),
    "another key": (pem(*GOOD.chain, key=OTHER.key), NAMES, "begins with a certificate that is not its key's"),
    "chain first": (pem(*reversed(GOOD.chain)), NAMES, "begins with a certificate that is not its key's"),
    "another chain": (pem(GOOD.certificate, OTHER.certificate), NAMES, "number 1 is not signed by the next one"),
    "chain too long": (pem(*GOOD.chain, OTHER.certificate), NAMES, "number 2 is not signed by the next one"),
    "signed by no authority": (
        pem(GOOD.certificate, GOOD.certificate),
        NAMES,
        "number 1 is not signed by the next one",
    ),
    "other names": (GOOD.pem(), ("iam.example.com", "10.0.0.2", *NAMES), "is not for iam.example.com, 10.0.0.2"),
    "a wildcard of another level": (signed(("*.org",)), HOST, "is not for iam.example.org"),
    "a wildcard is no address": (signed(("*.0.0.1",)), ("10.0.0.1",), "is not for 10.0.0.1"),
    "a common name alone": (signed(), HOST, "is not for iam.example.org"),
    "for clients": (signed(HOST, ExtendedKeyUsageOID.CLIENT_AUTH), HOST, "is not for servers"),
}


@pytest.mark.parametrize(("text", "names", "problem"), CASES.values(), ids=CASES)
def test_misfit(text: bytes, names: tuple[str, ...], problem: str | None) -> None:
    found = certificates.misfit(text, names)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")
    assert "canary" not in (found or "")


@pytest.mark.parametrize(("days", "fits", "number"), [(-1, False, 1), (0, True, 0), (19, True, 0), (20, False, 1)])
def test_dates(days: int, fits: bool, number: int) -> None:
    found = certificates.misfit(GOOD.pem(), NAMES, NOW + timedelta(days=days, hours=1))
    assert (found is None) == fits
    assert fits or f"number {number}, that is valid from {NOW:%Y-%m-}" in str(found)


@pytest.mark.parametrize(
    ("settings", "spec", "expected"),
    [
        ({"names": ["a.example"]}, None, ("a.example",)),
        ({}, Generate("certificate", names=NAMES), NAMES),
        ({}, Generate("certificate_authority", names=NAMES), ()),
        ({}, Generate("random"), ()),
        ({}, None, ()),
    ],
)
def test_names(settings: dict[str, Any], spec: Generate | None, expected: tuple[str, ...]) -> None:
    assert certificates.names(catalogues.Secret("x", (), "replace", generate=spec, settings=settings)) == expected


def test_what_a_server_shows(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_bytes(GOOD.pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, context.wrap_socket(connection, server_side=True):
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        found = certificates.shown("127.0.0.1", listener.getsockname()[1], NAMES[0])
        thread.join()
    assert found == certificates.leaf(GOOD.pem())
    assert certificates.leaf(b"no certificate") is None


@pytest.fixture
def supplied(stack: Any) -> Callable[[bytes], dict[str, Any]]:
    """Stages a stack whose operator supplies this certificate."""
    stack.data["secrets"][4] = {
        "name": "tls",
        "consumers": ["proxy"],
        "strategy": "replace",
        "settings": {"names": list(NAMES), "port": 8443},
    }

    def stage(text: bytes) -> dict[str, Any]:
        stack.supplied = {name: b"v" for name in ("api-key", "api-key-2", "blob", "db-password")} | {"tls": text}
        found: dict[str, Any] = stack.stage()
        stack.adopt()
        return found

    return stage


def test_a_certificate_that_does_not_fit_is_not_staged(stack: Any, supplied: Callable[[bytes], dict[str, Any]]) -> None:
    supplied(GOOD.pem())
    before = stack.tree()
    with pytest.raises(SourceError, match=r"tls is not for iam.example.org, 10.0.0.1\.$"):
        supplied(signed(("elsewhere.example",)))
    assert stack.tree() == before


def test_one_in_force_may_be_past_its_end(
    supplied: Callable[[bytes], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    supplied(GOOD.pem())
    monkeypatch.setattr(certificates, "misfit", lambda *_: "is past its end")
    assert not supplied(GOOD.pem())["changed"]
