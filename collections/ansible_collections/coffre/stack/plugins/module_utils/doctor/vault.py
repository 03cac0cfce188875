"""The doctor's comparison of the host with the Key Vault: versions and what the vault says of them, never a value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ..catalogue import Secret
from ..errors import CoffreError
from ..host import state as states
from ..keyvault.client import Properties
from ..sources import base as sources
from .target import Target, verdict


def reachable(target: Target) -> str:
    """The vault answers, and lets this host's identity see the versions of the secrets."""
    versions = sum(map(len, target.vaulted.values()))
    return f"{target.vault.url} tells {versions} versions of {len(target.vaulted)} secrets"


def drift(target: Target) -> str:
    """The host has the versions that the vault offers, and these can be used."""
    problems, warnings, same = [], [], 0
    now = datetime.now(UTC)
    for secret, found in _secrets(target):
        label = f"{secret.name} ({secret.other_name} in the vault)" if secret.other_name else secret.name
        offered = _offered(target, secret, found)
        if not found:
            problems.append(f"{label} is not in the vault: recover it there, or put it in again")
        elif offered is None:
            problems.append(f"{label} has no version {secret.vault_version} in the vault, which the catalogue wants")
        elif not offered.enabled:
            problems.append(f"{label} is disabled in the vault")
        elif offered.not_before and _date(offered.not_before) > now:
            problems.append(f"{label} is not valid before {_date(offered.not_before):%Y-%m-%d}")
        held = _held(target, secret)
        if offered is None or held is None:
            continue
        since = f"{offered.version} in the vault, since {_date(offered.created):%Y-%m-%d %H:%M} UTC"
        if held == offered.version:
            same += 1
        elif not (why := sources.kept(target.catalogue, secret)):
            warnings.append(f"{label} is {held} here and {since}: the next playbooks/site.yml adopts that")
        elif secret.vault_version:
            problems.append(f"{label} is {held} here and pinned to {since}: put the pin back")
        else:
            problems.append(f"{label} is {held} here and {since}, which no deploy adopts, because {why}")
    return verdict(problems, f"the host has the versions of the vault, {same} of {same}", warnings)


def expiry(target: Target) -> str:
    """No version in use has expired or will soon, and none lives for ever."""
    days = target.vault.expires_soon_days
    now, expired, soon, endless = datetime.now(UTC), [], [], []
    for secret, found in _secrets(target):
        about = _used(target, secret, found)
        if about is None:
            continue
        if about.expires is None:
            endless.append(secret.name)
        elif (end := _date(about.expires)) <= now:
            expired.append(f"{secret.name} has expired on {end:%Y-%m-%d}")
        elif end <= now + timedelta(days=days):
            soon.append(f"{secret.name} on {end:%Y-%m-%d}")
    warnings = [f"expire within {days} days: {', '.join(soon)}"] if soon else []
    if endless:
        warnings.append(f"never expire: {', '.join(endless)} (set an expiry in the vault, or rotate)")
    if target.vault.expired == "warn":
        expired, warnings = [], expired + warnings
    return verdict(expired, f"no secret expires within {days} days", warnings)


def protection(target: Target) -> str:
    """Nobody can destroy the vault's secrets before their time: their recovery level tells."""
    levels = {about.recovery_level for found in target.vaulted.values() for about in found}
    if not levels:
        raise CoffreError("the vault has none of the catalogue's secrets, whose recovery level would tell")
    told = " and ".join(sorted(levels))
    warnings = [
        f"the vault {target.vault.name} has no purge protection (recovery level {told}), so who may purge can destroy "
        f"a secret for good: run 'az keyvault update --name {target.vault.name} --enable-purge-protection true'"
    ]
    return verdict([], f"the recovery level is {told}", warnings if any("Purgeable" in each for each in levels) else [])


def compared(target: Target) -> dict[str, dict[str, str | None]]:
    """By secret: the version that the host has, and the one that a run would read, since when it is there, and its end.

    None where there is none; times as text. Raises CoffreError where the vault does not answer.
    """
    told = {}
    for secret, found in _secrets(target):
        offered = _offered(target, secret, found)
        told[secret.name] = {
            "held": _held(target, secret),
            "offered": offered.version if offered else None,
            "since": states.moment(offered.created) if offered else None,
            "ends": states.moment(offered.expires) if offered and offered.expires else None,
        }
    return told


def _secrets(target: Target) -> Iterator[tuple[Secret, list[Properties]]]:
    """Each secret of the catalogue with its versions in the vault, the latest last."""
    for name, secret in sorted(target.catalogue.secrets.items()):
        yield secret, target.vaulted[name]


def _offered(target: Target, secret: Secret, found: list[Properties]) -> Properties | None:
    """The version that a run would read: the one that is pinned, or the latest.

    Dates tell seconds only, so of several that are the latest it is the one that the host has.
    """
    if secret.vault_version:
        return next((about for about in found if about.version == secret.vault_version), None)
    latest = [about for about in found if about.created == found[-1].created]
    return next((about for about in latest if about.version == _held(target, secret)), next(reversed(latest), None))


def _used(target: Target, secret: Secret, found: list[Properties]) -> Properties | None:
    """The version that the host has, or else the one that it would get."""
    held = next((about for about in found if about.version == _held(target, secret)), None)
    return held or _offered(target, secret, found)


def _held(target: Target, secret: Secret) -> str | None:
    """The version that the host has; where a consumer could not adopt that of the state, the one it goes on with."""
    st, name = target.state, secret.name
    read = st.secrets[name].version if name in st.secrets else None
    staged = [entry.bundles[entry.staged].versions for entry in st.services.values() if entry.staged]
    return next((versions[name] for versions in staged if versions.get(name, read) != read), read)


def _date(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
