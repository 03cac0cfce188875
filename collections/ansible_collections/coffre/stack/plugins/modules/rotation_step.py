#!/usr/bin/python
"""Do steps of the open rotation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rotation_step
short_description: Do steps of the rotation that this play drives
version_added: 0.1.0
description:
  - Each act of a step is recorded in the stack's state before it is done, and can be done again.
  - Values are made, sealed and tried on the host and stay there.
options:
  stack:
    description: The stack's name.
    type: str
    required: true
  catalogue:
    description: The secrets and services of the stack.
    type: dict
    required: true
  source:
    description: Where values come from.
    type: str
    choices: [demo, file, keyvault]
    default: demo
  keyvault:
    description: The Key Vault, for the source V(keyvault); see the role stack_secrets.
    type: dict
  steps:
    description:
      - The steps to do, in this order.
      - V(issue) makes the new values and lets those who check them accept them beside the old ones.
      - V(prove) authenticates with them.
      - V(publish) writes to the source what is to be in force.
      - V(adopt) says that this is what counts from now on, and stages it for all services.
      - V(rollout) brings O(services) to what is staged.
      - V(retire) authenticates from inside the containers, withdraws the other value and sees it refused.
      - V(turn) lets the rotation go back from here, which is refused once an old value is withdrawn.
      - V(close) ends it.
      - V(leave) gives up the lease of one that stays open, so that the next play takes it over at once.
    type: list
    elements: str
    choices: [issue, prove, publish, adopt, rollout, retire, turn, close, leave]
    required: true
  require_noswap:
    description: As of the module M(coffre.stack.secret_bundles), for the step V(adopt).
    type: bool
    default: false
  seal_key:
    description: As of the module M(coffre.stack.secret_bundles), for the step V(adopt).
    type: str
    choices: [auto, host, tpm2]
    default: auto
  services:
    description: The services to roll out, in this order.
    type: list
    elements: str
    default: []
  compose_file:
    description: What the stack's Compose file is to be at the rollout, as of the module M(coffre.stack.stack_rollout).
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
  run:
    description: The name of this play, which must be the one that drives the rotation.
    type: str
    required: true
  operator:
    description: Who runs it, for the audit trail.
    type: str
    required: true
attributes:
  check_mode:
    description: There is no open rotation in check mode, so the module is not to be called.
    support: none
  diff_mode:
    description: Shows what was done, with names and versions.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Make the new values
  coffre.stack.rotation_step:
    stack: "{{ stack_name }}"
    catalogue: "{{ stack_catalogue }}"
    steps: [issue, prove]
    run: "{{ stack_run }}"
    operator: "{{ stack_operator }}"
  diff: true
"""

RETURN = r"""
bundles:
  description: What is staged, by service, as the module M(coffre.stack.secret_bundles) tells it.
  returned: after the step V(adopt)
  type: dict
outcome:
  description: What the rotation came to, V(rotated) or V(undone).
  returned: when it is closed
  type: str
secrets:
  description: Its secrets, each with the version before and after.
  returned: when it is closed
  type: dict
audit:
  description: The head of the stack's audit trail, as a line to keep elsewhere; empty without a trail.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import audit, keyvault_settings, rotation, staging, state
from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths


def work(params: dict[str, Any]) -> dict[str, Any]:
    """Do the steps by the module's parameters. Raises CoffreError."""
    paths, catalogue = StackPaths(params["stack"]), catalogues.parse(params["catalogue"])
    vault = keyvault_settings.settings(params["keyvault"]) if params["source"] == "keyvault" else None
    settings = rotation.Settings(params["run"], params["operator"], params["lease_seconds"], params["timeout"], vault)
    result: dict[str, Any] = {"changed": False, "diff": {"prepared": ""}, "warnings": []}
    for step in params["steps"]:
        lines = []
        if step == "rollout":  # it takes the lock itself
            lines = rotation.roll(
                paths, params["services"], params["compose_file"], params["rollout_timeout"], settings
            )
        else:
            with state.locked(paths):
                if step == "turn":
                    rotation.turn(paths, settings)
                elif step == "close":
                    result |= rotation.close(paths, settings)
                elif step == "leave":
                    rotation.leave(paths, settings)
                else:
                    lines = rotation.perform(paths, catalogue, step, settings)
                if step == "adopt":
                    how = staging.Settings(params["seal_key"], params["require_noswap"])
                    staged = rotation.stage(paths, catalogue, settings, how)
                    lines += [f"{bundle}: staged" for bundle in staged["new"]]
                    result |= {"bundles": staged["bundles"], "warnings": staged["warnings"]}
        result["changed"] |= bool(lines) or step in ("turn", "close")
        result["diff"]["prepared"] += "".join(f"{step:<8} {line}\n" for line in lines)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "catalogue": {"type": "dict", "required": True},
            "source": {"type": "str", "choices": ["demo", "file", "keyvault"], "default": "demo"},
            "keyvault": {"type": "dict"},
            "steps": {
                "type": "list",
                "elements": "str",
                "choices": [*rotation.PHASES["forward"], "rollout", "turn", "close", "leave"],
                "required": True,
            },
            "require_noswap": {"type": "bool", "default": False},
            "seal_key": {"type": "str", "choices": ["auto", "host", "tpm2"], "default": "auto", "no_log": False},
            "services": {"type": "list", "elements": "str", "default": []},
            "compose_file": {"type": "str", "default": ""},
            "rollout_timeout": {"type": "int", "default": 180},
            "lease_seconds": {"type": "int", "default": 120},
            "timeout": {"type": "int", "default": 180},
            "run": {"type": "str", "required": True},
            "operator": {"type": "str", "required": True},
        },
    )
    report(
        module,
        lambda: work(module.params),
        lambda: {"audit": audit.head(StackPaths(module.params["stack"]))},
    )


if __name__ == "__main__":
    main()
