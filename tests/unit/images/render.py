"""Renders docker-compose.yml.j2 as the playbooks do, with an inventory of this test's own, and what is run of it."""

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.coffre.stack.plugins.lookup.compose_file import LookupModule
from ansible_collections.coffre.stack.plugins.module_utils import compose_file

ROOT = Path(__file__).parents[3]

INVENTORY: dict[str, Any] = {
    "stack_public_url": "https://localhost:8443",
    "stack_https_port": 8443,
    "stack_http_port": 8080,
    "stack_admin_console": False,
    "stack_catalogue": {"secrets": []},
}
BUNDLES: dict[str, compose_file.Bundle] = {
    "app": {"bundle": "a1", "path": "/run/coffre/demo/app/a1", "files": ["audit-log-signing-key", "flask-secret-key"]},
    "keycloak": {"bundle": "b2", "path": "/run/coffre/demo/keycloak/b2", "files": ["keycloak.conf"]},
    "proxy": {"bundle": "c3", "path": "/run/coffre/demo/proxy/c3", "files": ["proxy-tls"]},
    "host": {"bundle": "d4", "path": "/run/coffre/demo/host/d4", "files": ["keycloak-admin-password"]},
}
IMAGES = {
    "app": "coffre/app:dev",
    "keycloak": "coffre/keycloak:dev",
    "postgres": "coffre/postgres:dev",
    "proxy": "coffre/haproxy:dev",
}


def rendered(**changes: Any) -> dict[str, Any]:
    """The Compose file of the inventory with these variables replaced, as the lookup reads it."""
    variables = INVENTORY | changes
    loader = DataLoader()
    reader = LookupModule(loader=loader, templar=Templar(loader, variables=variables))
    (found,) = reader.run([str(ROOT / "docker-compose.yml.j2")], variables)
    assert isinstance(found, dict)
    return found


def run(bundles: dict[str, compose_file.Bundle] = BUNDLES, **changes: Any) -> dict[str, Any]:
    """The file that is run, of these bundles."""
    problems: list[str] = []
    file = compose_file.parse(rendered(**changes), problems)
    assert problems == []
    return compose_file.run_file("demo", file, bundles, IMAGES)
