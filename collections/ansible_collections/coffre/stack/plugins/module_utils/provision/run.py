"""One run: look at everything, refuse, plan, and only then make what is missing or otherwise."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import CoffreError, SourceError
from ..keyvault.arm import Manager, Refused
from ..keyvault.refusals import ADDRESS, NETWORK
from ..keyvault.transport import NoSuchName
from . import look, refusals
from .resources import Resource, Seen, closed, recovery, resources, returned
from .settings import Wanted

RIGHTS_SECONDS = 600.0  # that Azure may take to know of a role assignment
RIGHTS_PAUSE = 5.0
LATE = (
    "The rights given just now may take some minutes to arrive: make ensure-secrets and a host's first deploy wait for "
    "them, but no longer than `seconds` of stack_secrets_keyvault."
)


@dataclass
class Outcome:
    """What a run found, and did.

    `plan` has a line for each resource, `made` what was done so far, `begun` what no answer said the end of,
    and `problem` why not all was done.
    """

    plan: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    begun: str = ""
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)


def provision(wanted: Wanted, *, confirm: str = "", recover: bool = False, check: bool = False) -> Outcome:
    """Bring Azure to what the inventory says. Raises CoffreError for what is refused before anything was changed."""
    try:
        with Manager(wanted.keyvault, wanted.credential) as manager:
            seen = look.look(manager, wanted)
            problems = refusals.found(wanted, seen, recover)
            lacks = [] if problems else _lacks(manager, wanted, seen)
            if problems or (lacks and not check):
                raise SourceError(" ".join(problems or lacks))
            outcome = planned(wanted, seen)
            outcome.notes += lacks + consequences(wanted, seen, confirm)
            if not check:
                _carry_out(manager, wanted, seen, outcome, confirm)
            outcome.ids = ids(wanted, seen)
            outcome.calls = {"reads": manager.calls.reads, "writes": manager.calls.writes}
    except (SourceError, Refused) as error:  # nothing that begins with a change raises any
        raise CoffreError(f"{_sentence(error, wanted)} Nothing was changed.") from None
    return outcome


def _lacks(manager: Manager, wanted: Wanted, seen: Seen) -> list[str]:
    """A sentence for each right that the plan needs and that who asks lacks."""
    plan = [each for each in _steps(wanted, copy.deepcopy(seen)) if each.changes]
    missing = look.lacking(manager, wanted, seen, plan)
    return [refusals.lacks(action, scope, manager.claims, wanted) for action, scope in missing]


def planned(wanted: Wanted, seen: Seen) -> Outcome:
    """What a run would do, as lines and as a diff, from what was seen alone."""
    outcome = Outcome()
    for each in _steps(wanted, copy.deepcopy(seen)):
        if not each.changes:
            continue
        back = each.ours.get("properties", {}).get("createMode") == "recover"
        verb = "recover" if back else "make" if each.found is None else "change"
        told = "; ".join(_line(*change, new=each.found is None) for change in each.changes)
        # A right says all in its label.
        outcome.plan.append(f"{verb} {each.label}" + (f": {told}" if each.kind != "assignment" else ""))
        before, after = (
            "".join(f"{key}: {_shown(values[side])}\n" for key, *values in each.changes) for side in (0, 1)
        )
        headers = {"before_header": each.label, "after_header": each.label}
        outcome.diff.append({**headers, "before": before if each.found is not None else "", "after": after})
    return outcome


def _steps(wanted: Wanted, seen: Seen) -> Iterator[Resource]:
    """The resources, on what a recovery would bring back where there is one to recover."""
    if seen.deleted is not None:
        yield recovery(wanted, seen)
        seen.vault, seen.deleted = returned(seen.deleted), None
    yield from resources(wanted, seen)


def _line(key: str, before: Any, after: Any, new: bool) -> str:
    name = key.removeprefix("properties.")
    old, now = (_short(_shown(each)) for each in (before, after))
    return f"{name} {now}" if new or before is None else f"{name} {old} -> {now}"


def _short(text: str) -> str:
    """Ids of resources by their last part alone."""
    return re.sub(r"/subscriptions/[^, ]*/", "", text)


def _shown(value: Any) -> str:
    """A value as a line has it; nothing that Azure knows of these resources is a secret."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(_first(each) if isinstance(each, dict) else each) for each in value) or "none"
    return str(value)


def _first(value: dict[str, Any]) -> Any:
    return next(iter(value.values()), "")


def unconfirmed(wanted: Wanted, seen: Seen) -> bool:
    """Whether a run would switch on what nobody can switch off again."""
    return any(
        key == "properties.enablePurgeProtection" and value is True
        for each in _steps(wanted, copy.deepcopy(seen))
        if each.kind == "vault"
        for key, _, value in each.changes
    )


def consequences(wanted: Wanted, seen: Seen, confirm: str) -> list[str]:
    """What a person should know of what the inventory asks for."""
    told = []
    if unconfirmed(wanted, seen) and confirm != wanted.name:
        told.append(f"Purge protection can never be switched off again, so this needs CONFIRM={wanted.name}.")
    if wanted.identity_writes:
        told.append(
            f"The identity {wanted.identity} is to write: every process of a machine that has it can replace and "
            "delete every secret of the vault; an application whose certificate only root reads would do."
        )
    if (wanted.addresses or wanted.subnets) and (word := closed(seen)):
        told.append(
            f"publicNetworkAccess of the vault {wanted.name} is {word}, which this keeps: `addresses` and `subnets` "
            "let nobody in as long as it is."
        )
    elif _shuts(wanted, seen):
        told.append(
            f"From then on the vault {wanted.name} answers nobody but "
            f"{', '.join([*wanted.addresses, *wanted.subnets])}: if this machine's address, as the internet sees it, "
            "is not among these, make ensure-secrets cannot run here. make vault itself always can."
        )
    return told


