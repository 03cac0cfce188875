"""The stack's endpoints: asked over TLS as a client checks it, by the last look of a deploy and by the doctor."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from ..engines.base import Place
from ..errors import CoffreError
from ..host import progress
from .apply import STABLE_SECONDS

HTTP_SECONDS = 15  # an app that asks another one in turn has its own patience
POLL_SECONDS = 1.0


class _At(urllib.request.HTTPSHandler):
    """Asks whoever is at a place, whatever address a URL's name has; the certificate must still be for that name."""

    def __init__(self, place: Place, context: ssl.SSLContext | None) -> None:
        super().__init__(context=context)
        self.place, self.context = place, context or ssl.create_default_context()

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        place, context = self.place, self.context

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                reached = socket.create_connection(place, self.timeout)
                self.sock = context.wrap_socket(reached, server_hostname=self.host)

        return self.do_open(Connection, req)


def fetch(url: str, context: ssl.SSLContext | None = None, at: Place | None = None) -> tuple[int, Any]:
    """(status, parsed JSON or None) of a request; 0 when there is no answer. No proxy of the environment is used.

    `at`: who is to answer for the URL's name, if not whoever has that.
    """
    https = _At(at, context) if at else urllib.request.HTTPSHandler(context=context)
    handlers = [urllib.request.ProxyHandler({}), https]
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=HTTP_SECONDS) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    except (OSError, ValueError):
        return 0, None
    try:
        return status, json.loads(text)
    except ValueError:
        return status, None


def trusting(ca: str) -> ssl.SSLContext:
    """How a client of the stack checks its certificate: by a CA's file, or, where that is "", the host's own store."""
    return ssl.create_default_context(cafile=ca or None)


def problems(urls: Sequence[str], context: ssl.SSLContext, at: Sequence[Place] = ()) -> list[str]:
    """Those that do not answer with 200, a clause each; where places are given, asked of each of those."""
    found = []
    places: Sequence[Place | None] = at or [None]
    for asked, place in ((url, place) for url in urls for place in places):
        status, told = fetch(asked, context, place)
        url = f"{asked} at {place[0]}:{place[1]}" if place else asked
        cause = told.get("cause") if isinstance(told, dict) else None
        if status == 0:
            found.append(f"{url} gives no answer that can be trusted")
        elif status != 200:
            found.append(f"{url} answers {status}" + (f" ({cause})" if cause else ""))
    return found


def see(urls: Sequence[str], ca: str, seconds: float, anew: bool, at: Callable[[], Sequence[Place]] = tuple) -> None:
    """Wait until all answer, at each of the places that there are by then, if any.

    Where one did not, or anything was rolled `anew`, they must still do so a moment later.

    Readiness that flashes and goes again, as some servers' after a crash, does not count. Raises CoffreError.
    """
    try:
        context = trusting(ca if any(url.startswith("https:") for url in urls) else "")
    except (OSError, ssl.SSLError):
        raise CoffreError(
            f"{ca}, which stack_services_ca_path names, is no CA's certificate that can be read; the services run as "
            "they were rolled out: put it there and run playbooks/site.yml again."
        ) from None
    deadline, held, told = time.monotonic() + seconds, not anew, False
    while True:
        found = problems(urls, context, at())
        if held and not found:
            return
        if (found or anew) and not told:
            told = True
            progress.step(f"the stack: waits until it answers at {', '.join(urls)}")
        held = not found
        if found and time.monotonic() > deadline:
            raise CoffreError(
                f"{'; '.join(found)}; the services run as they were rolled out, so look at `make doctor`, mend the "
                "cause and run playbooks/site.yml again."
            )
        time.sleep(STABLE_SECONDS if held else POLL_SECONDS)
