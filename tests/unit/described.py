"""A stack in one piece, as tests write it down: services with their files, and secrets with their consumers.

A service's other keys of the Compose file stand under its `compose`, the file's own under that of the whole.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils.catalogue import HOST, Catalogue
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from ansible_collections.coffre.stack.plugins.module_utils.strategies import DECLARED

# What a strategy must be told, where a test does not care.
SETTINGS: dict[str, dict[str, Any]] = {
    "keycloak_client": {"service": "keycloak", "realm": "iam", "client": "automation-cli"},
    "keycloak_user": {"service": "keycloak", "realm": "master", "user": "admin"},
    "postgres_role": {"service": "postgres", "owner": "owner", "roles": ["role_a", "role_b"]},
}
ADOPT: dict[str, dict[str, Any]] = {
    "start_first": {"deploy": {"update_config": {"order": "start-first"}}},
    "restart": {},
    "reload": {"x-coffre": {"adopt": "reload"}},
}

HEALTHY = Container(
    id="c1",
    name="c1",
    service="",
    config_hash="",
    image="",
    image_id="",
    bundle=None,
    state="running",
    health="healthy",
    exit_code=0,
    out_of_memory=False,
    restarts=0,
    created="",
    pid=1,
    stop_seconds=10,
    restart="no",
    health_check=(),
    ready=(),
    addresses=frozenset(),
    mounts=(),
)


def container(**different: Any) -> Container:
    """A container that runs and is healthy, but for what is different."""
    return replace(HEALTHY, **different)


def parse(data: Mapping[str, Any]) -> Catalogue:
    """The catalogue of such a stack. Raises CatalogueError."""
    return catalogues.parse(*split(data), DECLARED)


def split(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its catalogue and its Compose file, as an inventory has them."""
    secrets = copy.deepcopy(list(data["secrets"]))
    services: dict[str, dict[str, Any]] = {}
    composed: dict[str, set[str]] = {}
    files = []
    for each in data["services"]:
        names = [file["name"] for file in each.get("files", [])]
        files += [file for file in each.get("files", []) if file not in files]
        composed[each["name"]] = {
            secret["name"]
            for secret in secrets
            for file in each.get("files", [])
            if f"@{{{secret['name']}}}" in file["template"] or f"@{{{secret['name']}." in file["template"]
        }
        given = {"image": "none", "user": f"{each['uid']}:{each['gid']}", "secrets": names}
        services[each["name"]] = copy.deepcopy(given | ADOPT[each["adopt"]] | each.get("compose", {}))
    for secret in secrets:
        for consumer in secret.pop("consumers"):
            if consumer == HOST:
                secret["host"] = True
            elif secret["name"] not in composed[consumer]:
                services[consumer]["secrets"].append(secret["name"])
        if settings := SETTINGS.get(secret["strategy"]):
            secret["settings"] = settings | dict(secret.get("settings") or {})
            services.setdefault(secret["settings"]["service"], {"image": "none"})
    return {"secrets": secrets} | ({"files": files} if files else {}), {
        "services": services or {"none": {"image": "none"}},
        **copy.deepcopy(data.get("compose", {})),
    }
