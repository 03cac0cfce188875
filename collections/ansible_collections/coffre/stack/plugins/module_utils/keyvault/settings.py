"""What the inventory says of the Key Vault: checked here, without the vault and without its libraries."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SourceError

URL = re.compile(
    r"https://(?=.{3,24}\.vault\.)([a-z](?:-?[a-z0-9])*)\.vault\.(?:azure\.net|azure\.cn|usgovcloudapi\.net)(?::\d{1,5})?/?",
    re.IGNORECASE,
)
OWNER = "coffre-owner"  # the tag that marks a vault, what stands around it, and each secret as a stack's
TENANT = re.compile(r"[0-9A-Za-z.-]+")
SYSTEM_CA = Path("/etc/ssl/certs/ca-certificates.crt")
# By type of credential: the keys it must have, and those it may have.
CREDENTIALS: dict[str, tuple[set[str], set[str]]] = {
    "default": (set(), set()),
    "managed_identity": (set(), {"client_id"}),
    "workload_identity": (set(), {"client_id", "tenant_id", "token_file"}),
    "client_certificate": ({"tenant_id", "client_id", "certificate"}, set()),
    "azure_cli": (set(), {"tenant_id"}),
}
CHOICES = {"unavailable": ("fail", "keep"), "expired": ("refuse", "warn")}
NUMBERS = {"seconds": (1, 3600), "expires_soon_days": (0, 3650)}
DEFAULTS: dict[str, Any] = {"unavailable": "fail", "expired": "refuse", "seconds": 60, "expires_soon_days": 30}


@dataclass(frozen=True)
class Credential:
    """How to become somebody whom the vault knows; `certificate` and `token_file` are paths on the host."""

    type: str = "default"
    client_id: str = ""
    tenant_id: str = ""
    certificate: Path | None = None
    token_file: Path | None = None


@dataclass(frozen=True)
class VaultSettings:
    """`read` and `write` are who reads and who writes; `seconds` limits all that is asked in one run."""

    url: str
    read: Credential
    write: Credential
    ca: Path
    seconds: float
    unavailable: str
    expired: str
    expires_soon_days: int

    @property
    def name(self) -> str:
        """The vault's name, as `az keyvault --name` wants it."""
        return self.url.removeprefix("https://").partition(".")[0]


def settings(data: Any) -> VaultSettings:
    """Check `stack_secrets_keyvault` and return it. Raises SourceError with every problem at once."""
    problems: list[str] = []
    if not isinstance(data, Mapping) or "url" not in data:
        raise SourceError(
            "The source keyvault needs stack_secrets_keyvault with the vault's `url`, such as "
            "https://NAME.vault.azure.net."
        )
    known = {"url", "credential", "write_credential", "ca", *DEFAULTS}
    problems += [f"it has an unknown key `{key}`" for key in sorted({str(key) for key in data} - known)]
    url = str(data["url"]).rstrip("/")
    if not URL.fullmatch(url):
        problems.append(f"`url` is {url!r}: use the form https://NAME.vault.azure.net")
    values = DEFAULTS | {key: data[key] for key in DEFAULTS if key in data}
    for key, choices in CHOICES.items():
        if values[key] not in choices:
            problems.append(f"`{key}` is {values[key]!r}: use one of {', '.join(choices)}")
    for key, (low, high) in NUMBERS.items():
        if isinstance(values[key], bool) or not isinstance(values[key], int) or not low <= values[key] <= high:
            problems.append(f"`{key}` must be a whole number from {low} to {high}")
    ca = data.get("ca") or str(SYSTEM_CA)
    if not isinstance(ca, str) or not ca.startswith("/"):
        problems.append("`ca` must be the absolute path of a PEM file on the host")
    read = credential("credential", data.get("credential") or {"type": "default"}, problems)
    writer = data.get("write_credential")
    write = credential("write_credential", writer, problems) if writer else read
    if problems:
        raise SourceError(f"stack_secrets_keyvault is wrong: {'; '.join(problems)}.")
    return VaultSettings(url.lower(), read, write, Path(ca), **values)


def credential(where: str, data: Any, problems: list[str]) -> Credential:
    """The credential that `data` describes; what is wrong with it goes to `problems`, as of the key `where`."""
    kind = data.get("type") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or kind not in CREDENTIALS:
        problems.append(f"`{where}` needs a `type`: use one of {', '.join(CREDENTIALS)}")
        return Credential()
    required, optional = CREDENTIALS[kind]
    given = {str(key) for key, value in data.items() if value not in (None, "")} - {"type"}
    problems += [f"`{where}` ({kind}) lacks `{key}`" for key in sorted(required - given)]
    problems += [f"`{where}` ({kind}) has no use for `{key}`" for key in sorted(given - required - optional)]
    texts = {key: str(data[key]) for key in given & (required | optional)}
    for key in sorted({"certificate", "token_file"} & texts.keys()):
        if not texts[key].startswith("/"):
            problems.append(f"`{where}.{key}` must be an absolute path on the host")
    for key in sorted({"tenant_id", "client_id"} & texts.keys()):
        if not TENANT.fullmatch(texts[key]):
            problems.append(f"`{where}.{key}` is {texts[key]!r}: use the id as the portal shows it")
    certificate, token_file = (Path(texts[key]) if key in texts else None for key in ("certificate", "token_file"))
    return Credential(kind, texts.get("client_id", ""), texts.get("tenant_id", ""), certificate, token_file)


def blockers(settings: VaultSettings, credential: Credential) -> list[str]:
    """What is wrong with the files on this host that the settings name, a sentence each."""
    problems = []
    if settings.ca != SYSTEM_CA and not settings.ca.is_file():
        problems.append(f"{settings.ca}, which stack_secrets_keyvault names as `ca`, is no file: put it there.")
    if credential.token_file and not os.access(credential.token_file, os.R_OK):
        problems.append(f"The token file {credential.token_file} is missing: it proves the workload's identity.")
    if path := credential.certificate:
        try:
            about = path.lstat()
        except OSError:
            return [*problems, f"The client certificate {path} is missing: put it there, root's with mode 0400."]
        if not stat.S_ISREG(about.st_mode) or about.st_uid != 0 or stat.S_IMODE(about.st_mode) not in (0o400, 0o600):
            problems.append(f"The client certificate {path} must be a file of root's with mode 0400 or 0600.")
    return problems
