#!/usr/bin/python
"""Stage the secret bundles of a stack."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_bundles
short_description: Stage the secret bundles of all services of a stack
version_added: 0.1.0
description:
  - Makes the bundles on the host's tmpfs, their sealed copies and the stack's state agree with the catalogue and
    the source of the secrets. Running it again changes nothing.
  - Takes and returns names, versions and paths. A value never passes through it.
  - A changed secret makes a new bundle for each of its consumers, to be adopted by a rollout. Owners and modes are
    repaired in place; missing or altered content becomes a new bundle from the sealed copy; foreign files are removed.
  - Earlier bundles that no container was made with are removed. While a service still has a secret that the catalogue
    no longer gives it, a warning says so.
extends_documentation_fragment:
  - coffre.stack.stack
  - coffre.stack.stack.engine
  - coffre.stack.stack.catalogue
  - coffre.stack.stack.source
  - coffre.stack.stack.directory
  - coffre.stack.stack.noswap
  - coffre.stack.stack.seal
  - coffre.stack.stack.run
attributes:
  check_mode:
    description: Tells what it would do and changes nothing.
    support: full
  diff_mode:
    description: Shows versions only.
    support: full
author: [Coffre]
"""

EXAMPLES = r"""
- name: Stage the secrets
  coffre.stack.secret_bundles:
    stack: "{{ stack_name }}"
    catalogue: "{{ stack_catalogue }}"
    compose_file: "{{ stack_compose }}"
    source: demo
    run: "{{ stack_run }}"
    operator: "{{ stack_operator }}"
  register: staged
"""

RETURN = r"""
bundles:
  description: By service, the bundle that is to be in force, with its path on the host and the names of its files.
  returned: success
  type: dict
  sample: {app: {bundle: 0a1b2c3d4e5f, path: /run/coffre/demo/app/0a1b2c3d4e5f, files: [session-key]}}
new:
  description: Bundles that were made, as service/bundle.
  returned: success
  type: list
  elements: str
restored:
  description: Bundles that were raised again from their sealed copies on an empty tmpfs.
  returned: success
  type: list
  elements: str
repaired:
  description: Paths whose owner or mode was set right.
  returned: success
  type: list
  elements: str
removed:
  description: Foreign paths that were removed.
  returned: success
  type: list
  elements: str
authority:
  description: The certificates of the stack's own CAs, for those who are to trust them; empty without one.
  returned: success
  type: str
audit:
  description: The head of the stack's audit trail, as a line to keep elsewhere; empty without a trail.
  returned: always
  type: str
"""

import functools
from contextlib import nullcontext
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils import sources, stack
from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.errors import CatalogueError, CoffreError, SourceError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.staging import stage as staging


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Stage by the module's parameters. Raises CoffreError."""
    try:
        return _stage(params, check)
    except (CatalogueError, SourceError) as error:
        raise CoffreError(f"{error} Nothing was changed.") from None


def _stage(params: dict[str, Any], check: bool) -> dict[str, Any]:
    catalogue = stack.read(params["catalogue"], params["compose_file"])
    paths = StackPaths(params["stack"], engine=params["engine"])
    run = audit.Author(params["run"], params["operator"])
    resolve = functools.partial(sources.load(params["stack"], params).resolve, catalogue)
    settings = staging.StagingOptions(params["seal_key"], params["require_noswap"], check)
    with nullcontext() if check and not state.begun(paths) else state.locked(paths):
        return staging.deliver(paths, catalogue, resolve, settings, run)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "engine": {"type": "str", "choices": ["compose", "swarm"], "default": "compose"},
            "catalogue": {"type": "dict", "required": True},
            "compose_file": {"type": "dict", "required": True},
            "source": {"type": "str", "choices": ["demo", "file", "keyvault"], "default": "demo"},
            "directory": {"type": "path"},
            "keyvault": {"type": "dict"},
            "trailing_newline": {"type": "str", "choices": ["refuse", "strip"], "default": "refuse"},
            "require_noswap": {"type": "bool", "default": False},
            "seal_key": {"type": "str", "choices": ["auto", "host", "tpm2"], "default": "auto", "no_log": False},
            "run": {"type": "str", "required": True},
            "operator": {"type": "str", "required": True},
        },
        required_if=[("source", "file", ["directory"]), ("source", "keyvault", ["keyvault"])],
        supports_check_mode=True,
    )
    report(
        module,
        lambda: work(module.params, module.check_mode),
        lambda: {"audit": audit.head(StackPaths(module.params["stack"], engine=module.params["engine"]))},
    )


if __name__ == "__main__":
    main()
