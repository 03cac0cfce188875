"""The ways from a proxy to services, as data: `x-coffre.route` of each, one mapping or a list of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...settings import LABEL, PORT, Rule, number

Services = Mapping[str, Mapping[str, Any]]  # what the Compose file says of each, by name

# Nothing in these that a proxy's configuration or a regular expression would take for something else.
SEGMENT = r"(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+"
PATH = re.compile(rf"/(?:{SEGMENT}/)*(?:{SEGMENT})?")
PATTERN = re.compile(rf"/(?:(?:{SEGMENT}|\*)/)*(?:{SEGMENT}|\*)?")
HOST = re.compile(rf"(?=.{{1,253}}$){LABEL}(?:\.{LABEL})*")
TEXT = re.compile(r"[A-Za-z0-9%._~-]{1,64}")
MOST = 20  # entries of a list
OWN = number(1024, 65535)  # a port that a proxy without privileges may open
SPARE = 3  # beside the replicas: one that comes, one that leaves, and one that is not forgotten yet


@dataclass(frozen=True)
class Limit:
    """What one source may do in 30 seconds; None is no limit."""

    errors: int | None = None  # answers 400 to 499, and as many 500
    posts: int | None = None
    to: tuple[str, ...] = ()  # the paths whose posts count


@dataclass(frozen=True)
class Route:
    """Requests for these hosts (none: whatever it is) and paths go to a port of a service."""

    name: str
    service: str
    port: int
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    health: str  # the path that answers 200 where it is well; "": it is enough that the port is open
    health_port: int
    connections: int | None  # at most, with one container
    websockets: bool
    deny: tuple[str, ...]  # paths that nobody gets at these hosts, whatever their case
    deny_text: tuple[str, ...]  # what no query and no body may contain
    limit: Limit
    inside: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # paths by port of the proxy, for the stack
    containers: int = 1 + SPARE


def extension(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `x-coffre` of a service."""
    given = service.get("x-coffre")
    return given if isinstance(given, Mapping) else {}


def secrets(service: Mapping[str, Any]) -> set[str]:
    """The names of what it lists under `secrets`, in either syntax."""
    return {
        str(each.get("source")) if isinstance(each, Mapping) else str(each) for each in service.get("secrets") or []
    }


