"""Exit 0 if the app on this machine answers 200 to GET <path>, else 1: `python3 -IS probe.py /ready [port]`.

It stands alone, because importing the app's package takes longer than asking.
"""

import http.client
import sys
import time

TIMEOUT = 14.0  # seconds: longer than /ready can take, which bounds its own call
START = 1.0  # seconds for an app that is about to listen: probing again and again would only slow it down
POLL = 0.02


def answers(path: str, port: int) -> bool:
    """Whether the app answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connect(connection)
        connection.request("GET", path)
        answer = connection.getresponse()
        print(answer.read(2000).decode(errors="replace").strip())  # docker inspect shows it: the cause, no value
        return answer.status == 200
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer ({type(error).__name__})")
        return False
    finally:
        connection.close()


def connect(connection: http.client.HTTPConnection) -> None:
    """Connect, where need be as soon as the app listens. Raises OSError."""
    deadline = time.monotonic() + START
    while True:
        try:
            return connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL)


if __name__ == "__main__":
    sys.exit(not answers(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8000))
