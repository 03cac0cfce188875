#!/usr/bin/python
"""Make Keycloak's permanent admin log in with the password in force."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keycloak_admin
short_description: Make Keycloak's permanent admin log in with the password in force
version_added: 0.1.0
description:
  - Logs in to realm master with the password of the host's bundle. Only when Keycloak refuses is the admin made, or
    repaired, through a one-time admin of Keycloak's own bootstrap command, which is gone afterwards.
  - A one-time admin that a run left behind, because it was cut short, is removed.
  - Realm master is made to lock out for a while whoever guesses passwords, and to keep its events for 30 days. What
    somebody has set otherwise stays, as long as both are on.
  - The password is read on the host and goes to Keycloak alone.
options:
  stack:
    description: The stack's name.
    type: str
    required: true
  secret:
    description: The name of the secret that holds the password. The host must consume it.
    type: str
    required: true
  user:
    description: The name of the permanent admin.
    type: str
    required: true
  service:
    description: The service that Keycloak runs as.
    type: str
    default: keycloak
attributes:
  check_mode:
    description: Reads only, and tells what would be repaired.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Make Keycloak's admin log in
  coffre.stack.keycloak_admin:
    stack: "{{ stack_name }}"
    secret: keycloak-admin-password
    user: admin
"""

RETURN = r"""
repaired:
  description:
    - What was amiss. V(admin) stands for the permanent admin, V(leftovers) for one-time admins left behind, V(realm)
      for the realm's protection against guessing and its record of events.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import catalogue
from ansible_collections.coffre.stack.plugins.module_utils.engines import containers
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import admin as keycloak_admin


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Mend by the module's parameters. Raises CoffreError."""
    paths = StackPaths(params["stack"])
    if check and containers.to_come(paths, params["service"], [(catalogue.HOST, params["secret"])]):
        return {"changed": True, "repaired": ["admin"]}
    with state.locked(paths):
        st = state.load(paths)
        state.admit(st)
        password = bundles.value(paths, st, catalogue.HOST, params["secret"]).decode()
        container = containers.healthy(params["stack"], params["service"])
        repaired = keycloak_admin.ensure_admin(paths.compose, container, params["user"], password, dry=check)
    return {"changed": bool(repaired), "repaired": repaired}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
            "user": {"type": "str", "required": True},
            "service": {"type": "str", "default": "keycloak"},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
