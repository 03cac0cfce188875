"""Staging on a test host, with an emulated vault: how the tests of the scenario `keyvault` run it and look at it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from machines import MACHINE, ROOT, Play, list_containers, on_machine, read_state, run_playbook

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Generate
from ansible_collections.coffre.stack.plugins.module_utils.values import generate
from tests.keyvault_emulator.control import Control

STACK = "coffre-staging"
NAME = "staging.test"
INVENTORY = ROOT / "molecule" / "keyvault" / "inventory"
# What ensure-secrets makes of the common catalogue.
MADE = [
    "audit-log-signing-key",
    "deployment-audit-key",
    "flask-secret-key",
    "keycloak-admin-password",
    "keycloak-db-password",
    "keycloak-service-client-secret",
]


def play(playbook: str, *arguments: str, **options: Any) -> Play:
    """Run one of our playbooks with staging's configuration."""
    return run_playbook(*arguments, playbook=playbook, inventory=INVENTORY, **options)


def reach_emulator() -> Control:
    """The vault's emulator, over the network that this machine shares with the test host."""
    told = subprocess.run(
        ["docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", MACHINE],
        capture_output=True,
        text=True,
        check=True,
    )
    return Control(f"http://{told.stdout.strip()}:9442")


def supply_certificate(vault: Control) -> None:
    """Put into the vault what ensure-secrets does not make, and on the host the authority that clients trust for it."""
    authority = generate.authority(STACK, Generate("certificate_authority", names=("test",), days=30))
    certificate = generate.certificate(Generate("certificate", names=(NAME,), days=20), authority)
    on_machine("cat >/etc/ssl/staging-ca.pem", authority.pem().decode().partition("-----END PRIVATE KEY-----\n")[2])
    vault.put(STACK, "proxy-tls", certificate.pem().decode(), content_type="application/x-pem-file")


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
