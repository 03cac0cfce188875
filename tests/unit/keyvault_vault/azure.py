"""The emulated subscription, and who asks it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.provision import run, settings
from tests.keyvault_emulator.access import guid
from tests.keyvault_emulator.control import Control
from tests.keyvault_emulator.server import Emulator
from tests.keyvault_emulator.vault import SUBSCRIPTION
from tests.keyvault_emulator.world import MACHINE

OPERATOR = guid("object/operator")
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/shop"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/shop"
ACTIONS = f"{MACHINE.partition('/providers/')[0]}/providers/Microsoft.Insights/actionGroups/on-call"
NET = f"{MACHINE.partition('/providers/')[0]}/providers/Microsoft.Network/virtualNetworks/Net/subnets/Hosts"
WRITES = ("PUT", "PATCH", "DELETE")


@dataclass
class Azure:
    """A subscription, and who asks it."""

    emulator: Emulator
    more: dict[str, Any] = field(default_factory=dict)
    url: str = "https://shop.vault.azure.net"
    seconds: int = 20
    writer: dict[str, Any] | None = None  # where it is not who makes the vault

    @property
    def control(self) -> Control:
        return self.emulator.control

    def wanted(self, who: str = "operator") -> settings.Wanted:
        credential = {"type": "managed_identity", "client_id": guid(f"client/{who}")}
        stack_vault = {
            "subscription": SUBSCRIPTION,
            "resource_group": "shop",
            "location": "westeurope",
            "credential": credential,
            "writers": [{"principal": OPERATOR, "type": "ServicePrincipal"}],
        }
        vault = {"url": self.url, "ca": str(self.emulator.ca), "seconds": self.seconds}
        vault["write_credential"] = self.writer or credential
        return settings.settings("shop", stack_vault | self.more, vault)

    def run(self, who: str = "operator", **more: Any) -> run.Outcome:
        """A run that may do everything; how it calls is counted anew."""
        self.control.count(reset=True)
        return run.provision(self.wanted(who), **{"confirm": "shop", **more})

    def writes(self) -> dict[str, int]:
        """The calls of Resource Manager since the last run began that wrote."""
        return {name: count for name, count in self.control.count().items() if name.startswith(WRITES)}

    def refused(self, who: str = "operator", **more: Any) -> str:
        """What a run says that changes nothing."""
        with pytest.raises(CoffreError) as told:
            self.run(who, **more)
        assert str(told.value).endswith("Nothing was changed.")
        assert self.writes() == {}
        return str(told.value)
