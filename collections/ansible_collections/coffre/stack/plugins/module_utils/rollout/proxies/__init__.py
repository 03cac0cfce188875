"""What stands before the services and says which container gets requests: haproxy, or none."""

from __future__ import annotations

from typing import Any

from ...engines.base import Container, Place
from ...paths import StackPaths
from . import routes
from .base import Proxy as Proxy
from .haproxy import config
from .haproxy.proxy import HAProxy
from .haproxy.proxy import refused as refused
from .none import NoProxy
from .routes import Services

HAPROXY = "haproxy"


def service(services: Services) -> str:
    """The service that is the stack's proxy, "" without one."""
    return next((name for name, each in services.items() if "proxy" in routes.extension(each)), "")


def fronted(services: Services) -> set[str]:
    """The services that the proxy has a route to."""
    return {name for name, each in services.items() if "route" in routes.extension(each)}


def places(paths: StackPaths, services: Services) -> list[Place]:
    """Where each node of a swarm has the proxy answer over TLS; none on one host, which has the public name itself."""
    if not paths.on_swarm or not (name := service(services)):
        return []
    from ...engines import swarm  # late: an older system's Python cannot even load it

    return swarm.places(paths.stack, name, config.TLS)


def of(container: Container | None) -> Proxy:
    """The proxy that runs in this container; None where a stack has none, or it does not run."""
    return HAProxy(container) if container else NoProxy()


def files(services: Services) -> dict[str, str]:
    """What the proxy's bundle has beside its secrets, no secret itself: text by name of the file."""
    name = service(services)
    return {config.NAME: config.render(services, _settings(services, name))} if name else {}


def problems(services: Services) -> list[str]:
    """What is wrong with the proxy and the routes to it, in sentences."""
    fronts = [name for name, each in services.items() if "proxy" in routes.extension(each)]
    if not fronts:
        return [
            f"{name} has an x-coffre.route, but no service has an x-coffre.proxy: take it out, or give it to a proxy"
            for name, each in services.items()
            if "route" in routes.extension(each)
        ]
    if len(fronts) > 1:
        return [f"{' and '.join(fronts)} have an x-coffre.proxy each: a stack has one"]
    (name,) = fronts
    given = routes.extension(services[name])["proxy"]
    if not isinstance(given, dict) or [*given] != [HAPROXY]:
        return [f"{name} should have a mapping of {HAPROXY} as x-coffre.proxy"]
    return config.problems(services, name, given[HAPROXY])


def _settings(services: Services, name: str) -> dict[str, Any]:
    settings: dict[str, Any] = routes.extension(services[name])["proxy"][HAPROXY]
    return settings
