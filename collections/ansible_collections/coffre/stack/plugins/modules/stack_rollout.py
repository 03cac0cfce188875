#!/usr/bin/python
# MIT License (see LICENSE)
"""Write a stack's Compose file, and bring services to it and their staged bundles."""

from __future__ import annotations

DOCUMENTATION = """
module: stack_rollout
short_description: Write a stack's Compose file, and bring services to it and their staged bundles
version_added: 0.1.0
description:
  - Replaces, restarts or reloads exactly those services, in the order of C(depends_on), whose bundle, image or
    configuration is not what the Compose file and the state say, each by its way of adopting, and mends those that are
    stopped, unhealthy or missing. After each, the verifier of a secret is made to accept the deployed value, where it
    does not. Where one refuses what only a person can mend, such as a second factor of an admin, it fails before a
    service is touched.
  - Where C(deploy.update_config.order) is C(start-first) the new container comes beside the old one, which leaves when
    the new one is ready and the proxy sends it requests; else in its place. The proxy, and who says
    C(x-coffre.adopt=reload), reads the new bundle, and is restarted when image or configuration changed.
  - The new container must pass the command in C(x-coffre.ready), which has to fail wherever its health check does, or
    without one that health check itself. If it does not, it is removed, its staged bundle is let go, the old container
    goes on and the module fails.
  - What is run is made from the Compose file, and put in place once Compose understands it.
  - A run that was killed is finished by the next one.
  - In the end the stack must answer at its endpoints.
  - Each bundle that was adopted, or refused, is recorded in the stack's audit trail.
author:
  - The Coffre contributors
extends_documentation_fragment:
  - coffre.stack.stack
  - coffre.stack.stack.engine
  - coffre.stack.stack.catalogue
  - coffre.stack.stack.run
options:
  bundles:
    description: By service, what is staged, as the module M(coffre.stack.secret_bundles) tells it.
    type: dict
    required: true
  images:
    description: By service, the image of those that do not run the one that the Compose file names.
    type: dict
    default: {}
  endpoints:
    description:
      - Addresses that must answer with 200 in the end, seen from the host; twice where anything was rolled.
      - On a swarm with a proxy, each node that runs it must answer for them.
    type: list
    elements: str
    default: []
  ca_path:
    description: The file of the CA that signed their certificate; empty where the host's own store knows it.
    type: str
    default: ""
  health_seconds:
    description: Seconds that they have to answer once the services are ready.
    type: int
    default: 30
  timeout:
    description:
      - Seconds that each service has to become ready. Those in which it has to wait for a processor do not count, up to
        four times as many in all.
    type: int
    default: 180
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
- name: Bring the services up to date
  coffre.stack.stack_rollout:
    stack: coffre-demo
    catalogue: "{{ stack_catalogue }}"
    compose_file: "{{ stack_compose }}"
    bundles: "{{ stack_secrets_bundles.bundles }}"
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
  sample: [{"name": "app", "action": "start_first", "why": "bundle", "seconds": 6.3, "agreed": {}}]
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

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import stack
from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.host import progress
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout
from ansible_collections.coffre.stack.plugins.module_utils.rollout import endpoints, proxies
from ansible_collections.coffre.stack.plugins.module_utils.strategies.agree import agreeing, by_hand


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Roll out by the module's parameters. Raises CoffreError."""
    paths = StackPaths(params["stack"], engine=params["engine"])
    author = audit.Author(params["run"], params["operator"])
    progress.begin(paths.progress, params["run"])
    catalogue = stack.read(params["catalogue"], params["compose_file"])
    agree = agreeing(paths, catalogue, params["timeout"])
    staged, images = params["bundles"], params["images"]
    result = rollout.roll(
        paths,
        catalogue,
        staged,
        images,
        params["timeout"],
        author,
        agree,
        by_hand=lambda st: by_hand(paths, catalogue, st),
        check=check,
    )
    result["warnings"] += () if paths.on_swarm else catalogue.file.warnings
    if not check and params["endpoints"]:
        at = partial(proxies.places, paths, catalogue.file.data["services"])  # a node may go meanwhile
        endpoints.see(params["endpoints"], params["ca_path"], params["health_seconds"], result["changed"], at)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "engine": {"type": "str", "choices": ["compose", "swarm"], "default": "compose"},
            "catalogue": {"type": "dict", "required": True},
            "compose_file": {"type": "dict", "required": True},
            "bundles": {"type": "dict", "required": True},
            "images": {"type": "dict", "default": {}},
            "endpoints": {"type": "list", "elements": "str", "default": []},
            "ca_path": {"type": "str", "default": ""},
            "health_seconds": {"type": "int", "default": 30},
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
