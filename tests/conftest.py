"""The emulated vault that tests share: one for a whole run, clean for each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.keyvault.secrets._shared import http_challenge_cache

from tests.keyvault_emulator.server import Emulator, start


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with start(tmp_path_factory.mktemp("emulator"), vaults=["coffre"]) as emulator, emulator.resolving():
        yield emulator


@pytest.fixture
def emulator(running: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator as at its beginning, where this process finds its managed identity."""
    running.control.reset()
    for key, value in running.environment().items():
        monkeypatch.setenv(key, value)
    # The SDK remembers challenges for the life of the process, whichever client met them.
    http_challenge_cache.clear()
    return running
