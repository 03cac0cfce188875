"""The load client tells a lost request from a connection that was merely idle."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.load import Load

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UNAVAILABLE = b"HTTP/1.1 503 DesiredService Unavailable\r\nContent-Length: 0\r\n\r\n"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"


@contextmanager
def server(answer: Callable[[int, int], bytes | None]) -> Iterator[str]:
    """A server that asks `answer(connection number, request number on it)` what to send; None closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for number in range(1000):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                request = 0
                while connection.recv(65536):
                    reply = answer(number, request)
                    request += 1
                    if reply is None:
                        break
                    connection.sendall(reply)
                    if reply == CUT:
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/ready"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_all_answered_on_one_connection() -> None:
    seen: list[tuple[int, int]] = []

    def answer(connection: int, request: int) -> bytes:
        seen.append((connection, request))
        return OK

    with server(answer) as url:
        result = Load(url, clients=1, requests=5).start().wait()
    assert (result.requests, result.failed, result.resent) == (5, 0, 0)
    assert result.statuses == {"200": 5}
    assert seen == [(0, number) for number in range(5)]


def test_a_get_on_a_connection_closed_while_idle_is_sent_once_more() -> None:
    with server(lambda _, request: OK if request == 0 else None) as url:
        result = Load(url, clients=1, requests=4).start().wait()
    assert (result.requests, result.failed, result.resent) == (4, 0, 3)


def test_a_post_is_never_sent_twice() -> None:
    with server(lambda _, request: OK if request == 0 else None) as url:
        result = Load(url, clients=1, requests=4, body=b"x").start().wait()
    assert (result.requests, result.failed, result.resent) == (4, 2, 0)


def test_no_answer_on_a_fresh_connection_is_a_failure() -> None:
    with server(lambda *_: None) as url:
        result = Load(url, clients=1, requests=3).start().wait()
    assert (result.requests, result.failed, result.resent) == (3, 3, 0)


def test_an_answer_cut_short_is_a_failure() -> None:
    with server(lambda *_: CUT) as url:
        result = Load(url, clients=1, requests=2).start().wait()
    assert result.failed == 2
    assert set(result.failures) == {"cut short: IncompleteRead"}


def test_a_503_is_a_failure() -> None:
    with server(lambda *_: UNAVAILABLE) as url:
        result = Load(url, clients=1, requests=2).start().wait()
    assert result.failed == 2
    assert result.line().startswith("requests=2 failed=2 resent=0 statuses=503:2 slowest=")


def test_nobody_listens() -> None:
    with server(lambda *_: OK) as url:
        pass
    assert Load(url, clients=2, requests=4).start().wait().failed == 4


def test_stop_ends_a_load_bounded_by_time() -> None:
    with server(lambda *_: OK) as url:
        load = Load(url, clients=1, seconds=60, pause=0.01).start()
        result = load.stop()
    assert result.seconds < 10
    assert result.failed == 0


def test_a_session_goes_on_or_has_failed() -> None:
    def answer(_: int, request: int) -> bytes:
        visits = b'{"visits": %d}' % (request + 1 if request < 3 else 1)
        head = b"HTTP/1.1 200 OK\r\nSet-Cookie: s=%d; Path=/\r\nContent-Length: %d\r\n\r\n" % (request, len(visits))
        return head + visits

    with server(answer) as url:
        result = Load(url, clients=1, requests=4, session=True).start().wait()
    assert (result.requests, result.failed, result.resent) == (4, 1, 0)
    assert result.failures == {"the session did not go on": 1}
