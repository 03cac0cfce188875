#!/usr/bin/python
"""Lay the present values of a stack that already runs into an operator's directory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_move_in
short_description: Take the present values of a stack that already runs
version_added: 0.1.0
description:
  - Reads each value where the stack has it today, on the host, and writes it as a file of an operator's directory, from
    which M(coffre.stack.secret_bundles) stages it. Makes those that the stack lacks and the catalogue can generate.
  - Takes and returns names and paths. A value never passes through it. Changes nothing of the stack that runs.
options:
  catalogue:
    description: The secrets of the stack; see the README.
    type: dict
    required: true
  path:
    description: The Compose file that runs today, on the host, where C(docker compose config) resolves its variables.
    type: path
    required: true
  values:
    description:
      - By secret where it is, C({service, variable}), with C(part=password) for the password of a URL, or C({file}).
    type: dict
    required: true
  directory:
    description: The directory to make, root's with mode 0700. It must not be there.
    type: path
    required: true
attributes:
  check_mode:
    description: Reads the values, and tells what would be taken.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Take the present values
  coffre.stack.stack_move_in:
    catalogue: "{{ stack_catalogue }}"
    path: /srv/shop/compose.yaml
    values:
      db-password: {service: db, variable: POSTGRES_PASSWORD}
      tls-key: {file: /srv/shop/tls.key}
    directory: /run/coffre/shop.move-in
"""

RETURN = r"""
taken:
  description: The secrets whose present value was taken.
  returned: success
  type: list
  elements: str
made:
  description: The secrets that the stack lacked and that were made.
  returned: success
  type: list
  elements: str
directory:
  description: The directory that was made.
  returned: success
  type: str
holders:
  description: The files that still hold a value in the clear, with the secrets it is of.
  returned: success
  type: dict
  sample: {/srv/shop/.env: [db-password]}
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.host import tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import RUN_ROOT
from ansible_collections.coffre.stack.plugins.module_utils.sources.move_in import move_in


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Take the values by the module's parameters. Raises CoffreError."""
    directory = Path(params["directory"])
    if directory.is_relative_to(RUN_ROOT) and not check:
        tmpfs.ensure(RUN_ROOT)
    moved = move_in(Path(params["path"]), params["values"], params["catalogue"]["secrets"], directory, check)
    return {
        "changed": True,
        "taken": moved.taken,
        "made": moved.made,
        "directory": str(directory),
        "holders": moved.holders,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "catalogue": {"type": "dict", "required": True},
            "path": {"type": "path", "required": True},
            "values": {"type": "dict", "required": True},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
