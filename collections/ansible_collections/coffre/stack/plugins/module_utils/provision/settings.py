"""What the inventory says of the vault that is to be: checked here, before Azure is asked anything."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SourceError
from ..keyvault.settings import OWNER, Credential, VaultSettings, credential
from ..keyvault.settings import settings as read_keyvault

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
GROUP = re.compile(r"[\w().-]{0,89}[\w()-]")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]")  # what a workspace and an identity both allow
LOCATION = re.compile(r"[a-z]+[a-z0-9]*")
BASE = r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w().-]+/providers/"
WORKSPACE = re.compile(BASE + r"Microsoft\.OperationalInsights/workspaces/[\w-]+", re.IGNORECASE)
SUBNET = re.compile(BASE + r"Microsoft\.Network/virtualNetworks/[\w.-]+/subnets/[\w.-]+", re.IGNORECASE)
ACTION_GROUP = re.compile(BASE + r"Microsoft\.Insights/actionGroups/[^/]+", re.IGNORECASE)
VIRTUAL = re.compile(BASE + r"Microsoft\.Compute/virtualMachines/[\w.-]+", re.IGNORECASE)
CONNECTED = re.compile(BASE + r"Microsoft\.HybridCompute/machines/[\w.-]+", re.IGNORECASE)
PRIVATE = [ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]  # Azure refuses
TYPES = ("User", "Group", "ServicePrincipal")
KEYS = {
    "subscription", "resource_group", "location", "credential", "retention_days", "purge_protection", "tags",
    "workspace", "workspace_days", "identity", "identity_writes", "machines", "readers", "writers", "addresses",
    "subnets", "action_group",
}  # fmt: skip


@dataclass(frozen=True)
class Principal:
    """Somebody in Entra ID, by object id; `type` is one of TYPES."""

    id: str
    type: str


@dataclass(frozen=True)
class Wanted:
    """The vault that the inventory describes.

    `workspace` is the name of one to be made in the resource group, or the id of one that is there; `identity` is a
    name, or empty where there is to be none; `machines` and `subnets` are ids, `addresses` IPv4 networks.
    """

    stack: str
    keyvault: VaultSettings
    credential: Credential
    subscription: str
    resource_group: str
    location: str
    retention_days: int
    purge_protection: bool
    tags: Mapping[str, str]
    workspace: str
    workspace_days: int
    identity: str
    identity_writes: bool
    machines: tuple[str, ...]
    readers: tuple[Principal, ...]
    writers: tuple[Principal, ...]
    addresses: tuple[str, ...]
    subnets: tuple[str, ...]
    action_group: str

    @property
    def name(self) -> str:
        """The vault's name, which its URL begins with."""
        return self.keyvault.name


