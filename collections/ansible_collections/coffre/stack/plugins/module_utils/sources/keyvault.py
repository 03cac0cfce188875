"""The source `keyvault`: which versions a stack is to have, read with as few calls as will tell."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ..catalogue import ATTRIBUTE, Catalogue, Secret
from ..errors import SourceError, VaultUnavailable
from ..host import rings, state
from ..keyvault import refusals
from ..keyvault.client import Answer, Refusal, Value, Vault, VaultSettings
from ..keyvault.client import blockers as denied
from .base import FIXED, PEM, Earlier, Held, Holdings, Replaced, Resolved, Source, Values, Writer, kept, trimmed, unfit

# A version that was younger when it was read, in s, may have a successor of the same date, which tells seconds only.
SETTLED = 5
PEM_TYPE = "application/x-pem-file"
ATTRIBUTE_TAG = "coffre-attribute-"
# They name the rotation that made a version, or put it back; so there are others before it.
RUN_TAG = "coffre-run"
UNDONE_TAG = "coffre-undone"
Seen = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Reading:
    """What a run learned: answers by the vault's name, where it had to ask; what was seen, and in how many pages."""

    answers: dict[str, Answer]
    seen: Seen
    pages: int


@dataclass(frozen=True)
class KeyVault(Source):
    """`newline` as of Directory."""

    stack: str
    vault: VaultSettings
    newline: str = "refuse"

    @property
    def unknown(self) -> str:
        """Whether who writes may."""
        return f"whether the vault {self.vault.name} takes a new version"

    def check(self, catalogue: Catalogue) -> list[str]:  # noqa: ARG002
        """See that what proves the host's identity is there. Raises SourceError."""
        if problems := denied(self.vault, self.vault.read):
            raise SourceError(" ".join(problems))
        return []

    def resolve(self, catalogue: Catalogue, held: Holdings, seen: Mapping[str, Any]) -> Resolved:
        """Take what the vault has. Raises SourceError, and VaultUnavailable past the time limit."""
        return read(catalogue, held, seen, self.vault, self.newline)

    def version(self) -> str:
        """The vault names its versions itself."""
        return ""

    def blockers(self, replaced: Sequence[Replaced], hosts: int) -> list[str]:
        """Several hosts, and secrets in the vault that are not this stack's, or pinned, or cannot be written."""
        from . import publish

        if hosts > 1:
            return [
                f"{hosts} hosts would each put a version of their own into the one vault: name one host with --limit, "
                "or give each a stack of its own"
            ]
        return publish.blockers(self.vault, self.stack, [each.secret for each in replaced]) if replaced else []

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """A connection of the one who writes. Raises CoffreError."""
        from . import publish

        with publish.connected(self.vault) as vault:
            yield publish.Publisher(vault)


def read(
    catalogue: Catalogue,
    held: Holdings,
    before: Mapping[str, Any],
    settings: VaultSettings,
    newline: str,
    connect: Callable[..., Vault] = Vault,
) -> Resolved:
    """Take what the vault has; `before` is what the last run saw of it (State.vault).

    Raises SourceError with every secret that is not to be had, and VaultUnavailable past the time limit, unless
    `unavailable` is keep and the host holds every secret. A host that has read this vault is told at once where its
    right was taken away; one that has not waits for it.
    """
    known = before if before.get("url") == settings.url else {}
    try:
        with connect(settings, first=not known) as vault:
            reading = _read(catalogue, held, known, vault)
            kept_rings, notes = _rings(catalogue, held, reading, newline, vault)
    except VaultUnavailable as error:
        values, warnings = _kept(catalogue, held, settings, error)
        return Resolved(values, warnings + _expired(catalogue, values, settings, []), dict(before))
    values, warnings, refused = {}, notes + ([vault.waiting.strip()] if vault.waiting else []), []
    for name, secret in catalogue.secrets.items():
        versions, answer = held.get(name, []), reading.answers.get(secret.vault_name)
        seen = reading.seen.get(name, {}).get("version", secret.vault_version)
        offered = _fit(secret, answer, newline) if answer else next((v for v in versions if v.version == seen), None)
        why = kept(catalogue, secret) if versions and not isinstance(answer, Refusal) else ""
        if why and isinstance(offered, Held) and _same(offered, versions[0]):
            values[name] = replace(
                versions[0], version=offered.version, created=offered.created, expires=offered.expires
            )
        elif why:
            values[name] = versions[0]
            warnings.append(f"The vault has another version of {name}, and the one in use was kept, because {why}.")
        elif isinstance(offered, Held):
            values[name] = replace(offered, ring=kept_rings.get(name, ()))
        elif offered:
            refused.append((_label(secret), secret.vault_name, offered))
    warnings += _expired(catalogue, values, settings, refused, vault.waiting)
    return Resolved(values, warnings, {"url": settings.url, "pages": reading.pages, "seen": reading.seen})


