#!/usr/bin/python
"""Make a Key Vault, and what stands around it, as the inventory says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyvault_vault
short_description: Make a Key Vault, and what stands around it
version_added: 0.1.0
description:
  - Brings a subscription of Azure to what the inventory describes. A resource group, a Log Analytics workspace, a
    managed identity, the vault with RBAC, soft delete and purge protection, its audit log, the rights to read and to
    write, its network rules, an alert before secrets expire, and the identity on the machines.
  - Looks at everything first and refuses before anything changes. A second run asks and changes nothing. What a
    resource has beside the settings below is kept.
  - Takes and returns names and ids. It touches no secret.
  - Runs on the controller, as whoever is logged in there.
extends_documentation_fragment: [coffre.stack.stack]
options:
  vault:
    description: The vault that is to be, as C(stack_vault); docs/keyvault.md explains each key.
    type: dict
    required: true
  keyvault:
    description: The vault's URL and the limits of asking it, as C(stack_secrets_keyvault).
    type: dict
    required: true
  confirm:
    description: The vault's name, to allow a run that switches on purge protection, which nobody can switch off again.
    type: str
    default: ""
  recover:
    description: Recover the vault of this name and stack if it was deleted, instead of refusing.
    type: bool
    default: false
attributes:
  check_mode:
    description: Asks Azure, tells what it would do, and changes nothing. Works on an empty subscription.
    support: full
  diff_mode:
    description: Shows for each resource what would change of it.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Make the vault
  coffre.stack.keyvault_vault:
    stack: "{{ stack_name }}"
    vault:
      subscription: 00000000-0000-0000-0000-000000000000
      resource_group: example
      location: westeurope
    keyvault:
      url: https://example.vault.azure.net
    confirm: example
  delegate_to: localhost
  register: vault
"""

RETURN = r"""
plan:
  description: A line for each resource that is to be made or changed.
  returned: when nothing was refused
  type: list
  elements: str
  sample: ["change vault example: softDeleteRetentionInDays 90"]
made:
  description: What was made or changed, also by a run that failed half-way.
  returned: when nothing was refused
  type: list
  elements: str
notes:
  description: What a person should know of it, a sentence each.
  returned: when nothing was refused
  type: list
  elements: str
ids:
  description: Names and ids of what is there now.
  returned: when nothing was refused
  type: dict
  sample: {vault: example, client_id: 00000000-0000-0000-0000-000000000000}
calls:
  description: How many requests read, and how many wrote.
  returned: when nothing was refused
  type: dict
  sample: {reads: 8, writes: 0}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError, SourceError
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.provision import run as provision
from ansible_collections.coffre.stack.plugins.module_utils.provision import settings


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Make the vault by the module's parameters. Raises CoffreError for what is refused."""
    try:
        wanted = settings.settings(StackPaths(params["stack"]).stack, params["vault"], params["keyvault"])
    except SourceError as error:
        raise CoffreError(f"{error} Nothing was changed.") from None
    done = provision.provision(wanted, confirm=params["confirm"], recover=params["recover"], check=check)
    told: dict[str, Any] = {"changed": bool(done.plan if check else done.made), "diff": done.diff}
    told |= {"plan": done.plan, "made": done.made, "notes": done.notes, "ids": done.ids, "calls": done.calls}
    return told | ({"failed": True, "msg": done.problem} if done.problem else {})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "vault": {"type": "dict", "required": True},
            "keyvault": {"type": "dict", "required": True},
            "confirm": {"type": "str", "default": ""},
            "recover": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
