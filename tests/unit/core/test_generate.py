from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Generate
from ansible_collections.coffre.stack.plugins.module_utils.sources import base as sources
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import generated
from ansible_collections.coffre.stack.plugins.module_utils.values import generate
from tests.unit.described import parse

CA = {"type": "certificate_authority", "names": ["localhost", "127.0.0.1", "::1"], "days": 100}
LEAF = {"type": "certificate", "authority": "ca", "names": ["localhost", "127.0.0.1", "::1"], "days": 30}


def build(**leaf: Any) -> Catalogue:
    secrets = [
        {"name": "a-leaf", "consumers": ["host"], "strategy": "replace", "generate": LEAF | leaf},
        {"name": "ca", "consumers": ["host"], "strategy": "replace", "generate": CA},
    ]
    return parse({"secrets": secrets, "services": []})


@pytest.fixture
def made() -> dict[str, sources.Held]:
    return generated(build(), {}, "demo")


def load(held: sources.Held) -> generate.Certified:
    pair = generate.load(held.value)
    assert pair
    return pair


def holdings(made: dict[str, sources.Held]) -> dict[str, list[sources.Held]]:
    return {name: [held] for name, held in made.items()}


def verify(tmp_path: Path, host: str, authority: bytes, chain: bytes) -> bool:
    """Ask OpenSSL, which enforces name constraints, whether a server may be called host."""
    (tmp_path / "ca.pem").write_bytes(authority)
    (tmp_path / "leaf.pem").write_bytes(chain)
    kind = "-verify_ip" if host[0].isdigit() or ":" in host else "-verify_hostname"
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", kind, host]
    done = subprocess.run(
        [*command, "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem")], capture_output=True, check=False
    )
    return done.returncode == 0


def certificates(held: sources.Held) -> bytes:
    return held.value[held.value.index(b"-----BEGIN CERTIFICATE") :]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_openssl_accepts_its_names(made: dict[str, sources.Held], tmp_path: Path, host: str) -> None:
    assert verify(tmp_path, host, certificates(made["ca"]), certificates(made["a-leaf"]))
    assert not verify(tmp_path, "example.org", certificates(made["ca"]), certificates(made["a-leaf"]))


@pytest.mark.parametrize(
    ("permitted", "name"),
    [
        (("localhost", "127.0.0.1"), "example.org"),
        (("localhost", "127.0.0.1"), "127.0.0.2"),
        (("localhost", "127.0.0.1"), "::1"),
        (("localhost",), "127.0.0.1"),
        (("localhost",), "::1"),
        (("127.0.0.1",), "localhost"),
        (("127.0.0.1",), "::1"),
    ],
)
def test_openssl_refuses_what_the_authority_may_not_sign(tmp_path: Path, permitted: tuple[str, ...], name: str) -> None:
    authority = generate.authority("demo", Generate("certificate_authority", names=permitted, days=10))
    leaf = generate.certificate(Generate("certificate", names=(name,), days=5), authority)
    public = [pair.pem()[pair.pem().index(b"-----BEGIN CERTIFICATE") :] for pair in (authority, leaf)]
    assert not verify(tmp_path, name, *public)
    wide = generate.authority("demo", Generate("certificate_authority", names=(*permitted, name), days=10))
    leaf = generate.certificate(Generate("certificate", names=(name,), days=5), wide)
    public = [pair.pem()[pair.pem().index(b"-----BEGIN CERTIFICATE") :] for pair in (wide, leaf)]
    assert verify(tmp_path, name, *public)


def test_what_the_certificates_say(made: dict[str, sources.Held]) -> None:
    ca, leaf = load(made["ca"]), load(made["a-leaf"])
    basic = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert ca.certificate.extensions.get_extension_for_class(x509.NameConstraints).critical
    usage = leaf.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert leaf.chain == [leaf.certificate, ca.certificate]
    assert made["a-leaf"].value.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE" not in repr(leaf)


def test_what_fits_is_kept(made: dict[str, sources.Held]) -> None:
    assert generated(build(), holdings(made), "demo") == made


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=days)

    monkeypatch.setattr(generate, "datetime", Clock)


@pytest.mark.parametrize(
    ("days", "renewed"),
    [(19, set()), (21, {"a-leaf"}), (29, {"a-leaf"}), (68, {"ca", "a-leaf"}), (400, {"ca", "a-leaf"})],
)
def test_certificates_are_renewed_at_two_thirds_of_their_life(
    made: dict[str, sources.Held], monkeypatch: pytest.MonkeyPatch, days: int, renewed: set[str]
) -> None:
    later(monkeypatch, days)
    again = generated(build(), holdings(made), "demo")
    assert {name for name in made if made[name].version != again[name].version} == renewed


def test_changed_names_renew_the_certificate(made: dict[str, sources.Held]) -> None:
    again = generated(build(names=["localhost"]), holdings(made), "demo")
    assert again["ca"] == made["ca"]
    assert again["a-leaf"].version != made["a-leaf"].version


def test_a_lost_authority_renews_the_certificate(made: dict[str, sources.Held]) -> None:
    again = generated(build(), {"a-leaf": [made["a-leaf"]]}, "demo")
    assert load(again["a-leaf"]).chain[1] == load(again["ca"]).certificate
    assert again["a-leaf"].version != made["a-leaf"].version


@pytest.mark.parametrize("value", [b"", b"text", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_what_is_no_pair_is_replaced(made: dict[str, sources.Held], value: bytes) -> None:
    assert generate.load(value) is None
    strange = sources.Held("v", "now", value)
    again = generated(build(), holdings(made) | {"a-leaf": [strange]}, "demo")
    assert generate.load(again["a-leaf"].value)


def test_a_key_with_the_certificate_of_another_is_no_pair(made: dict[str, sources.Held]) -> None:
    key = made["ca"].value[: made["ca"].value.index(b"-----BEGIN CERTIFICATE")]
    assert generate.load(key + certificates(made["a-leaf"])) is None


def test_a_certificate_does_not_outlive_its_authority() -> None:
    authority = generate.authority("demo", Generate("certificate_authority", names=("localhost",), days=10))
    leaf = generate.certificate(Generate("certificate", names=("localhost",), days=50), authority)
    assert leaf.certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc
    assert leaf.certificate.not_valid_before_utc < datetime.now(UTC)
