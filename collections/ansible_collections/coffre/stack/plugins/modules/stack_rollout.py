#!/usr/bin/python
# MIT License (see LICENSE)
"""Write a stack's Compose file, and bring services to it and their staged bundles."""

from __future__ import annotations

DOCUMENTATION = """
module: stack_rollout
short_description: Write a stack's Compose file, and bring services to it and their staged bundles
version_added: 0.1.0
description:
  - Replaces, restarts or reloads exactly those of the named services whose bundle, image or configuration is not
    what the stack's compose file and state say, each by its way of adopting, and mends those that are stopped,
    unhealthy or missing.
  - A service whose label C(coffre.adopt) is C(start_first) gets its new container beside the old one, which leaves
    when the new one is ready and the proxy sends it requests. C(restart) puts the new one in place of the old one.
    C(reload) lets HAProxy read the new bundle, and is a restart when image or configuration changed.
  - The new container must pass the command in its label C(coffre.ready), which has to fail wherever its health check
    does, or without one that health check itself. If it does not, it is removed, its staged bundle is let go, the old
    container goes on and the module fails.
  - A run that was killed is finished by the next one.
  - Each bundle that was adopted, or refused, is recorded in the stack's audit trail.
author:
  - The Coffre contributors
options:
  stack:
    description: Name of the stack, which is its Compose project.
    type: str
    required: true
  services:
    description: The services to bring up to date, in this order.
    type: list
    elements: str
    required: true
  compose_file:
    description:
      - What the stack's Compose file is to be. It is put in place once Compose understands it; it may hold references
        to secrets, no value of one. Without it the file stays as it is.
    type: str
  timeout:
    description:
      - Seconds that each service has to become ready. Those in which it has to wait for a processor do not count, up to
        four times as many in all.
    type: int
    default: 180
  run:
    description: The name of this run in the audit trail. While a rotation is open, it must be the run that drives it.
    type: str
    required: true
  operator:
    description: Who runs it, for the audit trail.
    type: str
    required: true
attributes:
  check_mode:
    description:
      - Says what it would do and changes nothing. Of a service that reloads it does not know the bundle that a run
        would stage.
    support: full
  diff_mode:
    description: Shows the Compose file, and the image and bundle of each service, before and after.
    support: full
"""

EXAMPLES = """
- name: Roll out the app, then the proxy
  coffre.stack.stack_rollout:
    stack: coffre-demo
    services: [app, proxy]
    compose_file: "{{ lookup('ansible.builtin.template', 'docker-compose.yml.j2') }}"
    timeout: 60
    run: "{{ stack_run }}"
    operator: "{{ stack_operator }}"
"""

RETURN = """
services:
  description: What was done, or in check mode would be, for each service.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The service.
      type: str
    action:
      description: One of nothing, wait, create, start_first, restart, reload, finish, heal.
      type: str
    why:
      description: What made it necessary.
      type: str
    seconds:
      description: How long it took.
      type: float
  sample: [{"name": "app", "action": "start_first", "why": "bundle", "seconds": 6.3}]
removed:
  description: The bundles that nothing uses any more and that were removed, as service/bundle.
  type: list
  elements: str
  returned: success
  sample: ["app/1f0c9a7be2d4"]
audit:
  description: The head of the stack's audit trail, as a line to keep elsewhere; empty without a trail.
  type: str
  returned: always
  sample: "7 <SHA-256 of the last record> 2026-01-31T12:00:00.000+00:00 20260131T115812Z-5f0c9a"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Roll out by the module's parameters. Raises CoffreError."""
    run = audit.Author(params["run"], params["operator"])
    paths, content = StackPaths(params["stack"]), params["compose_file"] or ""
    return rollout.roll(paths, params["services"], params["timeout"], run, check, content)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "services": {"type": "list", "elements": "str", "required": True},
            "compose_file": {"type": "str"},
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
