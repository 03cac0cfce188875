#!/usr/bin/python
"""Check the vault itself, from the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyvault_doctor
short_description: Check a Key Vault and what stands around it, and change nothing
version_added: 0.1.0
description:
  - Looks at who may do what on the vault, its audit log, what becomes of deleted secrets, who reaches it, and whether
    somebody is told before secrets expire.
  - A check that fails is a result, not a failure of the module. Where the vault cannot be asked about, as whoever is
    logged in here, there is one check, which says so and warns. Where a part cannot, such as one machine, all else is
    checked and the part has a line of that kind.
  - Asks Azure Resource Manager, never the vault, and so sees no secret.
extends_documentation_fragment: [coffre.stack.stack, coffre.stack.stack.look]
options:
  vault:
    description: The vault as it is to be, as C(stack_vault). Without it there is nothing to compare with.
    type: dict
  keyvault:
    description: The vault's URL and the limits of asking it, as C(stack_secrets_keyvault).
    type: dict
    required: true
author: [Coffre]
"""

EXAMPLES = r"""
- name: Check the vault
  coffre.stack.keyvault_doctor:
    stack: "{{ stack_name }}"
    vault: "{{ stack_vault }}"
    keyvault: "{{ stack_secrets_keyvault }}"
  delegate_to: localhost
  register: vault
"""

RETURN = r"""
checks:
  description:
    - The outcome of each check, in order. C(ok) where it passes, and C(warn) where it passes with something in
      C(message) that a person should see to.
  returned: success
  type: list
  elements: dict
  sample: [{check: vault deletion, ok: true, warn: false, message: deleted secrets come back for 90 days}]
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.doctor import provisioned
from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.provision import settings


def work(params: dict[str, Any]) -> dict[str, Any]:
    """Examine the vault by the module's parameters."""
    stack = StackPaths(params["stack"]).stack
    if params["vault"] is None:
        found = [provisioned.unchecked("the inventory does not describe the vault (stack_vault)")]
    else:
        try:
            found = provisioned.examine(settings.settings(stack, params["vault"], params["keyvault"]))
        except SourceError as error:
            found = [provisioned.unchecked(str(error))]
    return {"changed": False, "checks": [asdict(check) for check in found]}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "vault": {"type": "dict"},
            "keyvault": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