def _read(catalogue: Catalogue, held: Holdings, before: Mapping[str, Any], vault: Vault) -> Reading:
    """Ask for what may have changed: a listing tells of all that has been seen where its pages are fewer."""
    known: Seen = before.get("seen", {})
    pages: int = before.get("pages", 0)
    asked = {
        name: secret
        for name, secret in catalogue.secrets.items()
        if not secret.vault_version or not _holds(held.get(name, []), secret.vault_version)
    }
    latest = {name: secret for name, secret in asked.items() if not secret.vault_version}
    remembered = [
        name
        for name, secret in latest.items()
        if (entry := known.get(name))
        and entry["name"] == secret.vault_name
        and _settled(entry)
        and (_holds(held.get(name, []), entry["version"]) or (held.get(name) and kept(catalogue, secret)))
    ]
    unchanged: set[str] = set()
    if remembered and pages <= len(remembered):
        listing, pages = _listing(vault, len(remembered))
        for name in remembered:
            about = listing.get(latest[name].vault_name)
            if about and about.enabled and about.updated == known[name]["updated"]:
                unchanged.add(name)
    wanted = {secret.vault_name: secret.vault_version for name, secret in asked.items() if name not in unchanged}
    answers = vault.read(wanted)
    if not pages and latest:
        # For the next run: to learn it now costs no more than what was just read.
        pages = _listing(vault, len(latest))[1]
    seen = {name: known[name] for name in unchanged}
    for name, secret in latest.items():
        if isinstance(answer := answers.get(secret.vault_name), Value):
            about = answer.properties
            entry = {"name": about.name, "version": about.version, "updated": about.updated, "read": answer.read}
            old = known.get(name, {})
            # An entry that serves stays as it is, so that a run which finds nothing new writes nothing.
            seen[name] = old if _settled(old) and old | {"read": answer.read} == entry else entry
    return Reading(answers, seen, pages)


def _rings(
    catalogue: Catalogue, held: Holdings, reading: Reading, newline: str, vault: Vault
) -> tuple[dict[str, tuple[Earlier, ...]], list[str]]:
    """(the earlier versions that still count of the key rings that this host does not know yet, warnings)."""
    found, warnings = {}, []
    for name, secret in catalogue.secrets.items():
        answer = reading.answers.get(secret.vault_name)
        if secret.strategy != rings.STRATEGY or held.get(name) or secret.vault_version:
            continue
        if not isinstance(answer, Value) or not {RUN_TAG, UNDONE_TAG} & set(answer.properties.tags):
            continue
        try:
            found[name] = _ring(secret, answer, newline, vault)
        except VaultUnavailable:
            raise
        except SourceError as error:
            warnings.append(f"The earlier versions of {name} are not known, and what they signed is refused: {error}")
    return found, warnings


def _ring(secret: Secret, answer: Value, newline: str, vault: Vault) -> tuple[Earlier, ...]:
    """The earlier versions, newest first; each ends some days after the next one came. Raises SourceError."""
    current, days, ring = answer.properties.version, rings.keep_days(secret), []
    # Dates tell seconds only; which of several of one second was the last is known of the current one alone.
    versions = sorted(vault.versions(secret.vault_name), key=lambda each: (each.created, each.version == current))
    for about, following in pairwise(versions):
        retires = None if days is None else rings.later(state.moment(following.created), days)
        if not about.enabled or about.version == current or (retires and retires <= state.now()):
            continue
        earlier = _fit(secret, vault.read({secret.vault_name: about.version})[secret.vault_name], newline)
        if isinstance(earlier, Held):
            ring.append(Earlier(state.Previous(earlier.version, earlier.created, retires), earlier.value))
    return tuple(reversed(ring))


