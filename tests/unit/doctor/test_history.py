"""The search of a git repository: whatever it holds, a value in it is found, or it is said what was not searched."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import catalogue
from ansible_collections.coffre.stack.plugins.module_utils.doctor import leaks as doctor_leaks
from ansible_collections.coffre.stack.plugins.module_utils.doctor import target as examined
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.scan import git_history as history

VALUES = {
    "blanks": b"correct horse battery staple, and a pony",
    "edges": b"  a value \t with blanks at both ends  ",
    "lines": b"first line of a value\n\nshort\nand the last line of it\n",
    "bytes": b"\x00\x01binary, but with text in it\xfe\xff\xfe\x00\x01",
    "random": b"kP3-vXq8_ZtW0aLr5NcYd2HsGf7JmBu9EoIi1TxQwRe",
    "long": base64.b64encode(bytes(range(90))),
}
OTHER = {
    "other": b"this value stands nowhere at all",
    "others": b"these lines stand nowhere at all\nfirst line of a value\n",
}


class Repository:
    """A git repository in a folder, and what the doctor says of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init")

    def git(self, *words: str, stdin: bytes = b"") -> str:
        settings = [
            "user.name=t",
            "user.email=t@example.invalid",
            "init.defaultBranch=main",
            "protocol.file.allow=always",
        ]
        options = [word for each in settings for word in ("-c", each)]
        command = ["git", *options, "-C", str(self.folder), *words]
        return subprocess.run(command, check=True, capture_output=True, input=stdin).stdout.decode().strip()

    def commit(self, **contents: bytes) -> None:
        for name, content in contents.items():
            (self.folder / name).write_bytes(content)
        self.git("add", "--all")
        self.git("commit", "--allow-empty", "-m", "another one")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def look(folder: Path, values: dict[str, bytes]) -> tuple[list[str], str]:
    """(the secrets whose values are told, all that the check says) of a doctor's look at a repository."""
    collected = history.collect(folder)
    assert collected
    history.write(folder.parent / "words.gz", collected.words)
    found = examined.History(folder.parent / "words.gz", (), "clean", tuple(collected.unsearched))
    target = examined.Target(StackPaths("demo", folder, folder), catalogue.Catalogue({}, {}), (), None, found)
    target.__dict__["values"] = values
    try:
        said = doctor_leaks.git_history(target)
    except CoffreError as error:
        said = str(error)
    return [name for name in values if f"the value of {name} stands in it" in said], said


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_found_whatever_it_is_made_of(name: str, repository: Repository) -> None:
    repository.commit(clean=b"first line of a value, and: battery staple, and a pony\n" + os.urandom(1 << 16))
    found, said = look(repository.folder, VALUES | OTHER)
    assert (found, said) == ([], "clean")
    repository.commit(settings=b"password: '" + VALUES[name] + b"'\n")
    assert look(repository.folder, VALUES | OTHER)[0] == [name]


WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "json": lambda value: json.dumps({"password": value.decode("latin-1")}).encode(),
    "base64": lambda value: b"data: " + base64.b64encode(value),
    "base64 in lines": lambda value: base64.encodebytes(b"a text that goes before " * 3 + value + b" and after" * 9),
    "hex": lambda value: value.hex().encode(),
    "utf-16": lambda value: ("set x=" + value.decode("latin-1")).encode("utf-16"),
    "crlf": lambda value: b"a\r\n" + value + b"\r\nb\r\n",
}


@pytest.mark.parametrize("encoding", WRITTEN)
@pytest.mark.parametrize("name", ["blanks", "random", "long"])
def test_a_value_is_found_however_it_is_written(name: str, encoding: str, repository: Repository) -> None:
    repository.commit(settings=WRITTEN[encoding](VALUES[name]))
    assert look(repository.folder, VALUES | OTHER)[0] == [name]


def in_a_message(repository: Repository, value: str) -> None:
    repository.git("commit", "--allow-empty", "-m", f"Use {value} for now")


def in_a_tags_message(repository: Repository, value: str) -> None:
    repository.git("tag", "--annotate", "v1", "-m", f"with {value}")


def in_a_files_name(repository: Repository, value: str) -> None:
    repository.commit(**{value: b""})
    repository.git("rm", value)
    repository.commit()


