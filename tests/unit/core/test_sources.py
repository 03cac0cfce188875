from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue
from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.sources.base import fresh
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo, generated
from ansible_collections.coffre.stack.plugins.module_utils.sources.directory import read
from tests.unit.described import parse

CANARY = "canary-51c0"
PEM = {"type": "certificate_authority", "names": ["localhost"], "days": 30}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may own the operator's files")


@pytest.fixture
def catalogue(data: dict[str, Any]) -> Catalogue:
    data["secrets"][4]["generate"] = PEM
    return parse(data)


@pytest.fixture
def directory(tmp_path: Path, catalogue: Catalogue) -> Path:
    folder = tmp_path / "operator"
    folder.mkdir(mode=0o700)
    for name in catalogue.secrets:
        path = folder / name
        path.write_text(f"{CANARY}-{name}")
        path.chmod(0o600)
    return folder


def rewrite(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def share(path: Path) -> None:
    os.link(path, path.with_name("shared"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("api-key", Path.unlink, "api-key is missing"),
    ("api-key", link, "api-key is a link, or not a regular file of a single name"),
    ("api-key", share, "api-key is a link, or not a regular file of a single name"),
    ("api-key", pipe, "api-key is a link, or not a regular file of a single name"),
    ("api-key", folder, "api-key is a link, or not a regular file of a single name"),
    ("api-key", lambda path: path.chmod(0o640), "api-key must be root's with mode 0400 or 0600"),
    ("api-key", lambda path: os.chown(path, 1234, 0), "api-key must be root's with mode 0400 or 0600"),
    ("api-key", rewrite(b""), "api-key is empty"),
    ("api-key", rewrite(b"x" * 25601), "api-key is longer than 25600 bytes"),
    ("blob", rewrite(b"x" * 25601), "blob is longer than 25600 bytes"),
    ("api-key", rewrite(CANARY.encode() + b"\n"), "api-key ends with a newline"),
    ("api-key", rewrite(CANARY.encode() + b"\xff"), "api-key is not UTF-8 text"),
    ("api-key", rewrite(CANARY.encode() + b"\0"), "api-key has a NUL character"),
]


@pytest.mark.parametrize(("name", "fault", "sentence"), FAULTS, ids=[sentence for *_, sentence in FAULTS])
def test_refuses_a_file(
    directory: Path, catalogue: Catalogue, name: str, fault: Callable[[Path], object], sentence: str
) -> None:
    fault(directory / name)
    with pytest.raises(SourceError) as caught:
        read(directory, catalogue, "refuse")
    assert sentence in str(caught.value)
    assert CANARY not in str(caught.value)
    assert ";" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda path: path.chmod(0o750), "must be root's with mode 0700, and is uid 0's with mode 0750"),
        (lambda path: os.chown(path, 1234, 0), "must be root's with mode 0700, and is uid 1234's"),
        (link, "is missing, a link or no directory"),
        (lambda path: path.rename(path.with_name("away")), "is missing, a link or no directory"),
    ],
)
def test_refuses_a_directory(
    directory: Path, catalogue: Catalogue, fault: Callable[[Path], object], sentence: str
) -> None:
    fault(directory)
    with pytest.raises(SourceError, match=sentence):
        read(directory, catalogue, "refuse")


def test_says_everything_at_once(directory: Path, catalogue: Catalogue) -> None:
    (directory / "api-key").unlink()
    (directory / "blob").write_bytes(b"")
    (directory / "tls").chmod(0o644)
    with pytest.raises(SourceError) as caught:
        read(directory, catalogue, "refuse")
    for sentence in ("api-key is missing", "blob is empty", "tls must be root's"):
        assert sentence in str(caught.value)


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_takes_what_is_right(directory: Path, catalogue: Catalogue, mode: int) -> None:
    (directory / "blob").write_bytes(b"\x00\xff\r\n\n")
    (directory / "tls").write_bytes(b"-----BEGIN\n")
    (directory / "api-key").chmod(mode)
    values, warnings = read(directory, catalogue, "refuse")
    assert values["blob"] == b"\x00\xff\r\n\n"
    assert values["tls"] == b"-----BEGIN\n"  # lines are the form of a certificate
    assert values["api-key"].decode() == f"{CANARY}-api-key"
    assert warnings == []


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_strips_a_newline_where_told_to(directory: Path, catalogue: Catalogue, newline: bytes) -> None:
    (directory / "api-key").write_bytes(b"x" * 25600 + newline)
    (directory / "blob").write_bytes(b"x" + newline)
    values, _ = read(directory, catalogue, "strip")
    assert values["api-key"] == b"x" * 25600
    assert values["blob"] == b"x" + newline


def test_strips_no_more_than_one(directory: Path, catalogue: Catalogue) -> None:
    (directory / "api-key").write_bytes(b"x\n\n")
    with pytest.raises(SourceError, match="ends with several newlines"):
        read(directory, catalogue, "strip")


def test_warns_of_a_file_that_names_no_secret(directory: Path, catalogue: Catalogue) -> None:
    (directory / "api_key").write_text("x")
    assert "api_key" in read(directory, catalogue, "refuse")[1][0]


def test_the_demo_keeps_what_is_held_and_generates_the_rest(data: dict[str, Any]) -> None:
    catalogue = parse(data)
    first = generated(catalogue, {}, "demo")
    assert len(first["blob"].value) == 16
    assert len(first["api-key"].value) == 22
    assert len({held.version for held in first.values()}) == len(first)
    again = generated(catalogue, {name: [held] for name, held in first.items() if name != "blob"}, "demo")
    assert {name for name in first if first[name] == again[name]} == set(first) - {"blob"}


def test_the_demo_needs_to_know_how(data: dict[str, Any]) -> None:
    del data["secrets"][0]["generate"], data["secrets"][2]["generate"]
    with pytest.raises(SourceError) as caught:
        Demo("demo").resolve(parse(data), {}, {})
    assert "secret api-key has no `generate`" in str(caught.value)
    assert "secret blob has no `generate`" in str(caught.value)


def test_no_value_in_a_representation(data: dict[str, Any]) -> None:
    held = fresh(parse(data).secrets["api-key"], CANARY.encode())
    assert CANARY not in repr(held)
