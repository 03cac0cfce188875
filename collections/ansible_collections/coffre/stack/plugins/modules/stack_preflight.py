#!/usr/bin/python
"""Refuse a host or an inventory that cannot work, before anything changes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_preflight
short_description: Refuse what cannot work before anything changes
version_added: 0.1.0
description:
  - Checks the catalogue, the source of the secrets and the host, changes nothing, and fails with one message that has
    every problem. Needs neither Docker nor a library, only the system's Python.
  - "It looks for an ill-formed catalogue, uids that a login of the host has, an operator's directory or settings of a
    Key Vault that are not right, a CA's file that is not there, values that a composed file cannot take, addresses
    that the host has not, ports in use by something else, too little memory, an unsupported distribution, a rootless
    or userns-remapped engine, and
    unencrypted swap that secrets could reach."
options:
  stack:
    description: The stack's name.
    type: str
    required: true
  catalogue:
    description: The secrets and services of the stack; see the README.
    type: dict
    required: true
  source:
    description: Where values come from.
    type: str
    choices: [demo, file, keyvault]
    default: demo
  directory:
    description: The operator's directory on the host, for the source V(file).
    type: path
  keyvault:
    description: The Key Vault, for the source V(keyvault), whose settings and files are checked; it is not asked.
    type: dict
  trailing_newline:
    description: What becomes of a trailing newline in the operator's text secrets.
    type: str
    choices: [refuse, strip]
    default: refuse
  ports:
    description: The ports that the stack is to publish.
    type: list
    elements: int
    default: []
  ca_path:
    description: The file of the CA that the stack is asked with, which must be there unless the deploy itself makes it.
    type: path
  addresses:
    description: The host's addresses at which it is to publish them; empty is all of them.
    type: list
    elements: str
    default: []
  memory_mb:
    description: The memory in MiB that must be available where the stack does not run yet.
    type: int
    default: 0
  require_noswap:
    description: Refuse a host that could swap the secrets to an unencrypted disk, instead of warning.
    type: bool
    default: false
  host:
    description: The host's name in the message; by default the name it gives itself.
    type: str
attributes:
  check_mode:
    description: Does the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: [Coffre]
"""

EXAMPLES = r"""
- name: Refuse what cannot work
  coffre.stack.stack_preflight:
    stack: "{{ stack_name }}"
    catalogue: "{{ stack_catalogue }}"
    ports: [8443, 8080]
    memory_mb: 1500
"""

RETURN = r"""#"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import preflight
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "catalogue": {"type": "dict", "required": True},
            "source": {"type": "str", "choices": ["demo", "file", "keyvault"], "default": "demo"},
            "directory": {"type": "path"},
            "keyvault": {"type": "dict"},
            "trailing_newline": {"type": "str", "choices": ["refuse", "strip"], "default": "refuse"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "ca_path": {"type": "path"},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "memory_mb": {"type": "int", "default": 0},
            "require_noswap": {"type": "bool", "default": False},
            "host": {"type": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    request = preflight.Request(
        **given
        | {
            "host": given["host"] or os.uname().nodename,
            "directory": Path(given["directory"]) if given["directory"] else None,
            "ports": tuple(given["ports"]),
            "ca_path": Path(given["ca_path"]) if given["ca_path"] else None,
            "addresses": tuple(given["addresses"]),
        }
    )
    report(module, lambda: {"changed": False, "warnings": preflight.check(request)})


if __name__ == "__main__":
    main()