def in_a_branchs_name(repository: Repository, value: str) -> None:
    repository.git("branch", value.replace(" ", "-"))


def in_a_stash(repository: Repository, value: str) -> None:
    (repository.folder / "readme").write_text(value)
    repository.git("stash")


def in_the_index(repository: Repository, value: str) -> None:
    (repository.folder / "staged").write_text(value)
    repository.git("add", "staged")


def in_a_reflog(repository: Repository, value: str) -> None:
    repository.git(
        "update-ref", "-m", f"reset to {value}", "refs/heads/main", repository.git("commit-tree", "HEAD^{tree}")
    )


def in_the_settings(repository: Repository, value: str) -> None:
    repository.git("remote", "add", "origin", f"https://user:{value}@git.example.invalid/x")


def in_a_note(repository: Repository, value: str) -> None:
    repository.git("notes", "add", "-m", value)


def in_what_was_reset(repository: Repository, value: str) -> None:
    repository.commit(leak=value.encode())
    repository.git("reset", "--hard", "HEAD^")


def in_what_was_replaced(repository: Repository, value: str) -> None:
    leak = repository.git("hash-object", "-w", "--stdin", stdin=value.encode())
    repository.git("replace", leak, repository.git("hash-object", "-w", "--stdin", stdin=b"something else"))


def in_a_worktree(repository: Repository, value: str) -> None:
    repository.git("worktree", "add", "--detach", f"{repository.folder}/tree")
    (repository.folder / "tree" / "staged").write_text(value)
    repository.git("-C", "tree", "add", "staged")


def in_lfs(repository: Repository, value: str) -> None:
    digest = "ab" * 32
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 1\n"
    folder = repository.folder / ".git" / "lfs" / "objects" / "ab" / "ab"
    folder.mkdir(parents=True)
    (folder / digest).write_text(value)
    repository.commit(large=pointer.encode())


