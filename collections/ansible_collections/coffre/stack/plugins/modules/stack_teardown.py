#!/usr/bin/python
"""Remove a stack from a host, under its lock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_teardown
short_description: Remove a stack from a host
version_added: 0.1.0
description:
  - Removes the stack's containers and networks, its secrets in memory and its Compose file, without which the boot unit
    leaves its secrets sealed; unmounts the memory that no other stack uses.
  - Holds the stack's lock, and refuses while a rotation's play is alive. It needs no state that can be read, and no
    engine where none is installed; one that does not answer is an error, because something of the stack may run.
  - Removes nothing but what bears the stack's label, and what lies in the stack's own folders.
  - On a swarm it is run twice, with O(of=swarm) on the manager that acts, and then on every node. The swarm stays.
extends_documentation_fragment: [coffre.stack.stack, coffre.stack.stack.engine]
options:
  of:
    description:
      - Whether it removes what is on this host, V(host), or what the managers of the swarm have, V(swarm), which needs
        Docker's library.
    type: str
    choices: [host, swarm]
    default: host
  hosts:
    description: The hosts of the play, with O(of=swarm), so that nodes are named that keep what they have.
    type: list
    elements: str
    default: []
  destroy:
    description: The stack's name once more, to remove its volumes, state, sealed secrets and audit trail too. For good.
    type: str
    default: ""
attributes:
  check_mode:
    description: Tells what would be removed.
    support: full
  diff_mode:
    description: Shows what was removed.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Remove the stack, and keep its data
  coffre.stack.stack_teardown:
    stack: "{{ stack_name }}"
"""

RETURN = r"""
removed:
  description: What was removed, in words and paths.
  returned: success
  type: list
  elements: str
  sample: [4 containers, 3 networks, /run/coffre/demo, /var/lib/coffre/demo/compose.yml]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout.teardown import teardown


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "engine": {"type": "str", "choices": ["compose", "swarm"], "default": "compose"},
            "of": {"type": "str", "choices": ["host", "swarm"], "default": "host"},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "destroy": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )

    def work() -> dict[str, Any]:
        paths = StackPaths(module.params["stack"], engine=module.params["engine"])
        if module.params["of"] == "swarm":
            # Late: of a host alone it works without the modules' Python.
            from ansible_collections.coffre.stack.plugins.module_utils.rollout import swarm_teardown

            given = (module.params["destroy"], module.check_mode, module.params["hosts"])
            result = swarm_teardown.teardown(paths, *given)
        else:
            result = teardown(paths, module.params["destroy"], module.check_mode)
        return result | {"diff": {"before": "".join(f"{line}\n" for line in result["removed"]), "after": ""}}

    report(module, work)


if __name__ == "__main__":
    main()
