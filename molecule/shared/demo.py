"""The demo's services as its Compose file says them, without a run of Ansible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

FILE = Path(__file__).parents[2] / "docker-compose.yml.j2"


def services(console: bool = False, url: str = "https://a.test") -> dict[str, Any]:
    """By name, with Keycloak's admin console open or closed, and under this address."""
    variables = {
        "stack_admin_console": console,
        "stack_public_url": url,
        "stack_https_port": 8443,
        "stack_http_port": 8080,
        "stack_catalogue": {"secrets": []},
    }
    text = Templar(DataLoader(), variables=variables).template(trust_as_template(FILE.read_text()))
    result: dict[str, Any] = DataLoader().load(str(text))["services"]
    return result
