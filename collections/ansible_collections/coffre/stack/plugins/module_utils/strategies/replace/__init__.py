"""replace: a value that nobody verifies but those who use it, so it must be what they can use.

Of a certificate that is its key, its chain, its names and its dates. Settings: `names`, which it must be for, where
the catalogue does not generate it, and `port`, at which its services show it.
"""

from __future__ import annotations

from ..base import Declaration, Settings, port, reachable, words


def _problems(where: str, settings: Settings) -> list[str]:
    return words(where, settings, "names", "host names and addresses", reachable) + port(where, settings)


DECLARATION = Declaration(optional=frozenset({"names", "port"}), problems=_problems)
