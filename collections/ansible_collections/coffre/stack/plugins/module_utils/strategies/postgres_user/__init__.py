"""postgres_user: the password of the user by whom automation administers PostgreSQL, over the network.

Of its passwords one alone lives at a time: it is replaced when it is taught, by the user itself, so whoever logs in
during the run tries both. Settings: `service`, which PostgreSQL runs as, and `user`, which needs CREATEROLE and
CREATEDB; `initial`, the fixed secret with whose value the server makes that user when it is first started.
"""

from __future__ import annotations

from ..base import Declaration, Settings, service, text
from ..postgres_role import NAME


def _problems(where: str, settings: Settings) -> list[str]:
    found = service(where, settings) + text(where, settings, "initial")
    user = settings.get("user", "x")
    if not isinstance(user, str) or not NAME.fullmatch(user):
        found.append(f"{where}.user cannot name a role: use a-z, 0-9 and _, no digit first")
    return found


DECLARATION = Declaration(
    required=frozenset({"service", "user"}),
    optional=frozenset({"initial"}),
    host=True,
    first=True,
    by_hand=True,
    problems=_problems,
)
