#!/usr/bin/python
"""Keep on a manager's disk what the managers of a swarm have of a stack between them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_export
short_description: Keep on a manager's disk what the managers of a swarm have of a stack between them
version_added: 0.1.0
description:
  - Appends to the audit trail of this manager the records that it lacks, and writes the stack's state beside it, which
    nothing reads as long as there is a swarm, and its CAs, by which whoever acts next asks it.
  - Warns where the manager is not in control. Fails where its file is not the beginning of the trail, or lacks more
    records than the managers keep.
options:
  authority:
    description: The certificates of the stack's CAs, as M(coffre.stack.secret_bundles) tells them; empty without one.
    type: str
    default: ""
extends_documentation_fragment: [coffre.stack.stack]
attributes:
  check_mode:
    description: Tells whether something is missing.
    support: full
  diff_mode:
    description: There is no diff.
    support: none
author: [Coffre]
"""

EXAMPLES = r"""
- name: Keep the audit trail and the state on every manager
  coffre.stack.swarm_export:
    stack: "{{ stack_name }}"
"""

RETURN = r"""
records:
  description: How many records of the audit trail this manager lacked.
  returned: success
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.host import files, state
from ansible_collections.coffre.stack.plugins.module_utils.host.api import ask
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths

AWAY = (
    "This manager is not in control of the swarm, and its audit trail was not brought up to date: see what make doctor "
    "says of it."
)


def work(stack: str, authority: str, check: bool) -> dict[str, Any]:
    """Keep it by the module's parameters. Raises CoffreError."""
    paths = StackPaths(stack, engine="swarm")
    about = ask("GET", "/info")["Swarm"]
    if not about.get("ControlAvailable"):
        # A check of what is to be a swarm finds none.
        warnings = [AWAY] if about["LocalNodeState"] != "inactive" else []
        return {"changed": False, "records": 0, "warnings": warnings}
    records = audit.follow(paths, check)
    told = state.export(paths, check)
    new = authority and not (paths.authority.exists() and paths.authority.read_text(encoding="ascii") == authority)
    if new and not check:
        files.write(paths.authority, authority.encode("ascii"), 0o644)
    return {"changed": bool(told or new or records), "records": records}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "authority": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params["stack"], module.params["authority"], module.check_mode))


if __name__ == "__main__":
    main()
