"""Does what a key of its ring has signed, refuses the rest, and writes down which it was."""

import signal
from pathlib import Path
from types import FrameType

import psycopg
import redis
from jobs import QUEUE, TAKEN, ring, secret, verified

running = True


def stop(_signal: int, _frame: FrameType | None) -> None:
    global running
    running = False


def work(queue: redis.Redis, database: psycopg.Connection, keys: list[str]) -> None:
    """One job, if there is one within two seconds. One that was cut short is done again, and counted once."""
    message = queue.blmove(QUEUE, TAKEN, 2, "RIGHT", "LEFT")
    if message is None:
        return
    job, good = verified(keys, message)
    query = "INSERT INTO jobs (id, state) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    database.execute(query, (job, "done" if good else "refused"))
    queue.lrem(TAKEN, 1, message)
    if not good:
        print(f"Refused the job {job}: no key of the ring signed it.")


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    keys = ring("job-key")
    queue = redis.Redis("redis", password=secret("queue-password"), socket_timeout=10, decode_responses=True)
    with psycopg.connect(secret("database-url"), autocommit=True, connect_timeout=5) as database:
        database.execute("CREATE TABLE IF NOT EXISTS jobs (id text PRIMARY KEY, state text NOT NULL)")
        while queue.lmove(TAKEN, QUEUE, "RIGHT", "RIGHT"):
            pass
        Path("/tmp/alive").touch()  # noqa: S108
        while running:
            work(queue, database, keys)


if __name__ == "__main__":
    main()
