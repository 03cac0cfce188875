#!/usr/bin/python
"""Plan a rotation and open it, or take over one that was left open, and go through its steps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rotation
short_description: Plan a rotation of secrets, and go through its steps
version_added: 0.1.0
description:
  - Rotates the secrets that are named or all that are due, or finishes or undoes a rotation that was left open. The
    steps of one rotation may be spread over several tasks of a play.
  - While it is open in the stack's state, with a lease, no other play may act on the stack. Each act of a step is
    recorded in that state before it is done, and can be done again.
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
    description: Where values come from. Those of V(file) are the operator's, and no rotation makes them.
    type: str
    choices: [demo, file, keyvault]
    default: demo
  keyvault:
    description: The Key Vault, for the source V(keyvault); see the role stack_secrets.
    type: dict
  steps:
    description:
      - The steps to do, in this order.
      - V(plan) says which secrets are to be rotated, looks for everything that hinders it, and opens the rotation if
        nothing does. What a rotation that is closed may have left sealed is removed. Where a rotation is open already,
        it is taken over once its lease is over, to be finished if an old value is already withdrawn and to be undone
        otherwise, and nothing else is begun. The steps behind it are done where there is a rotation that goes forward,
        and not in check mode.
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
    choices: [plan, issue, prove, publish, adopt, rollout, retire, turn, close, leave]
    required: true
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
    description:
      - Only take over what was left open. Where nothing was, fail with what is wrong with the running stack's logins
        that a deploy cannot mend, such as a second factor of Keycloak's admin.
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
    description: The services that the step V(rollout) brings up to date, in this order.
    type: list
    elements: str
    default: []
  compose_file:
    description: As of the module M(coffre.stack.stack_rollout), for the step V(rollout). Without it the file stays.
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
    description: The name of this play, which drives the rotation from the step V(plan) on.
    type: str
    required: true
  operator:
    description: Who runs it, for the audit trail.
    type: str
    required: true
attributes:
  check_mode:
    description: Plans and looks for what hinders, and changes nothing. To begin with another step is an error.
    support: partial
  diff_mode:
    description: Shows the plan as a table, and what was done, with names and versions.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Open the rotation of all secrets that are due, and make the new values
  coffre.stack.rotation:
    stack: "{{ stack_name }}"
    catalogue: "{{ stack_catalogue }}"
    steps: [plan, issue, prove]
    run: "{{ stack_run }}"
    operator: "{{ stack_operator }}"
  diff: true
  register: plan
"""

RETURN = r"""
open:
  description: Whether a rotation is open now that this play drives, or in check mode would be.
  returned: after the step V(plan)
  type: bool
taken_over:
  description: Whether it is one that another play left open.
  returned: after the step V(plan)
  type: bool
direction:
  description: Whether it goes V(forward) or V(back).
  returned: after the step V(plan), when a rotation is open
  type: str
secrets:
  description: Its secrets, each with the version before and after.
  returned: after the step V(plan), when a rotation is open, and after V(close)
  type: dict
  sample: {flask-secret-key: {old: 0a1b2c3d4e5f60718293a4b5c6d7e8f9, new: 9f8e7d6c5b4a39281706f5e4d3c2b1a0}}
services:
  description: The services that have one of its secrets.
  returned: after the step V(plan), when a rotation is open
  type: list
  elements: str
images:
  description: The image that each service runs.
  returned: after the step V(plan), when a rotation is open
  type: dict
next:
  description:
    - Where nothing is due, which secret will be next, or has a version that retires, and when; empty where none has an
      end.
  returned: after the step V(plan)
  type: dict
  sample: {secret: flask-secret-key, date: "2027-02-08"}
rows:
  description: The plan.
  returned: after the step V(plan)
  type: list
  elements: dict
refusal:
  description: What hinders, as one sentence; empty where nothing does. Outside check mode the module fails with it.
  returned: after the step V(plan)
  type: str
failure:
  description: Why a step behind V(plan) failed, as one sentence.
  returned: when one did
  type: str
bundles:
  description: What is staged, by service, as the module M(coffre.stack.secret_bundles) tells it.
  returned: after the step V(adopt)
  type: dict
outcome:
  description: What the rotation came to, V(rotated) or V(undone).
  returned: after the step V(close)
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

from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.host.escrow import collect
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import guard, report
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import settings as keyvault_settings
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rotation import plan as plans
from ansible_collections.coffre.stack.plugins.module_utils.rotation import run as rotation
from ansible_collections.coffre.stack.plugins.module_utils.staging import stage as staging


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Plan, and do the steps, by the module's parameters. Raises CoffreError."""
    paths, catalogue = StackPaths(params["stack"]), catalogues.parse(params["catalogue"])
    vault = keyvault_settings.settings(params["keyvault"]) if params["source"] == "keyvault" else None
    settings = rotation.RotationSettings(
        params["run"], params["operator"], params["lease_seconds"], params["timeout"], vault
    )
    steps = params["steps"]
    if not steps or "plan" in steps[1:] or (check and steps[0] != "plan"):
        raise CoffreError(f"The steps are {steps}, and nothing was changed: plan comes first, also in check mode.")
    result: dict[str, Any] = {"changed": False, "diff": {"prepared": ""}, "warnings": []}
    if steps[0] != "plan":
        _go(paths, catalogue, steps, params, settings, result)
        return result
    result |= _plan(paths, catalogue, params, settings, check)
    if not check and result["open"] and result["direction"] == "forward":
        # The play has to know that the rotation is open, even if a step fails.
        _, problem = guard(lambda: _go(paths, catalogue, steps[1:], params, settings, result))
        result |= {"failure": problem} if problem else {}
    return result


