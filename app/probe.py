"""Exit 0 if the app on this machine answers 200 to GET <path>, else 1: `python3 -IS probe.py /ready [port]`.

It stands alone, because importing the app's package takes longer than asking.
"""

import http.client
import sys

TIMEOUT = 6.0  # seconds; /ready bounds its own call


def answers(path: str, port: int) -> bool:
    """Whether the app answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        print(answer.read(2000).decode(errors="replace").strip())  # docker inspect shows it: the cause, no value
        return answer.status == 200
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer ({type(error).__name__})")
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not answers(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8000))
