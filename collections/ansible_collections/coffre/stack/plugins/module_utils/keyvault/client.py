"""A Key Vault through Azure's SDK: one client, a few threads, one time limit for all that is asked."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import Any, Literal, TypeVar

from ..errors import SourceError, VaultUnavailable
from . import refusals
from .refusals import Refusal
from .settings import Credential, VaultSettings, blockers, settings

__all__ = ["Answer", "Credential", "Properties", "Refusal", "Value", "Vault", "VaultSettings", "blockers", "settings"]

T = TypeVar("T")
R = TypeVar("R")
BACKOFF = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before the second, third ... request; the last for all after
PASSING = (0, 200, 408, 429)  # besides 500 and more; 200 is an answer that could not be understood
PATIENCE = 0.8  # of the time limit, for a right to arrive: the rest is for what it then lets through
LIBRARIES = ("azure", "msal", "urllib3", "requests")


@dataclass(frozen=True)
class Properties:
    """What the vault says of a secret's latest version, or of one version; times in s since 1970.

    A listing does not say the version.
    """

    name: str
    version: str | None
    enabled: bool
    created: int
    updated: int
    expires: int | None
    not_before: int | None
    content_type: str
    tags: Mapping[str, str]
    recovery_level: str


@dataclass(frozen=True)
class Value:
    """A version with its value as the vault has it; `read` is when it was read, by the vault's clock."""

    properties: Properties
    text: str = field(repr=False)
    read: int


Answer = Value | Refusal


def backoff(asked: float | None, attempt: int) -> float:
    """The seconds to wait before another attempt, by an answer's own word if it has one.

    Some services ask for a wait of no seconds, which would be no pause.
    """
    return asked or BACKOFF[min(attempt, len(BACKOFF) - 1)]


