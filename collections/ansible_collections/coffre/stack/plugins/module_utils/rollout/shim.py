"""The keys that a service gets which reads its environment only, from what its image would start."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ..compose_file import EXTENSION, Entry
from ..engines import compose
from ..environment_shim import environment_shim
from ..errors import CatalogueError, CoffreError


def of(images: Mapping[str, str], check: bool) -> Callable[[Entry], Mapping[str, Any]]:
    """By a service's entry its own `entrypoint` and `command`; nothing for one without `x-coffre.environment`.

    `images` has the references of services whose image is not the file's. In check mode an image may not be here yet.
    """

    def shim(entry: Entry) -> Mapping[str, Any]:
        mapping = entry.coffre.get("environment")
        if not mapping:
            return {}
        files = _files(entry, mapping)
        reference = images.get(entry.name) or str(entry.data.get("image"))
        try:
            config = json.loads(compose.call(["docker", "image", "inspect", "--format", "{{json .Config}}", reference]))
        except CoffreError:
            if check:
                return {}
            raise
        return environment_shim(entry.data, config, files)

    return shim


def _files(entry: Entry, mapping: Any) -> dict[str, str]:
    """By variable the file that it is read from. Raises CatalogueError for one that the service does not have."""
    targets = dict(entry.listed)
    if not isinstance(mapping, Mapping):
        raise CatalogueError(f"service {entry.name}: {EXTENSION}.environment must map variables to names of secrets.")
    if lacking := sorted(str(name) for name in mapping.values() if name not in targets):
        raise CatalogueError(
            f"service {entry.name}: {EXTENSION}.environment names {', '.join(lacking)}, which it does not list under "
            "`secrets`; nothing was changed: list it, or correct the name."
        )
    return {str(variable): targets[name] for variable, name in mapping.items()}
