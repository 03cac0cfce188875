#!/usr/bin/python
"""Replace secrets of a running stack, or finish or undo what was left open."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rotation
short_description: Replace secrets of a running stack, or finish or undo what was left open
version_added: 0.1.0
description:
  - Rotates the secrets that are named or all that are due. Looks first for everything that blocks it, and changes
    nothing where there is something. Then makes the new values, lets those who check them accept them beside the old
    ones, proves them, publishes them to the source, brings the services to them and retires the old ones. What fails
    before an old value is withdrawn is undone everywhere.
  - A rotation that another play left open is taken over once its lease is over - finished if an old value is already
    withdrawn, and undone otherwise - and nothing else is begun.
  - While it is open in the stack's state no other play may act on the stack. Each act is recorded in that state before
    it is done, and can be done again.
  - Values are made, sealed and tried on the host and stay there.
extends_documentation_fragment:
  - coffre.stack.stack
  - coffre.stack.stack.engine
  - coffre.stack.stack.catalogue
  - coffre.stack.stack.source
  - coffre.stack.stack.directory
  - coffre.stack.stack.noswap
  - coffre.stack.stack.seal
  - coffre.stack.stack.run
  - coffre.stack.stack.due
options:
  images:
    description:
      - By service, the images that a deploy has made.
      - A rotation rolls out no other image than runs; a deploy that settles one brings all services to its own.
    type: dict
    default: {}
  begin:
    description:
      - What is begun where no rotation is open - a V(rotation), or V(nothing).
    type: str
    choices: [rotation, nothing]
    default: rotation
  hosts:
    description: How many hosts rotate in this play.
    type: int
    default: 1
  secrets:
    description: The secrets to rotate. By default all that are due.
    type: list
    elements: str
    default: []
  take_over:
    description: The id of the open rotation whose play is known to be dead, to take it over within its lease.
    type: str
    default: ""
  rollout_timeout:
    description: Seconds that each service has to become ready at the rollout.
    type: int
    default: 180
  lease_seconds:
    description: For how long after each record no other play may take over.
    type: int
    default: 120
  timeout:
    description: Seconds that a service has to become healthy when it is needed.
    type: int
    default: 180
attributes:
  check_mode:
    description: Plans and looks for what blocks, and changes nothing.
    support: full
  diff_mode:
    description: Shows the plan as a table, and what was done, with names and versions.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Rotate all secrets that are due
  coffre.stack.rotation:
    stack: "{{ stack_name }}"
    catalogue: "{{ stack_catalogue }}"
    compose_file: "{{ stack_compose }}"
    run: "{{ stack_run }}"
    operator: "{{ stack_operator }}"
  diff: true
"""

RETURN = r"""
outcome:
  description:
    - What it came to - V(rotated), V(undone), V(nothing) where nothing is due, V(refused) in check mode where something
      blocks it, or V(open) where it stays open or in check mode would be opened.
  returned: always
  type: str
taken_over:
  description: Whether it is one that another play left open.
  returned: when a rotation is open
  type: bool
direction:
  description: Whether it went V(forward) or V(back) at first.
  returned: when a rotation is open
  type: str
secrets:
  description: Its secrets, each with the version before and after.
  returned: when a rotation is open
  type: dict
  sample: {session-key: {old: 0a1b2c3d4e5f60718293a4b5c6d7e8f9, new: 9f8e7d6c5b4a39281706f5e4d3c2b1a0}}
next:
  description:
    - Where nothing is due, which secret will be next, or has a version that retires, and when; empty where none has an
      end.
  returned: when none is open
  type: dict
  sample: {secret: session-key, date: "2027-02-08"}
rows:
  description: The plan.
  returned: always
  type: list
  elements: dict
audit:
  description: The head of the stack's audit trail, as a line to keep elsewhere; empty without a trail.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import sources, stack
from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.host import progress
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rotation import drive
from ansible_collections.coffre.stack.plugins.module_utils.rotation.plan import RotationRequest
from ansible_collections.coffre.stack.plugins.module_utils.rotation.run import RotationSettings
from ansible_collections.coffre.stack.plugins.module_utils.staging.stage import StagingOptions


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Rotate, finish or look by the module's parameters. Raises CoffreError."""
    source = sources.load(params["stack"], params)
    paths = StackPaths(params["stack"], engine=params["engine"])
    progress.begin(paths.progress, params["run"])
    driving = drive.Drive(
        paths,
        stack.read(params["catalogue"], params["compose_file"]),
        RotationSettings(params["run"], params["operator"], source, params["lease_seconds"], params["timeout"]),
        StagingOptions(params["seal_key"], params["require_noswap"], deploys=params["begin"] == "nothing"),
        params["images"],
        params["rollout_timeout"],
    )
    request = RotationRequest(
        tuple(params["secrets"]),
        params["before_days"],
        params["take_over"],
        params["hosts"],
        only_open=params["begin"] == "nothing",
    )
    return drive.rotate(driving, request, check)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "engine": {"type": "str", "choices": ["compose", "swarm"], "default": "compose"},
            "catalogue": {"type": "dict", "required": True},
            "compose_file": {"type": "dict", "required": True},
            "images": {"type": "dict", "default": {}},
            "source": {"type": "str", "choices": ["demo", "file", "keyvault"], "default": "demo"},
            "directory": {"type": "path"},
            "keyvault": {"type": "dict"},
            "trailing_newline": {"type": "str", "choices": ["refuse", "strip"], "default": "refuse"},
            "begin": {"type": "str", "choices": ["rotation", "nothing"], "default": "rotation"},
            "hosts": {"type": "int", "default": 1},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "take_over": {"type": "str", "default": ""},
            "before_days": {"type": "int", "default": 14},
            "require_noswap": {"type": "bool", "default": False},
            "seal_key": {"type": "str", "choices": ["auto", "host", "tpm2"], "default": "auto", "no_log": False},
            "rollout_timeout": {"type": "int", "default": 180},
            "lease_seconds": {"type": "int", "default": 120},
            "timeout": {"type": "int", "default": 180},
            "run": {"type": "str", "required": True},
            "operator": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    report(
        module,
        lambda: work(module.params, module.check_mode),
        lambda: {
            "progress": progress.end(),
            "audit": audit.head(StackPaths(module.params["stack"], engine=module.params["engine"])),
        },
    )


if __name__ == "__main__":
    main()