class Vault:
    """A connection to the vault, as the one who reads or the one who writes; a context manager.

    Names are in lower case: a vault does not tell cases apart. Every method raises VaultUnavailable when `seconds`
    from the start are over without the answer, and SourceError when asking again would not help. With `first`, which
    says that this identity was never let in here before, a right that RBAC does not know of may be on its way.
    """

    def __init__(self, settings: VaultSettings, write: bool = False, first: bool = False) -> None:
        # Only here: preflight runs where these libraries are not.
        from azure.core.pipeline.policies import RetryPolicy
        from azure.keyvault.secrets import SecretClient

        from . import identity as keyvault_identity
        from . import transport as keyvault_wire

        for library in LIBRARIES:
            logging.getLogger(library).setLevel(logging.CRITICAL + 1)
        self.settings = settings
        self._last = "no answer at all"
        self.pages = 0  # what the last listing took, or one more than it was allowed
        self._transient = keyvault_wire.TransientErrors
        self._threads = keyvault_wire.THREADS
        self._began = time.monotonic()
        self._deadline = self._began + settings.seconds
        self._patience = self._began + PATIENCE * settings.seconds if first else 0.0
        self._waited = 0.0
        checks = keyvault_wire.context(settings.ca)
        self._identity = keyvault_identity.Identity(
            settings.write if write else settings.read,
            keyvault_wire.Transport(checks, self._deadline, "see that this host reaches the internet"),
            self._deadline,
        )
        advice = "check `url` in stack_secrets_keyvault, and whether the vault was deleted"
        # One loop of ours asks again: the SDK's own does not know the limit, and leaves out half answers and tokens.
        self._client = SecretClient(
            settings.url,
            self._identity,  # type: ignore[arg-type]
            transport=keyvault_wire.Transport(checks, self._deadline, advice),
            retry_policy=RetryPolicy.no_retries(),
        )

    def __enter__(self) -> Vault:
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.close()
        self._identity.close()

    @property
    def waiting(self) -> str:
        """A sentence, with a space before it, that says how long a right was waited for; "" where none was."""
        return (
            f" A right that was just given takes minutes to arrive, so this was asked again for {self._waited:.0f} s."
            if self._waited
            else ""
        )

    def listing(self, pages: int | None = None) -> dict[str, Properties] | None:
        """The properties of every secret by name, at most so many pages' calls.

        None if there are more pages.
        """
        return self._spread(self._list, [pages])[0]

    def read(self, wanted: Mapping[str, str | None]) -> dict[str, Answer]:
        """By name, the latest version or the one that is wanted, or why it is not to be had."""
        found = dict(zip(wanted, self.each(self._get, list(wanted.items())), strict=True))
        missing = [name for name, answer in found.items() if isinstance(answer, Refusal) and answer.kind == "missing"]
        for name, gone in zip(missing, self._spread(self._deleted, missing), strict=True):
            if gone:
                found[name] = refusals.deleted(self.settings)
        return found

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Do work that asks this vault on all items in threads, and return the results in order.

        The first exception ends it.
        """
        # The first request learns whom to ask for a token, and gets it, for all.
        alone = 0 if self._identity.known else 1
        return self._spread(work, items[:alone]) + self._spread(work, items[alone:])

    def versions(self, name: str) -> list[Properties]:
        """The properties of all versions of a secret, the latest last; none where there is no such secret."""
        return self._spread(self._versions, [name])[0]

    def deleted(self, name: str) -> Properties | Literal[False] | None:
        """The deleted secret of this name; False if there is none, None if this identity may not know."""
        return self._spread(self._deleted, [name])[0]

    def put(
        self, name: str, value: str, *, tags: Mapping[str, str], content_type: str, expires: int | None
    ) -> Properties:
        """Make a new version, which is the latest then, whether or not there is one."""
        until = datetime.fromtimestamp(expires, UTC) if expires else None

        def call() -> Properties:
            made = self._client.set_secret(
                name, value, tags=dict(tags), content_type=content_type or None, expires_on=until
            )
            return self._properties(made.properties)

        return self._one("set", call)

    def recover(self, name: str) -> None:
        """Bring back a deleted secret, and wait until the vault has it again."""
        self._one("recover", lambda: self._client.begin_recover_deleted_secret(name))
        while isinstance(answer := self.read({name: None})[name], Refusal) and answer.kind in ("missing", "deleted"):
            self._pause(1.0)

    def disable(self, name: str, version: str) -> None:
        """Disable one version."""
        self._one("update", lambda: self._client.update_secret_properties(name, version, enabled=False))

    def _one(self, asked: str, call: Callable[[], T]) -> T:
        return self._spread(lambda call: self._told(asked, call), [call])[0]

    def _told(self, asked: str, call: Callable[[], T], needed: bool = True) -> T:
        """Ask, and let a refusal be an error."""
        try:
            return self._ask(call, needed)
        except refusals.RefusedByVault as error:
            raise self._refused(error.found, asked) from None

    def _refused(self, found: refusals.Fault, asked: str) -> SourceError:
        error = refusals.of_vault(found, asked, self.settings, self._identity.claims())
        return SourceError(f"{error}{self.waiting}")

    def _list(self, pages: int | None) -> dict[str, Properties] | None:
        found: dict[str, Properties] = {}
        token: str | None = None
        self.pages = 0
        while not self.pages or token:
            self.pages += 1
            if pages is not None and self.pages > pages:
                return None

            def call(token: str | None = token) -> tuple[list[Properties], str | None]:
                # A new iterator each time: one that has failed may pass for one that has ended.
                turning: Any = self._client.list_properties_of_secrets().by_page(token)
                return [self._properties(each) for each in next(turning)], turning.continuation_token

            page, token = self._told("list", call, needed=False)
            found |= {each.name: each for each in page}
        return found

    def _get(self, item: tuple[str, str | None]) -> Answer:
        dates: list[str] = []

        def note(response: Any) -> None:
            dates.append(response.http_response.headers.get("Date", ""))

        def call() -> Value:
            secret = self._client.get_secret(*item, raw_response_hook=note)
            properties = self._properties(secret.properties)
            if secret.value is None or not properties.version:
                raise self._transient("half an answer")
            return Value(properties, secret.value, _seconds(dates[-1]))

        try:
            return self._ask(call)
        except refusals.RefusedByVault as error:
            refusal = refusals.of_secret(error.found, self.settings, self._identity.claims())
            if refusal is None:
                raise self._refused(error.found, "get") from None
            return refusal

    def _versions(self, name: str) -> list[Properties]:
        def call() -> list[Properties]:
            return [self._properties(each) for each in self._client.list_properties_of_secret_versions(name)]

        try:
            return sorted(self._ask(call), key=lambda each: each.created)
        except refusals.RefusedByVault as error:
            if error.found.status == 404:
                return []
            raise self._refused(error.found, "list") from None

    def _deleted(self, name: str) -> Properties | Literal[False] | None:
        try:
            return self._ask(lambda: self._properties(self._client.get_deleted_secret(name).properties), needed=False)
        except refusals.RefusedByVault as error:
            return False if error.found.status == 404 else None

    def _may_arrive(self, found: refusals.Fault, pause: float) -> bool:
        """Whether the right that is lacking may be there after a pause."""
        now = time.monotonic()
        if found.code != "ForbiddenByRbac" or now + pause >= self._patience:
            return False
        self._waited = now + pause - self._began
        return True

    def _properties(self, about: Any) -> Properties:
        if not about.name or not about.updated_on:
            raise self._transient("half an answer")
        return Properties(
            name=about.name.lower(),
            version=about.version,
            enabled=about.enabled is not False,
            created=_epoch(about.created_on) or 0,
            updated=_epoch(about.updated_on) or 0,
            expires=_epoch(about.expires_on),
            not_before=_epoch(about.not_before),
            content_type=about.content_type or "",
            tags=dict(about.tags or {}),
            recovery_level=str(getattr(about.recovery_level, "value", "")),
        )

    def _ask(self, call: Callable[[], T], needed: bool = True) -> T:
        """Call until there is an answer. Raises RefusedByVault, or VaultUnavailable past the limit.

        What is not `needed` waits for no right.
        """
        from azure.core import exceptions as azure

        attempt, renewed = 0, False
        while True:
            started = time.monotonic()
            wait: float | None = None
            try:
                return call()
            except self._transient as error:
                self._last, wait = str(error) or self._last, error.seconds
            except (
                azure.DecodeError,
                azure.ServiceResponseError,
                JSONDecodeError,
                AttributeError,
                TypeError,
                KeyError,
            ):
                # What is no JSON, and JSON of another shape, the SDK meets with errors of any kind.
                self._last = "half an answer, or none"
            except azure.ServiceRequestError:
                self._last = "no connection"
            except azure.HttpResponseError as error:
                found = refusals.fault(error)
                if found.status == 401 and not renewed:
                    renewed = True
                    self._identity.forget(started)
                    continue
                late = needed and self._may_arrive(found, backoff(None, attempt))
                if found.status not in PASSING and found.status < 500 and not late:
                    raise refusals.RefusedByVault(found) from None
                self._last = f"status {found.status}"
                wait = found.retry_after
            except ValueError:
                raise SourceError(
                    f"{self.settings.url} answers, but not as a vault does that may ask for this identity's token: see "
                    "that `url` in stack_secrets_keyvault is right."
                ) from None
            self._pause(backoff(wait, attempt))
            attempt += 1

    def _pause(self, seconds: float) -> None:
        """Wait before asking again. Raises VaultUnavailable at once if that would outlast the limit."""
        if time.monotonic() + seconds >= self._deadline:
            raise self._late()
        time.sleep(seconds)

    def _late(self) -> VaultUnavailable:
        return VaultUnavailable(
            f"The vault {self.settings.name}, or what proves this host's identity to it, gave no usable answer within "
            f"{self.settings.seconds:.0f} s ({self._last}): run again later, or set `seconds` in "
            "stack_secrets_keyvault higher."
        )

    def _spread(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Do work on all items in threads, and return the results in order; the first exception ends it.

        The caller's wait keeps the limit: looking up a name, and an answer that drips, heed no timeout. The threads
        are daemons, so that one which still waits does not keep the process.
        """
        todo = deque(enumerate(items))
        done: queue.SimpleQueue[tuple[int, R | None, BaseException | None]] = queue.SimpleQueue()

        def run() -> None:
            with suppress(IndexError):
                while True:
                    number, item = todo.popleft()
                    try:
                        done.put((number, work(item), None))
                    except BaseException as error:
                        done.put((number, None, error))

        for _ in range(min(self._threads, len(items))):
            threading.Thread(target=run, daemon=True).start()
        results: dict[int, Any] = {}
        while len(results) < len(items):
            try:
                number, result, error = done.get(timeout=max(0.0, self._deadline - time.monotonic()))
            except queue.Empty:
                todo.clear()
                raise self._late() from None
            if error:
                todo.clear()
                raise error
            results[number] = result
        return [results[number] for number in range(len(items))]


def _epoch(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment else None


def _seconds(date: str) -> int:
    """The Date of an answer in s since 1970; this host's clock where there is none."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return int(time.time())
