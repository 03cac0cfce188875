"""The fault table: a rotation harmed at every record that it writes, and what two runs make of it.

    python -m tests.faults [--only REGEX] [--vault]

Runs on the test host debian13, with the demo's stack, and staging beside it where a Key Vault is concerned (see
`make test-faults`). Prints a line per cell, and at the end how many of how many are well; exits with 1 if not all are.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time

from machines import KEYS
from rotations import Site, demo
from staging import reach_emulator

from tests.faults import chosen, vaults
from tests.faults.cells import Cell, play


def run(site: Site, table: list[Cell]) -> int:
    """Play cells on a stack that is well; returns how many end well."""
    site.forget()
    problems, facts = site.judge()
    assert problems == [], problems
    good = 0
    for number, cell in enumerate(table):
        verdict = play(site, cell, ("rotate", "site")[number % 2], facts)
        good += not verdict.problems
        mark = "FAIL" if verdict.problems else "ok  "
        print(f"{mark} {cell}: {verdict.first}; {verdict.second}; {verdict.seconds:.0f} s", flush=True)
        for problem in verdict.problems:
            print(f"     {problem}", flush=True)
    site.forget()
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description="Harm rotations, and see that the next run leaves all well.")
    parser.add_argument("--only", default="", metavar="REGEX", help="play those cells whose line has this")
    parser.add_argument("--vault", action="store_true", help="play the cells of the Key Vault alone")
    asked = parser.parse_args()
    # As Molecule has it.
    os.environ["ANSIBLE_SSH_COMMON_ARGS"] = f"-F {KEYS / 'ssh_config'}"
    began, good, played = time.monotonic(), 0, 0

    def chosen_of(cells: list[Cell]) -> list[Cell]:
        return [each for each in cells if re.search(asked.only, str(each))]

    # First, because a host that lost its power has forgotten the vault's name.
    emulator = reach_emulator()
    if table := chosen_of(vaults.cells(emulator)):
        good, played = run(vaults.deploy(emulator), table), len(table)
        vaults.remove()
    if not asked.vault:
        table = chosen_of(chosen.cells(demo()))
        good, played = good + run(demo(), table), played + len(table)
    print(f"{good} of {played} in {(time.monotonic() - began) / 60:.0f} min")
    sys.exit(good != played)


if __name__ == "__main__":
    main()
