"""Tokens: the real SDK with all its checks on gets in, and gets out what it put in."""

from __future__ import annotations

from tests.keyvault_emulator.server import Emulator

from .conftest import Connect


def test_first_call_is_challenged_and_later_ones_are_not(emulator: Emulator, connect: Connect) -> None:
    client = connect()
    made = client.set_secret("alpha", "one")
    assert client.get_secret("alpha").value == "one"
    assert [each.name for each in client.list_properties_of_secrets()] == ["alpha"]
    assert made.id == f"https://coffre.vault.azure.net/secrets/alpha/{made.properties.version}"
    assert emulator.control.count() == {"connections": 1, "challenge": 1, "token": 1, "set": 1, "get": 1, "list": 1}


def test_port_other_than_443_passes_the_check_of_the_resource(emulator: Emulator, connect: Connect) -> None:
    connect(url=emulator.url("coffre")).set_secret("alpha", "one")
