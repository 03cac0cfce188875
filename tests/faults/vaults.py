"""The cells of staging, whose values come from an emulated Key Vault on the test host."""

from __future__ import annotations

import yaml
from machines import on_machine
from rotations import Site
from staging import INVENTORY, STACK, supply_certificate

from tests.faults import kinds
from tests.faults.cells import KILLED, Cell
from tests.faults.chosen import ADMIN, CLIENT, DATABASE, SOON
from tests.keyvault_emulator.control import Control


def site() -> Site:
    """Staging as molecule/keyvault/inventory has it."""
    test = yaml.safe_load((INVENTORY / "group_vars/all/test.yml").read_text(encoding="utf-8"))
    settings = {key: value for key, value in test["stack_secrets_keyvault"].items() if key != "write_credential"}
    return Site(
        STACK,
        INVENTORY,
        test["stack_public_url"],
        test["stack_services_ca_path"],
        settings,
        test["stack_environment"],
    )


def remove() -> None:
    """The stack that `deploy` made, with its data."""
    assert (play := site().play("teardown", "-e", f"teardown_destroy={STACK}")).status == 0, play.output


def deploy(emulator: Control) -> Site:
    """Staging on the test host, from an empty vault."""
    remove()
    there = site()
    on_machine("systemctl start keyvault-emulator; until ss -ltn | grep -q :9442; do sleep 0.2; done")
    emulator.reset()
    supply_certificate(emulator)
    for playbook in ("ensure_secrets", "site"):
        assert (play := there.play(playbook)).status == 0, play.output
    return there


def cells(emulator: Control) -> list[Cell]:
    """What a vault may do while it is written to, on the way forward and back."""

    def transient_errors(what: str, kind: str, operation: str, **settings: str | float | None) -> kinds.Fault:
        return kinds.transient_errors(what, emulator, kind, operation, **settings)

    limited = transient_errors("answers 429 for long", "status", "set", count=0, status=429, retry_after=600)
    failing = transient_errors("answers 500", "status", "*", count=0, status=500)
    return [
        Cell(CLIENT, "published", limited, why="longer than a run waits: undone, nothing was put"),
        Cell(DATABASE, "published", failing, why="not even the versions can be listed, nor in undo: stays open"),
        Cell(
            CLIENT,
            "published",
            transient_errors("puts it and answers nothing", "lost", "set"),
            why="put twice by one run",
        ),
        Cell(
            ADMIN,
            "published",
            transient_errors("never answers a put", "lost", "set", count=0),
            why="put, and not known to be",
        ),
        Cell(CLIENT, "vault version", KILLED, why="put and recorded, adopted by nobody"),
        Cell(
            DATABASE,
            "keycloak exposed",
            kinds.both(kinds.sick("keycloak"), failing),
            patience=SOON,
            why="the old value cannot be put back, so the run stays open",
        ),
        Cell(ADMIN, "withdrawn", failing, why="the vault is not needed any more: the run ends well"),
    ]
