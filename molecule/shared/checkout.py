"""The checkout of a newcomer, who is its controller on the machine that it deploys to."""

from __future__ import annotations

from typing import Any

CHECKOUT = "/home/ops/coffre"


def run(host: Any, line: str) -> str:
    """Run a line of shell in the checkout as its user, and return the output in one line. It has to succeed."""
    done = host.run("cd %s && runuser -u ops -- sh -c %s", CHECKOUT, f"{line} 2>&1")
    assert done.succeeded, f"{line}: {done.stdout}{done.stderr}"
    return " ".join(done.stdout.split())
