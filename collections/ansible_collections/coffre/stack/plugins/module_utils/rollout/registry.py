"""Which images a host has, and why its engine cannot pull the others: asked of the engine. Standard library only."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..paths import SOCKET

SECONDS = 20  # for an answer of a registry
LOGINS = Path("~/.docker/config.json")
Ask = Callable[[str], tuple[int, dict[str, Any]]]


class _Engine(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(SOCKET)


def ask(path: str) -> tuple[int, dict[str, Any]]:
    """The status that the engine answers a GET with, and what it answers. Raises OSError where none does."""
    connection = _Engine("localhost")
    try:
        connection.request("GET", quote(path, safe="/:@"))
        answer = connection.getresponse()
        return answer.status, dict(json.loads(answer.read()))
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()


def present(told: Mapping[str, Any], ask: Ask = ask) -> list[dict[str, Any]]:
    """What the engine says of those that a deploy needs and a host has: {Id, RepoTags} of each, built ones first.

    Images are told as of `blockers`. Nothing where there is no engine yet.
    """
    wanted = [*(each["reference"] for each in told.get("images", {}).values()), *told.get("pulled", [])]
    try:
        found = [ask(f"/images/{each}/json") for each in wanted]
    except OSError:
        return []
    return [{key: said.get(key) for key in ("Id", "RepoTags")} for status, said in found if status == http.client.OK]


def blockers(told: Mapping[str, Any], builds: bool, ask: Ask = ask) -> list[str]:
    """What keeps a host from its images, told as rollout.images.told has them: a sentence for each.

    Where there is no engine yet, only what the controller knows. Images that are built are looked at where that is
    done, by what they start from.
    """
    problems = list(told.get("problems", []))
    try:
        needed = [each for each in told.get("pulled", []) if _lacks(each, ask)]
        built = [each for name, each in told.get("images", {}).items() if builds and name not in told["archives"]]
        starts = {each["start"] for each in built if each["start"] and _lacks(each["reference"], ask)}
        needed += sorted(each for each in starts - set(needed) if _lacks(each, ask))
    except OSError:
        return problems
    with ThreadPoolExecutor() as several:
        return problems + [problem for problem in several.map(lambda each: _unpulled(each, ask), needed) if problem]


def _lacks(reference: str, ask: Ask) -> bool:
    return ask(f"/images/{reference}/json")[0] == http.client.NOT_FOUND


def _unpulled(reference: str, ask: Ask) -> str:
    """Why the engine cannot pull an image: "" where it can, or nobody can tell; else a sentence.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Distribution; asked without the logins of the docker
    command, so that where there are any, a refusal says nothing.
    """
    try:
        status, said = ask(f"/distribution/{reference}/json")
    except OSError:
        return ""
    refused = status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN)
    if status < http.client.BAD_REQUEST or (refused and LOGINS.expanduser().exists()):
        return ""
    why = " ".join(str(said.get("message") or "").split()).rstrip(".")[:200] or f"status {status}"
    return (
        f"The image {reference} is not on the host and cannot be pulled ({why}): "
        "correct its name, log in to its registry on the host, or load it there."
    )
