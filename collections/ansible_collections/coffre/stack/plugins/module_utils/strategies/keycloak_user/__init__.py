"""keycloak_user: the password of Keycloak's permanent admin, of which one alone lives at a time.

It is replaced when it is taught, so whoever logs in during the run tries both. Settings: `service`, which Keycloak runs
as, `realm` master, `user`, and `port`, where Keycloak does not listen at 8080.
"""

from __future__ import annotations

from ..base import Declaration, Settings, choice, port, service, text


def _problems(where: str, settings: Settings) -> list[str]:
    found = service(where, settings) + text(where, settings, "user") + port(where, settings)
    return found + choice(where, settings, "realm", ("master",))


DECLARATION = Declaration(
    required=frozenset({"service", "realm", "user"}),
    optional=frozenset({"port"}),
    host=True,
    first=True,
    by_hand=True,
    problems=_problems,
)
