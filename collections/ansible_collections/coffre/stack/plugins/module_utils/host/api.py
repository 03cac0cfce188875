"""The engine's API, for what is asked often: it answers in the tenth of the time that the command takes."""

from __future__ import annotations

import atexit
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import CoffreError
from ..paths import SOCKET

CALL_SECONDS = 120


@functools.cache
def _client() -> Any:
    """One client for all that a module asks: to make one takes several times as long as to ask."""
    from docker import APIClient  # late: most modules need no more of it than its types

    client = APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=CALL_SECONDS)
    atexit.register(client.close)
    return client


@contextmanager
def engine(refuses: str = "does not tell its containers") -> Iterator[Any]:
    """A client of this host's engine. Raises CoffreError for what goes wrong with it, in a sentence."""
    try:
        from docker.errors import DockerException
        from requests.exceptions import RequestException
    except ModuleNotFoundError as missing:
        raise CoffreError(
            f"The modules' Python on this host has no {missing.name}, and nothing was changed: run playbooks/site.yml, "
            "which brings it up to date."
        ) from None
    try:
        yield _client()
    except (DockerException, RequestException) as error:
        why = getattr(error, "explanation", "")
        raise CoffreError(
            f"Docker Engine {refuses}: {why[:300]}"
            if why
            else "Docker Engine gives no answer on this host: see `systemctl status docker`, then run again."
        ) from None


def ask(
    method: str, path: str, body: Any = None, *, filters: Mapping[str, Sequence[str]] | None = None, **query: Any
) -> Any:
    """What the engine's API answers, for what the client has no function for; None for an answer without content.

    Raises CoffreError, which quotes the engine: no value is ever in what it says.
    """
    given = {**query, **({"filters": json.dumps(filters)} if filters else {})}
    with engine(f"does not do {method} {path.partition('/')[2].partition('/')[0]}") as api:
        from docker.errors import create_api_error_from_http_exception
        from requests.exceptions import HTTPError

        url = f"{api.base_url}/v{api.api_version}{path}"
        answer = api.request(method, url, params=given, json=body, timeout=CALL_SECONDS)
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        return answer.json() if answer.content else None
