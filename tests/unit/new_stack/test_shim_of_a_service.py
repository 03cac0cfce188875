"""Who asks for the shim gets it from its own image and its own files; nobody else's image is looked at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import compose_file
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CatalogueError, CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.rollout import shim

IMAGE = {"Entrypoint": ["/start"], "Cmd": ["serve"]}


def entry(**service: Any) -> compose_file.Entry:
    problems: list[str] = []
    file = compose_file.parse({"services": {"web": {"image": "theirs:1", **service}}}, problems)
    assert problems == []
    return file.services["web"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The references that the engine was asked for; it has all but those called `gone`."""
    found: list[str] = []

    def call(command: list[str]) -> str:
        found.append(command[-1])
        if command[-1] == "gone":
            raise CoffreError("no such image")
        return json.dumps(IMAGE)

    monkeypatch.setattr(compose, "call", call)
    return found


def test_none_is_asked_for(asked: list[str]) -> None:
    assert shim.of({}, False)(entry(secrets=["a"])) == {}
    assert asked == []


@pytest.mark.parametrize(("images", "reference"), [({}, "theirs:1"), ({"web": "ours:2"}, "ours:2")])
@pytest.mark.parametrize(
    ("secret", "path"),
    [
        ("url", "/run/secrets/url"),
        ({"source": "url", "target": "u.txt"}, "/run/secrets/u.txt"),
        ({"source": "url", "target": "/etc/url"}, "/etc/url"),
    ],
)
def test_its_own_files_and_image(
    asked: list[str], images: dict[str, str], reference: str, secret: Any, path: str
) -> None:
    keys = shim.of(images, False)(entry(secrets=[secret], **{"x-coffre": {"environment": {"URL": "url"}}}))
    assert keys["command"] == ["/start", "serve"]
    assert f"coffre_read {path} URL;" in keys["entrypoint"][2]
    assert asked == [reference]


def test_an_image_that_is_not_here_yet(asked: list[str]) -> None:
    service = entry(secrets=["url"], **{"x-coffre": {"environment": {"URL": "url"}}})
    assert shim.of({"web": "gone"}, True)(service) == {}
    with pytest.raises(CoffreError, match="no such image"):
        shim.of({"web": "gone"}, False)(service)
    assert asked == ["gone", "gone"]


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [({"URL": "other"}, "names other, which it does not list"), (["URL"], "must map variables")],
)
def test_what_it_refuses(asked: list[str], mapping: Any, sentence: str) -> None:
    with pytest.raises(CatalogueError, match=sentence):
        shim.of({}, True)(entry(secrets=["url"], **{"x-coffre": {"environment": mapping}}))
    assert asked == []