def _shuts(wanted: Wanted, seen: Seen) -> bool:
    """Whether the network rules are about to change."""
    return any(
        "networkAcls" in key
        for each in resources(wanted, copy.deepcopy(seen))
        if each.kind == "vault"
        for key, *_ in each.changes
    )


def _carry_out(manager: Manager, wanted: Wanted, seen: Seen, outcome: Outcome, confirm: str) -> None:
    if unconfirmed(wanted, seen) and confirm != wanted.name:
        given = f", and CONFIRM is {confirm}" if confirm else ""
        outcome.problem = (
            f"This would switch on purge protection of the vault {wanted.name}, which nobody can switch off "
            f"again{given}: read the plan, and run make vault ... CONFIRM={wanted.name}. Nothing was changed."
        )
        return
    granted: set[str] = set()
    try:
        if seen.deleted is not None:
            _recover(manager, wanted, seen, outcome)
        shut = _shuts(wanted, seen)
        for each in resources(wanted, seen):
            if each.changes:
                _make(manager, each, outcome)
                granted |= {str(each.ours["properties"]["principalId"])} if each.kind == "assignment" else set()
    except (SourceError, Refused) as error:
        done = f"Done so far: {'; '.join(outcome.made)}" if outcome.made else ""
        begun = f"Begun, so that it may be there: {outcome.begun}" if outcome.begun else ""
        so_far = [each for each in (done, begun) if each]
        ends = [*so_far, "The next run goes on from there"] if so_far else ["Nothing was changed"]
        outcome.problem = f"{_sentence(error, wanted)} {'. '.join(ends)}."
        return
    if granted or shut:
        outcome.notes += first_read(wanted, granted)


def _recover(manager: Manager, wanted: Wanted, seen: Seen, outcome: Outcome) -> None:
    """Bring the deleted vault back, and look at what came back with it."""
    _make(manager, recovery(wanted, seen), outcome)
    look.around(manager, wanted, seen)
    if problems := refusals.found(wanted, seen, recover=True):
        raise SourceError(" ".join(problems))


def _make(manager: Manager, each: Resource, outcome: Outcome) -> None:
    manager.renew()
    outcome.begun = each.label
    try:
        each.keep(manager.put(each.kind, each.path, each.body, each.method))
    except Refused as error:
        outcome.begun = ""
        # Somebody gave the same right meanwhile, under another name.
        if error.found.code != "RoleAssignmentExists":
            raise
        return
    outcome.begun = ""
    outcome.made.append(each.label)


def _sentence(error: Exception, wanted: Wanted) -> str:
    return str(refusals.of_azure(error, wanted) if isinstance(error, Refused) else error)


def first_read(wanted: Wanted, granted: set[str]) -> list[str]:
    """Read the vault as whoever writes here, until the right just granted has arrived; what to say of it.

    Nothing that goes wrong here is a failure: the vault is made, and others read it.
    """
    try:
        with Manager(wanted.keyvault, wanted.keyvault.write, data=True) as vault:
            return _until_read(wanted, vault, granted)
    except SourceError as error:
        return [f"The vault was not tried from here: {error}"]


def _until_read(wanted: Wanted, vault: Manager, granted: set[str]) -> list[str]:
    began = time.monotonic()
    while True:
        vault.renew()
        try:
            vault.get("secrets", "/secrets", "maxresults=1")
        except Refused as error:
            if error.found.code in NETWORK:
                return [_shut_out(wanted, error)]
            if error.found.status != 403 or not _holds(vault, granted):
                return [LATE] if granted else []
            limit, late = RIGHTS_SECONDS, "The right to read has not arrived after {:.0f} s: it may need minutes more."
        except NoSuchName:  # of a vault that was made just now
            limit, late = wanted.keyvault.seconds, "The vault's name does not resolve here after {:.0f} s."
        else:
            if not _holds(vault, granted):
                return [LATE] if granted else []
            return [f"The right to read arrived after {time.monotonic() - began:.0f} s."]
        if (waited := time.monotonic() - began) + RIGHTS_PAUSE > limit:
            return [late.format(waited)]
        time.sleep(RIGHTS_PAUSE)


def _holds(vault: Manager, granted: set[str]) -> bool:
    """Whether who asks is one of those."""
    return str(vault.claims.get("oid", "")).lower() in granted


def _shut_out(wanted: Wanted, error: Refused) -> str:
    found = ADDRESS.search(error.found.message)
    where = f"at {found[1].rstrip('.')} " if found else ""
    way = "add its address to `addresses` in stack_vault"
    if error.found.code != "ForbiddenByFirewall":
        way = "let it in by a private endpoint or a network security perimeter"
    return f"The vault {wanted.name} keeps this machine {where}out: {way} if make ensure-secrets is to run here."


def ids(wanted: Wanted, seen: Seen) -> dict[str, str]:
    """Names and ids that who goes on needs; what is not made yet is missing."""
    about = (seen.identity or {}).get("properties", {})
    told = {
        "vault": wanted.name,
        "vault_id": (seen.vault or {}).get("id"),
        "workspace_id": (seen.workspace or {}).get("id"),
        "identity_id": (seen.identity or {}).get("id"),
        "client_id": about.get("clientId"),
        "principal_id": about.get("principalId"),
    }
    return {key: str(value) for key, value in told.items() if value}
