"""A whole stack as its inventory describes it: the catalogue, the Compose file, and what follows from both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import catalogue as catalogues
from .catalogue import Catalogue
from .errors import CatalogueError
from .rollout import proxies
from .strategies import DECLARED


def read(catalogue: Any, compose_file: Any) -> Catalogue:
    """Check both, which are as YAML has them. Raises CatalogueError with one sentence that has every problem."""
    found = catalogues.parse(catalogue, compose_file, DECLARED)
    services = found.file.data["services"]
    if problems := proxies.problems(services):
        raise CatalogueError(f"The Compose file cannot be honoured: {'; '.join(problems)}.")
    name = proxies.service(services)
    return replace(found, plain={name: proxies.files(services)} if name else {})
