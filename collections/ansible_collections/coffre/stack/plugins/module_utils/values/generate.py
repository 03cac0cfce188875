"""Values from the operating system's generator; certificates of an authority that the catalogue generates.

The only module of the core that needs a library (cryptography): imported where it is used.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..catalogue import Generate, Secret

# Clocks differ: a certificate is valid from a little earlier on.
BACKDATE = timedelta(minutes=10)
RENEW_AT = 2 / 3
EVERY_ADDRESS = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class Certified:
    """A private key and its certificate chain, the own certificate first."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: list[x509.Certificate]

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    def pem(self) -> bytes:
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in self.chain)


def random_text(size: int) -> bytes:
    """`size` random bytes as text of the alphabet A-Za-z0-9_-."""
    return secrets.token_urlsafe(size).encode("ascii")


def random_bytes(size: int) -> bytes:
    return secrets.token_bytes(size)


def random_value(secret: Secret) -> bytes:
    """A new value of a secret's kind; 32 random bytes in it where the catalogue does not say how many."""
    size = secret.generate.bytes if secret.generate else Generate.bytes
    return random_bytes(size) if secret.kind == "bytes" else random_text(size)


def load(pem: bytes) -> Certified | None:
    """Read a key and its chain from PEM, or None if it is not what this module makes."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
        chain = x509.load_pem_x509_certificates(pem)
    except (ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or chain[0].public_key() != key.public_key():
        return None
    return Certified(key, chain)


def _names(names: tuple[str, ...]) -> tuple[list[str], list[ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    hosts, addresses = [], []
    for name in names:
        try:
            addresses.append(ipaddress.ip_address(name))
        except ValueError:
            hosts.append(name)
    return hosts, addresses


def _sans(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    hosts, addresses = _names(names)
    return x509.SubjectAlternativeName([*map(x509.DNSName, hosts), *map(x509.IPAddress, addresses)])


def _constraints(names: tuple[str, ...]) -> x509.NameConstraints:
    """Permit the names alone; where there is none of a form, forbid the form."""
    hosts, addresses = _names(names)
    forbidden: list[x509.GeneralName] = [] if hosts else [x509.DNSName("")]
    if not addresses:
        forbidden += [x509.IPAddress(ipaddress.ip_network(every)) for every in EVERY_ADDRESS]
    return x509.NameConstraints(
        permitted_subtrees=[
            *map(x509.DNSName, hosts),
            *(x509.IPAddress(ipaddress.ip_network(address)) for address in addresses),
        ],
        excluded_subtrees=forbidden or None,
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int, not_after: datetime | None = None
) -> x509.CertificateBuilder:
    moment = datetime.now(UTC)
    end = moment + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - BACKDATE)
        .not_valid_after(min(end, not_after) if not_after else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def authority(stack: str, spec: Generate) -> Certified:
    """A certificate authority that can sign for its names only, and make no further authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"Coffre demo authority of {stack}")
    certificate = (
        _builder(subject, subject, key.public_key(), spec.days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_constraints(spec.names), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certified(key, [certificate])


def certificate(spec: Generate, issuer: Certified) -> Certified:
    """A server's key and certificate for its names, with the chain of its issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    above = issuer.certificate
    leaf = (
        # No host name in the subject: OpenSSL would hold even an address there against the constraints for DNS.
        _builder(_subject("Coffre demo server"), above.subject, key.public_key(), spec.days, above.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_sans(spec.names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return Certified(key, [leaf, *issuer.chain])


def worn(held: Certified) -> bool:
    """Whether two thirds of a certificate's life are over."""
    start, end = held.certificate.not_valid_before_utc, held.certificate.not_valid_after_utc
    return datetime.now(UTC) >= start + (end - start) * RENEW_AT


def _carries(held: Certified, extension: x509.ExtensionType) -> bool:
    return any(found.value == extension for found in held.certificate.extensions)


def authority_fits(held: Certified, spec: Generate) -> bool:
    """Whether an authority can go on: not worn, and for the names of the catalogue."""
    return not worn(held) and _carries(held, _constraints(spec.names))


def certificate_fits(held: Certified, spec: Generate, issuer: Certified) -> bool:
    """Whether a server's certificate can go on: not worn, for the catalogue's names, by the authority of today."""
    return not worn(held) and _carries(held, _sans(spec.names)) and held.chain[1:] == issuer.chain
