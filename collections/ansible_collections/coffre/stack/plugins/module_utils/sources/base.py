"""Where values come from. A source is given the values that the host already holds, and says which are in force."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..catalogue import Catalogue, Secret
from ..errors import SourceError
from ..host import files, state

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
    `told` is False where the state describes another version, so that all but version and value is a guess.
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


def fresh(secret: Secret, value: bytes) -> Held:
    """A new version: its id is random, and tells nothing of the value."""
    return Held(secrets.token_hex(16), state.now(), value, dict(secret.attributes))


def ungenerated(catalogue: Catalogue) -> list[str]:
    """What hinders the demo source: secrets that the catalogue does not say how to generate."""
    return [
        f"secret {name} has no `generate`, which the demo source needs"
        for name, secret in catalogue.secrets.items()
        if secret.generate is None
    ]


def demo(catalogue: Catalogue, held: Holdings, stack: str) -> Values:
    """Keep what the host holds and generate the rest; certificates are renewed in time. Raises SourceError."""
    from ..values import generate

    if problems := ungenerated(catalogue):
        raise SourceError(f"The demo source cannot be used: {'; '.join(problems)}.")
    values: Values = {}
    authorities: dict[str, generate.Certified] = {}
    specs = [(secret, secret.generate) for secret in catalogue.secrets.values() if secret.generate]
    # Authorities first: the certificates need them.
    for secret, spec in sorted(specs, key=lambda pair: pair[1].type != "certificate_authority"):
        known = next(iter(held.get(secret.name, [])), None)
        if spec.type == "random":
            make = generate.random_bytes if secret.kind == "bytes" else generate.random_text
            values[secret.name] = known or fresh(secret, make(spec.bytes))
            continue
        pair = generate.load(known.value) if known else None
        if spec.type == "certificate_authority":
            fits = pair is not None and generate.authority_fits(pair, spec)
            pair = pair if pair and fits else generate.authority(stack, spec)
            authorities[secret.name] = pair
        else:
            issuer = authorities[spec.authority]
            fits = pair is not None and generate.certificate_fits(pair, spec, issuer)
            pair = pair if pair and fits else generate.certificate(spec, issuer)
        values[secret.name] = known if known and fits else fresh(secret, pair.pem())
    return values


def file(catalogue: Catalogue, held: Holdings, supplied: dict[str, bytes]) -> tuple[Values, list[str]]:
    """Take what the operator supplies: a changed value is a new version. Returns (values, warnings).

    Of a secret that somebody else checks, the value that works is kept: only a rotation can replace it.
    """
    values: Values = {}
    warnings = []
    for name, secret in catalogue.secrets.items():
        versions = held.get(name, [])
        if secret.verified and versions:
            values[name] = versions[0]
            if versions[0].value != supplied[name]:
                warnings.append(
                    f"The operator's file for {name} has changed, but a {secret.strategy} secret is replaced only by "
                    f"rotation: the value in use was kept; run 'make rotate-secret SECRET={name}', "
                    "or put the old value back into the file."
                )
        else:
            same = (version for version in versions if version.value == supplied[name])
            values[name] = next(same, None) or fresh(secret, supplied[name])
    return values, warnings


def read_directory(directory: Path, catalogue: Catalogue, newline: str) -> tuple[dict[str, bytes], list[str]]:
    """Read the operator's directory: (bytes by secret, warnings).

    `newline` says what happens to a text's trailing newline: refuse, or strip. It belongs to a certificate.
    Raises SourceError with everything that is wrong: a directory other than root's with mode 0700, a file that is
    missing, a link, not regular, not root's or open to others, empty, too long, or not the text it should be.
    """
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise SourceError(
            f"The operator's directory {directory} is missing, a link or no directory: make it with "
            f"'install -d -m 0700 -o root -g root {directory}' and put a file for each secret into it."
        ) from None
    try:
        about = os.fstat(handle)
        if about.st_uid != 0 or stat.S_IMODE(about.st_mode) != DIRECTORY_MODE:
            raise SourceError(
                f"The operator's directory {directory} must be root's with mode 0700, and is "
                f"uid {about.st_uid}'s with mode {stat.S_IMODE(about.st_mode):04o}."
            )
        values, problems = {}, []
        for secret in catalogue.secrets.values():
            try:
                values[secret.name] = _read(handle, secret, newline)
            except ValueError as error:
                problems.append(f"{secret.name} {error}")
        if problems:
            raise SourceError(f"The operator's directory {directory} cannot be used: {'; '.join(problems)}.")
        with os.scandir(handle) as entries:
            extra = sorted({entry.name for entry in entries} - set(values))
        warnings = [f"The operator's directory {directory} has files that name no secret: {', '.join(extra)}."]
        return values, warnings if extra else []
    finally:
        os.close(handle)


def _read(directory: int, secret: Secret, newline: str) -> bytes:
    """Read one file. Raises ValueError with the rest of a sentence that begins with its name."""
    try:
        about, value = files.read(Path(secret.name), LARGEST + 3, directory)
    except FileNotFoundError:
        raise ValueError("is missing") from None
    except OSError:
        raise ValueError("is a link, or not a regular file of a single name") from None
    if about.st_uid != 0 or stat.S_IMODE(about.st_mode) not in FILE_MODES:
        raise ValueError("must be root's with mode 0400 or 0600")
    value = trimmed(secret, value, newline)
    if problem := unfit(secret, value):
        raise ValueError(problem)
    return value


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
                text = attributes[name][attribute] if attribute else values[name].decode("utf-8")
                if not template.accepts(text):
                    what = f"the attribute {attribute} of {name}" if attribute else name
                    problems.append(
                        f"{what} has characters that {template.name} of {service.name} cannot take: "
                        f"use {template.alphabet} only"
                    )
    return problems
