"""A model of Keycloak that the core asks in the place of a container."""

from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import client as keycloak_client
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import session as keycloak
from tests.unit.strategies.keycloak_model import Keycloak, serving


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keycloak]:
    """Has the client's secret `old` and the admin's password `admin-password`."""
    # The library readies a second, asynchronous client each time, which takes longer than all else here.
    monkeypatch.setattr(httpx, "AsyncClient", lambda **_: SimpleNamespace(auth=None))
    monkeypatch.setattr(compose, "file_of_image", lambda *_: b"{}")  # its image has nothing to import
    monkeypatch.setattr(keycloak, "_logins", {})
    found = Keycloak("old", "admin-password", {kind: [entry] for kind, entry in keycloak_client.ENTRIES})
    with serving(found) as url:
        monkeypatch.setattr(keycloak.Instance, "url", url)
        yield found
