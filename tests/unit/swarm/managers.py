"""A model of what a swarm's managers answer: configs and secrets with versions, services and their tasks."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError


@dataclass
class Managers:
    """`ask` is as of host.api; what is kept stands in the lists, `asked` has each (method, path)."""

    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    mounted: set[str] = field(default_factory=set)  # names of secrets that a service has
    majority: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    index: Any = field(default_factory=lambda: itertools.count(1))

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        filters: Mapping[str, Sequence[str]] | None = None,
        **query: Any,
    ) -> Any:
        self.asked.append((method, path))
        if not self.majority:
            raise CoffreError("Docker Engine does not do it: The swarm does not have a leader.")
        kind, _, rest = path.strip("/").partition("/")
        if kind == "info":
            return {"Swarm": {"NodeID": "here"}}
        if kind == "tasks":
            return json.loads(json.dumps(self.tasks))
        kept: dict[str, dict[str, Any]] = getattr(self, kind)
        if method == "GET":
            return [json.loads(json.dumps(each)) for each in kept.values() if fits(each, filters or {})]
        if rest == "create":
            return self._create(kept, body)
        if method == "DELETE":
            return self._delete(kept, rest)
        if rest.removesuffix("/update") not in kept:
            raise CoffreError("Docker Engine does not do it: not found")
        return self._update(kept[rest.removesuffix("/update")], body, query)

    def _create(self, kept: dict[str, dict[str, Any]], spec: Any) -> dict[str, str]:
        if any(each["Spec"]["Name"] == spec["Name"] for each in kept.values()):
            raise CoffreError(f"Docker Engine does not do it: {spec['Name']} already exists")
        name = f"id{next(self.index)}"
        kept[name] = {"ID": name, "Version": {"Index": next(self.index)}, "Spec": dict(spec)}
        return {"ID": name}

    def _delete(self, kept: dict[str, dict[str, Any]], name: str) -> None:
        found = next((key for key, each in kept.items() if name in (key, each["Spec"]["Name"])), None)
        if found is None:
            raise CoffreError("Docker Engine does not do it: not found")
        if kept[found]["Spec"]["Name"] in self.mounted:
            raise CoffreError("Docker Engine does not do it: the secret is in use")
        del kept[found]

    def _update(self, each: dict[str, Any], spec: Any, query: Mapping[str, Any]) -> None:
        if query["version"] != each["Version"]["Index"]:
            raise CoffreError("Docker Engine does not do it: rpc error: update out of sequence")
        each["Spec"], each["Version"] = dict(spec), {"Index": next(self.index)}

    def value(self, name: str) -> bytes:
        """What a secret object holds, which no manager tells."""
        found = next(each for each in self.secrets.values() if each["Spec"]["Name"] == name)
        return base64.b64decode(found["Spec"]["Data"])

    @property
    def names(self) -> set[str]:
        return {each["Spec"]["Name"] for each in self.secrets.values()}


def fits(each: Mapping[str, Any], filters: Mapping[str, Sequence[str]]) -> bool:
    """As the engine filters: a name by its beginning, labels all of them."""
    spec = each["Spec"]
    named = all(spec["Name"].startswith(name) for name in filters.get("name", ()))
    labels = {f"{key}={value}" for key, value in (spec.get("Labels") or {}).items()}
    return named and set(filters.get("label", ())) <= labels
