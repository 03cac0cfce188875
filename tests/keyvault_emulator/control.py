"""The one client of the control API, for tests, Molecule and benchmarks: the standard library is enough for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit


class ControlError(Exception):
    """The emulator refused a command: its sentence."""


@dataclass(frozen=True)
class Control:
    """Commands to the emulator at `url`, for instance http://127.0.0.1:8442."""

    url: str

    def vault(self, name: str, **settings: str | int | bool) -> None:
        """Make an empty vault or change one.

        Settings: tenant; model (rbac, policy); purge_protection; recoverable_days; closed (the firewall's inner code,
        ForbiddenByFirewall or ForbiddenByConnection, or empty); group, tags; subscription (another one's vault is
        somebody else's).
        """
        self._ask("vault", name=name, **settings)

    def identity(self, name: str, **settings: str | bool) -> dict[str, Any]:
        """Make or replace an identity: tenant, system, client_id, certificate, federated; returns all of them with
        its object_id. `host` (the machine's own) and `operator` are there from the beginning."""
        return dict(self._ask("identity", name=name, **settings))

    def grant(self, identity: str, vault: str, rights: Sequence[str], secrets: Sequence[str] = ()) -> None:
        """Set an identity's rights on a vault, or add rights on some secrets: get, list, set, delete, recover,
        purge, backup, restore."""
        self._ask("grant", identity=identity, vault=vault, rights=list(rights), secrets=list(secrets))

    def revoke(self, identity: str, vault: str) -> None:
        """Take all of an identity's rights on a vault."""
        self._ask("revoke", identity=identity, vault=vault)

    def assign(self, identity: str, role: str, scope: str = "") -> None:
        """Let an identity have a built-in role, such as Contributor, at a scope, by default the subscription."""
        self._ask("assign", identity=identity, role=role, scope=scope)

    def unassign(self, identity: str, scope: str = "") -> None:
        """Take all roles that an identity has at a scope itself, by default the subscription."""
        self._ask("unassign", identity=identity, scope=scope)

    def assignments(self, vault: str) -> list[dict[str, Any]]:
        """The role assignments at a vault or above, as Resource Manager lists them."""
        return list(self._ask("assignments", vault=vault))

    def resource(self, id: str, body: Mapping[str, Any]) -> None:
        """Keep a resource that somebody else made, such as an action group; an empty body removes it."""
        self._ask("resource", id=id, body=dict(body))

    def provider(self, namespace: str, registered: bool) -> None:
        """Say whether the subscription is registered for a resource provider."""
        self._ask("provider", namespace=namespace, registered=registered)

    def delete_vault(self, name: str) -> None:
        """Soft-delete a vault."""
        self._ask("delete_vault", name=name)

    def logged(self, vault: str) -> list[dict[str, Any]]:
        """The calls that a vault's diagnostic settings let it log: operation, name, oid, status."""
        return list(self._ask("logged", vault=vault))

    def put(
        self,
        vault: str,
        name: str,
        value: str,
        *,
        enabled: bool = True,
        nbf: int | None = None,
        exp: int | None = None,
        content_type: str | None = None,
        tags: Mapping[str, str] | None = None,
        version: str = "",
        created: int | None = None,
        updated: int | None = None,
    ) -> str:
        """A new version of a secret, dated at will (epoch seconds); returns its id. Counts as no call."""
        return str(
            self._ask(
                "put",
                vault=vault,
                name=name,
                value=value,
                attributes={"enabled": enabled, "nbf": nbf, "exp": exp},
                content_type=content_type,
                tags=dict(tags or {}),
                version=version,
                created=created,
                updated=updated,
            )
        )

    def delete(self, vault: str, name: str, purge: bool = False) -> None:
        """Soft-delete a secret, or let nothing be left of it, whether it is there, deleted or neither."""
        self._ask("delete", vault=vault, name=name, purge=purge)

    def fault(self, kind: str, operation: str = "*", **settings: str | float | None) -> None:
        """Let calls fail: `kind` is status, reset, lost, half, slow or, of Resource Manager, failed.

        `operation`: get, list, versions, set, update, delete, list_deleted, get_deleted, recover, purge, backup,
        restore, challenge (the call without a token), token, * (any call of a vault), a verb and a type of Resource
        Manager's such as `PUT vaults`, or arm (any call of it). Settings: name (of a secret);
        skip (so many go well first); count (so many are hit, 1; 0: all); share (probability, 1.0); status (503);
        retry_after (s); seconds (of slow).
        """
        self._ask("fault", kind=kind, operation=operation, **settings)

    def clear_faults(self) -> None:
        """Let all calls go well again."""
        self._ask("clear_faults")

    def set(self, **settings: float) -> None:
        """Set latency_ms (0), token_seconds (86400), clock (s ahead, 0), moving_seconds (0), and of Resource Manager:
        polls (until what it makes is done, 1), late_rights (calls that a new right misses, 0), page (items, 100)."""
        self._ask("set", **settings)

    def expire_tokens(self) -> None:
        """End the life of all tokens issued so far, though they say otherwise."""
        self._ask("expire_tokens")

    def count(self, reset: bool = False) -> dict[str, int]:
        """Calls since the last reset by operation (see fault), and `connections` opened to the vaults."""
        return {str(key): int(value) for key, value in self._ask("count", reset=reset).items()}

    def reset(self) -> None:
        """Empty all vaults and take back every setting, identity, grant, fault and count."""
        self._ask("reset")

    def _ask(self, verb: str, **arguments: Any) -> Any:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request("POST", f"/control/{verb}", json.dumps(arguments), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told = json.load(answer)
        finally:
            connection.close()
        if answer.status != 200:
            raise ControlError(told["error"])
        return told
