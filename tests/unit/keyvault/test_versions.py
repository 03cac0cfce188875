"""Which value a secret gets: byte for byte, and never one that somebody else would not accept."""

from __future__ import annotations

import base64
import os
import time

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.sources.base import Held

from .conftest import LONG_AGO, Host

PEM = "-----BEGIN CERTIFICATE-----\r\nMIIB\n-----END CERTIFICATE-----\n\n"
BLOB = bytes(range(256)) * 3


@pytest.mark.parametrize(
    ("kind", "value", "content_type", "expected"),
    [
        ("text", "päss wörd\ttab", None, "päss wörd\ttab".encode()),
        ("text", PEM, None, PEM.encode()),
        ("text", "x" * 25_600, "text/plain", b"x" * 25_600),
        ("bytes", PEM, "application/x-pem-file", PEM.encode()),
        ("bytes", PEM, None, PEM.encode()),
        ("bytes", base64.b64encode(BLOB).decode(), "application/octet-stream;base64", BLOB),
        ("bytes", base64.encodebytes(BLOB * 9).decode(), "application/octet-stream;base64", BLOB * 9),
        ("bytes", base64.b64encode(BLOB).decode(), "application/x-pkcs12", BLOB),
    ],
)
def test_values_arrive_byte_for_byte(
    host: Host, kind: str, value: str, content_type: str | None, expected: bytes
) -> None:
    host.add("key", kind=kind)
    host.put("key", value, content_type=content_type)
    assert host.run() == {"key": expected}


@pytest.mark.parametrize("kind", ["text", "bytes"])
def test_half_a_character_is_not_quoted(host: Host, kind: str) -> None:
    """JSON can say half of a surrogate pair, which no text has."""
    host.add("key", kind=kind)
    host.put("key", "value of key")
    host.emulator.world.vaults["coffre"].secrets["key"].versions[-1].value = "value \ud83d of key"
    with pytest.raises(SourceError, match=r"key cannot be used: the value is not UTF-8 text\.$"):
        host.run()


def test_newlines_are_stripped_where_that_is_set(host: Host) -> None:
    host.add("key")
    host.put("key", "value of key\r\n")
    host.newline = "strip"
    assert host.run() == {"key": b"value of key"}


def test_a_version_brings_its_attributes_and_dates(host: Host) -> None:
    host.add("db", "postgres_role", attributes={"role": "a", "schema": "s"})
    version = host.put("db", "value of db", tags={"coffre-attribute-role": "b", "role": "c"}, exp=4_000_000_000)
    host.run()
    held = host.held["db"][0]
    assert held.version == version
    assert held.attributes == {"role": "b", "schema": "s"}
    assert (held.created, held.expires) == ("2023-11-14T22:13:20Z", "2096-10-02T07:06:40Z")
    assert "value of" not in repr(held)


@pytest.mark.parametrize(
    ("strategy", "adopted"),
    [
        ("key_ring", True),
        ("replace", True),
        ("fixed", False),
        ("keycloak_client", False),
        ("keycloak_user", False),
        ("postgres_role", False),
    ],
)
def test_a_version_by_other_hands(host: Host, strategy: str, adopted: bool) -> None:
    """What somebody else verifies is replaced by a rotation only; the vault's newer version is told of in each run."""
    host.fill("key", strategy=strategy)
    host.run()
    host.count()
    host.put("key", "value of today", created=LONG_AGO + 60)
    for _ in range(2):
        assert host.run() == {"key": b"value of today" if adopted else b"value of key"}
        assert bool(host.warnings) is not adopted
    if not adopted:
        why = "it is fixed" if strategy == "fixed" else f"only a rotation replaces a {strategy} secret"
        assert f"The vault has another version of key, and the one in use was kept, because {why}" in host.warnings[0]
        assert host.seen["seen"]["key"]["version"] != host.held["key"][0].version
        assert host.count()["get"] == 1, "the second run learns all from the listing"


def test_a_version_that_is_not_adopted_need_not_fit(host: Host) -> None:
    host.fill("key", strategy="keycloak_client")
    host.run()
    host.put("key", "value of tomorrow", nbf=int(time.time()) + 3600, created=LONG_AGO + 60)
    assert host.run() == {"key": b"value of key"}


def test_the_same_value_takes_the_vaults_version(host: Host) -> None:
    """A host that comes from another source has the values, under other ids."""
    host.held["key"] = [Held("0" * 32, "2020-01-01T00:00:00Z", b"value of key")]
    host.fill("key", strategy="keycloak_client")
    host.run()
    assert host.held["key"][0].version != "0" * 32
    assert not host.warnings


def test_two_hundred(host: Host) -> None:
    names = [f"secret-{number}" for number in range(200)]
    values = {name: base64.b64encode(os.urandom(30)).decode() for name in names}
    for name in names:
        host.add(name)
        host.put(name, values[name])
    assert host.run() == {name: value.encode() for name, value in values.items()}
