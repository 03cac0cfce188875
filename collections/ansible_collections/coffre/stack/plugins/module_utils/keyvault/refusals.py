"""What a vault's refusal means, as sentences that name the cause and what to type. Nothing of an answer is quoted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import SourceError
from .settings import VaultSettings

RESOURCE = re.compile(r"Resource: '(/subscriptions/[^'/]+/resourcegroups/[^'/]+/[^']*?/vaults/[^'/]+)", re.IGNORECASE)
ADDRESS = re.compile(r"Client address: ([0-9a-fA-F.:]+)")
# What a vault says to whom its network rules, its private endpoints and its perimeter keep out.
NETWORK = ("ForbiddenByFirewall", "ForbiddenByConnection", "ForbiddenByNsp")
# By what is asked: the action that RBAC wants, the role that has it, and the permission of an access policy.
RIGHTS = {
    "get": ("secrets/getSecret", "Key Vault Secrets User", "get"),
    "list": ("secrets/readMetadata", "Key Vault Secrets User", "list"),
    "set": ("secrets/setSecret", "Key Vault Secrets Officer", "set"),
    "update": ("secrets/update", "Key Vault Secrets Officer", "set"),
    "recover": ("secrets/recover", "Key Vault Secrets Officer", "recover"),
}
# By kind: what one secret is, and what several are.
PHRASES = {
    "missing": ("is missing", "are missing"),
    "deleted": ("is deleted, and can be recovered", "are deleted, and can be recovered"),
    "disabled": ("is disabled", "are disabled"),
    "early": ("is not valid yet", "are not valid yet"),
    "expired": ("has expired", "have expired"),
    "forbidden": ("may not be read by this identity", "may not be read by this identity"),
    "unfit": ("cannot be used", "cannot be used"),
}


@dataclass(frozen=True)
class Refusal:
    """Why a secret is not to be had, and what to do about it, where NAME is its name in the vault."""

    kind: str
    advice: str


@dataclass(frozen=True)
class Fault:
    """An answer of the vault that is none: its status, its error's inner code and message, and of its headers two."""

    status: int
    code: str
    message: str
    challenge: str
    retry_after: float | None


class RefusedByVault(Exception):
    """An answer that asking again would not change."""

    def __init__(self, found: Fault) -> None:
        super().__init__("refused")
        self.found = found


