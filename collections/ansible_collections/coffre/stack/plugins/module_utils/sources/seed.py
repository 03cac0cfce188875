"""What a vault lacks: generate the secrets that it lacks, and put them into it. Never a second version."""

from __future__ import annotations

import base64
import shlex
import string
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..catalogue import Catalogue, Secret
from ..errors import SourceError
from ..host.state import moment
from ..keyvault.client import Properties, Refusal, Vault
from ..keyvault.refusals import listed
from ..keyvault.settings import OWNER
from ..values import generate
from .base import misfits
from .keyvault import ATTRIBUTE_TAG, PEM_TYPE

GENERATOR = "coffre-generator"
ROTATION = "coffre-rotation"
BASE64 = "application/octet-stream;base64"
MOST_TAGS, LONGEST_TAG = 15, 256  # what a vault takes
DAY = 86400
THREADS = 8
# What generate.random_text makes its texts of.
ALPHABET = (string.ascii_letters + string.digits + "-_").encode()


@dataclass
class VaultPlan:
    """What is to become of the catalogue's secrets: to be made, to be recovered, to be put in by hand, to be kept.

    `unowned` are those of the kept that no stack has marked as its own.
    """

    make: list[Secret] = field(default_factory=list)
    recover: list[Secret] = field(default_factory=list)
    by_hand: list[Secret] = field(default_factory=list)
    kept: list[Secret] = field(default_factory=list)
    unowned: list[Secret] = field(default_factory=list)


def tags(stack: str, secret: Secret) -> dict[str, str]:
    """What every version that a stack puts into the vault is marked with: versions inherit nothing."""
    made = {GENERATOR: f"random {secret.generate.bytes}"} if _random(secret) and secret.generate else {}
    marks = {f"{ATTRIBUTE_TAG}{name}": value for name, value in secret.attributes.items()}
    return {OWNER: stack, **made, ROTATION: secret.strategy, **marks}


def command(stack: str, vault: str, secret: Secret) -> str:
    """The command that puts a secret, which nothing here generates, into the vault from the file of its name."""
    arguments = ["az", "keyvault", "secret", "set", "--vault-name", vault, "--name", secret.vault_name]
    arguments += ["--file", secret.name]
    if "names" in secret.settings or (secret.generate and secret.generate.type != "random"):
        arguments += ["--content-type", PEM_TYPE]
    elif secret.kind == "bytes":
        arguments += ["--encoding", "base64", "--content-type", BASE64]
    if (expires := expiry(secret)) is not None:
        arguments += ["--expires", moment(expires)]
    return shlex.join([*arguments, "--tags", *(f"{name}={value}" for name, value in tags(stack, secret).items())])


def ensure(
    catalogue: Catalogue, stack: str, vault: Vault, recover: bool = False, check: bool = False
) -> dict[str, Any]:
    """Put what the vault lacks into it and return the module's result: names and commands only.

    Raises SourceError before anything changed where names belong to another stack, or are deleted and not to be
    recovered; later, naming what was done, where the vault refuses or somebody else puts a secret at the same moment.
    """
    try:
        plan = _plan(catalogue, stack, vault, recover)
    except SourceError as error:
        raise SourceError(f"{error} Nothing in the vault was changed.") from None
    if not check:
        _finish(lambda secret: vault.recover(secret.vault_name), plan.recover, "recovered")
        _finish(lambda secret: _put(stack, vault, secret), plan.make, "put")
    there = {secret.name for secret in plan.kept}
    names = {part: [secret.name for secret in getattr(plan, part)] for part in ("make", "recover", "kept", "unowned")}
    return {
        "changed": bool(plan.make or plan.recover),
        "made": names["make"],
        "recovered": names["recover"],
        "kept": names["kept"],
        "by_hand": [
            {"name": secret.name, "command": command(stack, vault.settings.name, secret)} for secret in plan.by_hand
        ],
        "warnings": _unowned(stack, vault.settings.name, plan.unowned) + list(filter(None, [vault.waiting.strip()])),
        "diff": {"before": _lines(there), "after": _lines(there.union(names["make"], names["recover"]))},
    }


def _plan(catalogue: Catalogue, stack: str, vault: Vault, recover: bool) -> VaultPlan:
    """Ask the vault what it has. Raises SourceError with all that keeps it from being made."""
    plan = VaultPlan()
    others: dict[str, list[str]] = {}
    gone: list[Secret] = []
    pinned: list[str] = []
    for secret, found in _ask(vault, list(catalogue.secrets.values())):
        properties, deleted = found
        owner = properties.tags.get(OWNER) if properties else None
        if owner not in (None, stack):
            others.setdefault(owner or "", []).append(secret.name)
        elif properties and deleted:
            (plan.recover if recover else gone).append(secret)
        elif properties:
            plan.kept.append(secret)
            if owner is None:
                plan.unowned.append(secret)
        elif not _random(secret):
            plan.by_hand.append(secret)
        elif secret.vault_version:
            pinned.append(secret.name)
        else:
            plan.make.append(secret)
    name = vault.settings.name
    problems = [
        f"{listed(names)} {'belongs' if len(names) == 1 else 'belong'} to the stack {owner} (tag {OWNER}): give this "
        "stack's secret another name in the vault, by `keyvault: {name: ...}` in the catalogue"
        for owner, names in sorted(others.items())
    ]
    if gone:
        problems.append(
            f"{listed([secret.name for secret in gone])} {'was' if len(gone) == 1 else 'were'} deleted and can be "
            "recovered: run again with -e recover=true to have the old value back, or remove it for good by "
            f"'az keyvault secret purge --vault-name {name} --name {gone[0].vault_name if len(gone) == 1 else 'NAME'}'"
        )
    if pinned:
        problems.append(f"{listed(pinned)} cannot be made, because a version is wanted: remove `keyvault.version`")
    problems += _unfit(catalogue, stack, plan.make)
    if problems:
        raise SourceError(f"The vault {name} cannot be filled: {'; '.join(problems)}.")
    return plan


