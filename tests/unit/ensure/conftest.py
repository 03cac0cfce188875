"""One emulated vault for all tests of this folder, empty for each, filled as its operator."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.modules import keyvault_ensure
from tests.keyvault_emulator.control import Control
from tests.keyvault_emulator.server import Emulator
from tests.unit import described

STACK = "demo"
RANDOM = {"type": "random", "bytes": 32}
CATALOGUE: dict[str, Any] = {
    "secrets": [
        {"name": "api-key", "consumers": ["app"], "generate": RANDOM, "strategy": "key_ring", "max_age_days": 90},
        {"name": "blob", "consumers": ["app"], "kind": "bytes", "generate": RANDOM, "strategy": "replace"},
        {
            "name": "db-password",
            "consumers": ["app"],
            "generate": RANDOM,
            "strategy": "postgres_role",
            "attributes": {"role": "role_a"},
            "keyvault": {"name": "Shared-DB-Password"},
        },
        {
            "name": "proxy-tls",
            "consumers": ["proxy"],
            "kind": "bytes",
            "strategy": "replace",
            "max_age_days": 30,
            "settings": {"names": ["localhost"]},
        },
    ],
    "services": [
        {
            "name": "app",
            "uid": 60611,
            "gid": 60611,
            "adopt": "start_first",
            "files": [
                {"name": "app.conf", "alphabet": "A-Za-z0-9_-", "template": "@{db-password.role} @{db-password}"}
            ],
        },
        {"name": "proxy", "uid": 60614, "gid": 60614, "adopt": "reload"},
    ],
}


@dataclass
class Ensuring:
    """Ensures the secrets of a catalogue that a test may change, and looks at what is in the vault."""

    emulator: Emulator
    settings: dict[str, Any]
    data: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(CATALOGUE))

    def __call__(self, *, recover: bool = False, check: bool = False) -> dict[str, Any]:
        catalogue, compose_file = described.split(self.data)
        given = {"stack": STACK, "catalogue": catalogue, "compose_file": compose_file}
        return keyvault_ensure.work(given | {"keyvault": self.settings, "recover": recover}, check)

    @property
    def control(self) -> Control:
        return self.emulator.control

    @property
    def versions(self) -> dict[str, list[tuple[str, str, str, int | None, dict[str, str]]]]:
        """By name, all versions: (id, value, content type, expiry, tags)."""
        return {
            name: [
                (each.id, each.value, each.content_type or "", each.exp, dict(each.tags or {}))
                for each in secret.versions
            ]
            for name, secret in self.emulator.world.vaults["coffre"].secrets.items()
        }


@pytest.fixture
def ensuring(emulator: Emulator) -> Ensuring:
    operator = emulator.world.identities["operator"]
    settings = {
        "url": "https://coffre.vault.azure.net",
        "credential": {"type": "managed_identity"},
        "write_credential": {"type": "managed_identity", "client_id": operator.client_id},
        "ca": str(emulator.ca),
        "seconds": 10,
    }
    return Ensuring(emulator, settings)
