#!/usr/bin/python
"""Make a Keycloak client authenticate with the secret in force."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keycloak_client
short_description: Make a Keycloak client authenticate with the secret in force
version_added: 0.1.0
description:
  - Obtains a token with the secret of the host's bundle. Where Keycloak refuses it, or accepts it for a while only,
    because the client was given another one, the client's secret is set, and then proved.
  - A client or a realm that is disabled is enabled, and one that is gone is made as Keycloak's image has it. A client
    whose secret is the one of the bundle, and authenticates, is not touched.
  - What somebody may have wanted otherwise is told as a warning.
  - Keeps the realm's profile and policy of client secret rotation as they must be, and foreign ones as they are.
  - The secret is read on the host and goes to Keycloak alone.
options:
  stack:
    description: The stack's name.
    type: str
    required: true
  secret:
    description: The name of the secret that holds the client's secret. The host must consume it.
    type: str
    required: true
  realm:
    description: The client's realm.
    type: str
    required: true
  client:
    description: The client's id, as it authenticates.
    type: str
    required: true
  admin_user:
    description: The permanent admin of realm master.
    type: str
    required: true
  admin_secret:
    description: The name of the secret that holds the admin's password. The host must consume it.
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
- name: Make the automation client authenticate
  coffre.stack.keycloak_client:
    stack: "{{ stack_name }}"
    secret: keycloak-service-client-secret
    realm: iam
    client: automation-cli
    admin_user: admin
    admin_secret: keycloak-admin-password
"""

RETURN = r"""
repaired:
  description: What was amiss - V(realm), V(client), V(secret), V(profiles) or V(policies).
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
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import client as keycloak_client


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Mend by the module's parameters. Raises CoffreError."""
    paths = StackPaths(params["stack"])
    needed = [(catalogue.HOST, params[name]) for name in ("secret", "admin_secret")]
    if check and containers.to_come(paths, params["service"], needed):
        return {"changed": True, "repaired": ["secret"]}
    with state.locked(paths):
        st = state.load(paths)
        state.admit(st)
        secret, password = (
            bundles.value(paths, st, catalogue.HOST, params[name]).decode() for name in ("secret", "admin_secret")
        )
        container = containers.healthy(params["stack"], params["service"])
        repaired, told = keycloak_client.ensure_client(
            container, params["realm"], params["client"], secret, (params["admin_user"], password), dry=check
        )
    return {"changed": bool(repaired), "repaired": repaired, "warnings": told}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
            "realm": {"type": "str", "required": True},
            "client": {"type": "str", "required": True},
            "admin_user": {"type": "str", "required": True},
            "admin_secret": {"type": "str", "required": True, "no_log": False},
            "service": {"type": "str", "default": "keycloak"},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
