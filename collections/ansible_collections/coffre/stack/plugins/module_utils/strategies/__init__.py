"""The strategies by name. Each is a folder: what it declares to the catalogue, and `strategy`, which has its functions.

A folder's own __init__ imports no library, so that whoever reads a catalogue knows all of them. `loading` brings the
functions; Ansible packs every file that a module could import, so whoever only reads leaves it alone.
"""

from __future__ import annotations

from . import command, fixed, key_ring, keycloak_client, keycloak_user, postgres_role, postgres_user, redis_acl, replace
from .base import Declaration

DECLARED: dict[str, Declaration] = {
    "command": command.DECLARATION,
    "fixed": fixed.DECLARATION,
    "key_ring": key_ring.DECLARATION,
    "keycloak_client": keycloak_client.DECLARATION,
    "keycloak_user": keycloak_user.DECLARATION,
    "postgres_role": postgres_role.DECLARATION,
    "postgres_user": postgres_user.DECLARATION,
    "redis_acl": redis_acl.DECLARATION,
    "replace": replace.DECLARATION,
}
