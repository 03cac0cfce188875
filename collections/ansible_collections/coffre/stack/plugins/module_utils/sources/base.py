"""Where values come from: what a source is asked, and what all of them share."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..catalogue import OF_VERSION, Catalogue, Secret
from ..host import rings, state
from ..host.escrow import Which
from ..keyvault.settings import VaultSettings
from ..paths import StackPaths

FIXED = "fixed"  # the strategy of what is never replaced
# The largest value in bytes: what a vault takes, so that every source can hold every secret.
LARGEST = 25600
PEM = b"-----BEGIN "
# How the values begin that a program has built in for a demo; what the demo source generates is as random as any.
DEMO_MARK = b"demo-"
DIRECTORY_MODE = 0o700
FILE_MODES = (0o400, 0o600)


@dataclass(frozen=True)
class Earlier:
    """A version of a key ring that is still accepted, with its value."""

    previous: state.Previous
    value: bytes = field(repr=False)


@dataclass(frozen=True)
class Held:
    """One version of a secret with its value; attributes are not secret.

    A source fills `ring` only where it has the earlier versions itself; a host that knows a secret has its own.
    `described` is False where the state describes another version, so that attributes and end are a guess, and so is
    the date where its bundle noted none.
    """

    version: str
    created: str
    value: bytes = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    expires: str | None = None
    ring: tuple[Earlier, ...] = ()
    described: bool = True


Values = dict[str, Held]
# What the host holds of each secret: the version in force first, then others that are staged.
Holdings = Mapping[str, list[Held]]


@dataclass(frozen=True)
class Resolved:
    """The values that are to be in force, warnings, and what a Key Vault was seen to have (as in the state)."""

    values: Values
    warnings: list[str] = field(default_factory=list)
    vault: dict[str, Any] = field(default_factory=dict)


class Replaced(Protocol):
    """A secret that a rotation replaces, as a source sees it: a strategy's context."""

    @property
    def paths(self) -> StackPaths: ...
    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def secret(self) -> Secret: ...
    @property
    def change(self) -> state.Change: ...
    @property
    def run(self) -> state.Run: ...
    @property
    def made_by_verifier(self) -> bool: ...
    def value(self, which: Which, /) -> bytes: ...


class Writer(Protocol):
    """Where a rotation writes to a source. Both can be repeated after a crash, and return the version as it has it."""

    def publish(self, replaced: Replaced, /) -> state.Version:
        """Let the new value be the latest."""

    def take_back(self, replaced: Replaced, /) -> state.Version:
        """Let the old value be the latest again."""


class Source(ABC):
    """Where the values of a stack come from; what most have in common is said here.

    A CoffreError says all that is wrong at once, and nothing was changed.
    """

    BUILT_IN = False  # whether a value may be one that a program has built in for a demo
    vault: VaultSettings | None = None  # the Key Vault that it is, for who examines that

    @property
    def unknown(self) -> str:
        """What `blockers` cannot find out without writing, as a clause ("whether ..."), or ""."""
        return ""

    @abstractmethod
    def check(self, catalogue: Catalogue) -> list[str]:
        """See, on a host that has no library yet, that it can be used. Returns warnings. Raises CoffreError."""

    @abstractmethod
    def resolve(self, catalogue: Catalogue, held: Holdings, seen: Mapping[str, Any]) -> Resolved:
        """Say which values are to be in force, from what the host holds and what the last run saw (State.vault).

        Raises CoffreError.
        """

    def version(self) -> str:
        """The id of a new version; "" where it has one only once it is published."""
        return version()

    def blockers(self, replaced: Sequence[Replaced], hosts: int) -> list[str]:  # noqa: ARG002
        """Why a rotation on so many hosts at once cannot replace these, as sentences or clauses; reads only."""
        return []

    def offered(self, replaced: Replaced) -> bytes | None:  # noqa: ARG002
        """The new value that it has already; None where one is made. Raises CoffreError."""
        return None

    def writer(self) -> AbstractContextManager[Writer | None]:
        """Where the new values go; None where nobody else has to know them. Raises CoffreError."""
        return nullcontext()

    def advice(self, secret: Secret) -> str:  # noqa: ARG002
        """What a person has to do before a secret can be rotated, as the rest of a sentence, or ""."""
        return ""


def version() -> str:
    """A new id of a version: random, so that it tells nothing of the value."""
    return secrets.token_hex(16)


def fresh(secret: Secret, value: bytes) -> Held:
    """A new version of a value."""
    return Held(version(), state.now(), value, dict(secret.attributes))


def kept(catalogue: Catalogue, secret: Secret) -> str:
    """Why a deploy keeps the value in force where the source has another, and what to do; "" where it adopts that.

    Data may be encrypted under it, another service may accept no other, or its containers, which a deploy rolls once,
    would refuse each other's signatures meanwhile.
    """
    if secret.strategy == FIXED:
        return "it is fixed, and never replaced: put the old value back"
    shared = rings.shared(catalogue, secret)
    if not shared and not secret.verified:
        return ""
    which = "key that several containers sign with" if shared else f"{secret.strategy} secret"
    return (
        f"only a rotation replaces a {which}: run 'make rotate-secret SECRET={secret.name}', or put the old value back"
    )


def trimmed(secret: Secret, value: bytes, newline: str) -> bytes:
    """A text without the newline that an editor left at its end, which belongs to a certificate alone.

    Raises ValueError with the rest of a sentence that begins with its name.
    """
    lines = value.startswith(PEM) or (secret.generate is not None and secret.generate.type != "random")
    if secret.kind == "text" and not lines and value.endswith(b"\n"):
        if newline == "refuse":
            raise ValueError("ends with a newline: remove it, or set stack_secrets_trailing_newline to strip")
        value = value[:-1].removesuffix(b"\r")
        if value.endswith(b"\n"):
            raise ValueError("ends with several newlines")
    return value


def unfit(secret: Secret, value: bytes) -> str | None:
    """Why a value cannot be that of a secret, as the rest of a sentence, or None."""
    if not value:
        return "is empty"
    if len(value) > LARGEST:
        return f"is longer than {LARGEST} bytes"
    if secret.kind == "text":
        try:
            if "\0" in value.decode("utf-8"):
                return "has a NUL character"
        except UnicodeDecodeError:
            return "is not UTF-8 text"
    return None


def misfits(
    catalogue: Catalogue, values: Mapping[str, bytes], attributes: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """The values and attributes that a composed file cannot take, by name."""
    problems = []
    for service in catalogue.services.values():
        for template in service.files:
            for name, attribute in dict.fromkeys(template.references):
                if attribute in OF_VERSION:
                    continue
                text = attributes[name][attribute] if attribute else values[name].decode("utf-8")
                if not template.accepts(text):
                    what = f"the attribute {attribute} of {name}" if attribute else name
                    problems.append(
                        f"{what} has characters that {template.name} of {service.name} cannot take: "
                        f"use {template.alphabet} only"
                    )
    return problems
