"""Seals, tmpfs, state, paths and outcomes: what the core asks of a host."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import resource
import subprocess
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CatalogueError, CoffreError, SealError
from ansible_collections.coffre.stack.plugins.module_utils.host import files, seals, state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import guard
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths

CANARY = "canary-90be"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@as_root
def test_a_seal_opens_under_its_name_only(tmp_path: Path) -> None:
    path = tmp_path / "a.cred"
    data = CANARY.encode() + b"\x00\n" * 1000
    seals.seal(path, "demo.app.1", data, "host")
    assert seals.unseal(path, "demo.app.1") == data
    assert CANARY.encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert seals.binding(path) == "host"
    with pytest.raises(SealError):
        seals.unseal(path, "demo.app.2")


@as_root
@pytest.mark.parametrize("content", [b"", b"text", b"AAAA" * 100])
def test_what_is_no_seal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.cred"
    path.write_bytes(content)
    assert seals.binding(path) == "unknown"
    with pytest.raises(SealError, match="cannot be opened"):
        seals.unseal(path, "a")
    path.unlink()
    assert seals.binding(path) == "unknown"
    with pytest.raises(SealError, match="is missing"):
        seals.unseal(path, "a")


def test_too_much_for_a_seal(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="larger than 1048576 bytes"):
        seals.seal(tmp_path / "a", "a", b"x" * (seals.LIMIT + 1))


@pytest.mark.parametrize(
    ("tpm", "choice", "options"),
    [
        (False, "auto", ["--with-key=host"]),
        (True, "auto", ["--with-key=host+tpm2", "--tpm2-pcrs="]),
        (True, "host", ["--with-key=host"]),
        (True, "tpm2", ["--with-key=host+tpm2", "--tpm2-pcrs="]),
    ],
)
def test_the_key_of_a_seal(monkeypatch: pytest.MonkeyPatch, tpm: bool, choice: str, options: list[str]) -> None:
    monkeypatch.setattr(seals, "has_tpm2", lambda: tpm)
    assert seals.key(choice) == options


def test_no_tpm_where_one_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "has_tpm2", lambda: False)
    with pytest.raises(SealError, match="stack_secrets_seal_key"):
        seals.key("tpm2")


def test_no_systemd_creds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SealError, match="install the package systemd"):
        seals.seal(tmp_path / "a", "a", b"", "host")


@as_root
def test_a_tmpfs_is_mounted_once(tmp_path: Path) -> None:
    root = tmp_path / "run"
    try:
        assert tmpfs.options(root) is None
        assert tmpfs.ensure(root)
        assert not tmpfs.ensure(root)
        options = tmpfs.options(root)
        assert options
        assert {"nosuid", "nodev", "noexec", "mode=700"} <= options
        assert ("noswap" in options) == tmpfs.kernel_has_noswap()
        assert root.stat().st_mode & 0o777 == 0o700
    finally:
        subprocess.run(["umount", str(root)], check=False)


SWAPS = "Filename Type Size Used Priority\n"


def block(sysfs: Path, name: str, *, uuid: str = "", slaves: tuple[str, ...] = ()) -> None:
    folder = sysfs / "class/block" / name
    (folder / "slaves").mkdir(parents=True)
    for slave in slaves:
        (folder / "slaves" / slave).touch()
    if uuid:
        (folder / "dm").mkdir()
        (folder / "dm" / "uuid").write_text(uuid)


@pytest.mark.parametrize(
    ("area", "clear"),
    [("plain", True), ("crypt", False), ("lvm-on-crypt", False), ("lvm-on-plain", True), ("zram0", False)],
)
def test_which_swap_is_in_the_clear(tmp_path: Path, area: str, clear: bool) -> None:
    block(tmp_path, "plain")
    block(tmp_path, "crypt", uuid="CRYPT-LUKS2-1", slaves=("plain",))
    block(tmp_path, "lvm-on-crypt", uuid="LVM-1", slaves=("crypt",))
    block(tmp_path, "lvm-on-plain", uuid="LVM-1", slaves=("plain",))
    block(tmp_path, "zram0")
    swaps = tmp_path / "swaps"
    swaps.write_text(f"{SWAPS}/dev/{area} partition 1 0 -2\n")
    assert tmpfs.swaps_in_clear(swaps, tmp_path) == ([f"/dev/{area}"] if clear else [])


def test_a_swap_file_is_as_safe_as_its_disk(tmp_path: Path) -> None:
    block(tmp_path, "crypt", uuid="CRYPT-LUKS2-1")
    number = tmp_path.stat().st_dev
    link = tmp_path / "dev/block" / f"{os.major(number)}:{os.minor(number)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "class/block/crypt")
    (tmp_path / "file").touch()
    swaps = tmp_path / "swaps"
    swaps.write_text(f"{SWAPS}{tmp_path}/file file 1 0 -2\n")
    assert tmpfs.swaps_in_clear(swaps, tmp_path) == []
    link.unlink()
    assert tmpfs.swaps_in_clear(swaps, tmp_path) == [f"{tmp_path}/file"]


@pytest.mark.parametrize(
    ("options", "kernel", "exposed"),
    [({"noswap"}, False, False), ({"rw"}, True, True), (None, True, False), (None, False, True)],
)
def test_exposure(monkeypatch: pytest.MonkeyPatch, options: set[str] | None, kernel: bool, exposed: bool) -> None:
    monkeypatch.setattr(tmpfs, "options", lambda _: options)
    monkeypatch.setattr(tmpfs, "kernel_has_noswap", lambda: kernel)
    monkeypatch.setattr(tmpfs, "swaps_in_clear", lambda: ["/dev/sda2"])
    assert bool(tmpfs.exposure(Path("/run/coffre"))) == exposed


@pytest.mark.parametrize(
    ("release", "has"),
    [("6.1.0-30-amd64", False), ("6.3-rc9", False), ("6.4.0", True), ("6.12.48+deb13-amd64", True), ("7.0-rc1", True)],
)
def test_the_kernels_that_have_noswap(monkeypatch: pytest.MonkeyPatch, release: str, has: bool) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "")))
    assert tmpfs.kernel_has_noswap() == has


def test_the_state_survives_a_round_trip(tmp_path: Path) -> None:
    paths = StackPaths("demo", tmp_path / "run", tmp_path / "lib")
    assert state.load(paths) == state.State("demo")
    bundle = state.Bundle({"a.conf": ["a", "b"]}, {"a": "1", "b": "2"}, state.now(), 60611, 60611, True)
    secret = state.Version("1", state.now(), {"role": "x"}, state.moment(0))
    st = state.State("demo", {"a": secret}, {"app": state.ServiceState(None, "n")}, vault={"pages": 2})
    st.services["app"].bundles["n"] = bundle
    with state.locked(paths):
        state.save(paths, st)
    assert state.load(paths) == st
    assert set(json.loads(paths.state.read_text())) == {"format", "stack", "secrets", "services", "run", "vault"}
    assert paths.state.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in paths.lib.iterdir() if path.name.startswith(".")] == []


def hold(paths: StackPaths, held: multiprocessing.synchronize.Event, free: multiprocessing.synchronize.Event) -> None:
    with state.locked(paths):
        held.set()
        free.wait(10)


def test_the_lock_excludes_another_run(tmp_path: Path) -> None:
    paths = StackPaths("demo", tmp_path / "run", tmp_path / "lib")
    context = multiprocessing.get_context("fork")
    held, free = context.Event(), context.Event()
    other = context.Process(target=hold, args=(paths, held, free))
    other.start()
    assert held.wait(10)
    with pytest.raises(CoffreError, match="Another run has been working on stack demo"), state.locked(paths, 0.1):
        pass
    free.set()
    with state.locked(paths, 10):
        pass
    other.join()


@pytest.mark.parametrize("name", ["", "Demo", "../x", "1a", "a" * 41, "a/b", "a b"])
def test_a_stack_name_that_is_none(name: str) -> None:
    with pytest.raises(CatalogueError, match="is ill-formed"):
        StackPaths(name)


def test_a_write_replaces_a_planted_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / ".file.new").symlink_to(target)
    files.write(tmp_path / "file", b"x", 0o600)
    assert not target.exists()
    assert (tmp_path / "file").read_bytes() == b"x"


def quote() -> dict[str, str]:
    logging.getLogger("library").error("%s", CANARY)
    raise ValueError(CANARY)


def chain() -> dict[str, str]:
    try:
        return quote()
    except ValueError as error:
        raise KeyError(CANARY) from error


def leave() -> dict[str, str]:
    raise SystemExit(CANARY)


@pytest.mark.parametrize(("work", "kind"), [(quote, "ValueError"), (chain, "KeyError"), (leave, "SystemExit")])
def test_an_outcome_never_quotes(work: object, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    result, problem = guard(work)  # type: ignore[arg-type]
    assert result is None
    assert problem
    assert problem.startswith(f"internal error in {work.__name__}: {kind} at test_host.py:")  # type: ignore[attr-defined]
    captured = capfd.readouterr()
    assert CANARY not in problem + captured.out + captured.err


def test_an_outcome_tells_what_the_system_says_of_a_full_disk() -> None:
    def write() -> dict[str, str]:
        raise OSError(errno.ENOSPC, CANARY, CANARY)

    problem = guard(write)[1] or ""
    assert problem.startswith("internal error in write: OSError (No space left on device) at test_host.py:")
    assert CANARY not in problem


def test_an_outcome_tells_a_sentence_of_ours() -> None:
    def refuse() -> dict[str, str]:
        raise CoffreError("It is full; nothing was changed: empty it.")

    assert guard(refuse) == (None, "It is full; nothing was changed: empty it.")
    assert guard(lambda: {"changed": True}) == ({"changed": True}, None)


def test_work_leaves_no_core_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(resource, "setrlimit", lambda *limits: asked.append(limits))
    assert guard(lambda: {"limits": list(asked)}) == ({"limits": [(resource.RLIMIT_CORE, (0, 0))]}, None)


def test_a_tpm_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "systemd-creds"
    command.write_text("#!/bin/sh\nexec sleep 60\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(seals, "SECONDS", 0.2)
    with pytest.raises(CoffreError, match="`systemd-creds encrypt` did not end within 0 s; nothing that was staged"):
        seals.seal(tmp_path / "copy", "name", b"canary", "host")
    assert not (tmp_path / "copy").exists()
    (tmp_path / "sealed").touch()
    with pytest.raises(CoffreError, match="`systemd-creds decrypt` did not end") as failure:
        seals.unseal(tmp_path / "sealed", "name")
    assert not isinstance(failure.value, SealError)  # which staging takes for a damaged copy
