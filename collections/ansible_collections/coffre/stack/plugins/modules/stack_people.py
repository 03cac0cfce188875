#!/usr/bin/python
# MIT License (see LICENSE)
"""Make users of a realm, for somebody to try a stack with."""

from __future__ import annotations

DOCUMENTATION = """
module: stack_people
short_description: Make users of a realm, for somebody to try a stack with
version_added: 0.1.0
description:
  - Makes users in a realm of the stack's Keycloak, as its permanent admin. Each gets a new password, made on the host,
    which only a file of root's in memory has, until the host is off or the stack is removed.
  - A user of that name who is there is made anew, and with that logged out everywhere.
  - Takes and returns names and paths; a password never passes through it.
author:
  - The Coffre contributors
extends_documentation_fragment: [coffre.stack.stack, coffre.stack.stack.engine, coffre.stack.stack.catalogue]
options:
  realm:
    description: The realm.
    type: str
    required: true
  users:
    description: The users, as Keycloak represents them, without credentials. The roles that they name must be there.
    type: list
    elements: dict
    required: true
attributes:
  check_mode:
    description: Logs in to Keycloak, and tells whom it would make.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = """
- name: Make somebody who may look around
  coffre.stack.stack_people:
    stack: coffre-demo
    catalogue: "{{ stack_catalogue }}"
    compose_file: "{{ stack_compose }}"
    realm: shop
    users:
      - {username: kim, firstName: Kim, lastName: Doe, email: kim@shop.example, clientRoles: {shop: [viewer]}}
"""

RETURN = """
people:
  description: By user, the file that has the password.
  type: dict
  returned: success
  sample: {"kim": "/run/coffre/coffre-demo.people/kim"}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import stack
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import people


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Make the users by the module's parameters. Raises CoffreError."""
    paths = StackPaths(params["stack"], engine=params["engine"])
    catalogue = stack.read(params["catalogue"], params["compose_file"])
    return {"changed": True, "people": people.make(paths, catalogue, params["realm"], params["users"], check)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "engine": {"type": "str", "choices": ["compose", "swarm"], "default": "compose"},
            "catalogue": {"type": "dict", "required": True},
            "compose_file": {"type": "dict", "required": True},
            "realm": {"type": "str", "required": True},
            "users": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
