"""A password for the role that is not in force."""

from __future__ import annotations

import dataclasses

from ...catalogue import Secret
from ...errors import CoffreError
from ...host import state
from ...values import generate
from ..context import Context
from . import server as postgres
from .login_role import SERVICE, login_role, role


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:
    """The new version belongs to the next role. Raises CoffreError if there is none."""
    roles, current = list(secret.settings["roles"]), role(old, secret)
    if current not in roles or len(set(roles)) < 2:
        raise CoffreError(
            f"{secret.name} belongs to the role {current}, and its settings name {', '.join(roles)}; nothing was "
            "changed: let them name that role and another one."
        )
    following = roles[(roles.index(current) + 1) % len(roles)]
    return dataclasses.replace(new, attributes={**new.attributes, "role": following})


def make(context: Context) -> bytes:
    """A random password; one that was never sealed is known to nobody."""
    return generate.random_value(context.secret)


def teach(context: Context) -> None:
    """Let the next role log in with the new password; the server gets a verifier only."""
    postgres.ensure(context.container(SERVICE), login_role(context, "new"), context.value("new"))
