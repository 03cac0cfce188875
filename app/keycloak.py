"""The proof that Keycloak accepts the app's client secret."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import requests

TIMEOUTS = (1.0, 10.0)  # seconds, for the connection to each address and for the answer: the first token of a Keycloak
# that has just started takes it 1.2, and 7.6 were seen where seven times as much was to do as there were processors
KEEP = 1.0  # seconds that an answer is shared: at most one call in each
PUBLIC_KEEP = 5.0  # seconds that a good one serves those outside: each call is a row in Keycloak's database
USABLE = 12.0  # seconds that an answer serves while the next call is under way; longer than a call can take
UNREACHABLE = "keycloak unreachable"
REFUSED = "client refused"


@dataclass(frozen=True)
class Client:
    """A confidential client, at its realm's token endpoint."""

    token_url: str
    client_id: str
    secret: str = field(repr=False)

    def problem(self) -> str | None:
        """Obtain a client-credentials token and drop it: None, or in a few words why there was none."""
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.secret}
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy and no netrc may see or replace the credential
                answer = session.post(self.token_url, data=form, timeout=TIMEOUTS, allow_redirects=False)
        except requests.RequestException:
            return UNREACHABLE
        if answer.status_code in (400, 401):
            return REFUSED
        if answer.status_code == 200 and _has_token(answer):
            return None
        return f"keycloak answered {answer.status_code} without a token"


def _has_token(answer: requests.Response) -> bool:
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return False
    return isinstance(body, dict) and bool(body.get("access_token"))


@dataclass
class SharedAnswer:
    """The answer of `ask`, called by one thread at a time and not again within `KEEP` seconds.

    While a call is under way the others get the last answer if it is still usable, so that a silent Keycloak does not
    hold every thread of the app; without one they wait for the call, `USABLE` seconds at most.
    """

    ask: Callable[[], str | None]
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answer: tuple[float, str | None] = (float("-inf"), UNREACHABLE)

    def get(self, *, outside: bool = False) -> str | None:
        """None, or why there was no token; `outside` is whoever has nothing to decide by it at once."""
        keep = PUBLIC_KEEP if outside and self._answer[1] is None else KEEP
        if self._age() < keep:
            return self._answer[1]
        if not self._lock.acquire(blocking=False):
            if self._age() < USABLE:
                return self._answer[1]
            if not self._lock.acquire(timeout=USABLE):
                return UNREACHABLE
        try:
            if self._age() >= keep:
                answer = self.ask()
                self._answer = (self.clock(), answer)
            return self._answer[1]
        finally:
            self._lock.release()

    def _age(self) -> float:
        return self.clock() - self._answer[0]
