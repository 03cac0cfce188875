"""The connections to the vault and to what proves an identity: kept, checked, and cut off at the time limit."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

from ..errors import SourceError
from .refusals import retry_after
from .settings import SYSTEM_CA

THREADS = 16
CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class NoSuchName(SourceError):
    """The name service knows no such host: none, or none yet."""


class TransientErrors(Exception):
    """No answer worth having, for a reason that may pass: ask again, after `seconds` where the answer said when."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


def context(ca: Path) -> ssl.SSLContext:
    """The checks of a certificate, against a PEM file. Raises SourceError if it is none."""
    if ca == SYSTEM_CA and not ca.exists():
        ca = Path(certifi.where())
    try:
        return ssl.create_default_context(cafile=str(ca))
    except OSError:
        raise SourceError(
            f"{ca} has no certificate of an authority: set `ca` in stack_secrets_keyvault to a PEM file that has one."
        ) from None


class _Adapter(HTTPAdapter):
    """Keeps a connection for each thread, and one set of checks for all: reading the authorities takes 40 ms."""

    def __init__(self, checks: ssl.SSLContext) -> None:
        self._checks = checks
        super().__init__(pool_maxsize=THREADS, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._checks, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._checks, **options)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:  # noqa: ARG002
        return super().build_connection_pool_key_attributes(request, True, cert)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to add to what the context checks."""


class Transport(RequestsTransport):  # type: ignore[misc]  # the SDK says its type nowhere
    """Sends the SDK's requests; no wait on the network outlasts the deadline (by time.monotonic).

    `status`, `retry_after` and `trouble` tell of the last request what the layers above swallow: the status of its
    answer, the wait in s that it asks for, or why asking again would not help. `advice` is what to check when the
    host is not found.
    """

    def __init__(self, checks: ssl.SSLContext, deadline: float, advice: str) -> None:
        session = requests.Session()
        # Without one, requests would put what a .netrc says in the place of the token.
        session.auth = lambda request: request
        adapter = _Adapter(checks)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        super().__init__(session=session)
        self.deadline = deadline
        self._advice = advice
        self.clear()

    def clear(self) -> None:
        """Forget the last request."""
        self.used = False
        self.status: int | None = None
        self.retry_after: float | None = None
        self.trouble: SourceError | None = None

    def send(self, request: Any, **options: Any) -> Any:
        self.clear()
        self.used = True
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TransientErrors("")  # the answers before say why
        options["connection_timeout"] = min(options.get("connection_timeout", CONNECT_SECONDS), left)
        options["read_timeout"] = min(READ_SECONDS, left)
        if request.url.startswith("http:"):
            # A managed identity's endpoint is the machine's own: a proxy would answer for itself.
            options["proxies"] = {"http": "", "all": ""}
        try:
            response = super().send(request, **options)
        except AzureError as error:
            trouble = self._hopeless(error, urlsplit(request.url).hostname or "")
            if trouble is None:
                raise
            # Not read back: another thread may clear it at once.
            self.trouble = trouble
            raise trouble from None
        self.status = response.status_code
        self.retry_after = retry_after(response.headers)
        return response

    def _hopeless(self, error: BaseException, host: str) -> SourceError | None:
        """Why asking again would not help, if it would not."""
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return SourceError(
                    f"The certificate of {host} is not trusted ({cause.verify_message}): if an authority of your own "
                    "signed it, set `ca` in stack_secrets_keyvault to its PEM file on the host; else somebody else "
                    "answers in its place."
                )
            if isinstance(cause, socket.gaierror) and cause.errno in NO_SUCH_NAME:
                return NoSuchName(f"{host} is not found, says the name service: {self._advice}.")
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it was made of."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        cause = todo.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            named = [getattr(cause, name, None) for name in ("inner_exception", "reason", "__cause__", "__context__")]
            todo += [*named, *cause.args]
