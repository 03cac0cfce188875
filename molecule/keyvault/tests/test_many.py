"""Two hundred secrets: each is read once, and then a page of properties tells of 25."""

from __future__ import annotations

from typing import Any

from machines import adding
from staging import STACK, play, versions

from tests.keyvault_emulator.control import Control

testinfra_hosts = ["ansible://debian13"]

NAMES = [f"bulk-{number:03}" for number in range(1, 201)]


def test_many(vault: Control, host: Any) -> None:
    known = set(versions(host))
    for name in NAMES:
        vault.put(STACK, name, f"{name}-0123456789abcdef0123456789abcdef", created=1_700_000_000)
    arguments = adding([{"name": name, "host": True, "strategy": "replace"} for name in NAMES])

    vault.set(latency_ms=30)
    vault.count(reset=True)
    first = play("secrets", *arguments)
    assert first.status == 0, first.output
    assert set(versions(host)) == known | set(NAMES)
    calls = vault.count(reset=True)
    assert len(NAMES) <= calls["get"] <= len(NAMES) + len(known), calls
    assert calls["connections"] <= 17, calls

    again = play("secrets", *arguments)
    assert again.status == 0 and again.recap["debian13"]["changed"] == 0, again.output
    calls = vault.count()
    pages = -(-(len(NAMES) + len(known)) // 25)
    assert (calls.get("list"), calls.get("get", 0)) == (pages, 0), calls

    for name in NAMES:
        vault.delete(STACK, name, purge=True)
    assert play("site").status == 0
