"""Whether a server can use a key and its certificates as PEM: key, chain, names and dates must agree.

A secret is such a PEM if the catalogue generates a certificate for it, or has `names` in its settings.
Like `generate`, it needs cryptography and is imported where it is used.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..catalogue import Secret

HANDSHAKE_SECONDS = 10.0


def names(secret: Secret) -> tuple[str, ...]:
    """The host names and addresses that a secret's certificate must be for; none if it is no certificate."""
    if "names" in secret.settings:
        return tuple(secret.settings["names"])
    return secret.generate.names if secret.generate and secret.generate.type == "certificate" else ()


def misfit(pem: bytes, wanted: Sequence[str], moment: datetime | None = None) -> str | None:
    """Why a server for these names cannot use a PEM, as the rest of a sentence, or None."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        return "has no private key that opens without a password"
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return "has no certificate that can be read"
    own = chain[0]
    if own.public_key() != key.public_key():
        return "begins with a certificate that is not its key's"
    for number, (lower, upper) in enumerate(pairwise(chain), start=1):
        if not _signed(lower, upper):
            return f"has a broken chain: the certificate number {number} is not signed by the next one"
    now = moment or datetime.now(UTC)
    for number, each in enumerate(chain, start=1):
        start, end = each.not_valid_before_utc, each.not_valid_after_utc
        if not start <= now < end:
            return f"has a certificate, number {number}, that is valid from {start:%Y-%m-%d} to {end:%Y-%m-%d} only"
    if missing := [name for name in wanted if not _covers(own, name)]:
        return f"is not for {', '.join(missing)}"
    return None if _serves(own) else "has a certificate that is not for servers"


def shape(pem: bytes) -> tuple[tuple[str, ...], str, str]:
    """(the names that a PEM's first certificate is for, when it begins, when the first of all of them ends), the times
    as text. Raises ValueError if it has none that can be read.
    """
    chain = x509.load_pem_x509_certificates(pem)
    begins, ends = chain[0].not_valid_before_utc, min(each.not_valid_after_utc for each in chain)
    return _named(chain[0]), f"{begins:%Y-%m-%dT%H:%M:%SZ}", f"{ends:%Y-%m-%dT%H:%M:%SZ}"


def _named(own: x509.Certificate) -> tuple[str, ...]:
    try:
        alternatives = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (own.subject.rfc4514_string(),)
    return tuple(str(each.value) for each in alternatives)


def leaf(pem: bytes) -> bytes | None:
    """The own certificate of a PEM, as DER, or None if it cannot be read."""
    try:
        return x509.load_pem_x509_certificates(pem)[0].public_bytes(serialization.Encoding.DER)
    except ValueError:
        return None


def shown(address: str, port: int, name: str) -> bytes:
    """The certificate, as DER, that a server shows whoever asks it for a name. Raises OSError."""
    # It is compared with the one that should be there, and the handshake proves that the server has its key.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, port), timeout=HANDSHAKE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=name) as stream,
    ):
        return stream.getpeercert(binary_form=True) or b""


def _signed(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    """Whether a certificate is signed by the next one, which is an authority's."""
    try:
        lower.verify_directly_issued_by(upper)
        return upper.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def _covers(own: x509.Certificate, name: str) -> bool:
    try:
        alternatives = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(name) in alternatives.get_values_for_type(x509.IPAddress)
    except ValueError:
        hosts = [each.lower() for each in alternatives.get_values_for_type(x509.DNSName)]
        return name in hosts or f"*.{name.partition('.')[2]}" in hosts


def _serves(own: x509.Certificate) -> bool:
    try:
        usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage
