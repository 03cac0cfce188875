"""The source `file`: an operator's directory on the host, with a file for each secret."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..catalogue import Catalogue, Secret
from ..errors import CoffreError, SealError, SourceError
from ..host import files
from .base import (
    DEMO_MARK,
    DIRECTORY_MODE,
    FILE_MODES,
    LARGEST,
    Holdings,
    Replaced,
    Resolved,
    Source,
    Values,
    fresh,
    kept,
    misfits,
    trimmed,
    unfit,
)


@dataclass(frozen=True)
class Directory(Source):
    """`newline` says what becomes of a text's trailing newline: refuse, or strip."""

    path: Path | None
    newline: str = "refuse"

    def check(self, catalogue: Catalogue) -> list[str]:
        """Read the files. Returns warnings; raises SourceError for what cannot be used."""
        return self._supplied(catalogue)[1]

    def resolve(self, catalogue: Catalogue, held: Holdings, seen: Mapping[str, Any]) -> Resolved:  # noqa: ARG002
        """Take what the operator supplies: a changed value is a new version. Raises SourceError."""
        supplied, notes = self._read(catalogue)
        values, warnings = taken(catalogue, held, supplied)
        return Resolved(values, notes + warnings)

    def blockers(self, replaced: Sequence[Replaced], hosts: int) -> list[str]:  # noqa: ARG002
        """A directory that cannot be used, and a file that has no new value, or none that can be taken."""
        if not replaced:
            return []
        try:
            supplied = self._supplied(replaced[0].catalogue)[0]
        except CoffreError as error:
            return [str(error)]
        return [problem for each in replaced if (problem := self._blocker(each, supplied[each.secret.name]))]

    def offered(self, replaced: Replaced) -> bytes | None:
        """The value of its file; what its verifier makes itself is in none. Raises SourceError."""
        if replaced.made_by_verifier:
            return None
        return self._read(replaced.catalogue)[0][replaced.secret.name]

    def advice(self, secret: Secret) -> str:
        """Where the new value of what a deploy keeps comes from."""
        return f" (its new value goes into the file {secret.name} of the operator's directory first)"

    def _blocker(self, replaced: Replaced, supplied: bytes) -> str:
        name = replaced.secret.name
        if replaced.made_by_verifier:
            return (
                f"{replaced.secret.verifier} itself makes {name}: run make rotate-secret SECRET={name} "
                "ARGS='-e stack_secrets_source=demo', then put the new value into its file"
            )
        in_use = None
        with suppress(SealError):  # one that does not open is told by the plan itself
            in_use = replaced.value("old")
        if supplied == in_use:
            return f"{self.path} has the value of {name} that is in use: put the new one into its file, and run again"
        if supplied.startswith(DEMO_MARK):
            return f"{name} in {self.path} begins with demo-, as what a program has built in for a demo"
        return ""

    def _supplied(self, catalogue: Catalogue) -> tuple[dict[str, bytes], list[str]]:
        """(bytes by secret, warnings). Raises SourceError also for values that a composed file cannot take."""
        supplied, warnings = self._read(catalogue)
        attributes = {name: secret.attributes for name, secret in catalogue.secrets.items()}
        if problems := misfits(catalogue, supplied, attributes):
            raise SourceError(f"The files in {self.path} cannot be used: {'; '.join(problems)}.")
        return supplied, warnings

    def _read(self, catalogue: Catalogue) -> tuple[dict[str, bytes], list[str]]:
        if self.path is None:
            raise SourceError("The source file needs the operator's directory: set stack_secrets_directory.")
        return read(self.path, catalogue, self.newline)


def taken(catalogue: Catalogue, held: Holdings, supplied: dict[str, bytes]) -> tuple[Values, list[str]]:
    """What is to be in force of what the operator supplies. Returns (values, warnings)."""
    values: Values = {}
    warnings = []
    for name, secret in catalogue.secrets.items():
        versions = held.get(name, [])
        if versions and (why := kept(catalogue, secret)):
            values[name] = versions[0]
            if versions[0].value != supplied[name]:
                warnings.append(
                    f"The operator's file for {name} has changed, and the value in use was kept, because {why}."
                )
        else:
            same = (version for version in versions if version.value == supplied[name])
            values[name] = next(same, None) or fresh(secret, supplied[name])
    return values, warnings


def read(directory: Path, catalogue: Catalogue, newline: str) -> tuple[dict[str, bytes], list[str]]:
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