def _plan(
    paths: StackPaths, catalogue: Catalogue, params: dict[str, Any], settings: rotation.RotationSettings, check: bool
) -> dict[str, Any]:
    """What is to be rotated: opened, or taken over, unless it is only to be looked at."""
    request = plans.RotationRequest(
        tuple(params["secrets"]), params["source"], params["before_days"], params["take_over"], params["hosts"]
    )
    with state.locked(paths) if paths.lib.exists() else nullcontext():
        st = state.load(paths)
        images = plans.images(paths.stack) if paths.compose.exists() else {}  # what may fail comes before the opening
        collected, rows, following, refusal = not check and collect(paths, st), [], None, ""
        if taken := st.run is not None:
            if not paths.compose.exists() and not params["resolve"]:
                raise CoffreError(
                    f"The stack {paths.stack} was torn down while a rotation was open; nothing was changed: run "
                    "playbooks/site.yml, which brings it back and finishes or undoes the rotation."
                )
            plans.take_over(paths, st, request, settings, check)
            text = f"the rotation of {', '.join(st.run.secrets)} that was left open: {st.run.direction}\n"
        elif params["resolve"]:
            text = ""
            if problem := plans.insurmountable(paths, catalogue, st):
                raise CoffreError(problem)
        else:
            chosen = plans.changes(catalogue, st, request, plans.present())
            plan = plans.plan(paths, catalogue, st, request, chosen, settings.vault)
            refusal = plans.refusal(plan.problems)
            if refusal and not check:
                raise CoffreError(refusal)
            rows = plan.rows
            text = plan.table() if chosen else "" if refusal else "nothing is due\n"
            following = None if chosen else plans.coming(catalogue, st, request)
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
            result |= rotation.described(st.run) | {
                "services": plans.services(catalogue, st),
                "images": images,
            }
    return result


def _go(
    paths: StackPaths,
    catalogue: Catalogue,
    steps: list[str],
    params: dict[str, Any],
    settings: rotation.RotationSettings,
    result: dict[str, Any],
) -> dict[str, Any]:
    """Do steps of the open rotation, and add to the result what was done, as far as it came. Raises CoffreError."""
    for step in steps:
        lines = []
        if step == "rollout":  # it takes the lock itself
            content, seconds = params["compose_file"], params["rollout_timeout"]
            lines = rotation.roll(paths, params["services"], content, seconds, settings)
        else:
            with state.locked(paths):
                if step == "turn":
                    rotation.turn(paths, settings)
                elif step == "close":
                    result |= rotation.close(paths, catalogue, settings)
                elif step == "leave":
                    rotation.leave(paths, settings)
                else:
                    lines = rotation.perform(paths, catalogue, step, settings)
                if step == "adopt":
                    how = staging.StagingOptions(params["seal_key"], params["require_noswap"])
                    staged = rotation.stage(paths, catalogue, settings, how)
                    lines += [f"{bundle}: staged" for bundle in staged["new"]]
                    result |= {"bundles": staged["bundles"], "warnings": staged["warnings"]}
                    result["changed"] |= staged["changed"]
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
                "choices": ["plan", *rotation.PHASES["forward"], "rollout", "turn", "close", "leave"],
                "required": True,
            },
            "hosts": {"type": "int", "default": 1},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "resolve": {"type": "bool", "default": False},
            "take_over": {"type": "str", "default": ""},
            "before_days": {"type": "int", "default": 14},
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
        supports_check_mode=True,
    )
    report(
        module,
        lambda: work(module.params, module.check_mode),
        lambda: {"audit": audit.head(StackPaths(module.params["stack"]))},
    )


if __name__ == "__main__":
    main()
