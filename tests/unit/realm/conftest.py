"""A container that stands for Keycloak's or PostgreSQL's."""

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from tests.unit import described


@pytest.fixture
def container() -> Container:
    return described.container(
        id="c0ffee",
        name="demo-keycloak-1",
        service="keycloak",
        created="2026-01-01T00:00:00Z",
        arguments=("--config-file=/c", "start", "--db-url-host=db", "--hostname=h"),
        addresses=frozenset({"127.0.0.1"}),
    )
