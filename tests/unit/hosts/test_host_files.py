"""The files of docker_host: whole or not at all, root's, and written only where they differ."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.modules import host_files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to root")


def test_makes_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "some" / "folder" / "file"
    assert host_files.differs(path, b"text")
    host_files.write(path, b"text")
    assert not host_files.differs(path, b"text")
    assert path.read_bytes() == b"text"
    assert [oct(parent.stat().st_mode & 0o7777) for parent in path.parents[:2]] == ["0o755", "0o755"]
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("damage", ["content", "mode", "owner", "link", "missing"])
def test_mends_what_differs(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "file"
    host_files.write(path, b"text")
    match damage:
        case "content":
            path.write_bytes(b"other")
        case "mode":
            path.chmod(0o666)
        case "owner":
            os.chown(path, 1, 1)
        case "link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        case "missing":
            path.unlink()
    assert host_files.differs(path, b"text")
    host_files.write(path, b"text")
    assert not host_files.differs(path, b"text")


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    host_files.write(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fchmod", fail)
    with pytest.raises(OSError, match="no space"):
        host_files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
