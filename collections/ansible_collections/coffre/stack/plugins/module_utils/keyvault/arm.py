"""Azure Resource Manager: what it has at a path, and how to put something there. Knows no resource but by its kind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core import PipelineClient
from azure.core import exceptions as azure
from azure.core.pipeline import Pipeline
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest

from ..errors import SourceError, VaultUnavailable
from .client import backoff
from .identity import Identity
from .refusals import Fault, fault, retry_after
from .settings import Credential, VaultSettings
from .transport import TransientErrors, Transport, context

# Every version that is asked for. The vault's: all older ones retire on 2027-02-27. The diagnostic settings': none that
# is stable has log categories.
VERSIONS = {
    "subscription": "2022-12-01",
    "provider": "2021-04-01",
    "group": "2024-11-01",
    "workspace": "2025-07-01",
    "identity": "2024-11-30",
    "vault": "2026-02-01",
    "assignment": "2022-04-01",
    "diagnostics": "2021-05-01-preview",
    "event": "2025-02-15",
    "action group": "2023-01-01",
    "subnet": "2024-05-01",
    "virtual machine": "2024-11-01",
    "connected machine": "2025-01-13",
    "secrets": "7.4",  # of the vault itself
}
# By the end of a vault's host name: where its cloud is managed.
CLOUDS = {
    "azure.net": "management.azure.com",
    "azure.cn": "management.chinacloudapi.cn",
    "usgovcloudapi.net": "management.usgovcloudapi.net",
}
ENDED = {"succeeded", "failed", "canceled", ""}
# What was made just now may not be known yet, or still be made.
PENDING = {"ResourceGroupNotFound", "PrincipalNotFound", "ParentResourceNotFound", "AnotherOperationInProgress"}


class Refused(Exception):
    """An answer that asking again would not change: to which request, and whose."""

    def __init__(self, found: Fault, method: str, path: str, claims: Mapping[str, Any]) -> None:
        super().__init__("refused")
        self.found = found
        self.method = method
        self.path = path
        self.claims = claims


@dataclass
class Calls:
    """How many requests were made, by what they do."""

    reads: int = 0
    writes: int = 0


def host_of(settings: VaultSettings) -> str:
    """Where the cloud that has this vault is managed, with the port of the vault's URL, which Azure has none of."""
    found = urlsplit(settings.url)
    suffix = (found.hostname or "").partition(".vault.")[2]
    return CLOUDS[suffix] + (f":{found.port}" if found.port else "")


