"""The Makefile says in a sentence what it cannot work with, and hands on what it was given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TARGETS = (
    "quickstart",
    "doctor",
    "report",
    "rotate-secret",
    "verify-audit",
    "demo-user",
    "teardown",
    "vault",
    "ensure-secrets",
    "load-secrets",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a finished environment, whose ansible-playbook says what it was given."""
    folder = tmp_path / "checkout"
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements/controller.txt").touch()
    for name in ("inventory", "playbooks"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    for name in ("Makefile", "ansible.cfg"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv/bin").mkdir(parents=True)
    playbook = folder / ".venv/bin/ansible-playbook"
    playbook.write_text('#!/bin/sh\necho "$LC_ALL $ANSIBLE_CONFIG:" "$@"\n')
    playbook.chmod(0o755)
    (folder / ".venv/bin/pip").write_text(f"#!{sys.executable}\n")
    (folder / ".venv/controller").touch()
    folder.chmod(0o755)
    return folder


@pytest.fixture
def nobody(tmp_path: Path) -> str:
    """A PATH for somebody who is not root and has no sudo."""
    folder = tmp_path / "path"
    folder.mkdir()
    for name in ("bash", "cut", "find", "grep", "ls", "make", "sed", "sh", "touch"):
        (folder / name).symlink_to(str(shutil.which(name)))
    (folder / "id").write_text("#!/bin/sh\necho 1000\n")
    (folder / "id").chmod(0o755)
    return str(folder)


def make(checkout: Path, *words: str, **environment: str) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("ENV", "SECRET", "ARGS", "MAKEFLAGS")}
    done = subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=checkout,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_what_it_hands_on(checkout: Path) -> None:
    status, said = make(checkout, "doctor", "ARGS=-v", LC_ALL="C", ANSIBLE_CONFIG="/etc/ansible/ansible.cfg")
    assert status == 0
    assert f"C.UTF-8 {checkout}/ansible.cfg: -i inventory/demo -v playbooks/doctor.yml" in said


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("environment", ["mine", ""])
def test_an_environment_that_is_none(checkout: Path, target: str, environment: str) -> None:
    status, said = make(checkout, target, f"ENV={environment}")
    assert status != 0
    assert f'ENV is "{environment}", which is no folder of inventory/: name one that is (demo production' in said
    assert "playbooks/" not in said


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ((), ""),
        (("SECRET=",), ' -e secrets=""'),
        (("SECRET= ",), ' -e secrets=""'),
        (("SECRET=a,b",), ' -e secrets="a,b"'),
        (("SECRET=a b",), ' -e secrets="a b"'),
    ],
)
def test_only_without_a_name_are_all_secrets_meant(checkout: Path, words: tuple[str, ...], given: str) -> None:
    for target, end in (("rotate-secret", ""), ("rotate-secret-dry", " --check")):
        _, said = make(checkout, target, *words)
        assert said.endswith(f"playbooks/rotate.yml{given}{end}")


def test_what_cannot_be_undone_is_confirmed_by_name(checkout: Path) -> None:
    assert make(checkout, "vault")[1].endswith("playbooks/vault.yml")
    assert make(checkout, "vault", "CONFIRM=my-vault")[1].endswith('playbooks/vault.yml -e confirm="my-vault"')


@pytest.mark.parametrize("name", ["a[b", "a]b", "a*b", "a?b", "a:b", "a'b", 'a"b'])
def test_a_path_that_ansible_or_a_shell_would_take_for_something_else(checkout: Path, name: str) -> None:
    status, said = make(checkout.rename(checkout.with_name(name)), "doctor")
    assert status != 0
    assert f"{name} cannot hold a checkout: move it to one without any of [ ] * ? : ' and \"." in said


@pytest.mark.parametrize("name", ["a b", "a-b_c.d+1", "ä"])
def test_a_path_that_is_no_harm(checkout: Path, name: str) -> None:
    assert make(checkout.rename(checkout.with_name(name)), "doctor")[0] == 0


def test_a_checkout_that_everybody_may_write(checkout: Path) -> None:
    checkout.chmod(0o777)
    status, said = make(checkout, "doctor")
    assert status != 0
    assert (
        "Everybody may write to this checkout, and what it holds runs as root on the hosts: run chmod o-w on it" in said
    )


def test_a_checkout_without_links(checkout: Path) -> None:
    link = checkout / "inventory/demo/group_vars/all/catalogue.yml"
    target = link.readlink()
    link.unlink()
    link.write_text(str(target))
    status, said = make(checkout, "doctor")
    assert status != 0
    assert f"{link.relative_to(checkout)} These are links in the repository, and were checked out as files" in said
    link.write_text("stack_catalogue: {}\n")
    assert make(checkout, "doctor")[0] == 0


def test_a_user_without_sudo(checkout: Path, nobody: str) -> None:
    status, said = make(checkout, "doctor", PATH=nobody)
    assert status != 0
    assert "demo deploys to this machine, and needs root here: install the package sudo, or run make as root." in said
    status, said = make(checkout, "doctor", "ENV=production", PATH=nobody)
    assert status == 0
    assert "-i inventory/production playbooks/doctor.yml" in said


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Path, wrapped: bool) -> None:
    assert "-m venv" not in make(checkout, "--dry-run", "doctor")[1]
    old = "/nowhere/a b/.venv/bin/python3.13"
    first = f"#!{old}" if not wrapped else f"#!/bin/sh\n'''exec' \"{old}\" \"$0\" \"$@\"\n' '''"
    (checkout / ".venv/bin/pip").write_text(f"{first}\nimport sys\n")
    assert "-m venv --clear .venv" in make(checkout, "--dry-run", "doctor")[1]


@pytest.mark.parametrize(("version", "found"), [("3.11", "Python 3.11"), ("3.15", "Python 3.15"), (None, "none")])
def test_a_python_that_does_not_do(checkout: Path, version: str | None, found: str) -> None:
    (checkout / ".venv/controller").unlink()
    python = checkout / "python"
    if version:
        python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version} || exit 1\n')
        python.chmod(0o755)
    status, said = make(checkout, "doctor", f"PYTHON={python}")
    assert status != 0
    assert f"Coffre needs Python 3.12 to 3.14, and {python} is {found}." in said
    assert "Debian 12 has no such package: make one by pyenv (pyenv install 3.13) or uv" in said
