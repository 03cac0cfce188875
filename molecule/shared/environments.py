"""What the folders of inventory/ say, for tests that want it without a run of Ansible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

INVENTORY = Path(__file__).parents[2] / "inventory"


def variables(environment: str, **more: Any) -> dict[str, Any]:
    """All variables of an environment as its files have them, and more; not templated but for the catalogue."""
    found: dict[str, Any] = {}
    for path in sorted((INVENTORY / environment / "group_vars/all").iterdir()):
        found |= yaml.safe_load(path.read_text(encoding="utf-8"))
    found |= more
    secrets = found["stack_catalogue_secrets"] + found["stack_catalogue_own"]
    secrets += found["stack_catalogue_on_swarm"] if found.get("stack_engine") == "swarm" else []
    return found | {"stack_catalogue": found["stack_catalogue"] | {"secrets": secrets}}


def catalogue(environment: str, **more: Any) -> dict[str, Any]:
    """The catalogue of an environment, whole."""
    found: dict[str, Any] = variables(environment, **more)["stack_catalogue"]
    return found
