#!/usr/bin/env python3
"""A bounded load of HTTPS requests from clients that keep their connections, and an honest count of what failed.

A request has failed if it was answered with a status of 500 or above, or got no whole answer. One exception, which
RFC 9110 9.2.2 leaves to every client: a server may close an idle connection just as a client writes to it. A GET on
a connection that was used before, closed before a single byte of the answer came, is therefore sent once more on a
fresh connection and counted in `resent`. A POST never is, and nothing on a fresh connection is: those have failed.
A client that holds a session also counts as failed an answer whose `visits` are not one more than in the one before.

    benchmarks/load.py https://localhost:8443/ready --ca ca.crt --clients 8 --requests 5000 --seconds 60
"""

from __future__ import annotations

import argparse
import http.client
import json
import ssl
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Result:
    """What a load came to; times in seconds."""

    requests: int = 0
    failed: int = 0
    resent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    seconds: float = 0.0

    def line(self) -> str:
        """All of it as one line of key=value pairs."""
        statuses = ",".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        return (
            f"requests={self.requests} failed={self.failed} resent={self.resent} statuses={statuses or '-'} "
            f"slowest={self.slowest:.3f} seconds={self.seconds:.1f}"
        )


@dataclass
class Session:
    """What a client that holds one remembers: its cookie, and how many visits the last answer told."""

    cookie: str = ""
    visits: int = 0

    def goes_on(self, given: str | None, body: bytes) -> bool:
        """Take in an answer. Whether it belongs to the session."""
        before = self.visits
        self.cookie = (given or "").partition(";")[0] or self.cookie
        try:
            self.visits = int(json.loads(body)["visits"])
        except (ValueError, KeyError, TypeError):
            return False
        return self.visits == before + 1


class Load:
    """A load that runs in threads of its own until its bounds are met or `stop` is called.

    `requests` and `seconds` bound the whole load (0: no bound of this kind; one of them is needed). With `body`,
    JSON or a form, the requests are POSTs. `pause` is each client's wait between two requests, in seconds. With
    `session` each client holds one.
    """

    def __init__(
        self,
        url: str,
        ca: Path | None = None,
        clients: int = 8,
        requests: int = 0,
        seconds: float = 0.0,
        body: bytes | None = None,
        pause: float = 0.0,
        timeout: float = 15.0,
        session: bool = False,
    ) -> None:
        if requests <= 0 and seconds <= 0:
            raise ValueError("a load needs a number of requests or of seconds")
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"{url} names no host")
        self._host, self._port = parts.hostname, parts.port
        self._tls = ssl.create_default_context(cafile=str(ca) if ca else None) if parts.scheme == "https" else None
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._body, self._pause, self._timeout, self._holds = body, pause, timeout, session
        self._type = "application/json" if (body or b"").startswith(b"{") else "application/x-www-form-urlencoded"
        self._left = requests if requests > 0 else sys.maxsize
        self._until = seconds
        self._began = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]
        self.result = Result()

    def start(self) -> Load:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Result:
        """Let each client finish its request, and return the result."""
        self._stop.set()
        return self.wait()

    def wait(self) -> Result:
        """Return the result once the bounds are met."""
        for thread in self._threads:
            thread.join()
        self.result.seconds = time.monotonic() - self._began
        return self.result

    def _client(self) -> None:
        connection: http.client.HTTPConnection | None = None
        session = Session() if self._holds else None
        while not self._stop.is_set():
            with self._lock:
                if self._left <= 0 or (self._until and time.monotonic() - self._began >= self._until):
                    break
                self._left -= 1
            began = time.monotonic()
            fresh = connection is None
            connection, status, problem = self._request(connection, session)
            resent = bool(problem) and not fresh and self._body is None and problem in _CLOSED
            if resent:
                connection, status, problem = self._request(None, session)
            took = time.monotonic() - began
            with self._lock:
                self._count(status, problem, resent, took)
            if self._pause:
                self._stop.wait(self._pause)
        if connection:
            connection.close()

    def _count(self, status: int, problem: str, resent: bool, took: float) -> None:
        result = self.result
        result.requests += 1
        result.resent += resent
        result.slowest = max(result.slowest, took)
        if status:
            result.statuses[str(status)] += 1
        if problem or status >= 500:
            result.failed += 1
            result.failures[problem or f"status {status}"] += 1

    def _request(
        self, connection: http.client.HTTPConnection | None, session: Session | None
    ) -> tuple[http.client.HTTPConnection | None, int, str]:
        """(the connection if it can be used again, the status or 0, what went wrong or "")."""
        used = connection or self._connect()
        status = 0
        headers = {"Cookie": session.cookie} if session and session.cookie else {}
        try:
            if self._body is None:
                used.request("GET", self._path, headers=headers)
            else:
                used.request("POST", self._path, self._body, {"Content-Type": self._type, **headers})
            answer = used.getresponse()
            status = answer.status
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            used.close()
            return None, status, type(error).__name__ if not status else f"cut short: {type(error).__name__}"
        lost = session is not None and status == 200 and not session.goes_on(answer.getheader("Set-Cookie"), body)
        problem = "the session did not go on" if lost else ""
        if answer.will_close:
            used.close()
            return None, status, problem
        return used, status, problem

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)


# How http.client says that the peer closed a connection before the first byte of an answer.
_CLOSED = frozenset({"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError", "SSLEOFError"})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Send a bounded load and count what failed.")
    parser.add_argument("url")
    parser.add_argument("--ca", type=Path, help="file of the CA that signed the server's certificate")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=0, help="bound on the requests of all clients together")
    parser.add_argument("--seconds", type=float, default=0.0, help="bound on the time")
    parser.add_argument("--post", metavar="BODY", help="send POST requests with this JSON object or form")
    parser.add_argument("--session", action="store_true", help="let each client hold a session, and see it go on")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds each client waits between two requests")
    asked = parser.parse_args(arguments)
    body = asked.post.encode() if asked.post is not None else None
    try:
        load = Load(
            asked.url, asked.ca, asked.clients, asked.requests, asked.seconds, body, asked.pause, session=asked.session
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    try:
        result = load.start().wait()
    except KeyboardInterrupt:
        result = load.stop()
    for problem, count in result.failures.most_common():
        print(f"{count} x {problem}", file=sys.stderr)
    print(result.line())
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
