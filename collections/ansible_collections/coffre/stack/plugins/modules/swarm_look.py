#!/usr/bin/python
"""Look at a host as a swarm will see it, and at the ports between hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_look
short_description: Looks at a host as a swarm will see it
version_added: 0.1.0
description:
  - Tells what the engine of a host says of the swarm it is in, and what a host must have to be in one. Changes nothing,
    returns no secret, and needs no library, only the system's Python.
  - With O(ports) it listens at the ports of a swarm for two minutes at most, to see whether the hosts reach each other.
options:
  address:
    description: Where the other nodes reach this host; by default at its address towards its default route.
    type: str
    default: ""
  now:
    description: The time on the controller, in seconds since the epoch.
    type: float
    default: 0
  ports:
    description:
      - V(listen) starts to answer at the ports of a swarm, V(reach) tries those of O(others), V(end) ends it.
    type: str
    choices: [listen, reach, end]
  others:
    description: The hosts to reach, by name, each with its C(address) and its C(ports).
    type: dict
    default: {}
extends_documentation_fragment: [coffre.stack.stack.look]
author: [Coffre]
"""

EXAMPLES = r"""
- name: Look at the host
  coffre.stack.swarm_look:
    now: "{{ now().timestamp() }}"
  register: swarm_cluster_look
"""

RETURN = r"""
look:
  description: What the host is to a swarm, without O(ports).
  returned: success
  type: dict
taken:
  description: The ports that something else has, with O(ports=listen).
  returned: success
  type: list
  elements: str
unreached:
  description: The host and port of each that did not answer, with O(ports=reach).
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.swarm import ports
from ansible_collections.coffre.stack.plugins.module_utils.swarm.look import look


def work(given: dict[str, Any]) -> dict[str, Any]:
    """One look, as the parameters say. Raises CoffreError."""
    if given["ports"] == "listen":
        return {"taken": ports.listen(given["address"])}
    if given["ports"] == "reach":
        return {"unreached": ports.reach(given["others"])}
    if given["ports"] == "end":
        ports.end()
        return {}
    return {"look": look(given["address"], given["now"])}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "default": ""},
            "now": {"type": "float", "default": 0},
            "ports": {"type": "str", "choices": ["listen", "reach", "end"]},
            "others": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    report(module, lambda: {"changed": False} | work(module.params))


if __name__ == "__main__":
    main()
