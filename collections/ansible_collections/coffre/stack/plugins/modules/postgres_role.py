#!/usr/bin/python
"""Make a database role log in with the password in force."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_role
short_description: Make a database role log in with the password in force
version_added: 0.1.0
description:
  - Logs in to PostgreSQL as the application does, with the password of the consumer's bundle. Only what is amiss is
    repaired - the owner, the login roles, their grants and the database, or the verifier of the role's password.
  - The password is read on the host and stays there. PostgreSQL gets a SCRAM verifier, by peer login in its container.
options:
  stack:
    description: The stack's name.
    type: str
    required: true
  secret:
    description: The name of the secret that holds the password.
    type: str
    required: true
  consumer:
    description: The service whose bundle the password is read from.
    type: str
    required: true
  roles:
    description: The login roles between which the secret's versions alternate. The version in force names one of them.
    type: list
    elements: str
    required: true
  owner:
    description: The role that owns the database and as which every login role acts.
    type: str
    required: true
  database:
    description: The database. By default it is called as its owner.
    type: str
  service:
    description: The service that PostgreSQL runs as.
    type: str
    default: postgres
attributes:
  check_mode:
    description: Reads only, and tells what would be repaired.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Make the database accept Keycloak's password
  coffre.stack.postgres_role:
    stack: "{{ stack_name }}"
    secret: keycloak-db-password
    consumer: keycloak
    owner: keycloak
    roles: [keycloak_a, keycloak_b]
"""

RETURN = r"""
role:
  description: The role that the version in force belongs to; empty in check mode where none is deployed yet.
  returned: success
  type: str
repaired:
  description: What was amiss. V(roles) stands for roles, grants and database, V(verifier) for the role's password.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.engines import containers
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_role import server as postgres


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Mend by the module's parameters. Raises CoffreError."""
    paths, secret = StackPaths(params["stack"]), params["secret"]
    if check and containers.to_come(paths, params["service"], [(params["consumer"], secret)]):
        return {"changed": True, "role": "", "repaired": ["roles", "verifier"]}
    with state.locked(paths):
        st = state.load(paths)
        state.admit(st)
        password = bundles.value(paths, st, params["consumer"], secret)
        role = st.secrets[secret].attributes.get("role")
        if role is None:
            raise CoffreError(
                f"The version in force of {secret} names no role; nothing was changed: "
                "give the secret the attribute `role` in the catalogue."
            )
        target = postgres.LoginRole(
            params["database"] or params["owner"], params["owner"], tuple(params["roles"]), role
        )
        container = containers.healthy(params["stack"], params["service"])
        repaired = postgres.ensure(container, target, password, dry=check)
    return {"changed": bool(repaired), "role": role, "repaired": repaired}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
            "consumer": {"type": "str", "required": True},
            "roles": {"type": "list", "elements": "str", "required": True},
            "owner": {"type": "str", "required": True},
            "database": {"type": "str"},
            "service": {"type": "str", "default": "postgres"},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
