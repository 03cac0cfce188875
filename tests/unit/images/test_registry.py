"""What keeps a host from its images, as its engine tells."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.rollout import registry

TOLD: dict[str, Any] = {"pulled": [], "images": {}, "archives": {}, "problems": []}
HERE = {"debian:13", "shop/old:1"}
REGISTRY = {
    "redis:8": (200, ""),
    "redis:99": (404, "manifest for redis:99\nnot found."),
    "private/a:1": (401, "unauthorized"),
    "far/a:1": (500, "no such host"),
}


def engine(path: str) -> tuple[int, dict[str, Any]]:
    kind, _, rest = path[1:].partition("/")
    reference = rest.removesuffix("/json")
    if kind == "images":
        here = {"Id": f"sha256:{reference}", "RepoTags": [reference], "Config": {}}
        return (200, here) if reference in HERE else (404, {"message": f"No such image: {reference}"})
    if reference == "silent:1":
        raise TimeoutError
    status, message = REGISTRY[reference]
    return status, {"message": message}


def image(reference: str, start: str) -> dict[str, Any]:
    return {"reference": reference, "start": start, "stem": "", "bases": [], "artifacts": []}


@pytest.fixture(autouse=True)
def logins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(registry, "LOGINS", tmp_path / "config.json")
    return tmp_path / "config.json"


CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("here", {"pulled": ["debian:13"]}, []),
    ("to be pulled", {"pulled": ["redis:8"]}, []),
    ("none of the registry's", {"pulled": ["redis:99"]}, ["redis:99"]),
    ("refused", {"pulled": ["private/a:1"]}, ["private/a:1"]),
    ("no registry in reach", {"pulled": ["far/a:1"]}, ["far/a:1"]),
    ("no answer in time", {"pulled": ["silent:1"]}, []),
    ("several", {"pulled": ["redis:99", "redis:8", "far/a:1"]}, ["redis:99", "far/a:1"]),
    ("built here already", {"images": {"app": image("shop/old:1", "redis:99")}}, []),
    ("to be built", {"images": {"app": image("shop/new:2", "redis:8")}}, []),
    ("to be built on what is here", {"images": {"app": image("shop/new:2", "debian:13")}}, []),
    ("to be built on nothing that can be told", {"images": {"app": image("shop/new:2", "")}}, []),
    ("to be built on none", {"images": {"app": image("shop/new:2", "redis:99")}}, ["redis:99"]),
    (
        "on the same as is pulled",
        {"images": {"app": image("shop/new:2", "redis:99")}, "pulled": ["redis:99"]},
        ["redis:99"],
    ),
    ("kept as an archive", {"images": {"app": image("shop/new:2", "redis:99")}, "archives": {"app": {}}}, []),
]


@pytest.mark.parametrize(("told", "named"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_cannot_be_had(told: dict[str, Any], named: list[str]) -> None:
    found = registry.blockers(TOLD | told, True, engine)
    assert [sentence.split()[2] for sentence in found] == named
    assert all("is not on the host and cannot be pulled (" in sentence for sentence in found)


def test_says_what_the_engine_says() -> None:
    assert registry.blockers(TOLD | {"pulled": ["redis:99"]}, True, engine) == [
        "The image redis:99 is not on the host and cannot be pulled (manifest for redis:99 not found): correct "
        "its name, log in to its registry on the host, or load it there."
    ]


def test_who_can_log_in_is_not_judged_by_a_refusal(logins: Path) -> None:
    logins.touch()
    found = registry.blockers(TOLD | {"pulled": ["private/a:1", "redis:99"]}, True, engine)
    assert [sentence.split()[2] for sentence in found] == ["redis:99"]


def test_what_is_built_elsewhere_is_not_looked_at_here() -> None:
    assert registry.blockers(TOLD | {"images": {"app": image("shop/new:2", "redis:99")}}, False, engine) == []


def test_without_an_engine_only_what_the_controller_knows() -> None:
    def nobody(path: str) -> tuple[int, dict[str, Any]]:
        raise FileNotFoundError(path)

    told = TOLD | {"pulled": ["redis:99"], "problems": ["The service a: build.context is no folder."]}
    assert registry.blockers(told, True, nobody) == ["The service a: build.context is no folder."]
    assert registry.blockers({}, True, nobody) == []
    assert registry.present(told, nobody) == []


def test_what_a_host_has_is_told_in_order() -> None:
    told = {
        "images": {"app": image("shop/old:1", ""), "web": image("shop/new:2", "")},
        "pulled": ["debian:13", "redis:8"],
    }
    assert registry.present(TOLD | told, engine) == [
        {"Id": "sha256:shop/old:1", "RepoTags": ["shop/old:1"]},
        {"Id": "sha256:debian:13", "RepoTags": ["debian:13"]},
    ]
    assert registry.present({}, engine) == []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, text = {
            "/images/a.b:5/c@sha256:0a/json": (404, b'{"message": "No such image"}'),
            "/images/here/json": (200, b'{"Id": "sha256:0a"}'),
        }.get(self.path, (502, b"<html>"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    path = str(tmp_path / "engine.sock")
    monkeypatch.setattr(registry, "SOCKET", path)
    with socketserver.UnixStreamServer(path, Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield
        server.shutdown()


@pytest.mark.usefixtures("listening")
def test_an_engine_is_asked_over_its_socket() -> None:
    assert registry.ask("/images/a.b:5/c@sha256:0a/json") == (404, {"message": "No such image"})
    assert registry.ask("/images/here/json") == (200, {"Id": "sha256:0a"})
    with pytest.raises(OSError):
        registry.ask("/other")


def test_a_socket_that_nobody_listens_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "SOCKET", str(tmp_path / "none.sock"))
    with pytest.raises(OSError):
        registry.ask("/images/a/json")
