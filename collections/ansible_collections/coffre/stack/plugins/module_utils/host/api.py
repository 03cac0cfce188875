"""The engine's API, for what is asked often: it answers in the tenth of the time that the command takes."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
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
def engine() -> Iterator[Any]:
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
            f"Docker Engine does not tell its containers: {why[:300]}"
            if why
            else "Docker Engine gives no answer on this host: see `systemctl status docker`, then run again."
        ) from None
