"""The fault table: a rotation harmed at every record that it writes, and what two runs make of it.

    python -m tests.faults [--only REGEX] [--vault | --swarm]

Runs on the test host debian13, with the demo's stack, and staging beside it where a Key Vault is concerned, or on the
test hosts that are a swarm (see `make test-faults`). Prints a line per cell, and at the end how many of how many are
well; exits with 1 if not all are.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator

from machines import KEYS
from rotations import Site, demo
from staging import reach_emulator

from tests.faults import chosen, swarm, vaults
from tests.faults.cells import Cell, play


def run(site: Site, table: Iterable[Cell]) -> tuple[int, int]:
    """Play cells on a stack that is well; returns how many end well, of how many."""
    site.forget()
    problems, facts = site.judge()
    assert problems == [], problems
    good = number = 0
    for number, cell in enumerate(table, 1):
        verdict = play(site, cell, ("site", "rotate")[number % 2], facts)
        good += not verdict.problems
        mark = "FAIL" if verdict.problems else "ok  "
        print(f"{mark} {cell}: {verdict.first}; {verdict.second}; {verdict.seconds:.0f} s", flush=True)
        for problem in verdict.problems:
            print(f"     {problem}", flush=True)
    site.forget()
    return good, number


def main() -> None:
    parser = argparse.ArgumentParser(description="Harm rotations, and see that the next run leaves all well.")
    parser.add_argument("--only", default="", metavar="REGEX", help="play those cells whose line has this")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--vault", action="store_true", help="play the cells of the Key Vault alone")
    which.add_argument("--swarm", action="store_true", help="play the cells of a swarm")
    asked = parser.parse_args()
    # As Molecule has it.
    os.environ["ANSIBLE_SSH_COMMON_ARGS"] = f"-F {KEYS / 'ssh_config'}"
    began, good, played = time.monotonic(), 0, 0

    def chosen_of(cells: Iterable[Cell]) -> Iterator[Cell]:
        return (each for each in cells if re.search(asked.only, str(each)))

    if asked.swarm:
        good, played = run(swarm.Swarm(), chosen_of(swarm.cells(swarm.Swarm())))
    else:
        # First, because a host that lost its power has forgotten the vault's name.
        emulator = reach_emulator()
        if table := list(chosen_of(vaults.cells(emulator))):
            good, played = run(vaults.deploy(emulator), table)
            vaults.remove()
    if not asked.vault and not asked.swarm:
        more = run(demo(), chosen_of(chosen.cells(demo())))
        good, played = good + more[0], played + more[1]
    print(f"{good} of {played} in {(time.monotonic() - began) / 60:.0f} min")
    sys.exit(good != played)


if __name__ == "__main__":
    main()