def fault(error: Any) -> Fault:
    """Read azure's HttpResponseError. The message is for the patterns below, never for a person."""
    response = error.response
    try:
        body = response.json()
        told = body.get("error") or body  # some of Azure's services put nothing around it
        code = (told.get("innererror") or {}).get("code") or told.get("code") or ""
        message = told.get("message") or ""
    except Exception:
        code = message = ""
    headers = response.headers if response is not None else {}
    return Fault(
        status=error.status_code or 0,
        code=str(code),
        message=str(message),
        challenge=headers.get("WWW-Authenticate", ""),
        retry_after=retry_after(headers),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The wait in s that an answer asks for."""
    wait = headers.get("Retry-After", "")
    return float(wait) if re.fullmatch(r"\d{1,6}", wait) else None


def listed(names: list[str]) -> str:
    """Names as a person would say them."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def sentence(settings: VaultSettings, refused: Sequence[tuple[str, str, Refusal]]) -> str:
    """One sentence that names every secret concerned, by what is wrong with it.

    `refused` has for each what to call it, its name in the vault, and the refusal.
    """
    groups: dict[Refusal, list[tuple[str, str]]] = {}
    for label, name, refusal in refused:
        groups.setdefault(refusal, []).append((label, name))
    parts = []
    for refusal, members in groups.items():
        labels = listed([label for label, _ in members])
        advice = refusal.advice.replace("NAME", members[0][1]) if len(members) == 1 else refusal.advice
        parts.append(f"{labels} {PHRASES[refusal.kind][len(members) > 1]}: {advice}")
    return f"The vault {settings.name} does not give what the catalogue needs: {'; '.join(parts)}."


def of_secret(found: Fault, settings: VaultSettings, claims: Mapping[str, Any]) -> Refusal | None:
    """The refusal of one secret that an answer to its GET means, or None if it is not about one."""
    vault = settings.name
    if found.status == 404:
        return Refusal(
            "missing", "run 'make ensure-secrets ENV=...', which makes what is missing, or put it in by other means"
        )
    if found.code == "SecretDisabled":
        return Refusal(
            "disabled",
            f"run 'az keyvault secret set-attributes --vault-name {vault} --name NAME --enabled true', or put in a "
            "new version",
        )
    if found.status == 403 and found.code not in NETWORK:
        return Refusal("forbidden", grant(found, "get", settings, claims))
    return None


def deleted(settings: VaultSettings) -> Refusal:
    return Refusal(
        "deleted", f"run 'az keyvault secret recover --vault-name {settings.name} --name NAME', or purge it first"
    )


def of_vault(found: Fault, asked: str, settings: VaultSettings, claims: Mapping[str, Any]) -> SourceError:
    """The error that an answer means which concerns the vault as a whole."""
    vault = settings.name
    if found.status == 401:
        tenant = re.search(r"authorization=\"?https://[^/\"]+/([0-9A-Za-z.-]+)", found.challenge)
        ours = str(claims.get("tid", ""))
        if "AKV10032" in found.message or (tenant and ours and tenant[1].lower() != ours.lower()):
            theirs = f"the tenant {tenant[1]}" if tenant else "another tenant"
            return SourceError(
                f"The vault {vault} belongs to {theirs}, and this identity to {ours or 'another'}: use an identity of "
                "the vault's tenant."
            )
        return SourceError(
            f"The vault {vault} does not accept this identity's token: see that the host's clock is right."
        )
    if found.code == "ForbiddenByNsp":
        return SourceError(
            f"The network security perimeter of the vault {vault} keeps this host out: have an access rule of the "
            "perimeter let its address in, or give the host a private endpoint."
        )
    if found.code in NETWORK:
        address = ADDRESS.search(found.message)
        return SourceError(
            f"The firewall of the vault {vault} keeps this host out: run 'az keyvault network-rule add --name {vault} "
            f"--ip-address {address[1].rstrip('.') if address else 'ADDRESS'}', or give the host a private endpoint."
        )
    if found.status == 403:
        return SourceError(
            f"This identity may not {asked} secrets of the vault {vault}: {grant(found, asked, settings, claims)}."
        )
    if found.status == 409:
        return SourceError(f"The vault {vault} holds a deleted secret of this name: recover it, or purge it first.")
    return SourceError(
        f"The vault {vault} answers {found.status} to a request to {asked} secrets: see that `url` is right."
    )


def grant(found: Fault, asked: str, settings: VaultSettings, claims: Mapping[str, Any]) -> str:
    """Which right is lacking on which scope, and the command that grants it."""
    action, role, permission = RIGHTS[asked]
    vault = settings.name
    who = str(claims.get("oid") or "OBJECT-ID")
    if found.code in ("AccessDenied", "ForbiddenByPolicy") or "does not have secrets" in found.message:
        # It replaces what the identity has, so that who writes is told everything that writing needs.
        return (
            f"the vault's access policy lacks the secret permission '{permission}' for the identity {who}; run "
            f"'az keyvault set-policy --name {vault} --object-id {who} --secret-permissions get list"
            f"{'' if permission in ('get', 'list') else ' set recover'}'"
        )
    told = RESOURCE.search(found.message)
    scope = told[1] if told else f"$(az keyvault show --name {vault} --query id --output tsv)"
    kind = "User" if claims.get("idtyp") == "user" or "upn" in claims else "ServicePrincipal"
    return (
        f"the identity {who} lacks Microsoft.KeyVault/vaults/{action}/action on the vault; run "
        f'\'az role assignment create --role "{role}" --assignee-object-id {who} --assignee-principal-type {kind} '
        f'--scope "{scope}"\', and allow a few minutes'
    )
