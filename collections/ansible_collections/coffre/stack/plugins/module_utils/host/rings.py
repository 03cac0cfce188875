"""Key rings: which earlier versions of a secret are still accepted, for how long, and where their values lie.

A secret of strategy key_ring has in its settings `keep_days`, how long a version stays after another took its place
(null for good), `mount_previous`, whether its services need the earlier values (the default) or only sign with
the current one, and the host alone verifies, and `signers`, the services that sign, where not all of them do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from ..catalogue import HOST, Catalogue, Secret, Service
from . import state

STRATEGY = "key_ring"
KEEP_DAYS = 31
FILE = re.compile(r"(?P<secret>[a-z][a-z0-9-]*)\.(?P<version>[0-9a-f]{32})")


def file(secret: str, version: str) -> str:
    """The name of the file with an earlier value of a secret; no other file of a bundle is called like that."""
    return f"{secret}.{version}"


def version(name: str, secret: str) -> str | None:
    """The earlier version of a secret whose value a file has by its name, or None."""
    found = FILE.fullmatch(name)
    return found["version"] if found and found["secret"] == secret else None


def keep_days(secret: Secret) -> int | None:
    days: int | None = secret.settings.get("keep_days", KEEP_DAYS)
    return days


def mounted(secret: Secret, service: Service) -> bool:
    """Whether a service gets the earlier values as files."""
    return bool(secret.settings.get("mount_previous", True)) and secret.name not in service.composed


def signers(secret: Secret) -> list[str]:
    """The services that sign with a ring's key: those that its settings name, else all that consume it."""
    services = [each for each in secret.consumers if each != HOST]
    return [each for each in services if each in secret.settings.get("signers", services)]


def verifiers(secret: Secret) -> list[str]:
    """The services that only verify what others sign with a ring's key."""
    return [each for each in secret.consumers if each not in (HOST, *signers(secret))]


def shared(catalogue: Catalogue, secret: Secret) -> bool:
    """Whether several containers sign with a ring's key and verify each other: all must know a key before one signs."""
    if secret.strategy != STRATEGY:
        return False
    found = [catalogue.services[name] for name in signers(secret) if name in catalogue.services]
    return sum(2 if each.everywhere else each.replicas for each in found if mounted(secret, each)) > 1


def after(secret: Secret, before: state.Version, current: str, moment: str, used: bool = True) -> list[state.Previous]:
    """The ring, newest first, of a secret whose version in force is `current`, given what state has of it so far.

    The version before enters with its date of retirement if it was `used`, also where a rotation is undone: there
    may be sessions and records under it. A shorter `keep_days` holds for all that are kept already.
    """
    if secret.strategy != STRATEGY:
        return []
    days = keep_days(secret)
    limit = None if days is None else later(moment, days)
    ring = [*([state.Previous(before.version, before.created)] if used else []), *before.ring]
    kept = [
        state.Previous(each.version, each.created, min(filter(None, (each.retires, limit)), default=None))
        for each in ring
        if each.version != current
    ]
    return [each for each in kept if each.retires is None or each.retires > moment]


def retiring(secret: Secret, before: state.Version, moment: str) -> list[str]:
    """The versions that are still accepted and no longer should be."""
    staying = {each.version for each in after(secret, before, before.version, moment)}
    return [each.version for each in before.ring if each.version not in staying]


def files(catalogue: Catalogue, service: Service, secrets: Mapping[str, state.Version]) -> dict[str, list[str]]:
    """A bundle's files with those of the rings: by name, the secrets inside."""
    rings = {
        file(name, each.version): [name]
        for name in catalogue.consumed(service.name)
        if name in secrets and mounted(catalogue.secrets[name], service)
        for each in secrets[name].ring
    }
    return catalogue.files(service) | rings


def later(moment: str, days: int) -> str:
    """The time so many days after a moment, both as ISO 8601."""
    then = datetime.fromisoformat(moment).astimezone(UTC) + timedelta(days=days)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")
