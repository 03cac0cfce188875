"""key_ring: a key that its consumers themselves check, where the earlier ones still count for a while or for good.

Nobody has to be taught: a bundle brings the new key and the ring. Settings, beside those of `rings`: `probe`, the
command of the service's own program that tries keys (`rehearse` is appended, or `confirm` and the address at which the
service listens, and the keys go to its standard input), and `signers`, the services that sign, where the others only
verify and so have to know a key first.
"""

from __future__ import annotations

from ..base import Declaration, Settings, choice, number, words


def _problems(where: str, settings: Settings) -> list[str]:
    found = [] if settings.get("keep_days") is None else number(where, settings, "keep_days", 0, 36500)
    found += choice(where, settings, "mount_previous", (True, False))
    found += words(where, settings, "probe", "words of a command")
    found += words(where, settings, "signers", "services")
    return found


DECLARATION = Declaration(optional=frozenset({"keep_days", "mount_previous", "probe", "signers"}), problems=_problems)
