#!/usr/bin/python
"""Move a stack from one machine to a swarm, without its values passing through Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_move
short_description: Move a stack from one machine to a swarm
version_added: 0.1.0
description:
  - Managers offer public keys, the machine that has the stack answers with its state, its values by version and its
    audit trail, encrypted to them, and what travels is that. It leaves the machine as it is, but for a record in the
    trail. Data in volumes are not its matter; it tells where they are.
options:
  action:
    description:
      - V(offer), on a manager, makes a key pair and tells the public key. V(answer), on the machine, answers O(offers).
        V(receive), on a manager, takes O(answer).
    type: str
    choices: [offer, answer, receive]
    required: true
  host:
    description: What the inventory calls this manager.
    type: str
    default: ""
  role:
    description: What this manager is to have, V(stack), which is all, if it acts, or the V(trail).
    type: str
    choices: [stack, trail]
    default: trail
  offers:
    description: By manager, the C(key) that it offered, and its C(role).
    type: dict
    default: {}
  answer:
    description: What the machine answered to this manager.
    type: str
    default: ""
extends_documentation_fragment: [coffre.stack.stack, coffre.stack.stack.run]
attributes:
  check_mode:
    description: Tells what would be refused.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: [Coffre]
"""

EXAMPLES = r"""
- name: Have the stack's values for the managers alone
  coffre.stack.stack_move:
    action: answer
    stack: "{{ stack_name }}"
    offers: {manager1: {key: "{{ offered.public_key }}", role: stack}}
    run: "{{ stack_run }}"
    operator: "{{ stack_operator }}"
"""

RETURN = r"""
public_key:
  description: What V(offer) offers; empty in check mode.
  returned: with O(action=offer)
  type: str
answers:
  description: What V(answer) answers, encrypted, by manager.
  returned: with O(action=answer)
  type: dict
volumes:
  description: By name behind the stack's, where the stack's volumes lie on the machine.
  returned: with O(action=answer)
  type: dict
  sample: {data: /var/lib/docker/volumes/shop_data/_data}
head:
  description: The head of the audit trail, as a line to keep elsewhere; empty without one.
  returned: with O(action=answer)
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import SWARM, StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.swarm import move


def work(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """The result of the action. Raises CoffreError."""
    action, swarm = given["action"], StackPaths(given["stack"], engine=SWARM)
    if action == "offer":
        return {"changed": False, "public_key": move.offer(swarm, check)}
    if action == "answer":
        author = audit.Author(given["run"], given["operator"])
        return {"changed": True} | move.answer(StackPaths(given["stack"]), given["offers"], author, check)
    if not check:
        move.receive(swarm, given["host"], given["role"], given["answer"])
    return {"changed": True}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "required": True, "choices": ["offer", "answer", "receive"]},
            "stack": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "operator": {"type": "str", "required": True},
            "host": {"type": "str", "default": ""},
            "role": {"type": "str", "choices": ["stack", "trail"], "default": "trail"},
            "offers": {"type": "dict", "default": {}},
            "answer": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
