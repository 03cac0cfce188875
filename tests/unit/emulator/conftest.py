"""The real SDK's client of the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from azure.core.credentials import TokenCredential
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

from tests.keyvault_emulator.server import Emulator

Connect = Callable[..., SecretClient]


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
