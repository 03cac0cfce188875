#!/usr/bin/python
"""Make a host a member of a swarm, without its tokens and its unlock key passing through Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_member
short_description: Makes a host a member of a swarm
version_added: 0.1.0
description:
  - Join tokens and the unlock key never are arguments or results of it, as they are of community.docker.docker_swarm.
    The host that joins offers a public key, a manager answers with the token encrypted to it, and what travels is that.
options:
  action:
    description:
      - V(create) makes a swarm with this host as its first manager, locked at rest.
      - V(offer) makes a key pair and tells the public key; V(answer), on a manager, answers O(offers); with O(answer),
        V(join) joins and V(unlock) unlocks a manager that is locked.
      - V(keep) seals the unlock key on this manager for its boot.
      - V(renew_tokens) and V(renew_key) make the join tokens, or the unlock key, anew.
      - V(remove) takes O(node) off the swarm's list; V(leave) has this host leave its swarm.
    type: str
    choices: [create, offer, answer, join, unlock, keep, renew_tokens, renew_key, remove, leave]
    required: true
  host:
    description: What the inventory calls this host.
    type: str
    default: ""
  role:
    description: The role with which to join.
    type: str
    choices: [manager, worker]
    default: worker
  address:
    description: Where the other nodes reach this host.
    type: str
    default: ""
  managers:
    description: The addresses of the managers to join.
    type: list
    elements: str
    default: []
  name:
    description: By what the swarm is known for this inventory's.
    type: str
    default: ""
  pool:
    description: The network that overlay networks get theirs from, 24 bits each.
    type: str
    default: 10.255.0.0/16
  offers:
    description: By host, the C(key) that it offered, and the C(role) it is to have; V(locked) for one to be unlocked.
    type: dict
    default: {}
  answer:
    description: What the manager answered to this host.
    type: str
    default: ""
  node:
    description: The id of a node.
    type: str
    default: ""
extends_documentation_fragment: [coffre.stack.stack.seal]
attributes:
  check_mode:
    description: V(keep) tells whether it would seal, all others that they would act.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: [Coffre]
"""

EXAMPLES = r"""
- name: Make the swarm
  coffre.stack.swarm_member:
    action: create
    name: production
    address: 192.0.2.11
"""

RETURN = r"""
public_key:
  description: What V(offer) offers.
  returned: with O(action=offer)
  type: str
answers:
  description: What V(answer) answers, encrypted, by host.
  returned: with O(action=answer)
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.swarm import membership

Work = Callable[[], dict[str, Any] | bool | None]  # more to tell, whether anything changed, or None: it did


def works(given: dict[str, Any]) -> dict[str, Work]:
    """What each action does."""
    host, answered = given["host"], given["answer"]
    return {
        "create": lambda: membership.create(given["address"], given["name"], given["pool"]),
        "offer": lambda: {"public_key": membership.offer(), "changed": False},
        "answer": lambda: {"answers": membership.answer(given["offers"]), "changed": False},
        "join": lambda: membership.join(host, given["role"], answered, given["managers"], given["address"]),
        "unlock": lambda: membership.unlock(host, answered),
        "keep": lambda: membership.keep(given["seal_key"]),
        "renew_tokens": membership.renew_tokens,
        "renew_key": membership.renew_key,
        "remove": lambda: membership.remove(given["node"]),
        "leave": membership.leave,
    }


def work(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """The result of the action. Raises CoffreError."""
    action = given["action"]
    if check:
        return {"changed": action != "keep" or membership.keep(given["seal_key"], check)}
    told = works(given)[action]()
    return {"changed": told is not False} | (told if isinstance(told, dict) else {})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {
                "type": "str",
                "required": True,
                "choices": [
                    "create",
                    "offer",
                    "answer",
                    "join",
                    "unlock",
                    "keep",
                    "renew_tokens",
                    "renew_key",
                    "remove",
                    "leave",
                ],
            },
            "host": {"type": "str", "default": ""},
            "role": {"type": "str", "choices": ["manager", "worker"], "default": "worker"},
            "address": {"type": "str", "default": ""},
            "managers": {"type": "list", "elements": "str", "default": []},
            "name": {"type": "str", "default": ""},
            "pool": {"type": "str", "default": "10.255.0.0/16"},
            "offers": {"type": "dict", "default": {}},
            "answer": {"type": "str", "default": ""},
            "node": {"type": "str", "default": ""},
            "seal_key": {"type": "str", "choices": ["auto", "host", "tpm2"], "default": "auto"},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
