"""Who this host is to the vault: a credential, asked by one thread at a time, whose failures are told apart."""

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure import identity

from ..errors import SourceError
from .settings import Credential
from .transport import TransientErrors, Transport

CHASSIS = Path("/sys/class/dmi/id/chassis_asset_tag")
AZURE_CHASSIS = "7783-7084-3265-9085-8269-3286-77"  # what every machine of Azure says
WORKLOAD = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE")
ENDPOINTS = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST")
# What DefaultAzureCredential would try besides; none of it belongs on a host.
NEVER = ("shared_token_cache", "visual_studio_code", "developer_cli", "powershell", "interactive_browser", "broker")
# IMDS answers 404 and 410 while it is being updated; 200 is an answer that could not be understood.
PASSING = {200, 404, 408, 410, 429}
MARGIN = 30  # seconds before its end at which a token counts as old


def evidence(environment: Mapping[str, str], chassis: Path = CHASSIS) -> list[str]:
    """Which credentials of DefaultAzureCredential have what they need here. Asks nobody, and so waits for nobody."""
    found = []
    if environment.get("AZURE_CLIENT_CERTIFICATE_PATH"):
        found.append("environment")
    if all(environment.get(name) for name in WORKLOAD):
        found.append("workload_identity")
    try:
        azure = chassis.read_text(encoding="utf-8").strip() == AZURE_CHASSIS
    except (OSError, UnicodeDecodeError):
        azure = False
    if azure or any(environment.get(name) for name in ENDPOINTS):
        found.append("managed_identity")
    if shutil.which("az", path=environment.get("PATH")):
        found.append("cli")
    return found


def build(credential: Credential, transport: Transport, seconds: float) -> Any:
    """The SDK's credential. Raises SourceError if what it needs is not there."""
    web: dict[str, Any] = {"transport": transport, "retry_total": 0}
    try:
        if credential.type == "managed_identity":
            return identity.ManagedIdentityCredential(client_id=credential.client_id or None, **web)
        if credential.type == "workload_identity":
            return identity.WorkloadIdentityCredential(
                tenant_id=credential.tenant_id or None,
                client_id=credential.client_id or None,
                token_file_path=str(credential.token_file) if credential.token_file else None,
                **web,
            )
        if credential.type == "client_certificate":
            return identity.CertificateCredential(
                credential.tenant_id, credential.client_id, str(credential.certificate), **web
            )
        if credential.type == "azure_cli":
            return identity.AzureCliCredential(tenant_id=credential.tenant_id, process_timeout=max(1, int(seconds)))
        found = evidence(os.environ)
        if not found:
            raise SourceError(
                "This host has no Azure identity: no variables of a workload identity, no IDENTITY_ENDPOINT, no "
                "machine of Azure's, no az; say which to use in `credential` of stack_secrets_keyvault."
            )
        kinds = ("environment", "workload_identity", "managed_identity", "cli")
        unwanted = {f"exclude_{kind}_credential": kind not in found for kind in kinds}
        never = {f"exclude_{kind}_credential": True for kind in NEVER}
        return identity.DefaultAzureCredential(process_timeout=max(1, int(seconds)), **unwanted, **never, **web)
    except (ValueError, OSError):
        what = {
            "client_certificate": f"{credential.certificate} must have an RSA key and its certificate, as PEM",
            "workload_identity": f"give tenant_id, client_id and token_file, or the variables {', '.join(WORKLOAD)}",
        }
        raise SourceError(
            f"The credential {credential.type} cannot be used: "
            f"{what.get(credential.type, 'check the variables AZURE_* of stack_environment')}."
        ) from None


class Identity:
    """A credential for the SDK's client.

    Raises TransientErrors where asking again may help, else SourceError.
    """

    def __init__(self, credential: Credential, transport: Transport, deadline: float) -> None:
        self._settings = credential
        self.transport = transport
        self.deadline = deadline
        self._lock = threading.Lock()
        self._token: Any = None
        self._obtained = 0.0
        self._credential = self._build()

    def _build(self) -> Any:
        return build(self._settings, self.transport, max(1.0, self.deadline - time.monotonic()))

    def get_token_info(self, *scopes: str, options: Mapping[str, Any] | None = None) -> Any:
        """What the SDK calls for a token: the one at hand, or a new one."""
        asked = dict(options or {})
        with self._lock:
            if not asked.get("claims") and self._token and self._token.expires_on - time.time() > MARGIN:
                return self._token
            self.transport.clear()
            try:
                self._token = self._credential.get_token_info(*scopes, options=asked)
            except Exception as error:
                # The library answers for a minute from its memory of a failure, and only a new credential has none.
                self._credential = self._build()
                raise self._explain(error, asked.get("tenant_id")) from None
            self._obtained = time.monotonic()
            return self._token

    @property
    def known(self) -> bool:
        """Whether there was a token already."""
        return self._token is not None

    def forget(self, since: float) -> None:
        """Let go of a token that was refused, unless it is newer than the request (by time.monotonic)."""
        with self._lock:
            if self._obtained <= since:
                self._token = None
                # The credential has a cache of its own, and only a new one has none.
                self._credential = self._build()

    def claims(self) -> dict[str, Any]:
        """What the token says of its bearer: oid, tid and more; empty where it cannot be read."""
        try:
            body = self._token.token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            return claims if isinstance(claims, dict) else {}
        except (AttributeError, IndexError, ValueError):
            return {}

    def close(self) -> None:
        self.transport.close()

    def _explain(self, error: Exception, tenant: str | None) -> Exception:
        if isinstance(error, (TransientErrors, SourceError)):
            return error
        transport, settings = self.transport, self._settings
        if transport.trouble:
            return transport.trouble
        code = re.search(r"\bAADSTS\d+", str(error))
        status = transport.status
        if transport.used and not code and (status is None or status in PASSING or status >= 500):
            why = f"status {status}" if status else "no connection"
            return TransientErrors(f"no token: {why}", transport.retry_after)
        if settings.tenant_id and tenant and tenant.lower() != settings.tenant_id.lower():
            return SourceError(
                f"The vault belongs to the tenant {tenant}, and the credential to {settings.tenant_id}: use an "
                "identity of the vault's tenant."
            )
        if code:
            return SourceError(
                f"Entra ID gives no token to the credential {settings.type} ({code[0]}): check its tenant_id, "
                "client_id and, in the portal, that it is registered there."
            )
        if transport.used:
            which = f"the managed identity {settings.client_id}" if settings.client_id else "a managed identity"
            return SourceError(
                f"This host does not have {which}: assign it with 'az vm identity assign', or set `credential` in "
                "stack_secrets_keyvault."
            )
        if settings.type in ("azure_cli", "default"):
            who = pwd.getpwuid(os.geteuid()).pw_name
            return SourceError(f"The Azure CLI on {os.uname().nodename} gives no token: run 'az login' there as {who}.")
        return SourceError(f"The credential {settings.type} gives no token: check the files and variables it needs.")
