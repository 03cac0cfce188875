"""The life of each secret on this host: when it was made, is due and ends, and what is kept of those before it.

Names, versions and times, which are text as the state has them; None where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..audit import trail as audit
from ..catalogue import Secret
from ..host import state
from ..values import lifetimes
from .target import Target


@dataclass(frozen=True)
class Certificate:
    """The certificates in a value: the names that the first is for, and when the first of all of them ends."""

    names: tuple[str, ...]
    begins: str
    ends: str


@dataclass(frozen=True)
class Life:
    """The version of a secret that is in force. `due` is also that of what only its owner replaces."""

    secret: str
    version: str
    created: str
    due: str | None
    ends: str | None
    rotated: str | None
    ring: tuple[state.Previous, ...] = ()
    certificate: Certificate | None = None


def lives(target: Target, before_days: int) -> list[Life]:
    """Of each secret that state and catalogue know. Raises CoffreError if its audit trail cannot be read."""
    rotated = audit.rotations(target.paths)
    return [
        _life(target, target.catalogue.secrets[name], record, before_days, rotated.get(name))
        for name, record in sorted(target.state.secrets.items())
        if name in target.catalogue.secrets
    ]


def _life(target: Target, secret: Secret, record: state.Version, before_days: int, rotated: float | None) -> Life:
    certificate = _certificate(target.values.get(secret.name, b""))
    ends = [lifetimes.end(secret, record), lifetimes.parsed(certificate.ends) if certificate else None]
    end = min(filter(None, ends), default=None)
    return Life(
        secret=secret.name,
        version=record.version,
        created=record.created,
        due=_text(end - lifetimes.margin(record, end, before_days)) if end else None,
        ends=_text(end) if end else None,
        rotated=state.moment(rotated) if rotated is not None else None,
        ring=tuple(record.ring),
        certificate=certificate,
    )


def _certificate(value: bytes) -> Certificate | None:
    """What the certificates in a value say, None where there is none. Its owner may give one of any length."""
    if b"-----BEGIN CERTIFICATE-----" not in value:
        return None
    from ..values import certificates

    try:
        return Certificate(*certificates.shape(value))
    except ValueError:  # which the check of certificates tells
        return None


def _text(moment: datetime) -> str:
    return state.moment(moment.timestamp())


def under_way(target: Target) -> dict[str, Any] | None:
    """The rotation that is open, if one is: {id, operator, started, direction, secrets: [name]}."""
    if (run := target.state.run) is None:
        return None
    told = {"id": run.id, "operator": run.operator, "started": run.started, "direction": run.direction}
    return told | {"secrets": sorted(run.secrets)}
