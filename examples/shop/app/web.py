"""Takes jobs, signs them and puts them into the queue: POST /jobs, GET /jobs, GET /jobs/ID, GET /health, GET /ready."""

import psycopg
import redis
from flask import Flask, request
from jobs import QUEUE, secret, signed

app = Flask(__name__)
queue = redis.Redis("redis", password=secret("queue-password"), socket_timeout=5, decode_responses=True)
key = secret("job-key")


def _ask(query: str, *values: str) -> list[tuple[str, int]]:
    """The connection lives for one request."""
    with psycopg.connect(secret("database-url"), connect_timeout=5) as connection:
        return connection.execute(query, values).fetchall()


@app.post("/jobs")
def add() -> tuple[dict[str, str], int]:
    job, message = signed(key, request.get_data(as_text=True)[:1000])
    queue.lpush(QUEUE, message)
    return {"id": job}, 202


@app.get("/jobs")
def count() -> dict[str, int]:
    """How many jobs came to what: {done, refused}."""
    return {"done": 0, "refused": 0} | dict(_ask("SELECT state, count(*) FROM jobs GROUP BY state"))


@app.get("/jobs/<job>")
def state(job: str) -> dict[str, str]:
    found = _ask("SELECT state, 1 FROM jobs WHERE id = %s", job)
    return {"id": job, "state": found[0][0] if found else "waiting"}


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/ready")
def ready() -> tuple[dict[str, str], int]:
    try:
        queue.ping()
        _ask("SELECT 'ready', 1")
    except (redis.RedisError, psycopg.Error) as error:
        return {"status": type(error).__name__}, 503
    return {"status": "ready"}, 200
