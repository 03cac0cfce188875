#!/usr/bin/python
"""Plan a rotation, open it, or take over one that was left open."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rotation_plan
short_description: Plan a rotation of secrets and open it, or take over one that was left open
version_added: 0.1.0
description:
  - Says which secrets are to be rotated, those named or all that are due, and looks for everything that hinders it. If
    nothing does, the rotation is open in the stack's state from then on, with a lease, and no other play may act on the
    stack.
  - What a rotation that is closed may have left sealed is removed.
  - Where a rotation is open already, it is taken over once its lease is over, to be finished if an old value is already
    withdrawn and to be undone otherwise. Nothing else is begun then.
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
    description: Where values come from. Those of V(file) are the operator's, and no rotation makes them.
    type: str
    choices: [demo, file, keyvault]
    default: demo
  keyvault:
    description: The Key Vault, for the source V(keyvault); see the role stack_secrets.
    type: dict
  hosts:
    description: How many hosts rotate in this play.
    type: int
    default: 1
  secrets:
    description: The secrets to rotate. By default all that are due.
    type: list
    elements: str
    default: []
  resolve:
    description: Only take over what was left open.
    type: bool
    default: false
  take_over:
    description: The id of the open rotation whose play is known to be dead, to take it over within its lease.
    type: str
    default: ""
  before_days:
    description: How many days before its end a secret is due, at most a quarter of its life.
    type: int
    default: 14
  lease_seconds:
    description: For how long after each step no other play may take over.
    type: int
    default: 120
  run:
    description: The name of this play, which drives the rotation from then on.
    type: str
    required: true
  operator:
    description: Who runs it.
    type: str
    required: true
attributes:
  check_mode:
    description: Plans and looks for what hinders, and changes nothing.
    support: full
  diff_mode:
    description: Shows the plan as a table.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Open the rotation of all secrets that are due
  coffre.stack.rotation_plan:
    stack: "{{ stack_name }}"
    catalogue: "{{ stack_catalogue }}"
    run: "{{ stack_run }}"
    operator: "{{ stack_operator }}"
  register: plan
"""

RETURN = r"""
open:
  description: Whether a rotation is open now that this play drives, or in check mode would be.
  returned: success
  type: bool
taken_over:
  description: Whether it is one that another play left open.
  returned: success
  type: bool
direction:
  description: Whether it goes V(forward) or V(back).
  returned: when a rotation is open
  type: str
secrets:
  description: Its secrets, each with the version before and after.
  returned: when a rotation is open
  type: dict
  sample: {flask-secret-key: {old: 0a1b2c3d4e5f60718293a4b5c6d7e8f9, new: 9f8e7d6c5b4a39281706f5e4d3c2b1a0}}
services:
  description: The services that have one of its secrets.
  returned: when a rotation is open
  type: list
  elements: str
images:
  description: The image that each service runs.
  returned: when a rotation is open
  type: dict
next:
  description:
    - Where nothing is due, which secret will be next, or has a version that retires, and when; empty where none has an
      end.
  returned: success
  type: dict
  sample: {secret: flask-secret-key, date: "2027-02-08"}
rows:
  description: The plan.
  returned: success
  type: list
  elements: dict
refusal:
  description: What hinders, as one sentence; empty where nothing does. Outside check mode the module fails with it.
  returned: success
  type: str
audit:
  description: The head of the stack's audit trail, as a line to keep elsewhere; empty without a trail.
  returned: always
  type: str
"""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import audit, keyvault_settings, rotation, state
from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils import rotation_plan as plans
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rotation_values import collect


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Plan by the module's parameters. Raises CoffreError."""
    paths, catalogue = StackPaths(params["stack"]), catalogues.parse(params["catalogue"])
    settings = rotation.Settings(params["run"], params["operator"], params["lease_seconds"])
    vault = keyvault_settings.settings(params["keyvault"]) if params["source"] == "keyvault" else None
    wish = plans.Wish(
        tuple(params["secrets"]), params["source"], params["before_days"], params["take_over"], params["hosts"]
    )
    with state.locked(paths) if paths.lib.exists() else nullcontext():
        st = state.load(paths)
        collected, rows, following, refusal = not check and collect(paths, st), [], None, ""
        if taken := st.run is not None:
            if not paths.compose.exists() and not params["resolve"]:
                raise CoffreError(
                    f"The stack {paths.stack} was torn down while a rotation was open; nothing was changed: run "
                    "playbooks/site.yml, which brings it back and finishes or undoes the rotation."
                )
            plans.take_over(paths, st, wish, settings, check)
            text = f"the rotation of {', '.join(st.run.secrets)} that was left open: {st.run.direction}\n"
        elif params["resolve"]:
            text = ""
        else:
            chosen = plans.changes(catalogue, st, wish, plans.present())
            plan = plans.plan(paths, catalogue, st, wish, chosen, vault)
            refusal = plans.refusal(plan.problems)
            if refusal and not check:
                raise CoffreError(refusal)
            rows = plan.rows
            text = plan.table() if chosen else "" if refusal else "nothing is due\n"
            following = None if chosen else plans.coming(catalogue, st, wish)
            if chosen and not check:
                plans.begin(paths, catalogue, st, chosen, settings)
        result: dict[str, Any] = {
            "changed": bool(taken or rows or collected),
            "open": bool(taken or rows) and not refusal,
            "taken_over": taken,
            "rows": [asdict(row) for row in rows],
            "refusal": refusal,
            "next": {"secret": following[1], "date": f"{following[0]:%Y-%m-%d}"} if following else {},
            "diff": {"prepared": text},
        }
        if st.run is not None:
            result |= rotation.told(st.run) | {
                "services": plans.services(catalogue, st.run),
                "images": plans.images(paths.stack),
            }
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "catalogue": {"type": "dict", "required": True},
            "source": {"type": "str", "choices": ["demo", "file", "keyvault"], "default": "demo"},
            "keyvault": {"type": "dict"},
            "hosts": {"type": "int", "default": 1},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "resolve": {"type": "bool", "default": False},
            "take_over": {"type": "str", "default": ""},
            "before_days": {"type": "int", "default": 14},
            "lease_seconds": {"type": "int", "default": 120},
            "run": {"type": "str", "required": True},
            "operator": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    report(
        module,
        lambda: work(module.params, module.check_mode),
        lambda: {"audit": audit.head(StackPaths(module.params["stack"]))},
    )


if __name__ == "__main__":
    main()