def _ask(vault: Vault, secrets: Sequence[Secret]) -> list[tuple[Secret, tuple[Properties | None, bool]]]:
    """With each secret its latest version in the vault, or the deleted one; and whether it is deleted."""

    def ask(secret: Secret) -> tuple[Properties | None, bool]:
        if versions := vault.versions(secret.vault_name):
            return versions[-1], False
        return vault.deleted(secret.vault_name) or None, True

    return list(zip(secrets, vault.each(ask, secrets), strict=True))


def _unfit(catalogue: Catalogue, stack: str, secrets: Sequence[Secret]) -> list[str]:
    """What is to be made and could not be used: with a composed file, or with the vault's tags."""
    new = {secret.name for secret in secrets}
    problems = misfits(
        catalogue,
        {name: ALPHABET if name in new else b"" for name in catalogue.secrets},
        {name: secret.attributes for name, secret in catalogue.secrets.items()},
    )
    for secret in secrets:
        marks = tags(stack, secret)
        if len(marks) > MOST_TAGS or any(len(value) > LONGEST_TAG for value in marks.values()):
            problems.append(
                f"the attributes of {secret.name} do not fit into the tags of a vault: {MOST_TAGS} of {LONGEST_TAG} "
                f"characters, with the {len(marks) - len(secret.attributes)} of Coffre's own"
            )
    return problems


def _put(stack: str, vault: Vault, secret: Secret) -> None:
    """Make a value and put it. Raises SourceError if the name is no longer free, or was not any more when it was put.

    A vault puts unconditionally, so that between the look and the put somebody else's can come, which ours then
    covers. It is still there, and this tells of it.
    """
    name = secret.vault_name
    if vault.versions(name):
        raise SourceError(
            f"Somebody else has just put {secret.name} into the vault {vault.settings.name}, which keeps it."
        )
    assert secret.generate
    value = generate.random_bytes if secret.kind == "bytes" else generate.random_text
    made = value(secret.generate.bytes)
    text = (base64.b64encode(made) if secret.kind == "bytes" else made).decode("ascii")
    content = BASE64 if secret.kind == "bytes" else ""
    version = vault.put(name, text, tags=tags(stack, secret), content_type=content, expires=expiry(secret)).version
    for other in vault.versions(name):
        if other.version == version:
            continue
        # Where an answer was lost, it was asked again: then both are ours.
        found = vault.read({name: other.version})[name]
        if isinstance(found, Refusal) or found.text != text:
            raise SourceError(
                f"Somebody else put {secret.name} into the vault {vault.settings.name} at the same moment: their "
                f"version {other.version} and ours, {version}, are both there, and the later one is in force; see "
                f"'az keyvault secret list-versions --vault-name {vault.settings.name} --name {name}'."
            )


def _finish(work: Callable[[Secret], None], secrets: Sequence[Secret], done: str) -> None:
    """Do work on all secrets in threads, whatever becomes of some. Raises SourceError, with what was `done`."""
    good: list[str] = []
    errors: list[tuple[str, SourceError]] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for secret, future in [(secret, pool.submit(work, secret)) for secret in secrets]:
            try:
                future.result()
                good.append(secret.name)
            except SourceError as error:
                errors.append((secret.name, error))
    if errors:
        causes = " ".join(dict.fromkeys(str(error) for _, error in errors))
        # What failed may have arrived nevertheless: only its answer is missing, or somebody else's version is in force.
        raise SourceError(
            f"{causes} The run {f'{done} {listed(good)}, and ' if good else ''}did not finish "
            f"{listed([name for name, _ in errors])}: run again, and it keeps what is there and goes on with what is "
            "missing."
        )


def _random(secret: Secret) -> bool:
    """Whether it is generated here: certificates are somebody else's to sign."""
    return secret.generate is not None and secret.generate.type == "random"


def expiry(secret: Secret) -> int | None:
    """When a version that is made now is too old, in s since 1970."""
    return int(time.time()) + secret.max_age_days * DAY if secret.max_age_days else None


def _unowned(stack: str, vault: str, secrets: Sequence[Secret]) -> list[str]:
    if not secrets:
        return []
    which = secrets[0].vault_name if len(secrets) == 1 else "NAME"
    return [
        f"{listed([secret.name for secret in secrets])}: kept as found in the vault, without the mark of a stack. If "
        f"nobody else uses it, make it this stack's: 'az keyvault secret set-attributes --vault-name {vault} "
        f"--name {which} --tags {OWNER}={stack}' (which replaces the tags it has)."
    ]


def _lines(names: set[str]) -> str:
    return "".join(f"{name}\n" for name in sorted(names))
