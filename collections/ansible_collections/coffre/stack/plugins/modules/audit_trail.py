#!/usr/bin/python
"""Check the audit trails of a stack on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_trail
short_description: Check the audit trails of a stack on its host, and change nothing
version_added: 0.1.0
description:
  - Checks every record of the trail that deployments write, and of those that services write in the same form, and
    that each trail has the heads that were kept elsewhere. A deleted, changed or moved record, and with a kept head
    one that was cut off, makes it fail, after all trails were looked at.
  - The keys never leave the host.
options:
  stack:
    description: The stack's name.
    type: str
    required: true
  heads:
    description: The heads that were kept of the deployments' trail, as this collection's modules return them.
    type: list
    elements: str
    default: []
  services:
    description: The services that write a trail of their own.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The service.
        type: str
        required: true
      volume:
        description: The volume that the trail lies in, as the Compose file names it.
        type: str
        required: true
      file:
        description: The trail's path in the volume.
        type: str
        required: true
      secret:
        description: The secret that the service signs with.
        type: str
        required: true
      heads:
        description: The heads that were kept of it.
        type: list
        elements: str
        default: []
attributes:
  check_mode:
    description: It changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author: [Coffre]
"""

EXAMPLES = r"""
- name: Check the audit trails
  coffre.stack.audit_trail:
    stack: "{{ stack_name }}"
    heads: "{{ lookup('ansible.builtin.file', 'kept.heads').splitlines() }}"
"""

RETURN = r"""
trails:
  description: What is proven, the deployments' trail first. A service that has never run has none.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Whose trail it is; empty for the deployments'.
      type: str
    head:
      description: Its head, as a line to keep elsewhere; empty for a trail without a record.
      type: str
    said:
      description: What was checked, in a sentence.
      type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths


def work(params: dict[str, Any]) -> dict[str, Any]:
    """Check the trails by the module's parameters. Raises CoffreError."""
    trails = [audit.Trail(**each) for each in params["services"]]
    return {"changed": False, **audit.examine(StackPaths(params["stack"]), params["heads"], trails)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "heads": {"type": "list", "elements": "str", "default": []},
            "services": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "volume": {"type": "str", "required": True},
                    "file": {"type": "str", "required": True},
                    "secret": {"type": "str", "required": True, "no_log": False},
                    "heads": {"type": "list", "elements": "str", "default": []},
                },
            },
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
