"""The app's chain holds across writers and crashes; whether it holds is asked of the host's verification."""

import json
import os
import threading
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.audit.trail import verify
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from app.audit import AuditError, AuditLog

KEY = b"canary-audit-key"
OTHER = b"canary-other-key"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A chain of four records."""
    path = tmp_path / "audit.jsonl"
    for number in range(4):
        AuditLog(path, KEY).append("test", {"secret": f"secret-{number}"})
    return path


def seq(path: Path, *keys: bytes) -> int:
    """The number of the last record of a chain that is in order."""
    head = verify(path, {f"v{number}": key for number, key in enumerate(keys)}).head
    return head.seq if head else 0


def test_chain(path: Path) -> None:
    told = AuditLog(path, KEY).append("test", {})
    head = verify(path, {"v": KEY}).head
    assert head and (head.seq, head.digest) == (told.seq, told.digest)
    assert KEY.decode() not in path.read_text() + repr(AuditLog(path, KEY))
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_writer_signs_with_its_own_key(path: Path) -> None:
    AuditLog(path, OTHER).append("test", {})
    AuditLog(path, KEY).append("test", {})
    assert seq(path, KEY, OTHER) == 6
    assert seq(path, KEY) == 6, "the last record vouches for the one before it"
    with pytest.raises(CoffreError, match=r"Record 6 .* signed with a key that this host does not hold"):
        verify(path, {"v": OTHER})


def test_writers_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    start = threading.Barrier(8)

    def write(key: bytes) -> None:
        start.wait()
        for _ in range(10):
            AuditLog(path, key).append("test", {})

    threads = [threading.Thread(target=write, args=([KEY, OTHER][number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seq(path, OTHER, KEY) == 80


@pytest.mark.parametrize("torn", [b'{"event":"te', b"\0" * 512], ids=["half", "zeros"])
def test_torn_last_record_is_mended_and_told(path: Path, torn: bytes) -> None:
    with path.open("ab") as file:
        file.write(torn)
    assert AuditLog(path, KEY).append("test", {}).seq == seq(path, KEY) == 6
    repaired = json.loads(path.read_text().splitlines()[4])
    assert (repaired["event"], repaired["torn_bytes"]) == ("audit-repaired", len(torn))


def test_torn_first_record(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"ev')
    AuditLog(path, KEY).append("test", {})
    assert seq(path, KEY) == 2


@pytest.mark.parametrize("damage", [b"nonsense\n", b"{}\n", b"x" * 70000])
def test_damaged_last_record_is_left_alone(path: Path, damage: bytes) -> None:
    with path.open("ab") as file:
        file.write(damage)
    before = path.read_bytes()
    with pytest.raises(AuditError, match="damaged"):
        AuditLog(path, KEY).append("test", {})
    assert path.read_bytes() == before


def test_failed_write_leaves_the_chain_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:20]))
    with pytest.raises(AuditError, match="cannot be written"):
        AuditLog(path, KEY).append("test", {})
    assert path.read_bytes() == before


def test_link_is_not_followed(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(AuditError, match="cannot be written"):
        AuditLog(link, KEY).append("test", {})


def test_missing_log(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="cannot be written"):
        AuditLog(tmp_path / "none" / "audit.jsonl", KEY).check()
