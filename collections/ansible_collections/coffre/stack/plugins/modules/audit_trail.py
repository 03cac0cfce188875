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
extends_documentation_fragment: [coffre.stack.stack, coffre.stack.stack.engine, coffre.stack.stack.look]
options:
  acts:
    description:
      - Whether this host has the deployments' trail, for which one manager of a swarm is asked. Another node is asked
        for the trails that services write there, which it checks by the keys that their tasks mount.
    type: bool
    default: true
  compose_file:
    description:
      - The stack's Compose file, as the lookup P(coffre.stack.compose_file#lookup) reads it. It tells which services
        write a trail of their own.
    type: dict
    required: true
  heads:
    description:
      - By service, the heads that were kept, as this collection's modules return them. Those of the deployments' trail
        are under the empty name.
    type: dict
    default: {}
  days:
    description: How far back to tell of rotations.
    type: int
    default: 366
author: [Coffre]
"""

EXAMPLES = r"""
- name: Check the audit trails
  coffre.stack.audit_trail:
    stack: "{{ stack_name }}"
    compose_file: "{{ stack_compose }}"
    heads: {"": "{{ lookup('ansible.builtin.file', 'kept.heads').splitlines() }}"}
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
rotations:
  description: The rotations of the last C(days) that the deployments' trail tells of, the first one first.
  returned: success
  type: list
  elements: dict
  contains:
    run:
      description: Its id, the same on every host of a run.
      type: str
    operators:
      description: Who ran the plays that did it; another one after a take-over.
      type: list
    began:
      description: When it was opened.
      type: str
    ended:
      description: When its last act was recorded.
      type: str
    outcome:
      description: V(rotated), V(undone) or V(open).
      type: str
    secrets:
      description: By secret, the versions before and after.
      type: dict
    failed:
      description: The acts that did not work.
      type: list
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import compose_file
from ansible_collections.coffre.stack.plugins.module_utils.audit import history
from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths


def work(params: dict[str, Any]) -> dict[str, Any]:
    """Check the trails by the module's parameters. Raises CoffreError."""
    problems: list[str] = []
    file = compose_file.parse(params["compose_file"], problems)
    if problems:
        raise CoffreError(f"The Compose file cannot be honoured, and nothing was checked: {'; '.join(problems)}.")
    heads, paths = params["heads"], StackPaths(params["stack"], engine=params["engine"])
    found = audit.examine(paths, heads.get("", []), audit.trails(file, heads), params["acts"])
    records = audit.rotating(paths) if params["acts"] else ()
    told = history.rotations(records, state.now(-86400 * params["days"]))
    return {"changed": False, **found, "rotations": [asdict(each) for each in told]}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "acts": {"type": "bool", "default": True},
            "engine": {"type": "str", "choices": ["compose", "swarm"], "default": "compose"},
            "compose_file": {"type": "dict", "required": True},
            "heads": {"type": "dict", "default": {}},
            "days": {"type": "int", "default": 366},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
