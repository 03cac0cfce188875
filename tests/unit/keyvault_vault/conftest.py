"""A subscription of the emulator's, empty but for an action group, a machine and its subnet."""

from __future__ import annotations

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.provision import run
from tests.keyvault_emulator.server import Emulator
from tests.unit.keyvault_vault.azure import ACTIONS, NET, Azure


@pytest.fixture
def azure(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Azure:
    monkeypatch.setattr(keyvault, "BACKOFF", (0.01, 0.02, 0.05))
    monkeypatch.setattr(run, "RIGHTS_PAUSE", 0.01)
    emulator.control.set(polls=0)  # what Azure makes is there at once, where a test does not say otherwise
    emulator.control.resource(ACTIONS, {"properties": {"groupShortName": "oncall"}})
    emulator.control.resource(NET, {"properties": {"serviceEndpoints": [{"service": "Microsoft.KeyVault"}]}})
    return Azure(emulator)
