"""Staging and production are complete but for what a user fills in, and nothing runs before that is done."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import environments
import pytest

ROOT = Path(__file__).parents[3]
BLANKS = {"stack_public_url", "stack_secrets_keyvault", "stack_vault"}


def play(playbook: str, inventory: Path) -> str:
    """Run a playbook, which is to fail, and return all it printed in one line."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), f"playbooks/{playbook}.yml", "-i", str(inventory)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_TIMEOUT": "5"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    return " ".join(f"{done.stdout} {done.stderr}".split())


@pytest.mark.parametrize(
    ("environment", "playbook"),
    [("production", "site"), ("production", "secrets"), ("production", "ensure_secrets"), ("staging", "site")],
)
def test_what_is_not_filled_in_is_refused_before_a_host_is_asked(environment: str, playbook: str) -> None:
    output = play(playbook, ROOT / "inventory" / environment)
    assert (
        f"inventory/{environment} is not filled in: FILL-IN still stands for a host in hosts.yml, stack_public_url in "
        "group_vars/all/stack.yml, stack_secrets_keyvault in group_vars/all/stack.yml, stack_vault in "
        "group_vars/all/stack.yml; nothing was changed"
    ) in output
    assert "unreachable=0" in output


def test_what_is_filled_in_is_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "filled"
    shutil.copytree(ROOT / "inventory/production", folder)
    for path in (folder / "hosts.yml", folder / "group_vars/all/stack.yml"):
        path.write_text(path.read_text().replace("says FILL-IN", "is blank").replace("FILL-IN", "filled.invalid"))
    output = play("site", folder)
    assert "unreachable=1" in output
    assert "FILL-IN" not in output


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_is_strict_and_has_no_secret(environment: str) -> None:
    found = environments.variables(environment)
    vault = found["stack_secrets_keyvault"]
    assert {name for name, value in found.items() if "FILL-IN" in str(value)} == BLANKS
    assert found["stack_secrets_source"] == "keyvault"
    assert vault["credential"] == {"type": "managed_identity"}
    assert (vault["unavailable"], vault["expired"]) == ("fail", "refuse")
    assert (found["stack_secrets_require_noswap"], found["stack_secrets_seal_key"]) == (True, "tpm2")
    assert found["stack_admin_console"] is False
    assert found["stack_services_ca_path"] == ""
    secrets = {entry["name"]: entry for entry in found["stack_catalogue"]["secrets"]}
    assert "demo-ca" not in secrets
    assert "generate" not in secrets["proxy-tls"]
    random = [entry for name, entry in secrets.items() if name != "proxy-tls"]
    assert all(entry["generate"]["type"] == "random" and entry["max_age_days"] for entry in random)


def test_staging_differs_from_production_in_names_only() -> None:
    staging, production = (environments.variables(environment) for environment in ("staging", "production"))
    assert staging == production | {"stack_name": "coffre-staging"}


def test_the_recipe_for_an_operators_directory_names_every_secret_and_no_other() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    recipe = text.partition("## Secrets from an operator's directory")[2].partition("\n## ")[0]
    told = recipe.partition("says what is missing or wrong:")[2].partition("The last holds")[0]
    names = [entry["name"] for entry in environments.catalogue("production")["secrets"]]
    assert re.findall("`([a-z-]+)`", told) == names


def test_the_recipe_for_an_operators_directory_is_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(ROOT / "inventory/production", folder)
    for path in (folder / "hosts.yml", folder / "group_vars/all/stack.yml"):
        text = path.read_text().replace("says FILL-IN", "is blank").replace("https://FILL-IN.vault", "none")
        text = re.sub(r"(?m)^stack_secrets_keyvault:\n(  .*\n)+", "", text).replace("ensure_host: localhost\n", "")
        path.write_text(text.replace("FILL-IN", "filled.invalid").replace("source: keyvault", "source: file"))
    output = play("secrets", folder)
    assert "unreachable=1" in output
    assert "FILL-IN" not in output
