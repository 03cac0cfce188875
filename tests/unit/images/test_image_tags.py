"""What a tag depends on, and what not."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.rollout import images as image_tags
from ansible_collections.coffre.stack.plugins.module_utils.rollout.images import Image

BASE = Image("base", ("base",))
APP = Image("app", ("app", "lock.txt"), {"VERSION": "1"}, "base")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with two contexts and a single file."""
    for name, content in {
        "base/Dockerfile": "a",
        "app/Dockerfile": "b",
        "app/code/main.py": "c",
        "lock.txt": "d",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def write(name: str, content: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)

    return change


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(write("app/code/main.py", "C"), {"app"}, id="content"),
        pytest.param(write("lock.txt", "D"), {"app"}, id="content of a single file"),
        pytest.param(write("app/code/new.py", ""), {"app"}, id="a new file, even an empty one"),
        pytest.param(lambda root: (root / "app/code/main.py").rename(root / "app/code/run.py"), {"app"}, id="name"),
        pytest.param(lambda root: (root / "app/code/main.py").chmod(0o755), {"app"}, id="executable"),
        pytest.param(lambda root: (root / "app/link").symlink_to("code/main.py"), {"app"}, id="link"),
        pytest.param(write("base/Dockerfile", "A"), {"base", "app"}, id="the base changes what starts from it"),
        pytest.param(lambda root: (root / "app/code/main.py").chmod(0o600), set(), id="the rest of the mode"),
        pytest.param(lambda root: os.utime(root / "lock.txt", (1, 1)), set(), id="time"),
        pytest.param(write("app/code/__pycache__/main.cpython-313.pyc", "x"), set(), id="bytecode"),
        pytest.param(write("app/old.pyc", "x"), set(), id="bytecode beside its source"),
        pytest.param(write("elsewhere.txt", "x"), set(), id="a file of no image"),
    ],
)
def test_a_tag_changes_with_what_the_image_is_made_from(
    root: Path, change: Callable[[Path], object], changed: set[str]
) -> None:
    before = image_tags.tags(root, [BASE, APP])
    change(root)
    after = image_tags.tags(root, [BASE, APP])
    assert {name for name in before if before[name] != after[name]} == changed


def test_a_tag_changes_with_the_build_arguments(root: Path) -> None:
    other = Image("app", APP.paths, {"VERSION": "2"}, "base")
    assert image_tags.tags(root, [BASE, APP])["app"] != image_tags.tags(root, [BASE, other])["app"]


def test_a_tag_depends_on_no_order(root: Path) -> None:
    one = Image("app", ("app", "lock.txt"), {"A": "1", "B": "2"}, "base")
    other = Image("app", ("lock.txt", "app"), {"B": "2", "A": "1"}, "base")
    assert image_tags.tags(root, [BASE, one]) == image_tags.tags(root, [BASE, other])


def test_content_cannot_move_between_files_unnoticed(root: Path) -> None:
    before = image_tags.tags(root, [APP.__class__("x", ("app",))])
    write("app/Dockerfile", "bc")(root)
    write("app/code/main.py", "")(root)
    assert image_tags.tags(root, [APP.__class__("x", ("app",))]) != before


def test_a_tag_is_one_that_docker_takes(root: Path) -> None:
    for tag in image_tags.tags(root, [BASE, APP]).values():
        assert len(tag) == image_tags.DIGITS
        assert set(tag) <= set("0123456789abcdef")


def test_an_image_before_its_base_is_refused(root: Path) -> None:
    with pytest.raises(CoffreError, match="app starts from base"):
        image_tags.tags(root, [APP, BASE])


def test_a_missing_path_is_named(root: Path) -> None:
    with pytest.raises(CoffreError, match="absent is missing"):
        image_tags.tags(root, [Image("x", ("absent",))])


def test_a_pipe_is_refused(root: Path) -> None:
    os.mkfifo(root / "app/pipe")
    with pytest.raises(CoffreError, match="neither a file nor a link"):
        image_tags.tags(root, [BASE, APP])


def test_the_archive_holds_what_was_tagged_and_nothing_of_this_machine(root: Path) -> None:
    (root / "base/Dockerfile").chmod(0o750)
    target = root / "cache/contexts.tar.gz"
    image_tags.pack(root, [BASE, APP], target)
    with tarfile.open(target) as archive:
        entries = archive.getmembers()
    assert [entry.name for entry in entries] == ["app/Dockerfile", "app/code/main.py", "base/Dockerfile", "lock.txt"]
    assert [entry.mode for entry in entries] == [0o644, 0o644, 0o755, 0o644]
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries} == {(0, 0, "", 0)}
    assert list(target.parent.iterdir()) == [target]


def test_a_broken_archive_leaves_nothing(root: Path) -> None:
    with pytest.raises(CoffreError):
        image_tags.pack(root, [Image("x", ("absent",))], root / "cache/contexts.tar.gz")
    assert list((root / "cache").iterdir()) == []


def test_an_archive_says_by_its_name_what_its_tag_means(tmp_path: Path) -> None:
    tags = {"app": "a" * 16, "haproxy": "b" * 16, "base": "c" * 16}
    names = [f"app-{'a' * 16}.{each * 64}.tar.gz" for each in "21"]  # built by two plays at once
    names += [f"haproxy-{'d' * 16}.{'3' * 64}.tar.gz", f"haproxy-{'b' * 16}.tar.gz", "app.contexts.gz", "x.tar.gz"]
    names += [f"app-{'a' * 16}.{'0' * 64}.tar.gz.part"]
    for name in names:
        (tmp_path / name).touch()
    assert image_tags.archives(tmp_path, tags) == {
        "app": {"file": f"app-{'a' * 16}.{'1' * 64}.tar.gz", "id": f"sha256:{'1' * 64}"}
    }
    assert image_tags.archives(tmp_path / "absent", tags) == {}
