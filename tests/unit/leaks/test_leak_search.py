"""The leak search: every encoding, every place, and nothing where there is nothing."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path

import leak_search
import pytest

from ansible_collections.coffre.stack.plugins.module_utils.scan import leaks

VALUE = b"kP3-vXq8_ZtW0aLr5NcYd2HsGf7JmBu9EoIi1TxQwRe"
ODD = b'pass/word+with "quotes" & \xc3\xa9\\n'
BINARY = bytes(range(200, 240))

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda value: value,
    "base64": lambda value: base64.b64encode(b"" + value + b"ab"),
    "base64 at 1": lambda value: base64.b64encode(b"x" + value + b"z"),
    "base64 at 2": lambda value: base64.b64encode(b"xy" + value),
    "base64url at 1": lambda value: base64.urlsafe_b64encode(b"x" + value + b"z"),
    "base64 in lines": lambda value: base64.encodebytes(b"some text that goes before" + value + b"and after" * 20),
    "hex": lambda value: value.hex().encode(),
    "HEX": lambda value: value.hex().upper().encode(),
    "url": lambda value: urllib.parse.quote(value, safe="").encode(),
}


def finder(**values: bytes) -> leaks.Finder:
    return leaks.Finder(leak_search.parts(values.items()))


def searched(data: bytes, **values: bytes) -> set[str]:
    result = leak_search.Result()
    leak_search.search_stream(io.BytesIO(data), "here", finder(**values), result)
    assert not result.unread
    return {f"{found.secret} {found.where}" for found in result.findings}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("value", [VALUE, ODD, BINARY], ids=["text", "odd", "binary"])
def test_every_encoding_is_found(encoder: Callable[[bytes], bytes], value: bytes) -> None:
    assert searched(b"\0noise " + encoder(value) + b" noise\n", mine=value, other=b"not in there at all") == {
        "mine here"
    }


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_is_found(ascii_only: bool) -> None:
    text = json.dumps({"msg": ODD.decode()}, ensure_ascii=ascii_only).encode()
    assert searched(text, mine=ODD) == {"mine here"}


@pytest.mark.parametrize("block", [1, 7, leak_search.BLOCK])
def test_a_value_across_blocks_is_found(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak_search, "BLOCK", max(block, 512))
    for start in range(480, 520, 3):
        assert searched(b"." * start + VALUE + b"." * 600, mine=VALUE) == {"mine here"}
    start = leak_search.BLOCK - 20
    assert searched(b"\n" * start + VALUE.hex().encode(), mine=VALUE) == {"mine here"}


def test_a_value_cut_short_is_found() -> None:
    assert searched(b"msg: " + VALUE[:30] + b"...", mine=VALUE) == {"mine here"}


def test_near_misses_are_not_found() -> None:
    wrong = VALUE[:23] + b"?" + VALUE[24:-24] + b"?" + VALUE[-23:]
    assert searched(wrong + b"\n" + VALUE[:20] + b"\n" + VALUE[-20:], mine=VALUE) == set()
    assert searched(os.urandom(1 << 20) + base64.b64encode(os.urandom(1 << 20)), mine=VALUE, other=BINARY) == set()


def tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


NOISE = b"words " * 500
PACKED = {
    "gz": (gzip.compress(NOISE + VALUE), "mine here!"),
    "bz2": (bz2.compress(NOISE + VALUE), "mine here!"),
    "xz": (lzma.compress(NOISE + VALUE), "mine here!"),
    "zip": (zipped("a/b", NOISE + VALUE), "mine here!a/b"),
    "tar.gz": (gzip.compress(tar("a/b", NOISE + VALUE)), "mine here!!a/b"),
    "jar in tar.gz": (gzip.compress(tar("app.jar", zipped("x.class", NOISE + VALUE))), "mine here!!app.jar!x.class"),
    "gz in tar in gz": (gzip.compress(tar("log.gz", gzip.compress(NOISE + VALUE))), "mine here!!log.gz!"),
}


@pytest.mark.parametrize("kind", PACKED)
def test_archives_are_opened(kind: str) -> None:
    data, found = PACKED[kind]
    assert VALUE not in data
    assert found in searched(data, mine=VALUE)
    assert searched(data, mine=b"something quite different") == set()


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs the program zstd")
def test_zstd_is_opened() -> None:
    done = subprocess.run(["zstd", "-qc"], input=NOISE * 1000 + VALUE, stdout=subprocess.PIPE, check=True)
    assert "mine here!" in searched(done.stdout, mine=VALUE)


def test_what_only_looks_like_an_archive_is_searched_as_it_is() -> None:
    for head in (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", bytes(257) + b"ustar"):
        assert searched(head + NOISE + VALUE, mine=VALUE) == {"mine here"}
    assert searched(PACKED["gz"][0][:-4], mine=VALUE) == {"mine here!"}


def test_bounds_are_reported_and_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    data = NOISE
    for _ in range(leak_search.DEEPEST + 1):
        data = gzip.compress(data)
    result = leak_search.Result()
    leak_search.search_stream(io.BytesIO(data), "deep", finder(mine=VALUE), result)
    assert result.unread == [f"deep{'!' * leak_search.DEEPEST}: archives nested more than {leak_search.DEEPEST} deep"]

    monkeypatch.setattr(leak_search, "BOMB", 1000)
    result = leak_search.Result()
    leak_search.search_stream(io.BytesIO(gzip.compress(NOISE)), "bomb", finder(mine=VALUE), result)
    assert result.unread == ["bomb: ValueError in the archive"]


def pem(label: str, lines: list[bytes]) -> bytes:
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label.encode(), b"\n".join(lines), label.encode())


def test_of_pem_only_the_private_keys_lines_count() -> None:
    key = [base64.b64encode(os.urandom(48)) for _ in range(3)]
    certificate = [base64.b64encode(os.urandom(48)) for _ in range(4)]
    both = pem("PRIVATE KEY", key) + pem("CERTIFICATE", certificate)
    assert searched(pem("CERTIFICATE", certificate), tls=both) == set()
    assert searched(key[2], tls=both) == set()
    assert searched(json.dumps({"key": both.decode()}).encode(), tls=both) == {"tls here"}
    assert searched(base64.b64encode(both), tls=both) == {"tls here"}
    assert searched(key[1], tls=both) == {"tls here"}


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    folder = tmp_path / "bundles"
    for service, bundle, name, content in [
        ("app", "0123456789ab", "flask-secret-key", VALUE),
        ("keycloak", "ba9876543210", "keycloak.conf", b"db-username=a-name-long-enough\ndb-password=" + ODD + b"\n"),
    ]:
        (folder / service / bundle).mkdir(parents=True)
        (folder / service / bundle / name).write_bytes(content)
    return folder


# As on a host: leaks.py is found, and nothing of the collection.
ENVIRONMENT = {"PYTHONPATH": str(Path(leaks.__file__).parent), "PATH": os.environ["PATH"]}


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, leak_search.__file__, *arguments],
        input=stdin,
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert not done.stderr or done.returncode == 2, done.stderr
    output = done.stdout + done.stderr
    for value in (VALUE, ODD):
        assert value not in output
    return done.returncode, output.decode().splitlines()


def test_a_clean_tree_and_a_dirty_one(bundles: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (disk / "deep" / "er").mkdir(parents=True)
    (disk / "clean.log").write_bytes(NOISE + b"a-name-long-enough")
    (disk / "absent").symlink_to("nowhere")
    os.mkfifo(disk / "pipe")
    code, lines = run("--bundles", str(bundles), str(disk))
    assert (code, len(lines)) == (0, 1) and lines[0].endswith("for 2 secrets: 0 leaks, 0 permitted, 0 unread")

    (disk / "deep" / "er" / "a.log").write_bytes(NOISE + ODD)
    (disk / "deep" / VALUE.decode()).touch()
    code, lines = run("--bundles", str(bundles), str(disk))
    assert code == 1
    assert lines[:-1] == [
        f"LEAK app/flask-secret-key (name) in {disk}/deep/(a value)",
        f"LEAK keycloak/keycloak.conf:db-password (raw) in {disk}/deep/er/a.log",
    ]


def test_permitted_places_are_of_a_path_and_a_secret(bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(VALUE)
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"secret": "app/flask-*", "where": f"{tmp_path}/db", "why": "it lives there"}]))
    code, lines = run("--bundles", str(bundles), "--permitted", str(rules), str(tmp_path / "db"))
    assert code == 0 and "0 leaks, 1 permitted" in lines[-1]
    (tmp_path / "db").write_bytes(ODD)
    assert run("--bundles", str(bundles), "--permitted", str(rules), str(tmp_path / "db"))[0] == 1


def test_standard_input_and_listed_values(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(BINARY)
    (tmp_path / "list").write_bytes(f"one={tmp_path}/one\0".encode())
    assert run("--values", str(tmp_path / "list"), "--stdin", "output", stdin=b"ok: [host]\n")[0] == 0
    code, lines = run("--values", str(tmp_path / "list"), "--stdin", "output", stdin=b"x" + base64.b64encode(BINARY))
    assert code == 1 and lines[0] == "LEAK one (base64) in output"


def test_short_and_missing_values_are_refused(tmp_path: Path) -> None:
    (tmp_path / "app" / "b").mkdir(parents=True)
    assert run("--bundles", str(tmp_path), "--stdin", "x")[0] == 2
    (tmp_path / "app" / "b" / "pin").write_bytes(b"1234567890\n")
    code, lines = run("--bundles", str(tmp_path), "--stdin", "x")
    assert code == 2 and lines == ["leak_search: app/pin is shorter than 12 bytes and cannot be searched for"]


HOLDERS = {
    "environ": ("import time; time.sleep(60)", []),
    "cmdline": ("import time; time.sleep(60)", [VALUE.decode()]),
    "(deleted)": (
        "import os, sys, time; f = open(sys.argv[1] + '/gone', 'w+b');"
        "f.write(open(sys.argv[1] + '/bundles/app/0123456789ab/flask-secret-key', 'rb').read()); f.flush();"
        "os.unlink(f.name); print(flush=True); time.sleep(60)",
        ["folder"],
    ),
}


@pytest.mark.parametrize("kind", HOLDERS)
@pytest.mark.usefixtures("bundles")
def test_processes_are_searched(kind: str, tmp_path: Path) -> None:
    program, arguments = HOLDERS[kind]
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True);" * (kind != "(deleted)") + program]
        + [str(tmp_path) if argument == "folder" else argument for argument in arguments],
        env={"SECRET_KEY": VALUE.decode()} if kind == "environ" else {},
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout and child.stdout.readline()
        result = leak_search.Result()
        leak_search.search(leak_search.processes(result.unread), finder(mine=VALUE), result)
        packed = io.BytesIO()
        leak_search.pack(leak_search.processes([]), packed)
    finally:
        child.kill()
        child.communicate()
    mine = [found for found in result.findings if f"/{child.pid}/" in found.where]
    assert len(mine) == 1 and kind in mine[0].where
    assert not [found for found in result.findings if f"/{child.pid}/" not in found.where]
    assert [
        where for where in searched(packed.getvalue(), mine=VALUE) if f"proc/{child.pid}/" in where and kind in where
    ]


def test_a_recorder_sees_processes_that_come_and_go(tmp_path: Path) -> None:
    recorder = subprocess.Popen(
        [sys.executable, leak_search.__file__, "--record", str(tmp_path / "seen")], env=ENVIRONMENT
    )
    try:
        while not (tmp_path / "seen").is_dir():
            assert recorder.poll() is None
            time.sleep(0.05)
        time.sleep(1)  # by then it has told those that were there from the new ones
        subprocess.run(["sleep", "1", "0"], env={"SECRET_KEY": VALUE.decode()}, check=True)
    finally:
        recorder.terminate()
        recorder.wait()
    result = leak_search.Result()
    leak_search.search(leak_search.walk([str(tmp_path)], 0, result.unread), finder(mine=VALUE), result)
    assert result.findings and all(".environ." in found.where for found in result.findings)
    assert [path for path in (tmp_path / "seen").glob("*.cmdline.*.sleep") if b"1\x000\0" in path.read_bytes()]


def test_a_packed_tree_and_one_since(bundles: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "a.log").write_bytes(NOISE + ODD)
    (disk / "link").symlink_to(VALUE.decode())
    packed = tmp_path / "packed"
    with packed.open("wb") as output:
        leak_search.pack(leak_search.walk([str(disk)], 0, []), output)
    code, lines = run("--bundles", str(bundles), "--stdin", "there", stdin=packed.read_bytes())
    assert code == 1
    assert lines[0].startswith("LEAK app/flask-secret-key (name) in there!") and lines[0].endswith("disk/link")
    assert lines[-2].endswith("disk/a.log")
    (disk / "link").unlink()
    assert run("--bundles", str(bundles), "--since", str(time.time() + 9), str(disk))[0] == 0
    assert run("--bundles", str(bundles), "--since", str(time.time() - 9), str(disk))[0] == 1
