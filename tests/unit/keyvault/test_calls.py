"""Which calls a run makes: an unchanged vault costs a call a page or a call a secret, whichever is fewer."""

from __future__ import annotations

import time

import pytest

from .conftest import LONG_AGO, Host

NAMES = [f"secret-{number:03}" for number in range(60)]


@pytest.mark.parametrize(("wanted", "besides", "calls"), [(3, 0, 1), (3, 57, 3), (30, 0, 2), (26, 34, 3), (1, 59, 1)])
def test_unchanged_vault(host: Host, wanted: int, besides: int, calls: int) -> None:
    """`besides` are secrets of the vault that the catalogue does not have."""
    host.fill(*NAMES[:wanted])
    for name in NAMES[wanted : wanted + besides]:
        host.put(name, "x")
    first = host.run()
    assert first == {name: f"value of {name}".encode() for name in NAMES[:wanted]}
    assert host.count()["get"] == wanted
    before = host.seen
    for _ in range(2):
        assert host.run() == first
        counted = host.count()
        assert counted.get("get", 0) + counted.get("list", 0) == calls == min((wanted + besides + 24) // 25, wanted)
        assert counted["token"] == 1
        assert host.seen == before, "an unchanged vault must leave the state as it is"


def test_only_what_changed_is_read_again(host: Host) -> None:
    host.fill(*NAMES[:10])
    first = host.run()
    host.count()
    host.put(NAMES[4], "value of today", created=LONG_AGO + 60)
    assert host.run() == first | {NAMES[4]: b"value of today"}
    counted = host.count()
    assert (counted["list"], counted["get"]) == (1, 1)


def test_one_challenge_and_one_token_for_all(host: Host) -> None:
    host.fill(*NAMES[:20])
    host.run()
    counted = host.count()
    assert (counted["challenge"], counted["token"], counted["get"]) == (1, 1, 20)
    assert counted["connections"] <= 17, "one for each thread, and the first"


def test_a_version_of_the_same_second_is_found(host: Host) -> None:
    """Dates tell seconds only: what was read within a few seconds of its date is read again."""
    now = int(time.time())
    host.fill("key")
    host.put("key", "value of then", created=now)
    assert host.run() == {"key": b"value of then"}
    host.put("key", "value of now", created=now)
    assert host.run() == {"key": b"value of now"}


def test_a_pinned_version_is_read_once(host: Host) -> None:
    version = host.put("key", "value of then")
    host.put("key", "value of now", created=LONG_AGO + 60)
    host.add("key", keyvault={"version": version})
    assert host.run() == {"key": b"value of then"}
    host.count()
    assert host.run() == {"key": b"value of then"}
    assert "get" not in host.count()
    host.entries[0]["keyvault"] = {}
    assert host.run() == {"key": b"value of now"}


def test_who_may_not_list_reads_each(host: Host) -> None:
    host.fill(*NAMES[:3])
    host.control.revoke("host", "coffre")
    host.control.grant("host", "coffre", ["get"])
    first = host.run()
    host.count()
    assert host.run() == first
    assert host.count()["get"] == 3
    assert "list" not in host.count()


def test_another_vault_is_read_anew(host: Host) -> None:
    host.fill("key")
    host.run()
    host.move("key")
    assert host.run() == {"key": b"value of another"}


def test_another_name_is_read_anew(host: Host) -> None:
    """Two secrets of one date, of which the catalogue first means one and then the other."""
    host.fill("key")
    host.run()
    host.put("Other-Key", "value of another")
    host.entries[0]["keyvault"] = {"name": "Other-Key"}
    assert host.run() == {"key": b"value of another"}
