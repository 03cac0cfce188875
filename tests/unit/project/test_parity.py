"""What stands in two places of the project says the same in both."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import environments
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def tracked(*patterns: str) -> list[Path]:
    """Every file of the checkout that git tracks or would track, as absolute paths."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_name_the_same_variables(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults/main.yml") or {}
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    options: dict[str, Any] = {}
    for entry in specs.values():
        options.update(entry.get("options", {}))
    with_default = {name for name, option in options.items() if not option.get("required")}
    assert with_default == set(defaults)
    for name, option in options.items():
        assert option.get("description"), name
        if "default" in option:
            assert option["default"] == defaults[name], name


def test_requirements_yml_states_the_collections_that_the_ansible_package_carries() -> None:
    stated = {item["name"]: str(item["version"]) for item in load(ROOT / "requirements.yml")["collections"]}
    listing = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-galaxy")), "collection", "list", "--format", "json"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    carried: dict[str, str] = {}
    for path, collections in json.loads(listing.stdout).items():
        if "site-packages" in path:
            carried.update({name: entry["version"] for name, entry in collections.items()})
    assert stated == {name: carried.get(name) for name in stated}


def test_every_collection_in_use_is_stated() -> None:
    stated = {item["name"] for item in load(ROOT / "requirements.yml")["collections"]}
    used: set[str] = set()
    for path in tracked("*.yml", "*.j2"):
        used |= set(re.findall(r"\b((?:community|ansible)\.(?!builtin)[a-z]+)\.[a-z_]+:", path.read_text()))
    assert used == stated


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "requirements").glob("*.in")))
def test_every_direct_requirement_is_locked(name: str) -> None:
    def direct(file: str) -> set[str]:
        names: set[str] = set()
        for line in (ROOT / "requirements" / file).read_text().splitlines():
            if line.startswith("-r "):
                names |= direct(line[3:].strip())
            elif line and not line.startswith("#"):
                names.add(re.split(r"[\[<>=~!; ]", line)[0].lower())
        return names

    locked = re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE)
    assert direct(f"{name}.in") <= set(locked)


def test_the_app_and_the_hosts_are_tested_with_the_versions_they_run() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", text, re.MULTILINE))

    development = pins("development")
    for name in ("app", "host", "controller"):
        assert pins(name).items() <= development.items()


def test_nothing_needs_masking() -> None:
    words = re.compile(r"^\s*no_log\s*:|no_log\s*=\s*True", re.MULTILINE)
    found = [str(path) for path in tracked("*.yml", "*.py") if words.search(path.read_text())]
    assert found == []


def test_a_rotation_can_roll_every_service_of_anybodys_stack() -> None:
    """Playbooks and roles name none: one that is staged and not rolled would stand in the way of the next rotation."""
    names = {"keycloak", "postgres", "automation-cli"}
    for environment in ("demo", "staging", "production"):
        names |= {each["name"] for each in environments.catalogue(environment)["secrets"]}
    words = re.compile("|".join(sorted(names)))
    found = {str(path): words.findall(path.read_text()) for path in tracked("playbooks", "roles")}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_code_knows_a_name_of_the_demo() -> None:
    names = {"app.proof", "/opt/app"}
    for environment in ("demo", "staging", "production"):
        for secret in environments.catalogue(environment)["secrets"]:
            settings = secret.get("settings") or {}
            names |= {secret["name"], *settings.get("roles", []), settings.get("realm", ""), settings.get("client", "")}
    # Keycloak's own realm, and Coffre's own secret.
    names -= {"", "master", "deployment-audit-key"}
    words = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(names)))})(?![\w-])")
    found = {str(path): words.findall(path.read_text()) for path in tracked("playbooks", "roles", "collections")}
    assert {path: names for path, names in found.items() if names} == {}
