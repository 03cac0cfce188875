"""What is built of a Compose file, what a tag depends on, and what not."""

import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.rollout import images
from ansible_collections.coffre.stack.plugins.module_utils.rollout.images import BuildPlan, BuildRequest, Ignore

APP: dict[str, Any] = {
    "context": "./app",
    "args": {"VERSION": "1"},
    "additional_contexts": {"base": "./base", "lock": "./lock"},
}
ARTIFACT = {"maven": "org.example:tool:1.2:zip", "sha256": "0a" * 32, "dest": "tool.zip"}
TREE = {
    "base/Dockerfile": "FROM scratch",
    "base/rootfs.sh": "true",
    "app/Dockerfile": "b",
    "app/code/main.py": "c",
    "app/.dockerignore": "*.log\nnotes\n",
    "app/notes/today.txt": "n",
    "lock/lock.txt": "d",
    "elsewhere/x.txt": "e",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with the context of an app, one beside it, and a base."""
    for name, content in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def planned(root: Path, services: dict[str, Any], replaced: dict[str, str] | None = None, **request: str) -> BuildPlan:
    return images.plan({"services": services}, replaced or {}, BuildRequest(root, "shop", **request))


def app(root: Path, build: Any = None, **service: Any) -> images.BuiltImage:
    return planned(root, {"app": {"build": build or APP} | service}).images["app"]


def write(name: str, content: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)

    return change


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(write("app/code/main.py", "C"), {"app"}, id="content"),
        pytest.param(write("app/Dockerfile", "B"), {"app"}, id="the Dockerfile"),
        pytest.param(write("lock/lock.txt", "D"), {"app"}, id="content of an additional context"),
        pytest.param(write("app/code/new.py", ""), {"app"}, id="a new file, even an empty one"),
        pytest.param(lambda root: (root / "app/code/main.py").rename(root / "app/code/run.py"), {"app"}, id="name"),
        pytest.param(lambda root: (root / "app/code/main.py").chmod(0o755), {"app"}, id="executable"),
        pytest.param(lambda root: (root / "app/link").symlink_to("code/main.py"), {"app"}, id="link"),
        pytest.param(lambda root: (root / "app/folder").symlink_to("code"), {"app"}, id="link to a folder"),
        pytest.param(write("app/.dockerignore", "notes"), set(), id="an ignored pattern that nothing matched"),
        pytest.param(write("app/.dockerignore", "*.log"), {"app"}, id="what was ignored and is no more"),
        pytest.param(write("base/Dockerfile", "A"), {"base", "app"}, id="the base changes what starts from it"),
        pytest.param(write("app/today.log", "x"), set(), id="an ignored file"),
        pytest.param(write("app/notes/today.txt", "N"), set(), id="a file of an ignored folder"),
        pytest.param(lambda root: (root / "app/code/main.py").chmod(0o600), set(), id="the rest of the mode"),
        pytest.param(lambda root: os.utime(root / "lock/lock.txt", (1, 1)), set(), id="time"),
        pytest.param(write("app/code/__pycache__/main.cpython-313.pyc", "x"), set(), id="bytecode"),
        pytest.param(write("app/old.pyc", "x"), set(), id="bytecode beside its source"),
        pytest.param(write("app/code/.ruff_cache/1/x", "x"), set(), id="what a linter leaves"),
        pytest.param(write("elsewhere/x.txt", "x"), set(), id="a file of no image"),
    ],
)
def test_a_tag_changes_with_what_the_image_is_made_from(
    root: Path, change: Callable[[Path], object], changed: set[str]
) -> None:
    def tags() -> dict[str, str]:
        plan = planned(root, {"app": {"build": APP}})
        return {"app": plan.images["app"].tag, "base": next(iter(plan.bases))}

    before = tags()
    change(root)
    after = tags()
    assert {name for name in before if before[name] != after[name]} == changed


@pytest.mark.parametrize(
    ("build", "service", "same"),
    [
        pytest.param(APP | {"args": {"VERSION": "2"}}, {}, False, id="another argument"),
        pytest.param(APP | {"target": "run"}, {}, False, id="another target"),
        pytest.param(APP | {"labels": {"a": "b"}}, {}, False, id="a label"),
        pytest.param(APP | {"dockerfile_inline": "B"}, {}, False, id="another Dockerfile"),
        pytest.param(APP, {"x-coffre": {"artifacts": [ARTIFACT]}}, False, id="an artifact"),
        pytest.param(APP | {"dockerfile_inline": "b"}, {}, True, id="the same Dockerfile inline"),
        pytest.param(APP | {"args": ["VERSION=1"]}, {}, True, id="arguments as a list"),
        pytest.param(APP | {"args": {"VERSION": 1}}, {}, True, id="a number"),
        pytest.param(APP | {"additional_contexts": ["base=base", "lock=lock/"]}, {}, True, id="contexts as a list"),
        pytest.param(APP, {"image": "shop/other:3", "x-note": 1}, True, id="what is no part of the build"),
    ],
)
def test_a_tag_changes_with_how_the_image_is_built(root: Path, build: Any, service: Any, same: bool) -> None:
    assert (app(root).tag == app(root, build, **service).tag) is same


def test_content_cannot_move_between_files_unnoticed(root: Path) -> None:
    tags = set()
    for first, second in (("ab", ""), ("a", "b"), ("", "ab")):
        write("app/code/first", first)(root)
        write("app/code/second", second)(root)
        tags.add(app(root).tag)
    assert len(tags) == 3


@pytest.mark.parametrize(
    ("services", "references", "pulled"),
    [
        pytest.param({"app": {"build": APP}}, {"app": "shop/app:T"}, [], id="built, the stack's name"),
        pytest.param({"app": {"build": APP, "image": "a.b:5/c/d:1"}}, {"app": "a.b:5/c/d:T"}, [], id="its own name"),
        pytest.param({"app": {"build": "app"}}, {"app": "shop/app:T"}, [], id="short"),
        pytest.param(
            {"web": {"build": APP}, "worker": {"build": dict(APP)}},
            {"web": "shop/web:T", "worker": "shop/web:T"},
            [],
            id="two of one build share an image",
        ),
        pytest.param(
            {"web": {"build": APP}, "worker": {"build": APP | {"target": "worker"}}},
            {"web": "shop/web:T", "worker": "shop/worker:T"},
            [],
            id="two of two builds",
        ),
        pytest.param({"redis": {"image": "redis:8"}}, {}, ["redis:8"], id="pulled"),
        pytest.param({"a": {"image": "redis:8"}, "b": {"image": "redis:8"}}, {}, ["redis:8"], id="pulled once"),
        pytest.param({"a": {"image": "redis:8@sha256:0a"}}, {}, ["redis@sha256:0a"], id="pulled by digest"),
        pytest.param(
            {"mine": {"build": APP}, "redis": {"image": "redis:8"}},
            {"mine": "r/mine:1"},
            ["r/mine:1", "redis:8"],
            id="replaced",
        ),
    ],
)
def test_what_is_built_and_what_is_pulled(root: Path, services: Any, references: Any, pulled: list[str]) -> None:
    plan = planned(root, services, {"mine": "r/mine:1"} if "mine" in services else {})
    found = {name: re.sub(r":[0-9a-f]{16}$", ":T", each) for name, each in plan.references.items()}
    assert (found, sorted(plan.pulled)) == (references, pulled)
    assert {image.reference for image in plan.images.values()} == set(plan.references.values()) - {"r/mine:1"}


def test_a_folder_with_its_script_is_a_base_that_is_made_first(root: Path) -> None:
    plan = planned(root, {"app": {"build": APP}})
    ((reference, context),) = plan.bases.items()
    assert re.fullmatch(r"coffre/base:[0-9a-f]{16}", reference)
    assert list(context.files) == ["Dockerfile", "rootfs.sh"]
    image = plan.images["app"]
    assert (image.bases, list(image.local)) == ((reference,), ["lock"])
    assert image.build["args"] == {"VERSION": "1", "BASE": reference}


def test_a_base_of_a_registry_takes_its_place(root: Path) -> None:
    plan = planned(root, {"app": {"build": APP}}, base="debian:13")
    assert (plan.bases, plan.images["app"].bases) == ({}, ())
    assert plan.images["app"].build["args"]["BASE"] == "debian:13"


@pytest.mark.parametrize(
    ("build", "base", "anew"),
    [
        pytest.param(APP, "", False, id="by its base's new packages"),
        pytest.param(APP, "debian:13", True, id="on a base of a registry"),
        pytest.param("app", "", True, id="on its Dockerfile's own base"),
    ],
)
def test_a_new_text_builds_all_anew(root: Path, build: Any, base: str, anew: bool) -> None:
    before, after = (planned(root, {"app": {"build": build}}, base=base, packages_of=text) for text in ("", "May"))
    assert before.images["app"].tag != after.images["app"].tag
    assert set(before.bases).isdisjoint(after.bases)
    assert after.images["app"].build.get("x-bake") == ({"no-cache": True, "pull": True} if anew else None)
    assert "x-bake" not in before.images["app"].build


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ({"build": {"context": "absent"}}, "build.context is .*/absent, which is no folder"),
        ({"build": "https://example.org/a.git"}, "build.context should be a folder's path"),
        ({"build": "git@example.org:a.git"}, "build.context should be a folder's path"),
        ({"build": ["app"]}, "neither a path nor a mapping"),
        ({"build": {"context": "app", "ssh": ["default"]}}, "has build.ssh, which Coffre does not honour"),
        ({"build": {"context": "app", "dockerfile": "Other"}}, "has no .*/app/Other"),
        ({"build": {"context": "app", "args": ["TOKEN"]}}, "build.args gives TOKEN no value"),
        ({"build": {"context": "app", "args": {"TOKEN": None}}}, "build.args gives TOKEN no value"),
        ({"build": {"context": "app", "args": "TOKEN"}}, "build.args is neither a mapping nor a list"),
        ({"build": APP | {"additional_contexts": {"x": "service:web"}}}, "additional_contexts.x should be a folder's"),
        ({"build": APP, "x-coffre": {"artifacts": "tool"}}, "should be a list of mappings"),
        ({"build": APP, "x-coffre": {"artifacts": [ARTIFACT | {"sha256": "0a"}]}}, "should have maven"),
        ({"build": APP, "x-coffre": {"artifacts": [ARTIFACT | {"maven": "tool"}]}}, "should have maven"),
        ({"build": APP, "x-coffre": {"artifacts": [ARTIFACT | {"url": "x"}]}}, "should have maven"),
        ({"build": APP, "x-coffre": {"artifacts": [ARTIFACT | {"dest": "../x"}]}}, "dest outside of its context"),
        ({"build": APP, "x-coffre": {"artifacts": [ARTIFACT | {"dest": "/x"}]}}, "dest outside of its context"),
    ],
)
def test_what_cannot_be_built_as_it_is_written_is_told(root: Path, service: Any, told: str) -> None:
    plan = planned(root, {"app": service})
    assert (plan.images, plan.references, plan.pulled) == ({}, {}, ())
    (problem,) = plan.problems
    assert re.match(f"The service app.*{told}.*: ", problem)


def test_everything_that_cannot_be_built_is_told_at_once(root: Path) -> None:
    os.mkfifo(root / "app/pipe")
    services = {
        "a": {"build": "absent"},
        "b": {"build": {"context": "base", "dockerfile": "Other"}},
        "c": {"build": {"context": "base", "ssh": [], "secrets": []}},
        "d": {"build": "app"},
        "e": {"build": "base"},
        "f": "no service",
    }
    plan = planned(root, services, {"worker": "r/w:1"})
    assert [re.sub(r"/\S*/", "", problem) for problem in plan.problems] == [
        "container_images_references names worker, which is no service of the Compose file: "
        "name some of a, b, c, d, e.",
        "The service a: build.context is absent, which is no folder: restore it, or correct the path.",
        "The service b has no Other: restore it, or name another as build.dockerfile.",
        "The service c has build.ssh, build.secrets, which Coffre does not honour: leave that out.",
        "pipe is neither a file nor a link: remove it.",
    ]
    assert list(plan.images) == ["e"]


@pytest.mark.parametrize("compose", [{}, {"services": None}, {"services": ["app"]}, {"services": {"app": None}}])
def test_what_is_no_compose_file_has_no_images(root: Path, compose: Any) -> None:
    assert images.plan(compose, {}, BuildRequest(root, "shop")) == BuildPlan()


@pytest.mark.parametrize(
    ("text", "build", "start"),
    [
        ("FROM python:3.13\nRUN true", {}, "python:3.13"),
        ("# a note\nfrom --platform=linux/amd64 a.b:5/c/d@sha256:0a", {}, "a.b:5/c/d@sha256:0a"),
        ("FROM node:24 AS web\nFROM debian:13\nCOPY --from=web /a /a", {}, "debian:13"),
        ("FROM node:24 AS Web\nFROM web AS more\nFROM more", {}, "node:24"),
        ("FROM node:24 AS web\nFROM debian:13", {"target": "web"}, "node:24"),
        ("FROM node:24 AS web", {"target": "0"}, ""),  # by its number: not told
        ('ARG VERSION="3.12"\nFROM python:${VERSION}', {}, "python:3.12"),
        ("ARG VERSION=3.12\nFROM python:$VERSION", {"args": {"VERSION": "3.13"}}, "python:3.13"),
        ("ARG VERSION\nFROM python:$VERSION", {}, ""),
        ("FROM python:${VERSION:-3.13}", {}, ""),
        ("FROM scratch", {}, ""),
        ("FROM lock", {"additional_contexts": {"lock": "lock"}}, ""),
        ("FROM other", {"additional_contexts": {"other": "docker-image://debian:13"}}, ""),
        ("ARG BASE\nFROM ${BASE}", {"additional_contexts": {"base": "base"}}, ""),
        ("", {}, ""),
    ],
)
def test_what_a_build_starts_from(root: Path, text: str, build: Any, start: str) -> None:
    assert app(root, {"context": "app", "dockerfile_inline": text} | build).start == start


def test_a_base_of_a_registry_is_what_a_build_starts_from(root: Path) -> None:
    write("app/Dockerfile", "ARG BASE\nFROM ${BASE}")(root)
    assert planned(root, {"app": {"build": APP}}, base="debian:13").images["app"].start == "debian:13"


# As moby/patternmatcher has them in its tests, beside our own.
@pytest.mark.parametrize(
    ("text", "out", "kept"),
    [
        ("**", ["file", "file/", "dir/file"], []),
        ("**/", ["file", "dir/file"], []),
        ("**/**", ["dir/file", "dir/dir/file"], []),
        ("dir/**", ["dir/file", "dir/dir/file"], ["file", "other/file"]),
        ("**/dir", ["dir", "dir/file", "a/dir", "a/dir/b"], ["adir", "dirs/x"]),
        ("**/*.txt", ["a.txt", "a/b.txt", "a/b.txt/c"], ["a.text"]),
        ("a**/*.txt", ["a.txt", "a/b/c.txt"], ["b/a.txt"]),
        ("*.txt", ["a.txt"], ["a/b.txt"]),
        ("a?c", ["abc"], ["ac", "a/c", "abcd"]),
        ("[abc]d", ["ad"], ["dd", "d"]),
        ("[^abc]d", ["dd"], ["ad"]),
        ("a\\*b", ["a*b"], ["axb"]),
        ("/a/../b/", ["b", "b/c"], ["a"]),
        ("a.b(c)+", ["a.b(c)+"], ["aXb(c)+"]),
        ("# a\n\n  b  ", ["b"], ["a", "# a"]),
        ("*\n!app\n!lock/app.txt\napp/Dockerfile*", ["x", "lock/x", "app/Dockerfile"], ["app/a/b", "lock/app.txt"]),
        ("*\n!**/*.md\nREADME.md", ["x", "README.md"], ["a/b.md"]),
    ],
)
def test_a_dockerignore_leaves_out_what_docker_does(text: str, out: list[str], kept: list[str]) -> None:
    ignore = Ignore.parse(text)
    assert [name for name in (*out, *kept) if ignore.leaves_out(name)] == out


@pytest.mark.parametrize(
    ("text", "folder", "prunes"),
    [
        ("*\n!app", "node_modules", True),
        ("*\n!app", "app", False),
        ("*\n!app/a", "app", False),
        ("*\n!app/a", "app/b", True),
        ("*\n!**/a", "app", False),
        ("x", "app", False),
    ],
)
def test_a_folder_is_passed_over_of_which_nothing_comes_back(text: str, folder: str, prunes: bool) -> None:
    assert Ignore.parse(text).prunes(folder) is prunes


def test_a_dockerfile_s_own_ignore_file_goes_first(root: Path) -> None:
    write("app/Dockerfile.dockerignore", "*\n!notes")(root)
    assert list(app(root).context.files) == ["notes/today.txt"]


def test_the_archive_holds_what_was_tagged_and_nothing_of_this_machine(root: Path) -> None:
    (root / "base/Dockerfile").chmod(0o750)
    (root / "app/link").symlink_to("code/main.py")
    target = root / "cache/contexts.tar.gz"
    plan = planned(root, {"app": {"build": APP, "x-coffre": {"artifacts": [ARTIFACT]}}, "redis": {"image": "redis:8"}})
    images.pack(plan, target)
    image, (base,) = plan.images["app"], plan.bases.values()
    with tarfile.open(target) as archive:
        entries = {entry.name: entry for entry in archive}
        read = {name: file.read().decode() for name in entries if (file := archive.extractfile(name))}
    code, lock = image.context.name, image.local["lock"].name
    assert set(entries) == {
        *(code, f"{code}/Dockerfile", f"{code}/code/main.py", f"{code}/link"),
        *(lock, f"{lock}/lock.txt"),
        *(base.name, f"{base.name}/Dockerfile", f"{base.name}/rootfs.sh"),
        *("app.Dockerfile", "docker-bake.yml"),
    }
    assert (entries[f"{base.name}/Dockerfile"].mode, entries[f"{code}/code/main.py"].mode) == (0o755, 0o644)
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries.values()} == {(0, 0, "", 0)}
    assert json.loads(read["docker-bake.yml"])["services"]["app"] == {
        "image": image.reference,
        "build": {
            "args": {"VERSION": "1", "BASE": image.bases[0]},
            "labels": {},
            "context": code,
            "additional_contexts": {"lock": lock},
            "dockerfile": "../app.Dockerfile",
        },
    }
    assert image.told["artifacts"] == [
        {
            **{"group": "org.example", "artifact": "tool", "version": "1.2", "extension": "zip", "sha256": "0a" * 32},
            **{"file": "tool-1.2-0a0a0a0a0a0a0a0a.zip", "dest": f"{code}/tool.zip"},
        }
    ]
    assert list(target.parent.iterdir()) == [target]


def test_bake_takes_texts_as_they_are(root: Path) -> None:
    build = {
        "context": "app",
        "args": {"A": "${x} %{y} $$z 5%", "ON": True},
        "labels": ["a=b"],
        "network": "host",
        "shm_size": "64m",
        "target": "run",
        "additional_contexts": {"debian": "docker-image://debian:13"},
    }
    baked = images.bake([app(root, build)])["services"]["app"]["build"]
    assert (baked["args"], baked["labels"]) == ({"A": "$${x} %{y} $$z 5%", "ON": "true"}, {"a": "b"})
    assert {key: baked[key] for key in ("network", "shm_size", "target", "additional_contexts")} == {
        key: build[key] for key in ("network", "shm_size", "target", "additional_contexts")
    }


def test_a_broken_archive_leaves_nothing(root: Path) -> None:
    plan = planned(root, {"app": {"build": APP}})
    (root / "app/code/main.py").unlink()
    with pytest.raises(FileNotFoundError):
        images.pack(plan, root / "cache/contexts.tar.gz")
    assert list((root / "cache").iterdir()) == []


def test_an_archive_says_by_its_name_what_its_tag_means(root: Path) -> None:
    plan = planned(root, {"app": {"build": APP}, "web": {"build": "app", "image": "a.b:5/c"}}).images.values()
    app_stem, web = (image.stem for image in plan)
    assert re.fullmatch(r"shop\+app-[0-9a-f]{16}", app_stem)
    assert re.fullmatch(r"a\.b-5\+c-[0-9a-f]{16}", web)
    names = [f"{app_stem}.{each * 64}.tar.gz" for each in "21"]  # built by two plays at once
    names += [f"{web[:-16]}{'d' * 16}.{'3' * 64}.tar.gz", f"{web}.tar.gz", "app.contexts.gz", "x.tar.gz"]
    names += [f"{app_stem}.{'0' * 64}.tar.gz.part"]
    folder = root / "kept"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    assert images.archives(folder, plan) == {
        "app": {"file": f"{app_stem}.{'1' * 64}.tar.gz", "id": f"sha256:{'1' * 64}"}
    }
    assert images.archives(root / "absent", plan) == {}
