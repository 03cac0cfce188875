"""Tells what is to be done so that the hosts of an inventory are one swarm, and what forbids it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.lookup import LookupBase

from ansible_collections.coffre.stack.plugins.module_utils.swarm import plan

DOCUMENTATION = r"""
name: swarm_plan
short_description: Tells what is to be done so that the hosts of an inventory are one swarm
version_added: 0.1.0
author: Coffre (@coffre)
description:
  - On the controller, from what M(coffre.stack.swarm_look) told of each host; it reaches none.
options:
  _terms:
    description: None.
  looks:
    description: What M(coffre.stack.swarm_look) returned as C(look), by host.
    type: dict
    required: true
  inventory:
    description:
      - What the inventory says, C(name), C(managers), C(workers), C(play), C(plain), C(pool), C(reached) and C(taken).
    type: dict
    required: true
  stack:
    description: The stack's name, to be told of its labels too.
    type: str
    default: ""
  node:
    description: A host, to be told how to do to it what O(action) says.
    type: str
    default: ""
  action:
    description: What is to be done to O(node).
    type: str
    choices: [drain, activate, remove]
  data_host:
    description: The host that keeps the volumes of that stack, if it has any.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ lookup('coffre.stack.swarm_plan', looks=looks, inventory=about) }}"
"""

RETURN = r"""
_list:
  description:
    - One dictionary with C(problems), C(acting), C(create), C(join), C(dead), C(nodes), C(locked) and C(labels), and
      with O(node) C(node).
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    """Takes no term."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        looks, stack = kwargs["looks"], kwargs.get("stack", "")
        inventory = plan.Inventory(**kwargs["inventory"])
        found = plan.plan(inventory, looks)
        changes, problems = plan.labels(inventory, looks, stack, kwargs.get("data_host", "")) if stack else ([], [])
        if kwargs.get("node"):
            found["node"] = plan.node(inventory, looks, kwargs["node"], kwargs["action"])
        return [found | {"problems": found["problems"] + problems, "labels": changes}]
