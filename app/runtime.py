"""What one process of the app knows from its start on: where its secrets came from, and whether it may serve."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import cast

from flask import current_app

from app.audit import AuditError, AuditLog, Head
from app.config.settings import Config
from app.keycloak import SharedAnswer

# As `fall` of the servers in haproxy.cfg: after so many refusals the proxy sends no more requests.
REFUSALS = 3


@dataclass(frozen=True)
class Runtime:
    """`sources` has None for a secret that was missing, `audit` is None if the loads could not be recorded; the last of
    those records is `head`.

    `refused` counts the checks of the proxy's that were answered with `stopping`.
    """

    settings: Config
    sources: Mapping[str, str | None]
    audit: AuditLog | None
    head: Head
    token: SharedAnswer
    stopping: threading.Event = field(default_factory=threading.Event)
    refused: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def secrets(self) -> dict[str, str]:
        """`loaded` or `missing` per secret: what was read at the start must still be where it was."""
        return {name: "loaded" if _is_there(name, source) else "missing" for name, source in self.sources.items()}

    def audit_problem(self) -> str | None:
        """Why the audit log cannot be written, in one sentence."""
        if self.audit is None:
            return "The secrets' loads are not in the audit log: see the app's log, then restart it."
        try:
            self.audit.check()
        except AuditError as error:
            return str(error)
        return None

    def wait_until_turned_away(self, seconds: float) -> bool:
        """Wait until the proxy has heard often enough that this process is leaving; False if it never asks."""
        end = monotonic() + seconds
        return all(self.refused.acquire(timeout=max(end - monotonic(), 0)) for _ in range(REFUSALS))


def current() -> Runtime:
    """The runtime of the app that handles this request."""
    return cast(Runtime, current_app.extensions["coffre"])


def _is_there(name: str, source: str | None) -> bool:
    try:
        return Config.find_secret(name).source == source
    except ValueError:
        return False
