"""A container that stands for Keycloak's or PostgreSQL's."""

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose


@pytest.fixture
def container() -> compose.Container:
    return compose.Container(
        id="c0ffee",
        name="demo-keycloak-1",
        service="keycloak",
        config_hash="",
        image="",
        image_id="",
        bundle=None,
        state="running",
        health="healthy",
        exit_code=0,
        out_of_memory=False,
        restarts=0,
        created="2026-01-01T00:00:00Z",
        pid=1,
        stop_seconds=10,
        restart="no",
        health_check=(),
        ready=(),
        addresses=frozenset({"127.0.0.1"}),
        mounts=(),
    )
