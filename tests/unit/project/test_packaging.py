"""The collection can be built and read, and what else is said of the whole project holds for all of its parts."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = ROOT / "collections/ansible_collections/coffre/stack"
MODULES = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py"))
LOOKUPS = sorted(path.stem for path in (COLLECTION / "plugins/lookup").glob("*.py"))
ROLES = sorted(path.parent.name for path in (ROOT / "roles").glob("*/meta"))


def run(program: str, *words: str | Path) -> str:
    """What one of the environment's programs prints, from the checkout."""
    command = [Path(sys.executable).with_name(program), *words]
    plain = os.environ | {"ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=plain, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tracked(folder: Path) -> set[str]:
    """The paths, within the folder, of what git tracks there or would track."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    return {path for path in listing.stdout.splitlines() if (folder / path).is_file()}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_collection_is_built_from_its_files_and_nothing_else(tmp_path: Path) -> None:
    copy = tmp_path / "stack"
    shutil.copytree(COLLECTION, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for left in (".mypy_cache/3.13/a.json", "plugins/.ruff_cache/b", "plugins/modules/__pycache__/c.cpython-313.pyc"):
        (copy / left).parent.mkdir(parents=True)
        (copy / left).touch()
    run("ansible-galaxy", "collection", "build", copy, "--output-path", tmp_path)
    with tarfile.open(tmp_path / f"coffre-stack-{load(COLLECTION / 'galaxy.yml')['version']}.tar.gz") as archive:
        built = {member.name for member in archive if member.isfile()}
    assert built == tracked(COLLECTION) - {"galaxy.yml"} | {"MANIFEST.json", "FILES.json"}
    kinds = {"modules", "module_utils", "action", "callback", "lookup"}
    assert {name.split("/")[1] for name in built if "/" in name} >= kinds


def test_the_collection_has_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    galaxy = load(COLLECTION / "galaxy.yml")
    assert (galaxy["version"], galaxy["description"]) == (project["version"], project["description"])
    for changelog in (ROOT / "CHANGELOG.md", COLLECTION / "CHANGELOG.md"):
        assert f"## {project['version']}\n" in changelog.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("module", [f"coffre.stack.{name}" for name in MODULES]),
        ("lookup", [f"coffre.stack.{name}" for name in LOOKUPS]),
        ("callback", ["coffre.stack.terminal"]),
        ("role", ROLES),
    ],
)
def test_each_is_documented_as_ansible_doc_renders_it(kind: str, names: list[str]) -> None:
    rendered = run("ansible-doc", "--type", kind, *names)
    assert sorted(re.findall(rf"^> {kind.upper()}:? \*?([\w.]+)\*? \(", rendered, re.MULTILINE)) == names


class Declared(Exception):
    """What a module hands to AnsibleModule, which is all that is wanted of it."""

    def __init__(self, argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
        super().__init__()
        self.options = {name: shape(each, each.get("options")) for name, each in argument_spec.items()}
        self.check_mode = supports_check_mode


def declare(argument_spec: dict[str, Any], supports_check_mode: bool = False, **_: Any) -> None:
    """Stands in AnsibleModule's place."""
    raise Declared(argument_spec, supports_check_mode)


def shape(option: dict[str, Any], parts: dict[str, Any] | None) -> dict[str, Any]:
    """What an argument spec and a documented option both say, in the same words."""
    said = {key: option.get(key) for key in ("default", "elements")} | {"choices": set(option.get("choices") or [])}
    inside = {name: shape(each, each.get("options") or each.get("suboptions")) for name, each in (parts or {}).items()}
    return said | {"type": option.get("type", "str"), "required": option.get("required", False), "parts": inside}


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """By module: its documentation, fragments and all."""
    listed = json.loads(run("ansible-doc", "--json", *(f"coffre.stack.{name}" for name in MODULES)))
    return {name.removeprefix("coffre.stack."): each["doc"] for name, each in listed.items()}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_takes_what_its_documentation_says(
    name: str, documented: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    doc = documented[name]
    release = load(COLLECTION / "galaxy.yml")["version"]
    assert [int(part) for part in doc["version_added"].split(".")] <= [int(part) for part in release.split(".")]
    module = importlib.import_module(f"ansible_collections.coffre.stack.plugins.modules.{name}")
    if not hasattr(module, "main"):
        assert (COLLECTION / f"plugins/action/{name}.py").exists()
        return
    monkeypatch.setattr(module, "AnsibleModule", declare)
    with pytest.raises(Declared) as told:
        module.main()
    assert {key: shape(each, each.get("suboptions")) for key, each in doc["options"].items()} == told.value.options
    assert (doc["attributes"]["check_mode"]["support"] != "none") == told.value.check_mode


def test_ci_runs_every_scenario_and_each_makes_what_it_tests() -> None:
    ran = load(ROOT / ".github/workflows/ci.yml")["jobs"]["scenario"]["strategy"]["matrix"]["scenario"]
    assert ran == sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    common = load(ROOT / ".config/molecule/config.yml")
    for name in ran:
        own = load(ROOT / f"molecule/{name}/molecule.yml") or {}
        assert "converge" in {**common["scenario"], **own.get("scenario", {})}["test_sequence"], name
