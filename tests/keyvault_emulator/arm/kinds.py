"""What all types of resources have in common: bodies that are kept, shown and listed."""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..vault import Body
from . import documented
from .errors import ArmError, no_resource
from .ids import Place

if TYPE_CHECKING:
    from ..world import World


@dataclass
class Resource:
    """A body that was put; `pending`: how often it is yet to be asked for until it is done; `failed`: how it ends."""

    id: str
    body: Body
    pending: int = 0
    failed: bool = False

    @property
    def state(self) -> str:
        """How far it is, in Azure's words."""
        return "Creating" if self.pending else "Failed" if self.failed else "Succeeded"


@dataclass
class Operation:
    """What goes on after the answer; `resource`: the id of what it works on."""

    id: str
    resource: str
    pending: int


@dataclass
class Resources:
    """What Resource Manager has beside vaults and role assignments. `unregistered`: namespaces, in lower case."""

    kept: dict[str, Resource] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    unregistered: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Caller:
    """Who asks: the ids of its application and of itself."""

    client: str
    oid: str


@dataclass
class Call:
    """A PUT or PATCH; `old`: what is kept already."""

    world: World
    place: Place
    body: Body
    caller: Caller
    old: Body = field(default_factory=dict)


@dataclass
class Answer:
    """What is sent: the body, its status, and headers."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def now() -> str:
    """The time as Azure writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


class Kind:
    """A type of resource whose bodies are kept as they were put, with what `fill` adds.

    `spelling`: namespace and type as Azure writes them; `tracked`: it has a location; `slow`: a PUT is done only after
    some polls; `verbs`: what it may be asked.
    """

    tracked = True
    slow = False
    verbs: tuple[str, ...] = ("GET", "PUT", "DELETE")

    def __init__(self, spelling: str) -> None:
        self.spelling = spelling

    def get(self, world: World, place: Place) -> Body:
        """The resource as it is shown."""
        return self.shown(self.found(world, place))

    def found(self, world: World, place: Place) -> Resource:
        """The resource that is kept.

        Raises:
            ArmError: 404.
        """
        kept = world.resources.kept.get(place.key)
        if kept is None:
            raise no_resource(self.spelling, place.name, place.group)
        return kept

    def list(self, world: World, place: Place) -> list[Body]:
        """All that are in the scope of a collection."""
        ending = f"/providers/{self.spelling.lower()}/"
        inside = [
            each
            for key, each in sorted(world.resources.kept.items())
            if key.startswith(f"{place.scope.lower()}/") and ending in key and "/" not in key.rpartition(ending)[2]
        ]
        return [self.shown(each) for each in inside]

    def put(self, call: Call) -> Answer:
        """Make or replace the resource."""
        world, place, body = call.world, call.place, call.body
        old = world.resources.kept.get(place.key)
        if old and self.tracked and not same_location(old.body["location"], str(body.get("location", ""))):
            raise ArmError(
                409,
                "InvalidResourceLocation",
                f"The resource '{place.name}' already exists in location '{old.body['location']}' in resource group "
                f"'{place.group}'. A resource with the same name cannot be created in location "
                f"'{body.get('location')}'. Please select a new resource name.",
            )
        self.check(call)
        made = Resource(old.id if old else place.path, body)
        call.old = old.body if old else {}
        body["systemData"] = stamped(call.old.get("systemData") or {}, call.caller)
        self.fill(call)
        made.pending = world.polls if self.slow else 0
        world.resources.kept[place.key] = made
        headers = under_way(world, place) if self.slow and world.polls else {}
        return Answer(self.shown(made, asked=False), 200 if old else 201, headers)

    def check(self, call: Call) -> None:
        """Refuse what is wrong with a body, beside its keys."""

    def fill(self, call: Call) -> None:
        """Put into the body what the provider says of itself; `old` is the body until now."""

    def shown(self, kept: Resource, asked: bool = True) -> Body:
        """A body as it is answered; being asked brings the resource nearer to its end."""
        if asked and kept.pending:
            kept.pending -= 1
        name = kept.id.rpartition("/")[2]
        body: Body = {"id": kept.id, "name": name, "type": self.spelling} | copy.deepcopy(kept.body)
        body.setdefault("properties", {})[documented.EXTRA] = {"of": name}
        if self.tracked:
            body["location"] = body["location"].replace(" ", "").lower()
            body.setdefault("tags", {})
        return body

    def delete(self, world: World, place: Place) -> Answer:
        """Remove the resource."""
        gone = world.resources.kept.pop(place.key, None)
        return Answer(None, 200 if gone else 204)


def same_location(one: str, other: str) -> bool:
    """Whether two names are one region's: West Europe is westeurope."""
    return one.replace(" ", "").lower() == other.replace(" ", "").lower()


def stamped(old: Body, caller: Caller) -> Body:
    """Who made a resource, and who changed it last."""
    who = {"lastModifiedBy": caller.client, "lastModifiedByType": "Application", "lastModifiedAt": now()}
    made = {"createdBy": caller.client, "createdByType": "Application", "createdAt": who["lastModifiedAt"]}
    return made | old | who


def under_way(world: World, place: Place) -> dict[str, str]:
    """The headers that lead to an operation which ends after some polls."""
    made = Operation(str(uuid.uuid4()), place.key, world.polls)
    world.resources.operations[made.id] = made
    base = f"/subscriptions/{place.subscription}/providers/{place.namespace}/locations/westeurope"
    version = "api-version=2025-01-01"
    return {
        "Azure-AsyncOperation": f"{{base}}{base}/operationStatuses/{made.id}?{version}",
        "Location": f"{{base}}{base}/operationResults/{made.id}?{version}",
        "Retry-After": "0",
    }