def _listing(vault: Vault, most: int) -> tuple[Mapping[str, Any], int]:
    """(properties by the vault's name, pages), or (nothing, one page too many) where it tells nothing."""
    try:
        found = vault.listing(most)
    except VaultUnavailable:
        raise
    except SourceError:
        # Who may read secrets need not be allowed to list them; whatever else it is, reading will tell.
        found = None
    return ({}, most + 1) if found is None else (found, vault.pages)


def _settled(entry: Mapping[str, Any]) -> bool:
    return bool(entry) and entry["read"] - entry["updated"] >= SETTLED


def _holds(versions: list[Held], version: str) -> bool:
    return any(each.version == version and each.described for each in versions)


def _same(offered: Held, kept: Held) -> bool:
    """Whether a version of the vault is what the host has in force, be it under another id."""
    return offered.version == kept.version or (offered.value, offered.attributes) == (kept.value, kept.attributes)


def _label(secret: Secret) -> str:
    return f"{secret.name} ({secret.other_name} in the vault)" if secret.other_name else secret.name


def _fit(secret: Secret, answer: Answer, newline: str) -> Held | Refusal:
    """The version of an answer, with its value as the consumers are to have it."""
    if isinstance(answer, Refusal):
        return answer
    about = answer.properties
    if about.not_before and about.not_before > answer.read:
        return Refusal("early", f"wait until {state.moment(about.not_before)}, or put in another version")
    try:
        value = trimmed(secret, _bytes(secret, answer), newline)
    except ValueError as error:
        return Refusal("unfit", f"the value {error}")
    if problem := unfit(secret, value):
        return Refusal("unfit", f"the value {problem}")
    tagged = {
        key: text
        for tag, text in about.tags.items()
        if ATTRIBUTE.fullmatch(key := tag.removeprefix(ATTRIBUTE_TAG)) and key != tag
    }
    expires = state.moment(about.expires) if about.expires else None
    return Held(about.version or "", state.moment(about.created), value, {**secret.attributes, **tagged}, expires)


def _bytes(secret: Secret, answer: Value) -> bytes:
    """A value byte for byte. Raises ValueError with the rest of a sentence that begins with `the value`."""
    try:
        plain = answer.text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8 text") from None
    # No base64 begins like a PEM, so that one needs no content type to be known.
    if secret.kind == "text" or answer.properties.content_type == PEM_TYPE or plain.startswith(PEM):
        return plain
    try:
        # The lines are those of `az keyvault secret set --encoding base64`.
        return base64.b64decode(b"".join(plain.split()), validate=True)
    except binascii.Error:
        raise ValueError("is neither base64 nor PEM, which a secret of kind bytes must be in a vault") from None


def _expired(
    catalogue: Catalogue,
    values: Values,
    settings: VaultSettings,
    refused: list[tuple[str, str, Refusal]],
    waiting: str = "",
) -> list[str]:
    """Refuse what has expired beside what is refused already, or return it as warnings, as the settings say.

    Only what is in force counts: an earlier key that a key ring keeps may have expired. `waiting` is what to say of a
    right that was waited for.
    """
    now, warnings = state.now(), []
    for name, held in values.items():
        secret = catalogue.secrets[name]
        if held.expires is None or held.expires > now:
            continue
        what = f"run 'make rotate-secret SECRET={name}'" if kept(catalogue, secret) else "put in a new version"
        if secret.strategy == FIXED:
            what = "give its version a later end in the vault ('az keyvault secret set-attributes --expires')"
        if settings.expired == "warn":
            warnings.append(f"{_label(secret)} has expired on {held.expires}: {what}.")
        else:
            advice = f"{what}, or set `expired` in stack_secrets_keyvault to warn"
            refused.append((f"{_label(secret)}, on {held.expires},", secret.vault_name, Refusal("expired", advice)))
    if refused:
        raise SourceError(refusals.sentence(settings, refused) + waiting)
    return warnings


def _kept(
    catalogue: Catalogue, held: Holdings, settings: VaultSettings, error: VaultUnavailable
) -> tuple[Values, list[str]]:
    """What the host has, where the settings let it go on with that."""
    if settings.unavailable != "keep":
        raise error
    if lacking := [name for name in catalogue.secrets if not held.get(name)]:
        raise VaultUnavailable(f"{error} This host cannot go on without it: it has no {refusals.listed(lacking)}.")
    return (
        {name: held[name][0] for name in catalogue.secrets},
        [f"{error} Until then this host goes on with the versions that it has."],
    )
