"""What a report is made from: of each host, what the inventory says and what modules found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import stack as stacks
from ..audit.history import Rotation
from ..catalogue import Catalogue
from ..doctor.lives import Certificate, Life
from ..doctor.target import Check
from ..errors import CatalogueError
from ..host.state import Previous

SILENT = "see that it is up and that this machine reaches it by SSH, then run make report again."


@dataclass(frozen=True)
class Host:
    """One host of the inventory with its stack. `silent` says why nothing is known of it; "" if it was looked at.

    `vault` has by secret {held, offered, since, ends}, `open` {id, operator, started, direction, secrets}; `trail` is
    what is proven of the audit trails, a sentence each, and `distrust` why they prove nothing.
    """

    name: str
    stack: str
    catalogue: Catalogue
    silent: str = ""
    reached: bool = True
    checks: tuple[Check, ...] = ()
    lives: tuple[Life, ...] = ()
    open: Mapping[str, Any] | None = None
    vault: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    trail: tuple[str, ...] = ()
    distrust: str = ""
    rotations: tuple[Rotation, ...] = ()


def host(data: Mapping[str, Any]) -> Host:
    """A host from what a play has of it: {host, stack, catalogue, compose_file, doctor, trail}.

    The last two are results of modules, which may have failed, or never have run.
    """
    doctor, trail = data.get("doctor") or {}, data.get("trail") or {}
    reached = not doctor.get("unreachable")
    known = reached and "checks" in doctor
    return Host(
        name=str(data["host"]),
        stack=str(data["stack"]),
        catalogue=_catalogue(data),
        silent="" if known else _why(doctor),
        reached=reached,
        checks=checks(doctor.get("checks") or []),
        lives=tuple(_life(each) for each in doctor.get("lives") or []),
        open=doctor.get("open"),
        vault=doctor.get("vault") or {},
        trail=tuple(str(each["said"]) for each in trail.get("trails") or []),
        distrust=_why(trail) if trail.get("failed") or trail.get("unreachable") else "",
        rotations=tuple(_rotation(each) for each in trail.get("rotations") or []),
    )


def checks(found: Iterable[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Checks as a module returns them."""
    return tuple(Check(**{**each, "findings": tuple(each.get("findings") or ())}) for each in found)


def _catalogue(data: Mapping[str, Any]) -> Catalogue:
    try:
        return stacks.read(data["catalogue"], data["compose_file"])
    except (CatalogueError, KeyError):  # which the module on the host tells
        return Catalogue({}, {})


def _why(result: Mapping[str, Any]) -> str:
    """The first line of why a task has no result."""
    told = str(result.get("msg") or "").strip().splitlines()
    return (told or ["nothing was looked at"])[0][:400]


def _life(data: Mapping[str, Any]) -> Life:
    certificate = data.get("certificate")
    return Life(
        **{
            **data,
            "ring": tuple(Previous(**each) for each in data.get("ring") or []),
            "certificate": Certificate(**{**certificate, "names": tuple(certificate["names"])})
            if certificate
            else None,
        }
    )


def _rotation(data: Mapping[str, Any]) -> Rotation:
    texts = {"operators": tuple(data["operators"]), "failed": tuple(data.get("failed") or ())}
    return Rotation(**{**data, **texts, "secrets": {name: tuple(each) for name, each in data["secrets"].items()}})
