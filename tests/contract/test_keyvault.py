"""What the source relies on: the same tests for the emulator and for a real vault."""

from __future__ import annotations

import base64
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault

from .conftest import Ground

HOUR = timedelta(hours=1)
PEM = "-----BEGIN CERTIFICATE-----\r\nMIIB\n-----END CERTIFICATE-----\n"


def test_values_arrive_byte_for_byte(ground: Ground) -> None:
    blob = os.urandom(600)
    for name, kind in {"text": "text", "pem": "bytes", "blob": "bytes"}.items():
        ground.add(name, kind=kind)
    ground.put("text", 'päss wörd\ttab \\ "')
    ground.put("pem", PEM, content_type="application/x-pem-file")
    ground.put("blob", base64.b64encode(blob).decode(), content_type="application/octet-stream;base64")
    assert ground.run() == {"text": 'päss wörd\ttab \\ "'.encode(), "pem": PEM.encode(), "blob": blob}


def test_the_longest_value(ground: Ground) -> None:
    ground.add("long")
    ground.put("long", "x" * 25_000)
    assert len(ground.run()["long"]) == 25_000


def test_a_version_brings_its_attributes_and_dates(ground: Ground) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + HOUR
    ground.add("db", "postgres_role", attributes={"role": "a"})
    version = ground.put("db", "x", tags={"coffre-attribute-role": "b"}, expires_on=until)
    ground.run()
    held = ground.held["db"][0]
    assert (held.version, dict(held.attributes)) == (version, {"role": "b"})
    assert held.expires == until.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_latest_version_is_taken_unless_one_is_pinned(ground: Ground) -> None:
    first = ground.put("key", "one")
    ground.put("key", "two")
    ground.add("key")
    assert ground.run() == {"key": b"two"}
    ground.entries.clear()
    ground.held.clear()
    ground.add("key", version=first)
    assert ground.run() == {"key": b"one"}


def test_a_host_that_knows_nothing_takes_over_the_ring(ground: Ground) -> None:
    ground.add("key", "key_ring", settings={"keep_days": None})
    ground.add("short", "key_ring", settings={"keep_days": 0})
    ground.add("plain", "replace")
    for name in ("key", "short", "plain"):
        versions = [ground.put(name, text, tags={"coffre-run": "r1"}) for text in ("one", "two", "three")]
        if name == "key":
            first, second, _ = versions
    ground.run()
    kept = {(each.previous.version, each.previous.retires, each.value) for each in ground.held["key"][0].ring}
    assert kept == {(second, None, b"two"), (first, None, b"one")}
    assert ground.held["short"][0].ring == ground.held["plain"][0].ring == ()
    ground.run()
    assert f"GET /{ground.name('key')}/versions" not in ground.requests


def test_disabled_versions_are_in_no_ring(ground: Ground) -> None:
    ground.add("key", "key_ring")
    ground.put("key", "one")
    failed = ground.put("key", "two")
    ground.put("key", "three", tags={"coffre-undone": "r1"})
    ground.hands.update_secret_properties(ground.name("key"), failed, enabled=False)
    ground.run()
    assert [each.value for each in ground.held["key"][0].ring] == [b"one"]


def test_a_vault_that_no_rotation_touched_is_not_asked_for_rings(ground: Ground) -> None:
    ground.add("key", "key_ring")
    ground.put("key", "one")
    ground.run()
    assert not [request for request in ground.requests if "versions" in request]


def test_an_unchanged_vault_is_not_read_again(ground: Ground) -> None:
    for name in ("one", "two", "three"):
        ground.add(name)
        ground.put(name, name)
    ground.run()
    # Dates tell seconds only, so that what is younger than 5 s is read again. Where a real vault has more than three
    # pages, each secret is read always.
    limit = time.monotonic() + 15
    while len(ground.requests) != min(ground.seen["pages"], 3):
        assert time.monotonic() < limit, ground.requests
        time.sleep(0.5)
        assert len(ground.run()) == 3
    ground.put("two", "changed")
    assert ground.run() == {"one": b"one", "two": b"changed", "three": b"three"}


def test_a_change_in_the_same_second_is_found(ground: Ground) -> None:
    ground.add("key")
    for value in ("one", "two", "three"):
        ground.put("key", value)
        assert ground.run() == {"key": value.encode()}


def test_refusals_name_every_secret_at_once(ground: Ground) -> None:
    for name in ("absent", "off", "early", "old", "gone"):
        ground.add(name)
    ground.put("off", "x", enabled=False)
    ground.put("early", "x", not_before=datetime.now(UTC) + HOUR)
    ground.put("old", "x", expires_on=datetime.now(UTC) - HOUR)
    ground.put("gone", "x")
    ground.hands.begin_delete_secret(ground.name("gone")).wait()
    with pytest.raises(SourceError) as raised:
        ground.run()
    for part in (
        "absent (",
        "is missing",
        "off (",
        "is disabled",
        "early (",
        "is not valid yet",
        "has expired",
        "gone (",
    ):
        assert part in str(raised.value)
    assert f"recover --vault-name {ground.settings.name} --name {ground.name('gone')}" in str(raised.value)


def test_writing(ground: Ground) -> None:
    name, until = ground.name("made"), int(time.time()) + 3600
    with keyvault.Vault(ground.settings, write=True) as vault:
        assert isinstance(vault.read({name: None})[name], keyvault.Refusal)
        made = vault.put(name, "one", tags={"coffre-owner": "test"}, content_type="text/plain", expires=until)
        answer = vault.read({name: None})[name]
        assert isinstance(answer, keyvault.Value) and answer.text == "one" and answer.properties == made
        assert (made.tags, made.content_type, made.expires) == ({"coffre-owner": "test"}, "text/plain", until)
        listing = vault.listing()
        assert listing is not None and listing[name].updated == made.updated and listing[name].version is None
        assert made.version is not None
        assert vault.deleted(name) is False
        vault.disable(name, made.version)
        answer = vault.read({name: None})[name]
        assert isinstance(answer, keyvault.Refusal) and answer.kind == "disabled"


def test_a_deleted_name_is_recovered(ground: Ground) -> None:
    name = ground.name("back")
    version = ground.put("back", "one")
    ground.hands.begin_delete_secret(name).wait()
    with keyvault.Vault(ground.settings, write=True) as vault:
        assert vault.deleted(name)
        with pytest.raises(SourceError, match="holds a deleted secret of this name"):
            vault.put(name, "two", tags={}, content_type="", expires=None)
        vault.recover(name)
        answer = vault.read({name: None})[name]
    assert isinstance(answer, keyvault.Value) and answer.properties.version == version
