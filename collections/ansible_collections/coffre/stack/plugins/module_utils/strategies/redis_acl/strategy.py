"""The strategy as one: its functions, and those on the value in force."""

from __future__ import annotations

from ...errors import ByHand, CoffreError
from ..base import Agreement
from ..context import Context
from . import server as redis
from .acl_user import ADMIN_RULES, only, server, user
from .issue import make, successor, teach
from .prove import confirm, prove
from .retire import refused, withdraw

UNKNOWN = ""

__all__ = [
    "UNKNOWN",
    "agree",
    "blockers",
    "confirm",
    "deployed",
    "make",
    "prove",
    "refused",
    "successor",
    "teach",
    "withdraw",
]


def deployed(context: Context) -> list[str]:
    """A user that does not log in with the deployed password, or a Redis that lets in whoever comes."""
    asked = server(context)
    if _well(context, asked):
        return []
    try:
        found = redis.look(asked, user(context))
    except redis.NotAdmitted as error:
        return [ByHand(error)]
    return [f"Redis {_amiss(context, found)}: run site.yml, which mends it."]


def blockers(context: Context) -> list[str]:
    """The same, a password that is not ours, and users that a restart would lose."""
    if problems := deployed(context):
        return problems
    asked = server(context)
    found = redis.look(asked, user(context))
    problems = [problem] if (problem := redis.unkept(asked, found)) else []
    if others := found.digests - {redis.digest(context.value("old"))}:
        problems.append(
            f"The user {user(context)} of Redis has {len(others)} more password(s), which Coffre did not give it and a "
            "rotation would end: see who uses them, then take them away (ACL SETUSER, with ! and the digest that ACL "
            "GETUSER shows)."
        )
    return problems


def agree(context: Context, dry: bool) -> Agreement:
    """`user`, one that is missing, off or takes any password, `password`, and `default`, which let anybody in.

    A Redis that lets anybody in is given its admin by that way, and is then shut.
    """
    asked, name = server(context), user(context)
    if _well(context, asked):
        return Agreement()
    found = redis.look(asked, name)
    whole = found.exists and found.enabled and not found.anything
    known = redis.digest(context.value("old")) in found.digests
    repaired = ["password" if whole else "user"] if not (whole and known) else []
    shut = found.unlocked and name != redis.DEFAULT
    repaired += ["default"] if shut else []
    if not dry:
        _repair(context, asked, found, shut)
        if not _well(context, asked):
            raise CoffreError(
                f"Redis still refuses {name}, or lets anybody in, after that was put right: see `docker logs "
                f"{asked.container.name}`, then run again."
            )
    told = ["Redis let in whoever came without a password: that is over."] if found.unlocked else []
    return Agreement(repaired, told)


def _well(context: Context, asked: redis.Redis) -> bool:
    name = user(context)
    return redis.accepts(asked, name, context.value("old")) and not redis.trusting(asked, name)


def _repair(context: Context, asked: redis.Redis, found: redis.AclUser, shut: bool) -> None:
    users = [[*only(context, found, context.value("old")), "on"]]
    if found.unlocked and asked.admin != user(context):  # nobody else could let automation in, once it is shut
        users.append([asked.admin, "on", *ADMIN_RULES, "resetpass", f"#{redis.digest(asked.passwords[0])}"])
    if shut and asked.admin != redis.DEFAULT:
        users.append([redis.DEFAULT, "off", "resetpass"])  # protected mode asks for a user that needs a password
    redis.change(asked, found, f"let {user(context)} log in", *users)


def _amiss(context: Context, found: redis.AclUser) -> str:
    """What is wrong with a user, or with all of Redis, as the rest of a sentence."""
    name = user(context)
    if not found.exists:
        return f"has no user {name}"
    if not found.enabled:
        return f"has the user {name} switched off"
    if found.anything or found.unlocked:
        return f"lets in whoever comes as {name if found.anything else redis.DEFAULT}, whatever the password"
    return f"refuses the deployed password of its user {name}, which has another one"
