"""postgres_role: the password of a database, whose versions belong to two login roles in turn.

Both act as one owner, so the old and the new container of a consumer work side by side. Settings: `service`, which
PostgreSQL runs as, `owner`, `roles` and, where it is not called as its owner, `database`; `superuser`, by whom the
container's own psql logs in; `sessions`, optional for consumers whose connections live for one request. Each version
has the attribute `role`.
"""

from __future__ import annotations

import re

from ..base import Declaration, Settings, choice, service, text, words

# What needs no quotes, neither in SQL nor in a connection string.
NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
SESSIONS = ("required", "optional")


def _problems(where: str, settings: Settings) -> list[str]:
    found = service(where, settings) + text(where, settings, "superuser")
    names = {name: settings[name] for name in ("owner", "database") if name in settings}
    found += [
        f"{where}.{name} cannot name a role or a database: use a-z, 0-9 and _, no digit first"
        for name, value in names.items()
        if not isinstance(value, str) or not NAME.fullmatch(value)
    ]
    wrong = words(where, settings, "roles", "login roles", NAME.fullmatch)
    roles = settings.get("roles", ["a", "b"])
    if not wrong and (len(set(roles)) < 2 or settings.get("owner") in roles):
        wrong = [f"{where}.roles must name two login roles or more, and the owner is none of them"]
    return found + wrong + choice(where, settings, "sessions", SESSIONS)


DECLARATION = Declaration(
    required=frozenset({"service", "owner", "roles"}),
    optional=frozenset({"database", "superuser", "sessions"}),
    problems=_problems,
)