PLACES = [
    in_a_message,
    in_a_tags_message,
    in_a_files_name,
    in_a_branchs_name,
    in_a_stash,
    in_the_index,
    in_a_reflog,
    in_the_settings,
    in_a_note,
    in_what_was_reset,
    in_what_was_replaced,
    in_a_worktree,
    in_lfs,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_a_value_is_found_wherever_git_keeps_it(
    place: Callable[[Repository, str], Any], repository: Repository
) -> None:
    repository.commit(readme=b"nothing")
    value = VALUES["random"] if place in (in_a_branchs_name, in_the_settings) else VALUES["blanks"]
    values = {"mine": value, **OTHER}
    assert look(repository.folder, values) == ([], "clean")
    place(repository, value.decode())
    assert look(repository.folder, values)[0] == ["mine"]


def test_a_linked_worktree_has_the_history_of_all(repository: Repository, tmp_path: Path) -> None:
    repository.commit(leak=VALUES["blanks"])
    repository.git("worktree", "add", "--detach", f"{tmp_path}/tree")
    assert look(tmp_path / "tree", VALUES)[0] == ["blanks"]


def clone(repository: Repository, tmp_path: Path, *options: str) -> Path:
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.git("clone", "--quiet", *options, f"file://{repository.folder}", f"{tmp_path}/clone")
    return tmp_path / "clone"


def shallow(repository: Repository, tmp_path: Path) -> Path:
    return clone(repository, tmp_path, "--depth", "1")


def partial(repository: Repository, tmp_path: Path) -> Path:
    return clone(repository, tmp_path, "--filter=blob:none", "--no-checkout")


def with_a_submodule(repository: Repository, tmp_path: Path) -> Path:
    other = Repository(tmp_path / "other")
    other.commit(readme=b"another")
    repository.git("submodule", "add", str(other.folder), "sub")
    repository.commit()
    return repository.folder


def without_lfs(repository: Repository, tmp_path: Path) -> Path:
    in_lfs(repository, "x")
    return clone(repository, tmp_path)


def with_a_large_object(repository: Repository, _: Path) -> Path:
    repository.commit(large=b"large " * 2000, small=VALUES["random"])
    return repository.folder


def moved(repository: Repository, tmp_path: Path) -> Path:
    repository.git("worktree", "add", "--detach", f"{tmp_path}/tree")
    repository.folder.rename(tmp_path / "elsewhere")
    return tmp_path / "tree"


def of_another_format(repository: Repository, _: Path) -> Path:
    (repository.folder / ".git" / "config").write_text("[core]\n\trepositoryformatversion = 99\n")
    return repository.folder


def without_git(repository: Repository, tmp_path: Path) -> Path:
    os.environ["PATH"] = str(tmp_path)
    return repository.folder


GAPS = [
    (shallow, "not searched: what lies before this shallow clone: `git fetch --unshallow` fetches it"),
    (partial, "not searched: what this partial clone left out"),
    (with_a_submodule, "not searched: its submodules, which have histories of their own"),
    (without_lfs, "not searched: 1 contents in LFS that are not here"),
    (with_a_large_object, "not searched: 1 objects of more than 0 MiB"),
    (moved, "not searched: its history, because git refuses "),
    (of_another_format, "not searched: its history, because git refuses "),
    (without_git, "not searched: its history, because git is not installed on the controller"),
]


@pytest.mark.parametrize(("gap", "sentence"), GAPS, ids=[gap.__name__ for gap, _ in GAPS])
def test_what_cannot_be_searched_is_told(
    gap: Callable[[Repository, Path], Path],
    sentence: str,
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if gap is with_a_large_object:
        monkeypatch.setattr(history, "LARGEST", 10_000)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    repository.commit(readme=VALUES["blanks"])
    repository.commit(readme=b"nothing")
    folder = gap(repository, tmp_path)
    assert look(folder, {"other": OTHER["other"]})[1].startswith(sentence)


def test_what_cures_a_shallow_clone_is_what_is_told(repository: Repository, tmp_path: Path) -> None:
    repository.commit(readme=VALUES["blanks"])
    repository.commit(readme=b"nothing")
    folder = shallow(repository, tmp_path)
    assert look(folder, VALUES)[0] == []
    subprocess.run(["git", "-C", folder, "fetch", "--quiet", "--unshallow"], check=True)
    assert look(folder, VALUES)[0] == ["blanks"]


def test_what_cures_a_partial_clone_is_what_is_told(repository: Repository, tmp_path: Path) -> None:
    repository.commit(readme=VALUES["blanks"])
    repository.commit(readme=b"nothing")
    folder = partial(repository, tmp_path)
    assert look(folder, VALUES)[0] == []
    subprocess.run(["git", "-C", folder, "fetch", "--quiet", "--refetch", "--no-filter"], check=True)
    assert look(folder, VALUES)[0] == ["blanks"]


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"])
def test_the_callers_settings_of_git_do_not_count(
    variable: str, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(readme=VALUES["blanks"])
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    assert look(repository.folder, VALUES)[0] == ["blanks"]


def test_a_value_that_cannot_be_searched_for_is_named(repository: Repository) -> None:
    repository.commit(readme=b"nothing")
    values = {"pin": b"1234", "key": b"\0\1\2\3" * 8, "cut": b"one\ntwo\nthree\nfour\n", **VALUES}
    assert look(repository.folder, values) == (
        [],
        "not searched: what is too short to be searched for (pin); "
        "not searched: what is no text, but for its encodings (cut, key)",
    )
    repository.commit(readme=base64.b64encode(values["key"]))
    assert look(repository.folder, values)[0] == ["key"]


def test_values_that_share_a_line_are_found_each(repository: Repository) -> None:
    line = b"a line that all of them have"
    values = {"one": line + b"\nand the first's", "two": line + b"\nand the second's", "line": line}
    repository.commit(readme=values["two"])
    assert look(repository.folder, values)[0] == ["two", "line"]
    repository.commit(readme=b"\n".join(reversed(values["one"].split(b"\n"))))
    assert look(repository.folder, values)[0] == ["one", "two", "line"]


def test_equal_words_are_equal_files_and_never_a_part_of_one(tmp_path: Path) -> None:
    words = {os.urandom(20).hex().encode() for _ in range(1000)}
    for name in ("one", "two"):
        history.write(tmp_path / name, words)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with (tmp_path / "one").open("rb") as before:  # what another play brings to its host meanwhile
        history.write(tmp_path / "one", set())
        assert set(gzip.decompress(before.read()).splitlines()) == words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600


def test_no_repository_is_no_history(tmp_path: Path) -> None:
    assert history.collect(tmp_path) is None
