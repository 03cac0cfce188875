"""The functions of a strategy, imported once they are used: some libraries take longer than a step of a rotation."""

from __future__ import annotations

from .context import Strategy


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
    if name == "postgres_user":
        from .postgres_user import strategy as postgres_user_strategy

        return postgres_user_strategy
    if name == "redis_acl":
        from .redis_acl import strategy as redis_acl_strategy

        return redis_acl_strategy
    if name == "replace":
        from .replace import strategy as replace_strategy

        return replace_strategy
    raise ValueError(f"{name} is no strategy")
