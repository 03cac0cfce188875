"""Reads a stack's Compose file on the controller."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: compose_file
short_description: Reads a stack's Compose file
version_added: 0.1.0
author: Coffre (@coffre)
description:
  - The mapping that a Compose file is. One whose name ends with V(.j2) is a template of Ansible's.
  - Words such as V(on) and numbers such as V(22:22) stay the texts that Compose takes them for.
options:
  _terms:
    description: The path of the file.
    required: true
"""

EXAMPLES = r"""
- name: Tell the services of a stack
  ansible.builtin.debug:
    msg: "{{ lookup('coffre.stack.compose_file', 'compose.yaml').services | list }}"
"""

RETURN = r"""
_list:
  description: The file as a mapping.
  type: list
  elements: dict
"""


GUESSED = ("bool", "int", "float", "timestamp")


class Loader(yaml.SafeLoader):
    """YAML as Compose reads it: true and false alone are booleans, no number has a colon, and no key is there twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as its base has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in GUESSED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(None, None, f"the key {key.value} is there twice", key.start_mark)
                seen.add(key.value)
        return node


# As Compose's own reader has them, octal numbers too. A resolver looks at the beginning of a word only, hence the $.
for kind, pattern, starts in (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"(?:[-+]?(?:0|[1-9]\d*)|0o?[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"[-+]?(?:(?:\.\d+|\d+\.\d*)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$", "-+.0123456789"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), list(starts))


class LookupModule(LookupBase):
    """Takes the path of a file, relative to the playbook or whole."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        return [self._read(str(term), variables) for term in terms]

    def _read(self, term: str, variables: Any) -> Any:
        path = self.find_file_in_search_path(variables, "templates", term, ignore_missing=True)  # type: ignore[no-untyped-call]
        if not path:
            raise AnsibleError(f"The Compose file {term} is not there; nothing was changed: see stack_compose_file.")
        if path.endswith(".j2"):
            reader = lookup_loader.get("template", loader=self._loader, templar=self._templar)
            text = reader.run([path], variables)[0]
        else:
            text = Path(path).read_bytes()
        try:
            return yaml.load(text, Loader)  # noqa: S506 - a safe loader with fewer guesses
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            raise AnsibleError(
                f"The Compose file {term} is no YAML{f' in line {where.line + 1}' if where else ''} "
                f"({getattr(error, 'problem', None) or 'unreadable'}); nothing was changed."
            ) from None
