"""Tells which of the inventory's settings cannot work."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.coffre.stack.plugins.module_utils import settings

DOCUMENTATION = r"""
name: wrong_settings
short_description: Tells which of the inventory's settings cannot work
version_added: 0.1.0
author: Coffre (@coffre)
description:
  - A sentence for each variable of the host that has a value which it may not have, and for a missing C(stack_name).
  - On the controller, so that no host is reached before all is well.
"""

EXAMPLES = r"""
- name: Refuse settings that cannot work
  ansible.builtin.assert:
    that: query('coffre.stack.wrong_settings') | length == 0
"""

RETURN = r"""
_list:
  description: What is wrong and what to write instead.
  type: list
  elements: str
"""


class LookupModule(LookupBase):
    """Takes no term: it looks at the variables themselves."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:  # noqa: ARG002
        given = {name: variables[name] for name in settings.RULES if name in variables}
        if self._templar is None:
            raise AnsibleError("This lookup needs a templar, as Ansible hands one to every lookup of a play.")
        return settings.problems({"stack_name": None} | self._templar.template(given))
