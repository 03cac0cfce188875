"""A vault of the emulator, clean for each test, and what a host makes of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.sources import base as sources
from ansible_collections.coffre.stack.plugins.module_utils.sources import keyvault as source_keyvault
from tests.keyvault_emulator.control import Control
from tests.keyvault_emulator.server import Emulator
from tests.unit import described

LONG_AGO = 1_700_000_000


@dataclass
class Host:
    """What a run knows of the vault, kept from run to run."""

    emulator: Emulator
    entries: list[dict[str, Any]]
    options: dict[str, Any]
    newline: str = "refuse"
    held: dict[str, list[sources.Held]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def control(self) -> Control:
        return self.emulator.control

    def settings(self) -> keyvault.VaultSettings:
        return keyvault.settings(
            {
                "url": "https://coffre.vault.azure.net",
                "credential": {"type": "managed_identity"},
                "ca": str(self.emulator.ca),
                "seconds": 20,
                **self.options,
            }
        )

    def add(self, name: str, strategy: str = "replace", **more: Any) -> None:
        """An entry of the catalogue."""
        self.entries.append({"name": name, "consumers": ["host"], "strategy": strategy, **more})

    def put(self, name: str, value: str, **more: Any) -> str:
        """A version in the vault, made long ago; returns its id."""
        return self.control.put("coffre", name, value, **{"created": LONG_AGO, **more})

    def fill(self, *names: str, **more: Any) -> None:
        """Secrets in the catalogue and in the vault alike."""
        for name in names:
            self.add(name, **more)
            self.put(name, f"value of {name}")

    def move(self, name: str) -> None:
        """Read another vault from now on, which has a secret of this name, too, and lets this host in."""
        self.control.vault("other")
        self.control.grant("host", "other", ["get", "list"])
        self.control.put("other", name, "value of another", created=LONG_AGO)
        self.options["url"] = "https://other.vault.azure.net"

    def run(self) -> dict[str, bytes]:
        """Read the vault as a run does, hold what it gives, and return the values."""
        parsed = described.parse({"secrets": self.entries, "services": []})
        resolved = source_keyvault.read(parsed, self.held, self.seen, self.settings(), self.newline)
        for name, version in resolved.values.items():
            self.held[name] = [version]
        self.seen, self.warnings = resolved.vault, resolved.warnings
        return {name: version.value for name, version in resolved.values.items()}

    def count(self) -> Mapping[str, int]:
        """The calls since the last count."""
        return self.control.count(reset=True)


@pytest.fixture
def host(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Host]:
    monkeypatch.setattr(keyvault, "BACKOFF", (0.01, 0.02, 0.05))
    caplog.set_level(logging.DEBUG)
    yield Host(emulator, [], {})
    assert "value of" not in caplog.text
