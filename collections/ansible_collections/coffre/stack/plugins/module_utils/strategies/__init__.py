"""The strategies by name. Each is a folder: what it declares to the catalogue, and `strategy`, which has its functions.

A folder's own __init__ imports no library, so that whoever reads a catalogue knows all of them; `strategy` is imported
where it is used, because the libraries of some take longer to import than a step of a rotation takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import command, fixed, key_ring, keycloak_client, keycloak_user, postgres_role, redis_acl, replace
from .base import Declaration

if TYPE_CHECKING:
    from .context import Strategy

DECLARED: dict[str, Declaration] = {
    "command": command.DECLARATION,
    "fixed": fixed.DECLARATION,
    "key_ring": key_ring.DECLARATION,
    "keycloak_client": keycloak_client.DECLARATION,
    "keycloak_user": keycloak_user.DECLARATION,
    "postgres_role": postgres_role.DECLARATION,
    "redis_acl": redis_acl.DECLARATION,
    "replace": replace.DECLARATION,
}


def load(name: str) -> Strategy:
    """The strategy of a name of the catalogue. The imports are written out so that Ansible, which ignores `match`,
    finds them.
    """
    if name == "command":
        from .command import strategy as command_strategy

        return command_strategy
    if name == "fixed":
        from .fixed import strategy as fixed_strategy

        return fixed_strategy
    if name == "key_ring":
        from .key_ring import strategy as key_ring_strategy

        return key_ring_strategy
    if name == "keycloak_client":
        from .keycloak_client import strategy as keycloak_client_strategy

        return keycloak_client_strategy
    if name == "keycloak_user":
        from .keycloak_user import strategy as keycloak_user_strategy

        return keycloak_user_strategy
    if name == "postgres_role":
        from .postgres_role import strategy as postgres_role_strategy

        return postgres_role_strategy
    if name == "redis_acl":
        from .redis_acl import strategy as redis_acl_strategy

        return redis_acl_strategy
    if name == "replace":
        from .replace import strategy as replace_strategy

        return replace_strategy
    raise ValueError(f"{name} is no strategy")
