"""The strategies by name. Each is a folder with the same files: issue, prove, retire; a new one is a new folder.

A folder's own __init__ gives the functions of `context.Strategy`. It is imported where it is used, because the
libraries of some take longer to import than a step of a rotation takes.
"""

from __future__ import annotations

from .context import Strategy


def load(name: str) -> Strategy:
    """The strategy of a name of the catalogue. The imports are written out so that Ansible, which ignores `match`,
    finds them.
    """
    if name == "key_ring":
        from . import key_ring

        return key_ring
    if name == "keycloak_client":
        from . import keycloak_client

        return keycloak_client
    if name == "keycloak_user":
        from . import keycloak_user

        return keycloak_user
    if name == "postgres_role":
        from . import postgres_role

        return postgres_role
    if name == "replace":
        from . import replace

        return replace
    raise ValueError(f"{name} is no strategy")
