"""keycloak_client: a client's secret in Keycloak, where the old one and the new one live side by side for a while.

Keycloak itself makes the new value. Settings: `service`, which Keycloak runs as, `realm`, `client`, the client's id as
it authenticates, and `port`, where Keycloak does not listen at 8080.
"""

from __future__ import annotations

from ..base import Declaration, Settings, port, service, text


def _problems(where: str, settings: Settings) -> list[str]:
    return service(where, settings) + text(where, settings, "realm", "client") + port(where, settings)


DECLARATION = Declaration(
    required=frozenset({"service", "realm", "client"}),
    optional=frozenset({"port"}),
    host=True,
    makes=True,
    problems=_problems,
)
