"""What the path of a request means."""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = "microsoft.resources/resourcegroups"
SUBSCRIPTIONS = "microsoft.resources/subscriptions"
PROVIDERS = "microsoft.resources/providers"
SPELLING = {
    "providers": "Microsoft.Resources/subscriptions/providers",
    "resourcegroups": "Microsoft.Resources/subscriptions/resourceGroups",
    "subscriptions": "Microsoft.Resources/subscriptions",
}


@dataclass(frozen=True)
class Place:
    """A resource, or the collection of all of `kind` in `scope`.

    `path`: as it was asked, which is the resource's id; `kind`: namespace and type in lower case; `name`: empty for a
    collection; `last`: what follows a resource without being one, such as `purge`; `scope`: the id above.
    """

    path: str
    kind: str
    name: str
    scope: str
    last: str = ""

    @property
    def key(self) -> str:
        """The id for comparison."""
        return self.path.lower()

    @property
    def subscription(self) -> str:
        """The subscription's id."""
        parts = self.path.split("/")
        return parts[2] if len(parts) > 2 and parts[1].lower() == "subscriptions" else ""

    @property
    def group(self) -> str:
        """The resource group's name, or nothing."""
        parts = self.path.split("/")
        return parts[4] if len(parts) > 4 and parts[3].lower() == "resourcegroups" else ""

    @property
    def namespace(self) -> str:
        """The resource provider, in lower case."""
        return self.kind.partition("/")[0]


def parse(path: str) -> Place:
    """The place of a path such as /subscriptions/S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/V.

    Raises:
        ValueError: no such path is served.
    """
    parts = path.strip("/").split("/")
    lower = [each.lower() for each in parts]
    full = "/" + "/".join(parts)
    if "providers" not in lower:
        return _plain(full, parts, lower)
    at = len(lower) - 1 - lower[::-1].index("providers")
    scope, rest = "/" + "/".join(parts[:at]), parts[at + 1 :]
    if len(rest) <= 1:
        return Place(full, PROVIDERS, rest[0] if rest else "", scope)
    if len(rest) == 2 and at == 2 and lower[-1] == "register":
        return Place(f"{scope}/providers/{rest[0]}", PROVIDERS, rest[0], scope, "register")
    kinds, names = rest[1::2], rest[2::2]
    if len(kinds) > len(names) and len(kinds) > 1:
        # A word behind a resource: something that is done with it, or a collection of its children.
        if lower[-1] in ("purge",):
            return Place(full.rpartition("/")[0], _kind(rest[0], kinds[:-1]), names[-1], scope, lower[-1])
        return Place(full, _kind(rest[0], kinds), "", full.rpartition("/")[0])
    return Place(full, _kind(rest[0], kinds), names[-1] if len(names) == len(kinds) else "", scope)


def _kind(namespace: str, kinds: list[str]) -> str:
    return "/".join([namespace, *kinds]).lower()


def _plain(full: str, parts: list[str], lower: list[str]) -> Place:
    """A subscription, a resource group, or their collections."""
    match lower:
        case ["subscriptions"]:
            return Place(full, SUBSCRIPTIONS, "", "/")
        case ["subscriptions", _]:
            return Place(full, SUBSCRIPTIONS, parts[1], "/")
        case ["subscriptions", _, "resourcegroups"]:
            return Place(full, GROUPS, "", full.rpartition("/")[0])
        case ["subscriptions", _, "resourcegroups", _]:
            return Place(full, GROUPS, parts[3], "/" + "/".join(parts[:2]))
        case ["subscriptions", _, "locations"]:
            return Place(full, f"{SUBSCRIPTIONS}/locations", "", "/" + "/".join(parts[:2]))
    raise ValueError(full)
