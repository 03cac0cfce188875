#!/usr/bin/python
"""Refuse a host or an inventory that cannot work, before anything changes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_preflight
short_description: Refuse what cannot work before anything changes
version_added: 0.1.0
description:
  - Checks the catalogue, the source of the secrets and the host, changes nothing, and fails with one message that has
    every problem. Needs neither Docker nor a library, only the system's Python.
  - "It looks for an ill-formed catalogue, a Compose file that cannot be honoured, uids that a login of the host has, an
    operator's directory or settings of a Key Vault that are not right, a CA's file that is not there, values that a
    composed file cannot take, addresses that the host has not, ports in use by something else, too little memory, an
    unsupported distribution, a rootless or userns-remapped engine, unencrypted swap that secrets could reach, and
    images that can neither be built nor pulled, as far as an engine that is here already can tell. A Key Vault is not
    asked."
extends_documentation_fragment:
  - coffre.stack.stack
  - coffre.stack.stack.engine
  - coffre.stack.stack.catalogue
  - coffre.stack.stack.source
  - coffre.stack.stack.directory
  - coffre.stack.stack.noswap
  - coffre.stack.stack.look
options:
  ca_path:
    description: The file of the CA that the stack is asked with, which must be there unless the deploy itself makes it.
    type: path
  images:
    description: What M(coffre.stack.image_tags) told of the Compose file's images, to be looked at too.
    type: dict
    default: {}
  builds:
    description: Whether it is on this host that images are built.
    type: bool
    default: false
  acts:
    description:
      - Whether the stack's values are brought to this host, so that their source is looked at from here; of a swarm
        that is one manager.
    type: bool
    default: true
  host:
    description: The host's name in the message; by default the name it gives itself.
    type: str
author: [Coffre]
"""

EXAMPLES = r"""
- name: Refuse what cannot work
  coffre.stack.stack_preflight:
    stack: "{{ stack_name }}"
    catalogue: "{{ stack_catalogue }}"
    compose_file: "{{ stack_compose }}"
"""

RETURN = r"""
rotation_open:
  description: Whether a rotation of the stack was left open, which is to be finished or undone first.
  returned: success
  type: bool
images:
  description: What the engine says of the images that a deploy needs and the host has, those that are built first.
  returned: success
  type: list
  elements: dict
  sample: [{Id: "sha256:7212", RepoTags: ["coffre/app:62702bf843e715cf"]}]
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import preflight
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import raft, state
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import registry


def work(request: preflight.Request) -> dict[str, Any]:
    """Check, and look for a rotation that was left open, and for the images. Raises CoffreError."""
    warnings = preflight.check(request)
    return {
        "changed": False,
        "warnings": warnings,
        "rotation_open": _open(StackPaths(request.stack, engine=request.engine)),
        "images": registry.present(request.images or {}),
    }


def _open(paths: StackPaths) -> bool:
    """Whether a rotation was left open; of a swarm's stack by the command alone, False without an answer."""
    if not paths.on_swarm:
        return state.load(paths).run is not None
    command = ["docker", "config", "inspect", "--format", "{{json .Spec.Labels}}", raft.name(paths)]
    try:
        return bool(json.loads(json.loads(compose.call(command))[raft.STATE])["run"])
    except (CoffreError, KeyError):
        return False


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "catalogue": {"type": "dict", "required": True},
            "compose_file": {"type": "dict", "required": True},
            "source": {"type": "str", "choices": ["demo", "file", "keyvault"], "default": "demo"},
            "directory": {"type": "path"},
            "keyvault": {"type": "dict"},
            "trailing_newline": {"type": "str", "choices": ["refuse", "strip"], "default": "refuse"},
            "ca_path": {"type": "path"},
            "require_noswap": {"type": "bool", "default": False},
            "images": {"type": "dict", "default": {}},
            "builds": {"type": "bool", "default": False},
            "acts": {"type": "bool", "default": True},
            "host": {"type": "str"},
            "engine": {"type": "str", "choices": ["compose", "swarm"], "default": "compose"},
        },
        supports_check_mode=True,
    )
    given = module.params
    request = preflight.Request(
        **given
        | {
            "host": given["host"] or os.uname().nodename,
            "directory": Path(given["directory"]) if given["directory"] else None,
            "ca_path": Path(given["ca_path"]) if given["ca_path"] else None,
        }
    )
    report(module, lambda: work(request))


if __name__ == "__main__":
    main()