class Manager:
    """A connection to Azure Resource Manager as one identity; a context manager. With `data`, to the vault itself.

    `renew` begins the time limit of `seconds` anew: one holds for looking, and one for each resource. Every method
    raises Refused, SourceError where asking again would not help, and VaultUnavailable past the limit.
    """

    def __init__(self, settings: VaultSettings, credential: Credential, data: bool = False) -> None:
        self._seconds = settings.seconds
        self.deadline = time.monotonic() + settings.seconds
        checks = context(settings.ca)
        self._host = settings.url.removeprefix("https://") if data else host_of(settings)
        self._identity = Identity(
            credential,
            Transport(checks, self.deadline, "see that this machine reaches the internet"),
            self.deadline,
        )
        advice = "see that this machine reaches the internet, and `url` in stack_secrets_keyvault"
        self._transport = Transport(checks, self.deadline, advice)
        name = self._host.partition(":")[0]
        audience = f"https://{name.partition('.')[2] if data else name}/.default"
        policy: Any = BearerTokenCredentialPolicy(self._identity, audience)  # type: ignore[arg-type]
        pipeline: Any = Pipeline(self._transport, [policy])
        self._client: Any = PipelineClient(f"https://{self._host}", pipeline=pipeline)
        self._last = "no answer at all"
        self.calls = Calls()

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.close()
        self._identity.close()

    @property
    def claims(self) -> Mapping[str, Any]:
        """What the token says of who asks; empty before the first answer."""
        return self._identity.claims()

    def renew(self) -> None:
        """Begin the time limit anew."""
        self.deadline = time.monotonic() + self._seconds
        for each in (self._transport, self._identity, self._identity.transport):
            each.deadline = self.deadline

    def get(self, kind: str, path: str, query: str = "") -> dict[str, Any] | None:
        """What is at a path; None where Azure says that there is nothing, and never for want of a right."""
        try:
            return self._body(self._ask("GET", self._url(kind, path, query)))
        except Refused as error:
            if error.found.status == 404 and error.found.code != "SubscriptionNotFound":
                return None
            raise

    def settled(self, kind: str, path: str) -> dict[str, Any] | None:
        """What is at a path once nobody is making, changing or deleting it any more."""
        attempt = 0
        while (found := self.get(kind, path)) is not None and self._under_way(found, path):
            self._pause(backoff(None, attempt))
            attempt += 1
        return found

    def listed(self, kind: str, path: str, query: str = "") -> list[dict[str, Any]]:
        """All that a listing has, whatever its pages."""
        found: list[dict[str, Any]] = []
        url = self._url(kind, path, query)
        while url:
            page = self._body(self._ask("GET", url))
            found += page.get("value", [])
            url = self._local(page.get("nextLink") or "")
        return found

    def post(self, kind: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a question that has a body."""
        return self._body(self._ask("POST", self._url(kind, path), body))

    def put(self, kind: str, path: str, body: Mapping[str, Any], method: str = "PUT") -> dict[str, Any]:
        """Put something at a path, wait until Azure is done with it, and return it as it is then."""
        url = self._url(kind, path)
        answer = self._ask(method, url, body)
        found = self._followed(answer, url)
        attempt = 0
        while self._under_way(found, path):
            self._pause(backoff(None, attempt))
            attempt += 1
            found = self._made(url)
        self._check(str(_properties(found).get("provisioningState", "")), path)
        return found

    def _under_way(self, found: Mapping[str, Any], path: str) -> bool:
        state = str(_properties(found).get("provisioningState", ""))
        self._last = f"{path.rpartition('/')[2]} is {state}"
        return state.lower() not in ENDED

    def _followed(self, answer: Any, url: str) -> dict[str, Any]:
        """What an answer leads to in the end: it may name a place to ask whether the work is done."""
        operation = self._local(answer.headers.get("Azure-AsyncOperation", ""))
        place = self._local(answer.headers.get("Location", "")) if answer.status_code == 202 else ""
        if not operation and not place:
            return self._body(answer) or self._made(url)
        attempt = 0
        while True:
            self._pause(backoff(retry_after(answer.headers), attempt))
            attempt += 1
            answer = self._ask("GET", operation or place)
            state = str(self._body(answer).get("status", "")).lower() if operation else ""
            if answer.status_code != 202 and state in ENDED:
                self._check(state, url)
                return self._made(url)

    def _made(self, url: str) -> dict[str, Any]:
        """What a PUT has led to; as if under way where Azure does not know of it yet."""
        try:
            return self._body(self._ask("GET", url))
        except Refused as error:
            if error.found.status != 404:
                raise
            return {"properties": {"provisioningState": "Accepted"}}

    def _check(self, state: str, path: str) -> None:
        if state.lower() in ("failed", "canceled"):
            raise SourceError(
                f"Azure began to make {urlsplit(path).path} and tells that it {state.lower()}: its activity log in the "
                "portal says why."
            )

    def _url(self, kind: str, path: str, query: str = "") -> str:
        more = f"&{query}" if query else ""
        return f"https://{self._host}{quote(path)}?api-version={VERSIONS[kind]}{more}"

    def _local(self, link: str) -> str:
        """A link of Azure's, on the host that may have the token; empty for none."""
        found = urlsplit(link)
        return f"https://{self._host}{found.path}?{found.query}" if link else ""

    def _body(self, answer: Any) -> dict[str, Any]:
        found = answer.json() if answer.content else {}
        return found if isinstance(found, dict) else {}

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send until there is an answer."""
        attempt, renewed, nobody = 0, False, None
        while True:
            started, wait = time.monotonic(), None
            self.calls.reads += method in ("GET", "POST")
            self.calls.writes += method not in ("GET", "POST")
            try:
                answer = self._client.send_request(HttpRequest(method, url, json=body))
                if answer.status_code < 300:
                    self._body(answer)  # half an answer is none
                    return answer
                found = fault(azure.HttpResponseError(response=answer))
                if found.status == 401 and not renewed:
                    renewed = True
                    self._identity.forget(started)
                    continue
                refused = Refused(found, method, urlsplit(url).path, self.claims)
                if not self._passes(found, method):
                    raise refused
                nobody = refused if found.code == "PrincipalNotFound" else None  # told by name once time is up
                self._last, wait = f"status {found.status}", found.retry_after
            except TransientErrors as error:
                self._last, wait = str(error) or self._last, error.seconds
            except (azure.ServiceResponseError, azure.DecodeError, ValueError):
                self._last = "half an answer, or none"
            except azure.ServiceRequestError:
                self._last = "no connection"
            self._pause(backoff(wait, attempt), nobody)
            attempt += 1

    @staticmethod
    def _passes(found: Fault, method: str) -> bool:
        """Whether it may be otherwise soon."""
        if found.status in (408, 429) or found.status >= 500:
            return True
        return method in ("PUT", "PATCH") and found.code in PENDING

    def _pause(self, seconds: float, instead: Refused | None = None) -> None:
        """Wait before asking again. Where that outlasts the limit, raises VaultUnavailable, or what to tell instead."""
        if time.monotonic() + seconds >= self.deadline:
            raise instead or VaultUnavailable(
                f"Azure, or what proves an identity to it, did not come to an end within {self._seconds:.0f} s "
                f"({self._last}): run again later, which goes on where this ended, or set `seconds` in "
                "stack_secrets_keyvault higher."
            )
        time.sleep(seconds)


def _properties(found: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = found.get("properties")
    return properties if isinstance(properties, Mapping) else {}
