"""The strategies by name. Each is a folder with the same files: issue, prove, retire; a new one is a new folder.

A folder's own __init__ gives the functions of `context.Strategy`.
"""

from __future__ import annotations

from . import key_ring, keycloak_client, keycloak_user, postgres_role, replace
from .context import Strategy

BY_NAME: dict[str, Strategy] = {
    "key_ring": key_ring,
    "keycloak_client": keycloak_client,
    "keycloak_user": keycloak_user,
    "postgres_role": postgres_role,
    "replace": replace,
}
