"""fixed: a value that stays as it is, because data are encrypted under it or because nobody can give another one.

Setting: `why`, what a new value would make unreadable, as a clause.
"""

from __future__ import annotations

from ..base import Declaration, Settings, text


def _problems(where: str, settings: Settings) -> list[str]:
    return text(where, settings, "why")


DECLARATION = Declaration(optional=frozenset({"why"}), problems=_problems)
