"""The client by which the engine's API is asked."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import api


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The clients that were made, by their address."""
    found: list[str] = []

    class Client:
        def __init__(self, base_url: str, **_: object) -> None:
            found.append(base_url)

        def close(self) -> None:
            pass

    api._client.cache_clear()
    monkeypatch.setattr(docker, "APIClient", Client)
    yield found
    api._client.cache_clear()


def test_all_that_a_module_asks_goes_through_one_client(made: list[str]) -> None:
    with api.engine() as first:
        pass
    with api.engine() as second:
        pass
    assert (first is second, made) == (True, ["unix:///var/run/docker.sock"])


def test_what_goes_wrong_is_told_and_the_next_question_is_asked_again(made: list[str]) -> None:
    with pytest.raises(CoffreError, match="does not tell its containers: no such thing"), api.engine():
        raise docker.errors.APIError("404", explanation="no such thing")
    with pytest.raises(CoffreError, match="gives no answer on this host"), api.engine():
        raise docker.errors.DockerException
    with api.engine():
        pass
    assert len(made) == 1


def test_an_engine_that_does_not_run_is_asked_anew(monkeypatch: pytest.MonkeyPatch, made: list[str]) -> None:
    works = docker.APIClient

    def refuse(**_: object) -> None:
        raise docker.errors.DockerException

    monkeypatch.setattr(docker, "APIClient", refuse)
    with pytest.raises(CoffreError, match="gives no answer"), api.engine():
        pass
    monkeypatch.setattr(docker, "APIClient", works)
    with api.engine():
        pass
    assert len(made) == 1
