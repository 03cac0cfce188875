"""redis_acl: the password of an ACL user of Redis or Valkey, of which the old and the new one count side by side.

Settings: `service`, which Redis runs as, `user`, and `port`, where it does not listen at 6379; `admin`, the secret of
the user by whom this one is given its passwords (another one of this strategy), where it cannot do that itself; and
`rules`, what a user may do that does not exist yet. One that exists keeps its rules.
"""

from __future__ import annotations

import re

from ..base import Declaration, Settings, port, service, text, words

USER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# Of ACL SETUSER's words those on keys, channels and commands: passwords and `on` are the strategy's.
RULE = re.compile(r"[~&%+-][^\s\"'\\]*|(all|reset)(keys|channels)|(all|no)commands")


def _problems(where: str, settings: Settings) -> list[str]:
    found = service(where, settings) + text(where, settings, "admin") + port(where, settings)
    user = settings.get("user", "x")
    if not isinstance(user, str) or not USER.fullmatch(user):
        found.append(f"{where}.user must be up to 64 of A-Z, a-z, 0-9, _, . and -")
    return found + words(
        where, settings, "rules", "words of ACL SETUSER on keys, channels and commands", RULE.fullmatch
    )


DECLARATION = Declaration(
    required=frozenset({"service", "user"}),
    optional=frozenset({"port", "admin", "rules"}),
    host=True,
    by_hand=True,
    problems=_problems,
)
