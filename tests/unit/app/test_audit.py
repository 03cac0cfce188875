"""The chain holds across writers, and verification sees each way to falsify it."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.audit import AuditError, AuditLog, Head, verify

KEY = b"canary-audit-key"
OTHER = b"canary-other-key"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A chain of four records."""
    path = tmp_path / "audit.jsonl"
    for number in range(4):
        AuditLog(path, KEY).append("test", {"secret": f"secret-{number}"})
    return path


def test_chain(path: Path) -> None:
    head = verify(path, [KEY])
    assert head.seq == 4
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["previous"] for record in records] == ["", *(record["mac"] for record in records[:-1])]
    assert records[-1]["mac"] == head.mac
    assert KEY.decode() not in path.read_text() + repr(AuditLog(path, KEY))
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_writer_signs_with_its_own_key(path: Path) -> None:
    head = AuditLog(path, OTHER).append("test", {})
    AuditLog(path, KEY).append("test", {})
    assert verify(path, [KEY, OTHER], [head]).seq == 6
    with pytest.raises(AuditError, match=r"Record 5 .* unknown key"):
        verify(path, [KEY])


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
    assert verify(path, [OTHER, KEY]).seq == 80


@pytest.mark.parametrize(
    ("falsify", "sentence"),
    [
        pytest.param(lambda lines: lines[1:], "Record 1 .* does not follow", id="first deleted"),
        pytest.param(lambda lines: [*lines[:1], *lines[2:]], "Record 2 .* does not follow", id="deleted"),
        pytest.param(lambda lines: [lines[0], lines[2], lines[1], lines[3]], "Record 2 .* does not", id="reordered"),
        pytest.param(lambda lines: [*lines, lines[3]], "Record 5 .* does not follow", id="repeated"),
        pytest.param(
            lambda lines: [lines[0].replace(b"secret-0", b"secret-9"), *lines[1:]], "Record 1 .* changed", id="changed"
        ),
        pytest.param(lambda lines: [lines[0].replace(b":", b": ", 1), *lines[1:]], "Line 1 .* whole", id="reformatted"),
        pytest.param(lambda lines: [*lines, b"\n"], "Line 5 .* whole", id="empty line"),
        pytest.param(lambda lines: [*lines[:3], lines[3][:-9]], "Line 4 .* whole", id="torn"),
        pytest.param(lambda lines: [*lines[:3], b"[" * 60000], "Line 4 .* whole", id="deep"),
        pytest.param(lambda lines: lines[:3], "ends at record 3, before the kept head 4", id="cut off"),
        pytest.param(lambda _: [], "ends at record 0, before the kept head 4", id="emptied"),
    ],
)
def test_falsified(path: Path, falsify: Callable[[list[bytes]], list[bytes]], sentence: str) -> None:
    head = verify(path, [KEY])
    path.write_bytes(b"".join(falsify(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(AuditError, match=sentence):
        verify(path, [KEY], [head])


def test_rewritten_with_the_key_is_seen_by_a_kept_head(path: Path) -> None:
    heads = [Head(2, json.loads(path.read_text().splitlines()[1])["mac"])]
    verify(path, [KEY], heads)
    path.unlink()
    for _ in range(4):
        AuditLog(path, KEY).append("test", {"secret": "forged"})
    with pytest.raises(AuditError, match=r"Record 2 .* kept"):
        verify(path, [KEY], heads)


@pytest.mark.parametrize("torn", [b'{"event":"te', b"\0" * 512], ids=["half", "zeros"])
def test_torn_last_record_is_mended_and_told(path: Path, torn: bytes) -> None:
    with path.open("ab") as file:
        file.write(torn)
    assert AuditLog(path, KEY).append("test", {}).seq == 6
    verify(path, [KEY])
    mended = json.loads(path.read_text().splitlines()[4])
    assert (mended["event"], mended["torn_bytes"]) == ("audit-mended", len(torn))


def test_torn_first_record(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"ev')
    AuditLog(path, KEY).append("test", {})
    assert verify(path, [KEY]).seq == 2


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
    with pytest.raises(AuditError, match="cannot be read"):
        verify(tmp_path / "none", [KEY])
