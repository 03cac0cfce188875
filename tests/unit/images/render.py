"""Renders docker-compose.yml.j2 as Ansible does, with an inventory of this test's own."""

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parents[3]

INVENTORY: dict[str, Any] = {
    "stack_name": "demo",
    "stack_public_url": "https://localhost:8443",
    "stack_https_port": 8443,
    "stack_http_port": 8080,
    "stack_admin_console": False,
    "stack_catalogue": {
        "services": [
            {"name": "postgres", "uid": 60613, "gid": 60613, "adopt": "restart"},
            {"name": "keycloak", "uid": 60612, "gid": 60612, "adopt": "start_first"},
            {"name": "app", "uid": 60611, "gid": 60611, "adopt": "start_first"},
            {"name": "proxy", "uid": 60614, "gid": 60614, "adopt": "reload"},
        ]
    },
    "stack_secrets_bundles": {
        "bundles": {
            "app": {"bundle": "a1", "path": "/run/coffre/demo/app/a1", "files": ["audit-log-signing-key", "flask-key"]},
            "keycloak": {"bundle": "b2", "path": "/run/coffre/demo/keycloak/b2", "files": ["keycloak.conf"]},
            "proxy": {"bundle": "c3", "path": "/run/coffre/demo/proxy/c3", "files": ["proxy-tls"]},
            "host": {"bundle": "d4", "path": "/run/coffre/demo/host/d4", "files": ["keycloak-admin-password"]},
        }
    },
    "container_images_refs": {name: f"coffre/{name}:dev" for name in ("app", "keycloak", "postgres", "haproxy")},
}


def text(**changes: Any) -> str:
    """The Compose file of the inventory with these variables replaced."""
    template = (ROOT / "docker-compose.yml.j2").read_text()
    return str(Templar(DataLoader(), variables=INVENTORY | changes).template(trust_as_template(template)))


def rendered(**changes: Any) -> dict[str, Any]:
    """The same, parsed."""
    result: dict[str, Any] = DataLoader().load(text(**changes))
    return result
