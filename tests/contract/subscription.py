"""The subscription of the contract tests: the emulator's, or with COFFRE_TEST_SUBSCRIPTION a real one.

A real one is asked as who is logged in by `az login`, who must own it. The tests name a resource group at random in
COFFRE_TEST_LOCATION (westeurope), switch no purge protection on, and remove all of it at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import jwt
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import AzureCliCredential, ManagedIdentityCredential
from azure.mgmt.authorization.v2022_04_01 import AuthorizationManagementClient
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.loganalytics import LogAnalyticsManagementClient
from azure.mgmt.monitor.v2021_05_01_preview import MonitorManagementClient
from azure.mgmt.msi.v2024_11_30 import ManagedServiceIdentityClient

from ansible_collections.coffre.stack.plugins.module_utils.keyvault.arm import VERSIONS, Manager
from ansible_collections.coffre.stack.plugins.module_utils.provision import resources, run, settings
from tests.keyvault_emulator.access import guid
from tests.keyvault_emulator.server import Emulator
from tests.keyvault_emulator.vault import SUBSCRIPTION

ARM = "https://management.azure.com"
REAL = os.environ.get("COFFRE_TEST_SUBSCRIPTION", "")


@dataclass
class Land:
    """A subscription in which a run makes a vault, and Microsoft's own clients, which read it.

    `who` asks, as a credential of stack_vault; `ca` is what proves the emulator, or nothing.
    """

    subscription: str
    location: str
    who: Mapping[str, str]
    credential: TokenCredential
    ca: str = ""
    name: str = field(default_factory=lambda: f"coffre-test-{token_hex(5)}")

    @property
    def vault(self) -> str:
        """The vault's id."""
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.name}"
        return f"{group}/providers/Microsoft.KeyVault/vaults/{self.name}"

    def client(self, kind: Any, **more: Any) -> Any:
        """One of Microsoft's clients."""
        return kind(self.credential, self.subscription, connection_verify=self.ca or True, **more)

    @property
    def vaults(self) -> Any:
        """What reads vaults, as of the version that the runs ask for."""
        return self.client(KeyVaultManagementClient, api_version=VERSIONS["vault"]).vaults

    @property
    def assignments(self) -> Any:
        """What reads role assignments."""
        return self.client(AuthorizationManagementClient).role_assignments

    def read(self) -> dict[str, Any]:
        """All that a run makes, as Microsoft's clients read it."""
        kept = self.name
        return {
            "vault": self.vaults.get(kept, kept),
            "workspace": self.client(LogAnalyticsManagementClient).workspaces.get(kept, f"{kept}-audit"),
            "identity": self.client(ManagedServiceIdentityClient).user_assigned_identities.get(kept, f"{kept}-hosts"),
            "assignments": list(self.assignments.list_for_scope(self.vault, filter="atScope()")),
            "settings": list(self.client(MonitorManagementClient).diagnostic_settings.list(self.vault)),
        }

    def event(self) -> Any:
        """The event subscription."""
        return self.client(EventGridManagementClient).event_subscriptions.get(self.vault, resources.EVENT)

    def me(self) -> str:
        """The object id of who asks."""
        token = self.credential.get_token(f"{ARM}/.default").token
        return str(jwt.decode(token, options={"verify_signature": False})["oid"])

    def wanted(self, **more: Any) -> settings.Wanted:
        """The vault that a run is to make, with `more` in stack_vault."""
        stack_vault = {
            "subscription": self.subscription,
            "resource_group": self.name,
            "location": self.location,
            "purge_protection": False,
            "credential": self.who,
            "writers": [{"principal": self.me(), "type": "User" if REAL else "ServicePrincipal"}],
        }
        keyvault = {"url": f"https://{self.name}.vault.azure.net", "write_credential": self.who, "seconds": 900}
        return settings.settings(self.name, stack_vault | more, keyvault | ({"ca": self.ca} if self.ca else {}))

    def run(self, recover: bool = False, check: bool = False, **more: Any) -> run.Outcome:
        """A run."""
        return run.provision(self.wanted(**more), recover=recover, check=check)

    def clear(self) -> None:
        """Leave nothing."""
        wanted = self.wanted()
        with Manager(wanted.keyvault, wanted.credential) as manager:
            if manager.get("group", resources.in_group(wanted)) is None:
                return
            if manager.get("vault", self.vault):
                self.vaults.delete(self.name, self.name)
            manager._ask("DELETE", manager._url("group", resources.in_group(wanted)))
            while manager.get("group", resources.in_group(wanted)) is not None:
                manager._pause(5)
        with suppress(ResourceNotFoundError):
            self.vaults.begin_purge_deleted(self.name, self.location).wait()


@contextmanager
def emulated(emulator: Emulator) -> Iterator[Land]:
    """The emulator's subscription, as its operator."""
    client_id = guid("client/operator")
    who = {"type": "managed_identity", "client_id": client_id}
    with ManagedIdentityCredential(client_id=client_id) as credential:
        land = Land(SUBSCRIPTION, "westeurope", who, credential, str(emulator.ca))
        yield land
        land.clear()
        left = [each for each in emulator.world.resources.kept if land.name in each]
        assert not left and land.name not in emulator.world.deleted_vaults, left


@contextmanager
def real() -> Iterator[Land]:
    """The real subscription that is named, left as it was."""
    with AzureCliCredential() as credential:
        land = Land(REAL, os.environ.get("COFFRE_TEST_LOCATION", "westeurope"), {"type": "azure_cli"}, credential)
        try:
            yield land
        finally:
            land.clear()
