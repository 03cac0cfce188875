"""Fixtures that the scenarios share."""

from __future__ import annotations

from typing import Any

import pytest
from machines import Container, list_containers


@pytest.fixture
def containers(host: Any) -> list[Container]:
    """The stack's running containers, one of each service."""
    found = list_containers(host)
    assert [container.service for container in found] == ["app", "keycloak", "postgres", "proxy"]
    return found
