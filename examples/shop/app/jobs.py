"""What web and worker share: their secrets, and a queue of signed jobs."""

import hmac
import json
import os
import secrets
from pathlib import Path

QUEUE, TAKEN = "jobs", "taken"


def secret(name: str) -> str:
    """The file SECRETS_DIR/<name> without a newline at its end, else the variable; ValueError names what is missing."""
    path = Path(os.environ.get("SECRETS_DIR", "/run/secrets")) / name
    value = path.read_text() if path.is_file() else os.environ.get(name.upper().replace("-", "_"), "")
    if not value:
        raise ValueError(f"The secret {name} is missing: neither a file nor an environment variable has it.")
    return value.removesuffix("\n")


def ring(name: str) -> list[str]:
    """A key and those before it that still count, which are the files <name>.<version>."""
    directory = Path(os.environ.get("SECRETS_DIR", "/run/secrets"))
    return [secret(name), *(secret(path.name) for path in sorted(directory.glob(f"{name}.*")))]


def _signature(key: str, body: str) -> str:
    return hmac.digest(key.encode(), body.encode(), "sha256").hex()


def signed(key: str, text: str) -> tuple[str, str]:
    """A job's id, and what goes into the queue."""
    job = secrets.token_hex(16)
    body = json.dumps({"id": job, "text": text})
    return job, json.dumps({"body": body, "signature": _signature(key, body)})


def verified(keys: list[str], message: str) -> tuple[str, bool]:
    """A job's id, and whether a key of the ring signed it."""
    envelope = json.loads(message)
    good = [hmac.compare_digest(_signature(key, envelope["body"]), envelope["signature"]) for key in keys]
    return json.loads(envelope["body"])["id"], any(good)
