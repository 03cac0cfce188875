"""command: a value that an operator's own commands teach, prove and withdraw, inside the verifier's container.

Settings: `service`, which the verifier runs as, and lists of words: `teach`, `prove` and `withdraw`; `agree`, which
makes the deployed value count where `teach` would not do; `refused`, which succeeds if a value is refused, where it is
not enough that `prove` fails. With `beside` they run in a container of their own, as those of that service are. With
`users` the versions belong to two or more of them in turn, by the attribute `user`.
"""

from __future__ import annotations

from ..base import Declaration, Settings, choice, service, words

COMMANDS = ("agree", "teach", "prove", "withdraw", "refused")


def _problems(where: str, settings: Settings) -> list[str]:
    found = service(where, settings)
    for name in COMMANDS:
        found += words(where, settings, name, "words of a command")
    wrong = words(where, settings, "users", "users")
    if not wrong and len(set(settings.get("users", "ab"))) < 2:
        wrong = [f"{where}.users must name two users or more"]
    return found + wrong + choice(where, settings, "beside", (False, True))


DECLARATION = Declaration(
    required=frozenset({"service", "teach", "prove", "withdraw"}),
    optional=frozenset({"agree", "refused", "users", "beside"}),
    problems=_problems,
)
