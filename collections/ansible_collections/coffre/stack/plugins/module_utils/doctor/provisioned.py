"""The doctor's look at the vault itself, from the controller: whether it is still what production can trust."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import CoffreError, SourceError
from ..keyvault.arm import Manager, Refused
from ..provision import look, refusals
from ..provision.resources import (
    NEAR_EXPIRY,
    READER,
    ROLES,
    WRITER,
    Seen,
    audited,
    closed,
    holder_of,
    identity_path,
    principals,
    role_of,
    scope_of,
    sends_audit,
    vault_path,
)
from ..provision.settings import Wanted
from .target import Caution, Check, judge, verdict

VAULT = "run make vault"
# Roles of Azure's that are often inherited, so that a line can name them.
NAMES = ROLES | {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
    "21090545-7ca7-4776-b22c-e363652d74d2": "Key Vault Reader",
    "f25e0fa2-a7c8-4377-a976-54943a77a395": "Key Vault Contributor",
    "8b54135c-b56d-4d72-a534-26097cfdc8d8": "Key Vault Data Access Administrator",
}

T = TypeVar("T")


@dataclass
class Sight:
    """What could be seen of the vault, `events` its event subscriptions; by what could not, why not."""

    wanted: Wanted
    seen: Seen
    events: list[dict[str, Any]] = field(default_factory=list)
    unseen: dict[str, str] = field(default_factory=dict)

    def ask(self, what: str, otherwise: T, call: Callable[..., T], *arguments: Any) -> T:
        """The answer to a call, which hides no other where it is refused."""
        try:
            return call(*arguments)
        except Refused as error:
            self.unseen[what] = str(refusals.of_azure(error, self.wanted))
        except SourceError as error:
            self.unseen[what] = str(error)
        return otherwise


Look = Callable[[Sight], str]
# What a check of its own tells of where it cannot be seen.
BASES = ASSIGNMENTS, SETTINGS, EVENTS = "the role assignments", "the diagnostic settings", "the event subscriptions"


def examine(wanted: Wanted) -> list[Check]:
    """All checks of the vault itself; one line where it cannot be asked as whoever is logged in here.

    Each check is of what could be seen, and there is a line for each part of it that could not.
    """
    try:
        with Manager(wanted.keyvault, wanted.credential) as manager:
            sight = Sight(wanted, Seen(vault=manager.get("vault", vault_path(wanted))))
            if sight.seen.vault is None:
                return [unchecked(f"the vault {wanted.name} is not in {wanted.resource_group}: {VAULT}")]
            _look(manager, sight)
    except Refused as error:
        return [unchecked(str(refusals.of_azure(error, wanted)))]
    except SourceError as error:
        return [unchecked(str(error))]
    parts = [unchecked(f"{what}. {why}") for what, why in sight.unseen.items() if what not in BASES]
    return [_checked(name, run, remedy, sight) for name, (run, _, remedy) in LOOKS.items()] + parts


def _look(manager: Manager, sight: Sight) -> None:
    """All that the checks judge, beside the vault."""
    wanted, seen = sight.wanted, sight.seen
    events = f"{vault_path(wanted)}/providers/Microsoft.EventGrid/eventSubscriptions"
    seen.assignments = sight.ask(ASSIGNMENTS, [], look.assignments, manager, wanted)
    seen.settings = sight.ask(SETTINGS, [], look.settings, manager, wanted)
    sight.events = sight.ask(EVENTS, [], manager.listed, "event", events)
    if wanted.identity:
        what = f"the identity {wanted.identity}"
        seen.identity = sight.ask(what, None, manager.get, "identity", identity_path(wanted))
    listed: frozenset[str] = sight.ask("the managed identities", frozenset(), look.managed, manager, wanted)
    for path in wanted.machines:
        seen.machines[path] = sight.ask(f"the machine {path}", None, look.machine, manager, path)
    seen.managed = listed | look.of_machines(wanted, seen)


def unchecked(why: str) -> Check:
    """The line of what nobody here can ask about."""
    return _unseen("vault itself", why)


def _unseen(name: str, why: str) -> Check:
    return judge(name, "", lambda: Caution(f"not checked: {why.removesuffix('.')}"))


def _checked(name: str, run: Look, remedy: str, sight: Sight) -> Check:
    if why := sight.unseen.get(LOOKS[name][1]):
        return _unseen(name, why)
    return judge(name, remedy, lambda: run(sight))


def rights(sight: Sight) -> str:
    """RBAC decides, readers only read, and nobody has a right that the inventory does not know of."""
    wanted, seen = sight.wanted, sight.seen
    listed = {(role, who.id) for role, who, _ in principals(wanted, seen)}
    writers = {who for role, who in listed if role == WRITER}
    readers = {who for role, who in listed if role == READER} - writers
    problems, here, above = [], [], []
    if not _properties(seen).get("enableRbacAuthorization"):
        problems.append(f"the vault {wanted.name} goes by access policies, so the roles below it count for nothing")
    if why := sight.unseen.get(ASSIGNMENTS):
        return verdict(problems, "", [f"not checked: {why.removesuffix('.')}"])
    for who in sorted(writers & seen.managed):
        problems.append(f"the writer {who} is a managed identity, which every process of its machine can use")
    for each in seen.assignments:
        role, who = role_of(each), holder_of(each)
        told = f"{NAMES.get(role, role)} for {each.get('properties', {}).get('principalType', 'principal')} {who}"
        inherited = not scope_of(each).startswith(vault_path(wanted).lower())
        if who in readers and role != READER:
            problems.append(f"the reader {who} holds more than {ROLES[READER]}: {NAMES.get(role, role)}")
        elif inherited:
            above.append(f"{told} from {scope_of(each)}")
        elif (role, who) not in listed or scope_of(each) != vault_path(wanted).lower():
            here.append(told)
    known = "the inventory" if not sight.unseen.keys() - {*BASES} else "what could be seen of the inventory"
    warnings = [f"not in {known}: {each}" for each in here] + [f"inherited: {each}" for each in above]
    return verdict(problems, f"{len(listed)} rights at the vault, all of them in {known}", warnings)


def audit(sight: Sight) -> str:
    """Who read what is written down."""
    wanted, seen = sight.wanted, sight.seen
    if setting := audited(wanted, seen):
        return f"AuditEvent goes to the workspace by the setting {setting.get('name')}"
    anywhere = [each for each in seen.settings if sends_audit(each.get("properties", {}).get("logs") or [])]
    if not anywhere:
        raise CoffreError(f"no diagnostic setting of the vault {wanted.name} has AuditEvent")
    return Caution(f"AuditEvent goes elsewhere than to the workspace, by the setting {anywhere[0].get('name')}")


def deletion(sight: Sight) -> str:
    """What is deleted can come back, and nobody can destroy it before."""
    wanted, seen = sight.wanted, sight.seen
    properties = _properties(seen)
    problems = []
    if properties.get("enableSoftDelete") is False:
        problems.append(f"the vault {wanted.name} has no soft delete")
    if not properties.get("enablePurgeProtection"):
        problems.append(f"the vault {wanted.name} has no purge protection")
    return verdict(problems, f"deleted secrets come back for {properties.get('softDeleteRetentionInDays')} days")


def network(sight: Sight) -> str:
    """Who reaches the vault at all."""
    wanted, seen = sight.wanted, sight.seen
    rules: Mapping[str, Any] = _properties(seen).get("networkAcls") or {}
    if word := closed(seen):
        more = "" if word.lower() == "disabled" else ", and by what its network security perimeter lets in,"
        return f"reached by private endpoints{more} only"
    if str(rules.get("defaultAction", "Allow")).lower() != "deny":
        return Caution(f"every address reaches the vault {wanted.name}: list `addresses` or `subnets` in stack_vault")
    count = len(rules.get("ipRules") or []), len(rules.get("virtualNetworkRules") or [])
    return f"reached from {count[0]} networks and {count[1]} subnets only"


def alert(sight: Sight) -> str:
    """Somebody is told before a secret expires."""
    for each in sight.events:
        types = ((each.get("properties") or {}).get("filter") or {}).get("includedEventTypes")
        if types is None or NEAR_EXPIRY in types:  # none named is all of them
            return f"the event subscription {each.get('name')} tells of secrets that expire soon"
    return Caution("nobody is told of secrets that expire soon: set `action_group` in stack_vault")


# By check: without what nothing of it can be judged, and what to do where it fails.
LOOKS: dict[str, tuple[Look, str, str]] = {
    "vault rights": (rights, "", f"take away what is too much (az role assignment delete), or {VAULT}"),
    "vault audit": (audit, SETTINGS, VAULT),
    "vault deletion": (deletion, "", VAULT),
    "vault network": (network, "", VAULT),
    "vault alert": (alert, EVENTS, VAULT),
}


def _properties(seen: Seen) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (seen.vault or {}).get("properties", {})
    return found
