#!/usr/bin/python
"""Keep the head of an audit trail on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_head
short_description: Keep the head of an audit trail on the controller
version_added: 0.1.0
description:
  - Adds a line to a file on the controller, unless it is there. The file is made with mode 0600, and its folder too.
  - It works in the controller's own process, whatever the task's connection, user and Python are.
options:
  path:
    description: The file.
    type: str
    required: true
  head:
    description: The head, as the modules return it in C(audit).
    type: str
    required: true
attributes:
  check_mode:
    description: Says whether the line would be added.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Keep the head of the audit trail
  coffre.stack.audit_head:
    path: "{{ playbook_dir }}/../.coffre/demo/{{ inventory_hostname }}.coffre-demo.heads"
    head: "{{ staged.audit }}"
"""

RETURN = r"""#"""
