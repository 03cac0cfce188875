#!/usr/bin/python
"""Collect the words of a git repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: git_history
short_description: Collect the distinct words of everything that a git repository holds
version_added: 0.1.0
description:
  - Reads every object of the repository, of all branches and of none, and what git keeps beside them, and writes the
    distinct words to a file, which a host can then search for the values of its secrets. So no value has to leave the
    host. A word is a run of at least 12 characters of text, blanks among them, that ends where its line does.
  - Also names the objects that hold a private key, and says what could not be searched.
options:
  repository:
    description: The checkout.
    type: path
    required: true
  dest:
    description: The file to write, compressed by gzip, with mode 0600.
    type: path
    required: true
attributes:
  check_mode:
    description: Reads the repository and does not write the file.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author: [Coffre]
"""

EXAMPLES = r"""
- name: Collect the words of the checkout's history
  coffre.stack.git_history:
    repository: "{{ playbook_dir }}/.."
    dest: /tmp/words.gz
  delegate_to: localhost
"""

RETURN = r"""
note:
  description: How much was read, or why nothing could be.
  returned: success
  type: str
  sample: 1234 objects hold no private key and no value
found:
  description: Whether there is a repository that could be read, and so a file.
  returned: success
  type: bool
private_keys:
  description: The ids of the objects that hold a private key.
  returned: success
  type: list
  elements: str
unsearched:
  description: What was not searched, each as the rest of a sentence.
  returned: success
  type: list
  elements: str
  sample: ["what lies before this shallow clone: `git fetch --unshallow` fetches it"]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report
from ansible_collections.coffre.stack.plugins.module_utils.scan import git_history as history


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Collect by the module's parameters. Raises CoffreError if git fails on a repository that is there."""
    collected = history.collect(Path(params["repository"]))
    if collected is None:
        note = f"{params['repository']} is no git repository, so there is no history to look at"
        return {"changed": False, "found": False, "note": note, "private_keys": [], "unsearched": []}
    found = collected.objects > 0 or bool(collected.words)
    if found and not check:
        history.write(Path(params["dest"]), collected.words)
    return {
        "changed": found and not check,
        "found": found,
        "note": f"{collected.objects} objects of the repository hold no private key and no value",
        "private_keys": collected.private_keys,
        "unsearched": collected.unsearched,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    report(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
