"""A rotation and its Key Vault: a new version goes in, and in undo the old value once more, as the latest version.

What a run puts carries its id as a tag, by which it is found again where a crash came before the state was written.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from ..catalogue import Secret
from ..errors import CoffreError, SourceError
from ..host import state
from ..host.escrow import Which
from ..keyvault.client import Properties, Value, Vault, VaultSettings
from ..keyvault.client import blockers as denied
from ..keyvault.settings import OWNER
from . import seed
from .base import PEM, Replaced
from .keyvault import PEM_TYPE, RUN_TAG, UNDONE_TAG


@contextmanager
def connected(settings: VaultSettings) -> Iterator[Vault]:
    """A connection of the one who writes. Raises CoffreError if this host has not what proves who that is."""
    if problems := denied(settings, settings.write):
        raise SourceError(" ".join(problems))
    if settings.write.type == "azure_cli" and not shutil.which("az"):
        raise SourceError(
            f"A rotation writes to the vault {settings.name} from the host, which has no Azure CLI: set "
            "write_credential in stack_secrets_keyvault to an identity that the host has, such as {type: "
            "client_certificate, ...}, and grant that the role 'Key Vault Secrets Officer' on the vault, as "
            "docs/keyvault.md shows under Rotate."
        )
    with Vault(settings, write=True) as vault:
        yield vault


def blockers(settings: VaultSettings, stack: str, secrets: list[Secret]) -> list[str]:
    """Why the vault's secrets cannot be replaced, as clauses; reads only."""
    problems = [
        f"the catalogue wants version {secret.vault_version} of {secret.name}: remove `keyvault.version`"
        for secret in secrets
        if secret.vault_version
    ]
    try:
        with connected(settings) as vault:
            for secret in secrets:
                found = vault.versions(secret.vault_name)
                owner = found[-1].tags.get(OWNER) if found else stack
                if owner is None:
                    problems.append(
                        f"{secret.name} has no owner in the vault {settings.name}: if nobody else uses it, run 'az "
                        f"keyvault secret set-attributes --vault-name {settings.name} --name {secret.vault_name} "
                        f"--tags {OWNER}={stack}', which replaces its tags"
                    )
                elif owner != stack:
                    problems.append(
                        f"{secret.name} belongs to the stack {owner} in the vault {settings.name}: that one rotates it"
                    )
    except CoffreError as error:
        problems.append(str(error).rstrip("."))
    return problems


@dataclass(frozen=True)
class Publisher:
    """Who writes for a rotation."""

    vault: Vault

    def publish(self, replaced: Replaced) -> state.Version:
        """Put the new value, unless this run has; returns the record of the new version as the vault has it."""
        ours = _ours(self.vault.versions(replaced.secret.vault_name), RUN_TAG, replaced.run.id)
        return _published(self.vault, replaced, "new", replaced.change.new, RUN_TAG, ours)

    def take_back(self, replaced: Replaced) -> state.Version:
        """Put the old value, as the latest version, and disable what this run had put; returns the old one's record.

        Where nothing had been put, or somebody else has put a later version, the old one stays what it is.
        """
        name, record = replaced.secret.vault_name, replaced.change.old
        versions = self.vault.versions(name)
        failed, again = (_ours(versions, tag, replaced.run.id) for tag in (RUN_TAG, UNDONE_TAG))
        if not failed:
            return record
        if again or versions[-1].version == failed[-1].version:
            record = _published(self.vault, replaced, "old", record, UNDONE_TAG, again)
        for each in failed:
            if each.enabled and each.version:
                self.vault.disable(name, each.version)
        return record


def _ours(versions: list[Properties], tag: str, run: str) -> list[Properties]:
    return [each for each in versions if each.tags.get(tag) == run]


def _published(
    vault: Vault, replaced: Replaced, which: Which, record: state.Version, tag: str, ours: list[Properties]
) -> state.Version:
    """Put a value unless this run has, as `ours`; returns its record as the vault has it."""
    made = _latest(vault, replaced, ours) if ours else _put(vault, replaced, which, record, tag)
    return replace(
        record,
        version=made.version or "",
        created=state.moment(made.created),
        expires=state.moment(made.expires) if made.expires else None,
    )


def _latest(vault: Vault, replaced: Replaced, ours: list[Properties]) -> Properties:
    """Of versions that one value was put as, because an answer was lost, the one that the vault gives by the name.

    Its dates are in whole seconds and do not tell.
    """
    if len(ours) > 1:
        name = replaced.secret.vault_name
        answer = vault.read({name: None})[name]
        given = answer.properties.version if isinstance(answer, Value) else None
        return next((each for each in ours if each.version == given), ours[-1])
    return ours[-1]


def _put(vault: Vault, replaced: Replaced, which: Which, record: state.Version, tag: str) -> Properties:
    secret = replace(replaced.secret, attributes=record.attributes)
    value = replaced.value(which)
    content, text = "", value
    if value.startswith(PEM):
        content = PEM_TYPE
    elif secret.kind == "bytes":
        content, text = seed.BASE64, base64.b64encode(value)
    return vault.put(
        secret.vault_name,
        text.decode("utf-8"),
        tags=seed.tags(replaced.paths.stack, secret) | {tag: replaced.run.id},
        content_type=content,
        expires=seed.expiry(secret) if which == "new" else _seconds(record.expires),
    )


def _seconds(moment: str | None) -> int | None:
    return int(datetime.fromisoformat(moment).timestamp()) if moment else None
