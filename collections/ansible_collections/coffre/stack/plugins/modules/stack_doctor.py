#!/usr/bin/python
"""Check a stack on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_doctor
short_description: Check a stack on its host, and change nothing
version_added: 0.1.0
description:
  - Looks at bundles, seals, containers, their hardening, and the ages of secrets and certificates, searches for values
    where none belongs, asks the stack's endpoints and each container's own check, and tries each value with whoever
    verifies it.
  - A check that fails is a result, not a failure of the module, so that all of them are told. It works where Docker or
    the stack is missing, and says so.
  - A check that warns passes, with something that a person should see to.
  - Takes and returns names and paths. A value never leaves it.
  - With the source V(keyvault) the host is compared with the vault. Versions are compared, and no value is read. That
    needs Azure's libraries on the host, as C(docker_host) installs them for the modules.
extends_documentation_fragment:
  - coffre.stack.stack
  - coffre.stack.stack.engine
  - coffre.stack.stack.catalogue
  - coffre.stack.stack.source
  - coffre.stack.stack.due
  - coffre.stack.stack.look
options:
  env:
    description: The name of the environment, which is its folder of inventory, for the metrics.
    type: str
    required: true
  acts:
    description:
      - Whether this host is the one that is asked about the stack, as of a swarm's one manager is. Another node is
        asked about what lies on it, and searches for the values that its containers mount.
    type: bool
    default: true
  around:
    description: Checks of what stands around the stack, as M(coffre.stack.keyvault_doctor) makes them, for the metrics.
    type: list
    elements: dict
    default: []
  endpoints:
    description: The URLs that the stack must answer with 200.
    type: list
    elements: str
    default: []
  ca_path:
    description: A file on the host with the authority that signed the proxy's certificate. By default the host's own.
    type: path
  history_words:
    description: The words of the checkout's history, as M(coffre.stack.git_history) makes them, copied to the host.
    type: path
  history_private_keys:
    description: The objects of the history that are private keys.
    type: list
    elements: str
    default: []
  history_note:
    description: What to say of a history that is in order.
    type: str
    default: no history was given to look at
  history_unsearched:
    description: What of the history was not searched, each as the rest of a sentence. The check warns of it.
    type: list
    elements: str
    default: []
author: [Coffre]
"""

EXAMPLES = r"""
- name: Check the stack
  coffre.stack.stack_doctor:
    stack: "{{ stack_name }}"
    env: "{{ inventory_dir | basename }}"
    catalogue: "{{ stack_catalogue }}"
    compose_file: "{{ stack_compose }}"
    endpoints: ["{{ stack_public_url }}/health"]
  register: doctor
"""

RETURN = r"""
checks:
  description:
    - The outcome of each check, in order. C(ok) where it passes, and C(warn) where it passes with something in
      C(message) that a person should see to. C(skipped) where it was not made, because of another that failed.
      C(findings) are what is wrong or to be seen to, one by one, and C(remedy) what to do about a failure.
  returned: success
  type: list
  elements: dict
  sample:
    - check: memory
      ok: true
      warn: false
      message: /run/coffre is a tmpfs with noswap
      skipped: false
      findings: []
      remedy: ""
lives:
  description:
    - Of each secret that is deployed, when its version was made, is due and ends, when it was last rotated, the earlier
      versions that still count, and the names and dates of its certificate.
  returned: success
  type: list
  elements: dict
  sample:
    - secret: api-key
      version: 0f343b0931126a20f133d67c2b018a3b
      created: "2026-09-01T08:00:00Z"
      due: "2026-11-16T08:00:00Z"
      ends: "2026-11-30T08:00:00Z"
      rotated: "2026-09-01T08:00:04Z"
      ring: []
      certificate: null
open:
  description: The rotation that is open, null for none.
  returned: success
  type: dict
  sample: {id: r1, operator: kim, started: "2026-11-30T08:00:00Z", direction: forward, secrets: [api-key]}
vault:
  description: By secret, the version that the host has, and what the vault says of the one that a run would read.
  returned: success
  type: dict
metrics:
  description:
    - The outcome of each check in Prometheus' text format, and, where the state can be read, the ages, ends and last
      rotations of the secrets.
  returned: success
  type: str
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import sources, stack
from ansible_collections.coffre.stack.plugins.module_utils.doctor import checks as doctor
from ansible_collections.coffre.stack.plugins.module_utils.doctor import lives, metrics
from ansible_collections.coffre.stack.plugins.module_utils.doctor import target as examined
from ansible_collections.coffre.stack.plugins.module_utils.doctor import vault as doctor_vault
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import guard, report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths


def work(params: dict[str, Any]) -> dict[str, Any]:
    """Examine the stack by the module's parameters. Raises CoffreError for parameters that make no sense."""
    words = params["history_words"]
    target = examined.Target(
        paths=StackPaths(params["stack"], engine=params["engine"]),
        acts=params["acts"],
        catalogue=stack.read(params["catalogue"], params["compose_file"]),
        endpoints=tuple(params["endpoints"]),
        ca_path=Path(params["ca_path"]) if params["ca_path"] else None,
        history=examined.History(
            Path(words) if words else None,
            tuple(params["history_private_keys"]),
            params["history_note"],
            tuple(params["history_unsearched"]),
        ),
        source=sources.load(params["stack"], params),
    )
    known, _ = guard(lambda: _known(target, params["before_days"])) if target.acts else (None, "")
    checks = doctor.examine(target)
    answers = any(check.check == "vault" and check.ok for check in checks)
    vault, _ = guard(lambda: {"vault": doctor_vault.compared(target) if answers else {}})
    around = [examined.Check(**check) for check in params["around"]]
    told = metrics.of_checks([*checks, *around]) | (known or {}).pop("samples", {})
    return {
        "changed": False,
        "checks": [asdict(check) for check in checks],
        "metrics": metrics.exposition(params["env"], target.paths.stack, told),
        **(known or {"lives": [], "open": None}),
        **(vault or {"vault": {}}),
    }


def _known(target: examined.Target, before_days: int) -> dict[str, Any]:
    """What state and trail tell beside the checks."""
    found = lives.lives(target, before_days)
    return {
        "samples": metrics.of_secrets(target, found),
        "lives": [asdict(life) for life in found],
        "open": lives.under_way(target),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "engine": {"type": "str", "choices": ["compose", "swarm"], "default": "compose"},
            "env": {"type": "str", "required": True},
            "acts": {"type": "bool", "default": True},
            "around": {"type": "list", "elements": "dict", "default": []},
            "before_days": {"type": "int", "default": 14},
            "catalogue": {"type": "dict", "required": True},
            "compose_file": {"type": "dict", "required": True},
            "endpoints": {"type": "list", "elements": "str", "default": []},
            "ca_path": {"type": "path"},
            "source": {"type": "str", "choices": ["demo", "file", "keyvault"], "default": "demo"},
            "keyvault": {"type": "dict"},
            "history_words": {"type": "path"},
            "history_private_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "history_note": {"type": "str", "default": "no history was given to look at"},
            "history_unsearched": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