def listed(value: Any) -> list[Any]:
    """A value, or a list of them, as a list; none for None."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def of(services: Services) -> list[Route]:
    """All routes, in the order of the file, whose problems are none."""
    return [
        _route(name, rank, data, services[name])
        for name in services
        for rank, data in enumerate(_given(services[name]))
    ]


def problems(services: Services, proxy: str, taken: Collection[int]) -> list[str]:
    """What is wrong with the routes, in sentences. `taken`: ports at which the proxy has something else."""
    found = [
        f"{name} {wrong}"
        for name, service in services.items()
        for data in _given(service)
        for wrong in wrongs(data, RULES, {"port"}, "x-coffre.route")
    ]
    if found:
        return found
    routes = of(services)
    if not routes:
        return [f"no service has an x-coffre.route, so that {proxy} has nowhere to send requests"]
    return [*_overlaps(routes), *_useless(routes), *_misplaced(routes, taken), *_apart(services, routes, proxy)]


def wrongs(data: Any, rules: Mapping[str, Rule], required: set[str], where: str) -> Iterator[str]:
    """What is wrong with a mapping, each without whose it is."""
    if not isinstance(data, Mapping):
        yield f"should have a mapping as {where}"
        return
    yield from (f"lacks `{key}` in {where}" for key in sorted(required - data.keys()))
    for key, value in data.items():
        if key not in rules:
            yield f"has an unknown key `{key}` in {where}: use some of {', '.join(rules)}"
        elif words := rules[key](value):
            yield f"should have {words} as {where}.{key}"


def texts(pattern: re.Pattern[str], words: str) -> Rule:
    """A text of this pattern, or a list of some, all different."""

    def rule(value: Any) -> str:
        values = listed(value)
        fits = all(isinstance(each, str) and pattern.fullmatch(each) for each in values)
        return "" if fits and len(set(values)) == len(values) <= MOST else f"{words}, or a list of up to {MOST}"

    return rule


def _mapping(rules: Mapping[str, Rule], required: set[str]) -> Rule:
    def rule(value: Any) -> str:
        wrong = next(wrongs(value, rules, required, ""), "")
        return f"a mapping of {', '.join(rules)}, each well-formed," if wrong else ""

    return rule


def _inside(value: Any) -> str:
    fits = isinstance(value, Mapping) and all(
        not OWN(port) and paths and not RULES["path"](paths) for port, paths in value.items()
    )
    return "" if fits else "paths by port, the ports from 1024 to 65535,"


def _path(value: Any) -> str:
    return "" if isinstance(value, str) and PATH.fullmatch(value) else "a path such as /health"


COUNT = number(1, 1_000_000)
_PATHS = texts(PATH, "a path such as /shop or /shop/, of plain letters")
_PATTERNS = texts(PATTERN, "a path such as /shop/*/login, of plain letters")
RULES: dict[str, Rule] = {
    "host": texts(HOST, "a DNS name in lower case"),
    "path": _PATHS,
    "port": PORT,
    "health": _mapping({"path": _path, "port": PORT}, {"path"}),
    "connections": COUNT,
    "websockets": lambda value: "" if isinstance(value, bool) else "true or false",
    "deny": _PATTERNS,
    "deny_text": texts(TEXT, "a text of letters, digits and % . _ ~ -"),
    "limit": _mapping({"errors": COUNT, "posts": COUNT, "to": _PATTERNS}, set()),
    "inside": _inside,
}


def _given(service: Mapping[str, Any]) -> list[Any]:
    return listed(extension(service).get("route"))


def _route(service: str, rank: int, data: Mapping[str, Any], said: Mapping[str, Any]) -> Route:
    health, limit = data.get("health") or {}, data.get("limit") or {}
    return Route(
        name=f"{service}_{rank + 1}" if rank else service,  # no service's name has a low line
        service=service,
        port=int(data["port"]),
        hosts=tuple(listed(data.get("host"))),
        paths=tuple(listed(data.get("path", "/"))),
        health=health.get("path", ""),
        health_port=int(health.get("port", data["port"])),
        connections=int(data["connections"]) if "connections" in data else None,
        websockets=data.get("websockets", False),
        deny=tuple(listed(data.get("deny"))),
        deny_text=tuple(listed(data.get("deny_text"))),
        limit=_limit(limit),
        inside={int(port): tuple(listed(paths)) for port, paths in (data.get("inside") or {}).items()},
        containers=int((said.get("deploy") or {}).get("replicas") or 1) + SPARE,
    )


def _limit(data: Mapping[str, Any]) -> Limit:
    errors, posts = (int(data[key]) if key in data else None for key in ("errors", "posts"))
    return Limit(errors, posts, tuple(listed(data.get("to", "/"))))


def _claims(route: Route) -> Iterator[tuple[str, str]]:
    """What a route takes for itself: where, in words, and the path."""
    for host in route.hosts or ("every name",):
        yield from ((f"for {host}", path) for path in route.paths)
    for port, paths in route.inside.items():
        yield from ((f"at port {port}", path) for path in paths)


def _overlaps(routes: Sequence[Route]) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    for route in routes:
        for where, path in _claims(route):
            # With and without the slash at its end it would be the same, almost.
            other = seen.get((where, path.rstrip("/")))
            if other:
                yield f"{route.service} has the route {path} {where}, which {other} has already"
            seen[where, path.rstrip("/")] = route.service


def _useless(routes: Sequence[Route]) -> Iterator[str]:
    for route in routes:
        if not route.paths and not route.inside:
            yield f"{route.service} has a route without a path, outside and inside: give it one"
        if route.hosts and not route.paths:
            yield f"{route.service} has a route for {', '.join(route.hosts)} without a path: give it one"
        if (route.limit.errors or route.limit.posts) and not route.paths:
            yield f"{route.service} has a limit for a route that nobody outside has: take it out"


def _misplaced(routes: Sequence[Route], taken: Collection[int]) -> Iterator[str]:
    for route in routes:
        for port in sorted(set(route.inside) & set(taken)):
            yield f"{route.service} has a route inside at port {port}, where the proxy has something else: use another"


def _apart(services: Services, routes: Sequence[Route], proxy: str) -> Iterator[str]:
    for name in dict.fromkeys(route.service for route in routes):
        if not _networks(services[name]) & _networks(services[proxy]):
            yield f"{name} has a route, but no network in common with {proxy}: give it one under `networks`"


def _networks(service: Mapping[str, Any]) -> set[str]:
    return set(service.get("networks") or ["default"])
