"""One emulator for all tests of this folder, clean for each, and the real SDK's client of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from azure.core.credentials import TokenCredential
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets._shared import http_challenge_cache

from tests.keyvault_emulator.server import Emulator, start

Connect = Callable[..., SecretClient]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with start(tmp_path_factory.mktemp("emulator"), vaults=["coffre"]) as emulator, emulator.resolving():
        yield emulator


@pytest.fixture
def emulator(running: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    running.control.reset()
    for key, value in running.environment().items():
        monkeypatch.setenv(key, value)
    # The SDK remembers challenges for the life of the process, whichever client met them.
    http_challenge_cache.clear()
    return running


@pytest.fixture
def connect(emulator: Emulator) -> Iterator[Connect]:
    """A client of a vault, by a credential or the managed identity with the name given; without retries by default."""
    opened: list[SecretClient | ManagedIdentityCredential] = []

    def client(
        vault: str = "coffre",
        identity: str = "operator",
        retries: int = 0,
        url: str = "",
        credential: TokenCredential | None = None,
        trust: str | bool = str(emulator.ca),
    ) -> SecretClient:
        if credential is None:
            known = emulator.world.identities[identity]
            credential = ManagedIdentityCredential(
                client_id=None if known.system else known.client_id, retry_total=retries
            )
            opened.append(credential)
        made = SecretClient(
            url or f"https://{vault}.vault.azure.net",
            credential,
            connection_verify=trust,
            retry_total=retries,
            retry_backoff_factor=0.01,
        )
        opened.append(made)
        return made

    yield client
    for each in opened:
        each.close()