class _Reader:
    """Takes the keys of a mapping, and notes what is wrong with them."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.problems: list[str] = []

    def text(self, key: str, pattern: re.Pattern[str], words: str, default: str | None = None) -> str:
        value = self.data.get(key, default)
        if value == default and default is not None:
            return default
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.problems.append(f"`{key}` must be {words}")
            return ""
        return value

    def number(self, key: str, low: int, high: int, default: int) -> int:
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.problems.append(f"`{key}` must be a whole number from {low} to {high}")
            return default
        return value

    def switch(self, key: str, default: bool) -> bool:
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            self.problems.append(f"`{key}` must be true or false")
        return bool(value)

    def ids(self, key: str, patterns: tuple[re.Pattern[str], ...], words: str) -> tuple[str, ...]:
        value = self.data.get(key) or []
        fits = isinstance(value, list) and all(
            isinstance(each, str) and any(pattern.fullmatch(each) for pattern in patterns) for each in value
        )
        if not fits:
            self.problems.append(f"`{key}` must be a list of {words}")
        return tuple({each.lower(): each for each in value}.values()) if fits else ()

    def principals(self, key: str) -> tuple[Principal, ...]:
        value = self.data.get(key) or []
        fits = isinstance(value, list) and all(_is_principal(each) for each in value)
        if not fits:
            self.problems.append(
                f"`{key}` must be a list of {{principal: OBJECT-ID, type: TYPE}}, each type one of {', '.join(TYPES)}"
            )
        return tuple(Principal(each["principal"].lower(), each["type"]) for each in value) if fits else ()

    def addresses(self) -> tuple[str, ...]:
        value = self.data.get("addresses") or []
        fits = isinstance(value, list) and all(map(_is_public, value))
        if not fits:
            self.problems.append(
                "`addresses` must be a list of public IPv4 addresses or networks: a vault's rules know no others"
            )
        return tuple(sorted({network(each) for each in value})) if fits else ()

    def tags(self) -> dict[str, str]:
        value = self.data.get("tags") or {}
        fits = isinstance(value, Mapping) and all(isinstance(each, str) for pair in value.items() for each in pair)
        if not fits or len({each.lower() for each in value}) < len(value):
            self.problems.append("`tags` must be texts by name, and no two names the same but for their case")
            return {}
        return {name: each for name, each in value.items() if name.lower() != OWNER}


def _is_principal(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and set(value) == {"principal", "type"}
        and isinstance(value["principal"], str)
        and bool(GUID.fullmatch(value["principal"]))
        and value["type"] in TYPES
    )


def _is_public(value: Any) -> bool:
    try:
        found = ipaddress.IPv4Network(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return not any(map(found.overlaps, PRIVATE))


def network(address: str) -> str:
    """An IPv4 address or network as a vault tells it, with the length of its prefix; else as it stands."""
    try:
        return str(ipaddress.IPv4Network(address, strict=False))
    except ValueError:
        return address


def settings(stack: str, data: Any, keyvault: Any) -> Wanted:
    """Check `stack_vault` and `stack_secrets_keyvault`. Raises SourceError with every problem at once."""
    vault = read_keyvault(keyvault)
    if not isinstance(data, Mapping):
        raise SourceError("stack_vault is no mapping: give it subscription, resource_group and location at least.")
    take = _Reader(data)
    take.problems += [f"it has an unknown key `{key}`" for key in sorted({str(key) for key in data} - KEYS)]
    wanted = Wanted(
        stack=stack,
        keyvault=vault,
        credential=credential("credential", data.get("credential") or {"type": "azure_cli"}, take.problems),
        subscription=take.text("subscription", GUID, "the id of a subscription").lower(),
        resource_group=take.text("resource_group", GROUP, "the name of a resource group"),
        location=take.text("location", LOCATION, "a region of Azure in one word, such as westeurope"),
        retention_days=take.number("retention_days", 7, 90, 90),
        purge_protection=take.switch("purge_protection", True),
        tags=take.tags() | {OWNER: stack},
        workspace=_workspace(take, stack),
        workspace_days=take.number("workspace_days", 30, 730, 90),
        identity=take.text("identity", NAME, 'a name of letters, digits and -, or ""', f"{stack}-hosts")
        if data.get("identity") != ""
        else "",
        identity_writes=take.switch("identity_writes", False),
        machines=take.ids("machines", (VIRTUAL, CONNECTED), "ids of virtual machines or of Arc's machines"),
        readers=take.principals("readers"),
        writers=take.principals("writers"),
        addresses=take.addresses(),
        subnets=take.ids("subnets", (SUBNET,), "ids of subnets"),
        action_group=take.text("action_group", ACTION_GROUP, 'the id of an action group, or ""', ""),
    )
    problems = take.problems + _together(wanted)
    if problems:
        raise SourceError(f"stack_vault is wrong: {'; '.join(problems)}.")
    return wanted


def _workspace(take: _Reader, stack: str) -> str:
    value = take.data.get("workspace", f"{stack}-audit")
    if isinstance(value, str) and (NAME.fullmatch(value) or WORKSPACE.fullmatch(value)):
        return value
    take.problems.append("`workspace` must be the name of a Log Analytics workspace to make, or the id of one")
    return ""


def _together(wanted: Wanted) -> list[str]:
    """What no key is wrong with by itself."""
    problems = []
    if not wanted.identity and any(map(VIRTUAL.fullmatch, wanted.machines)):
        problems.append("`machines` has virtual machines, and no `identity` is to be made that they could have")
    if wanted.identity_writes and not wanted.identity:
        problems.append("`identity_writes` is true, and no `identity` is to be made")
    return problems
