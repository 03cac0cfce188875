"""What each strategy declares: light to import, and a clause for each value that makes no sense."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import strategies
from ansible_collections.coffre.stack.plugins.module_utils.strategies import loading
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Strategy

ROOT = Path(__file__).parents[3]
CLIENT = {"service": "sso", "realm": "r", "client": "c"}
USER = {"service": "sso", "realm": "master", "user": "admin"}
COMMANDS = {"service": "queue", "teach": ["t"], "prove": ["p"], "withdraw": ["w"]}
REDIS = {"service": "cache", "user": "shop"}
ROLES = {"service": "db", "owner": "shop", "roles": ["shop_a", "shop_b"]}

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("command", COMMANDS | {"agree": ["a"], "refused": ["r"], "users": ["shop_a", "shop_b"]}, ""),
    ("command", COMMANDS | {"beside": True}, ""),
    ("command", COMMANDS | {"beside": "yes"}, "settings.beside is 'yes': use one of False, True"),
    ("command", COMMANDS | {"prove": "sh -c"}, "settings.prove must be a list of words of a command"),
    ("command", COMMANDS | {"agree": ["sh", 1]}, "settings.agree has an ill-formed entry 1"),
    ("command", COMMANDS | {"users": ["shop"]}, "settings.users must name two users or more"),
    ("fixed", {"why": "the shop's orders are encrypted under it"}, ""),
    ("fixed", {"why": ["x"]}, "settings.why must be a text"),
    ("key_ring", {}, ""),
    ("key_ring", {"keep_days": None, "mount_previous": False, "signers": ["web"]}, ""),
    ("key_ring", {"keep_days": 0, "probe": ["python", "-m", "proof"], "signers": ["web"]}, ""),
    ("key_ring", {"keep_days": -1}, "settings.keep_days must be a whole number from 0 to 36500"),
    ("key_ring", {"keep_days": True}, "settings.keep_days must be a whole number from 0 to 36500"),
    ("key_ring", {"mount_previous": "no"}, "settings.mount_previous is 'no': use one of True, False"),
    ("key_ring", {"mount_previous": 1}, "settings.mount_previous is 1: use one of True, False"),
    ("key_ring", {"probe": "python"}, "settings.probe must be a list of words of a command"),
    ("key_ring", {"signers": []}, "settings.signers must be a list of services"),
    ("key_ring", {"signers": []}, "settings.signers must be a list of services"),
    ("keycloak_client", CLIENT | {"port": 8443}, ""),
    ("keycloak_client", CLIENT | {"service": ["sso"]}, "settings.service must name the service that checks the value"),
    ("keycloak_client", CLIENT | {"realm": 1}, "settings.realm must be a text"),
    ("keycloak_client", CLIENT | {"port": "8443"}, "settings.port must be a whole number from 1 to 65535"),
    ("keycloak_user", USER, ""),
    ("keycloak_user", USER | {"realm": "shop"}, "settings.realm is 'shop': use one of master"),
    ("keycloak_user", USER | {"user": ""}, "settings.user must be a text"),
    ("postgres_role", ROLES | {"database": "d", "superuser": "root", "sessions": "optional"}, ""),
    ("postgres_role", ROLES | {"owner": "My Shop"}, "settings.owner cannot name a role or a database"),
    ("postgres_role", ROLES | {"database": "1a"}, "settings.database cannot name a role or a database"),
    ("postgres_role", ROLES | {"roles": ["a"]}, "settings.roles must name two login roles or more"),
    ("postgres_role", ROLES | {"roles": ["a", "a"]}, "settings.roles must name two login roles or more"),
    ("postgres_role", ROLES | {"roles": ["shop", "b"]}, "and the owner is none of them"),
    ("postgres_role", ROLES | {"roles": ["a", "B"]}, "settings.roles has an ill-formed entry 'B'"),
    ("postgres_role", ROLES | {"sessions": "none"}, "settings.sessions is 'none': use one of required, optional"),
    ("postgres_user", {"service": "db", "user": "coffre", "initial": "db-password"}, ""),
    ("postgres_user", {"service": "db", "user": "a-b"}, "settings.user cannot name a role"),
    ("postgres_user", {"service": "db", "user": "coffre", "initial": ["x"]}, "settings.initial must be a text"),
    ("redis_acl", REDIS | {"port": 6380, "admin": "redis-admin", "rules": ["~shop:*", "&*", "+@all", "-@admin"]}, ""),
    ("redis_acl", REDIS | {"user": "a b"}, "settings.user must be up to 64 of"),
    ("redis_acl", REDIS | {"admin": ["x"]}, "settings.admin must be a text"),
    ("redis_acl", REDIS | {"rules": "+@all"}, "settings.rules must be a list of words of ACL SETUSER"),
    *(
        ("redis_acl", REDIS | {"rules": [word]}, f"settings.rules has an ill-formed entry {word!r}")
        for word in (">word", "#digest", "nopass", "on", "resetpass", "+@all -@admin", '~"')
    ),
    ("replace", {"names": ["a.example", "10.0.0.1"], "port": 8443}, ""),
    ("replace", {"names": ["A Name"]}, "settings.names has an ill-formed entry 'A Name'"),
    ("replace", {"port": 0}, "settings.port must be a whole number from 1 to 65535"),
]


@pytest.mark.parametrize(("strategy", "settings", "problem"), CASES)
def test_values_of_settings(strategy: str, settings: dict[str, Any], problem: str) -> None:
    declared = strategies.DECLARED[strategy]
    found = declared.problems("secret x: settings", settings)
    assert len(found) == bool(problem)
    assert not problem or (found[0].startswith("secret x: ") and problem in found[0])
    assert declared.required <= set(settings) <= declared.required | declared.optional


@pytest.mark.parametrize("name", strategies.DECLARED)
def test_a_strategy_has_what_the_protocol_says(name: str) -> None:
    found = loading.load(name)
    said = {each for each in vars(Strategy) if not each.startswith("_")} | {"UNKNOWN"}
    assert not [each for each in said if not hasattr(found, each)]


def test_what_is_no_strategy() -> None:
    with pytest.raises(ValueError, match="hope is no strategy"):
        loading.load("hope")


def test_whoever_knows_the_strategies_needs_no_library() -> None:
    code = (
        "import sys; from ansible_collections.coffre.stack.plugins.module_utils import strategies; "
        "print([each for each in ('psycopg', 'keycloak', 'docker', 'cryptography') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "collections", capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
