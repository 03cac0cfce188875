"""Times plays on the test hosts that are a swarm, with the demo on them; see `make bench-rotation ENV=swarm`.

Three measurements: plays that change nothing, by how many of the hosts take part; the secret of a Keycloak client,
under load; and all secrets that can grow old, at once.
"""

from __future__ import annotations

import os
import sys
import time

from machines import KEYS
from swarms import NEVER, STACK, machine, play, state
from traffic import traffic

UNCHANGED_RUNS, LEAST = 3, 5000
CLIENT = "keycloak-service-client-secret"


def timed(playbook: str, *arguments: str) -> float:
    """The seconds of a whole play. Stops the benchmark where it fails."""
    began = time.monotonic()
    said = play(playbook, *arguments)
    if said.status:
        sys.exit(f"{playbook} failed:\n{said.output[-5000:]}")
    return time.monotonic() - began


def middle(playbook: str, *arguments: str) -> float:
    """The seconds of the middle one of some runs."""
    return sorted(timed(playbook, *arguments) for _ in range(UNCHANGED_RUNS))[UNCHANGED_RUNS // 2]


def main() -> None:
    # As Molecule has it.
    os.environ["ANSIBLE_SSH_COMMON_ARGS"] = f"-F {KEYS / 'ssh_config'}"
    unchanged = {hosts: middle("site", "--limit", hosts) for hosts in ("swarm1", "swarm1,swarm2,swarm3", "all")}
    with traffic(machine("swarm1"), LEAST, stack=STACK) as counted:  # it fails with the first request that is lost
        client = timed("rotate", "-e", f"secrets={CLIENT}")
    before = {name: each["version"] for name, each in state("swarm1")["secrets"].items()}
    due = timed("rotate", "-e", f"secrets={','.join(sorted(set(before) - NEVER))}")
    after = {name: each["version"] for name, each in state("swarm1")["secrets"].items()}
    rotated = sum(before[name] != after[name] for name in before)
    for hosts, seconds in unchanged.items():
        print(f"site.yml that changes nothing, --limit {hosts}: {seconds:.1f} s")
    print(
        f"unchanged={unchanged['all']:.1f} seconds={client:.1f} failed=0 requests={sum(counted.values())} "
        f"all_due_seconds={due:.1f} all_due={rotated}"
    )


if __name__ == "__main__":
    main()
