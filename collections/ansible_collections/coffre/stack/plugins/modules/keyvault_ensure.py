#!/usr/bin/python
"""Generate the secrets that a Key Vault lacks, and put them into it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyvault_ensure
short_description: Put the secrets that a Key Vault lacks into it
version_added: 0.1.0
description:
  - Generates, where it runs, the secrets of the catalogue that the vault lacks and puts them into it, with tags for the
    stack that owns them, their generator, rotation and attributes, and an expiry by their maximum age.
  - A value stays in the memory of the module and goes to the vault; the module takes and returns names only.
  - A secret that is there gets no second version. Secrets without C(generate) and certificates are never made; the
    result has the command that puts each into the vault.
  - It acts as C(keyvault.write_credential), and may run on another machine than the stack's hosts.
  - A right that was given just now is waited for, within C(keyvault.seconds), and C(warnings) says so.
extends_documentation_fragment: [coffre.stack.stack, coffre.stack.stack.catalogue]
options:
  keyvault:
    description: The vault and who reads and writes it, as C(stack_secrets_keyvault).
    type: dict
    required: true
  recover:
    description: Recover the secrets that are deleted in the vault, with their old values, instead of refusing.
    type: bool
    default: false
attributes:
  check_mode:
    description: Asks the vault, tells what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows names only.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Ensure the secrets of the vault
  coffre.stack.keyvault_ensure:
    stack: "{{ stack_name }}"
    catalogue: "{{ stack_catalogue }}"
    compose_file: "{{ stack_compose }}"
    keyvault:
      url: https://example.vault.azure.net
      write_credential: {type: azure_cli}
  delegate_to: localhost
  register: ensured
"""

RETURN = r"""
made:
  description: The secrets that were generated and put into the vault.
  returned: success
  type: list
  elements: str
recovered:
  description: The secrets that were deleted in the vault and have their old value again.
  returned: success
  type: list
  elements: str
kept:
  description: The secrets that were there.
  returned: success
  type: list
  elements: str
by_hand:
  description: The secrets that the vault lacks and that are never generated, with the command that puts each into it.
  returned: success
  type: list
  elements: dict
  sample:
    - name: tls
      command: az keyvault secret set --vault-name example --name tls --file tls
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import stack as stacks
from ansible_collections.coffre.stack.plugins.module_utils.errors import CatalogueError, CoffreError, SourceError
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.sources import seed


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Ensure the secrets by the module's parameters. Raises CoffreError."""
    stack = StackPaths(params["stack"]).stack
    try:
        catalogue = stacks.read(params["catalogue"], params["compose_file"])
        settings = keyvault.settings(params["keyvault"])
        if problems := keyvault.blockers(settings, settings.write):
            raise SourceError(" ".join(problems))
        connection = keyvault.Vault(settings, write=True, first=True)
    except (CatalogueError, SourceError) as error:
        raise CoffreError(f"{error} Nothing was changed.") from None
    with connection as vault:
        return seed.ensure(catalogue, stack, vault, params["recover"], check)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "catalogue": {"type": "dict", "required": True},
            "compose_file": {"type": "dict", "required": True},
            "keyvault": {"type": "dict", "required": True},
            "recover": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
