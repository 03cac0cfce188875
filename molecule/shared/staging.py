"""Staging on a test host, with an emulated vault: how the tests of the scenario `keyvault` run it and look at it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from machines import ROOT, Play, list_containers, read_state, run_playbook

MACHINE = "coffre-test-debian13"
STACK = "coffre-staging"
NAME = "staging.test"
INVENTORY = ROOT / "molecule" / "keyvault" / "inventory"
# What a first fill makes of the common catalogue.
MADE = [
    "audit-log-signing-key",
    "deployment-audit-key",
    "flask-secret-key",
    "keycloak-admin-password",
    "keycloak-db-password",
    "keycloak-service-client-secret",
]
# What staging's own catalogue has beside the common one.
PROXY_TLS = {"name": "proxy-tls", "consumers": ["proxy"], "kind": "bytes", "max_age_days": 180, "strategy": "replace"}


def play(playbook: str, *arguments: str, **options: Any) -> Play:
    """Run one of our playbooks with staging's configuration."""
    return run_playbook(*arguments, playbook=playbook, inventory=INVENTORY, **options)


def on_machine(command: str, text: str = "") -> str:
    """Run a shell command as root of the test host, with a text on its standard input."""
    done = subprocess.run(
        ["docker", "exec", "--interactive", MACHINE, "sh", "-ec", command],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def look() -> tuple[str, list[str]]:
    """Every file of the stack on the host, with its content's digest, and the containers."""
    files = on_machine(
        f"cd / && find run/coffre/{STACK} var/lib/coffre/{STACK} -printf '%p %m %U %G\\n' | sort;"
        f"find run/coffre/{STACK} var/lib/coffre/{STACK} -type f ! -name lock -exec sha256sum {{}} + | sort"
    )
    return files, on_machine(f"docker ps -q --no-trunc --filter label=com.docker.compose.project={STACK}").split()


def versions(host: Any) -> dict[str, str]:
    """By secret, the version that the host's state has in force."""
    return {name: entry["version"] for name, entry in read_state(host, STACK)["secrets"].items()}


def containers(host: Any) -> dict[str, str]:
    """By service, the id of its container."""
    return {each.service: each.inspect["Id"] for each in list_containers(host, STACK)}


def write_variables(folder: Path, **variables: Any) -> str:
    """Variables as a file, as ansible-playbook's -e takes it."""
    (folder / "variables.json").write_text(json.dumps(variables))
    return f"@{folder}/variables.json"


def vault_settings(folder: Path, **settings: Any) -> str:
    """The vault's settings with some of them changed, for ansible-playbook's -e."""
    base = {
        "url": f"https://{STACK}.vault.azure.net:9443",
        "credential": {"type": "managed_identity"},
        "ca": "/var/lib/keyvault-emulator/ca.pem",
    }
    return write_variables(folder, stack_secrets_keyvault=base | settings)
