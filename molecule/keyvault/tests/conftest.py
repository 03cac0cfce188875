"""The stack of staging on a test host, deployed from an empty vault, and the vault's emulator to be told what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from machines import Play, on_machine
from staging import STACK, look, play, reach_emulator, supply_certificate

from tests.keyvault_emulator.control import Control


@dataclass(frozen=True)
class Staging:
    """What was run on the way to a deployed staging."""

    unfilled: Play
    checked: Play
    filled: Play
    filled_again: Play
    deployed: Play


@pytest.fixture(scope="session")
def emulator() -> Iterator[Control]:
    """The emulator on the test host."""
    yield reach_emulator()
    on_machine("systemctl stop keyvault-emulator")


@pytest.fixture(scope="session")
def staging(emulator: Control) -> Iterator[Staging]:
    """Staging, deployed from an empty vault by the commands of docs/keyvault.md; removed at the end."""
    play("teardown", "-e", f"teardown_destroy={STACK}")
    emulator.reset()
    unfilled = play("secrets")
    checked = play("ensure_secrets", "--check")
    filled = play("ensure_secrets")
    supply_certificate(emulator)
    filled_again = play("ensure_secrets")
    yield Staging(unfilled, checked, filled, filled_again, play("site"))
    play("teardown", "-e", f"teardown_destroy={STACK}")


@pytest.fixture
def vault(emulator: Control, staging: Staging) -> Iterator[Control]:
    """The vault of a deployed staging; no faults and full rights again afterwards."""
    assert staging.deployed.status == 0, staging.deployed.output
    yield emulator
    emulator.clear_faults()
    emulator.set(latency_ms=0, token_seconds=86400, clock=0, moving_seconds=0)
    emulator.grant("host", STACK, ["get", "list"])


@pytest.fixture
def untouched() -> Iterator[None]:
    """Every file of the stack is the same afterwards, and the same containers run."""
    before = look()
    yield
    assert look() == before
