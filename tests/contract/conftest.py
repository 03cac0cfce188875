"""The vault of the contract tests: the emulator's, or with COFFRE_TEST_VAULT_URL a real one.

A real vault is asked with the credential `default` (as in stack_secrets_keyvault; see `az login`), whose identity must
be Key Vault Secrets Officer there. The tests name their secrets at random, and delete them at the end.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.keyvault.transport import Transport
from ansible_collections.coffre.stack.plugins.module_utils.provision import run
from ansible_collections.coffre.stack.plugins.module_utils.sources import base as sources
from ansible_collections.coffre.stack.plugins.module_utils.sources import keyvault as source_keyvault
from tests.keyvault_emulator.roles import RIGHTS
from tests.keyvault_emulator.server import Emulator
from tests.unit import described

from . import subscription


@dataclass
class Ground:
    """A vault, other hands in it, and one host that reads it."""

    settings: keyvault.VaultSettings
    hands: SecretClient
    prefix: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    held: dict[str, list[sources.Held]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def name(self, name: str) -> str:
        """The vault's name of a secret of this test."""
        return f"{self.prefix}-{name}"

    def add(self, name: str, strategy: str = "replace", version: str | None = None, **more: Any) -> None:
        """An entry of the catalogue."""
        vault = {"name": self.name(name)} | ({"version": version} if version else {})
        self.entries.append({"name": name, "consumers": ["host"], "strategy": strategy, "keyvault": vault, **more})

    def put(self, name: str, value: str, **more: Any) -> str:
        """A version made by other hands; returns its id."""
        return str(self.hands.set_secret(self.name(name), value, **more).properties.version)

    def run(self) -> dict[str, bytes]:
        """Read as a run does; `requests` has afterwards what was asked of the vault."""
        self.requests.clear()
        parsed = described.parse({"secrets": self.entries, "services": []})
        resolved = source_keyvault.read(parsed, self.held, self.seen, self.settings, "refuse")
        for name, version in resolved.values.items():
            self.held[name] = [version]
        self.seen, self.warnings = resolved.vault, resolved.warnings
        return {name: version.value for name, version in resolved.values.items()}


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[tuple[keyvault.VaultSettings, SecretClient]]:
    """(what a host is told of the vault, a client of the SDK's own)."""
    trust = {}
    if not (url := os.environ.get("COFFRE_TEST_VAULT_URL")):
        emulator: Emulator = request.getfixturevalue("emulator")
        emulator.control.grant("host", "coffre", RIGHTS)
        url, trust = "https://coffre.vault.azure.net", {"ca": str(emulator.ca)}
    with (
        DefaultAzureCredential() as credential,
        SecretClient(url, credential, connection_verify=trust.get("ca", True)) as client,
    ):
        yield keyvault.settings({"url": url, **trust}), client


@pytest.fixture
def ground(place: tuple[keyvault.VaultSettings, SecretClient], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    settings, hands = place
    made = Ground(settings, hands, f"coffre-test-{secrets.token_hex(6)}")
    send = Transport.send

    def note(transport: Transport, request: Any, **options: Any) -> Any:
        if "Authorization" in request.headers:
            made.requests.append(f"{request.method} {request.url.partition('?')[0].rpartition('/secrets')[2]}")
        return send(transport, request, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "send", note)
        yield made
    for about in hands.list_properties_of_secrets():
        if about.name and about.name.startswith(made.prefix):
            hands.begin_delete_secret(about.name).wait()
    for gone in hands.list_deleted_secrets():
        if gone.name and gone.name.startswith(made.prefix):
            try:
                hands.purge_deleted_secret(gone.name)
            except HttpResponseError:
                # A vault with purge protection keeps it until its time is over.
                break


@pytest.fixture
def land(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[subscription.Land]:
    """A subscription in which there is nothing yet."""
    if subscription.REAL:
        with subscription.real() as found:
            yield found
        return
    monkeypatch.setattr(keyvault, "BACKOFF", (0.01, 0.02, 0.05))
    monkeypatch.setattr(run, "RIGHTS_PAUSE", 0.01)
    with subscription.emulated(request.getfixturevalue("emulator")) as found:
        yield found
