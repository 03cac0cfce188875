#!/usr/bin/python
"""Write the report on an environment, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_report
short_description: Write a page on an environment that a person looks at
version_added: 0.1.0
description:
  - Writes one HTML file on the controller, with mode 0600, from what other modules returned of each host. It needs no
    other file and no script, and has names, versions and times only, never a value.
  - It works in the controller's own process, whatever the task's connection, user and Python are.
options:
  path:
    description: The file.
    type: str
    required: true
  env:
    description: The name of the environment, which is its folder of inventory.
    type: str
    required: true
  hosts:
    description:
      - Of each host, C(host), C(stack), C(catalogue) and C(compose_file) as the inventory has them, and the results
        C(doctor) of M(coffre.stack.stack_doctor) and C(trail) of M(coffre.stack.audit_trail). Either may have failed,
        and the report then says why.
    type: list
    elements: dict
    required: true
  around:
    description: Checks of what stands around the stacks, as M(coffre.stack.keyvault_doctor) makes them.
    type: list
    elements: dict
attributes:
  check_mode:
    description: The file is written in any mode.
    support: none
author: [Coffre]
"""

EXAMPLES = r"""
- name: Write the report
  coffre.stack.stack_report:
    path: "{{ playbook_dir }}/../.coffre/demo/report.html"
    env: demo
    hosts: "{{ ansible_play_hosts_all | map('extract', hostvars, 'report_of') }}"
  run_once: true
"""

RETURN = r"""
needs:
  description: How many checks failed or could not be made, each counted once for all hosts of a stack.
  returned: success
  type: int
warns:
  description: How many have something to be seen to, counted in the same way.
  returned: success
  type: int
"""
