"""The doctor's questions to the running stack, and to what starts it when the machine boots."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ..engines import compose
from ..errors import CoffreError
from ..rotation import plan as rotation_plan
from .target import Target, verdict

HTTP_SECONDS = 10
LOGIN_SECONDS = 5.0  # that a service may take to be healthy


def fetch(url: str, context: ssl.SSLContext | None = None) -> tuple[int, Any]:
    """(status, parsed JSON or None) of a request; 0 when there is no answer. No proxy of the environment is used."""
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
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


def app(target: Target) -> str:
    """The app is healthy and ready with a token from Keycloak: through the proxy over TLS, and by its own check, which
    also says what is missing."""
    problems = []
    context = target.trusting()
    for path in ("/health", "/ready"):
        status, told = fetch(target.url + path, context)
        cause = told.get("cause") if isinstance(told, dict) else None
        if status == 0:
            problems.append(f"{target.url}{path} gives no answer that can be trusted")
        elif status != 200:
            problems.append(f"{target.url}{path} answers {status}" + (f" ({cause})" if cause else ""))
    for each in map(compose.parse, target.inspected):
        if each.ready and each.state == "running":
            ready, says = compose.checked(each)
            problems += [] if ready else [f"{each.name} is not ready ({says or 'it says nothing'})"]
    return verdict(problems, f"{target.url} is healthy and ready")


def keycloak(target: Target) -> str:
    """Each Keycloak that runs is ready."""
    running = [
        data
        for data in target.inspected
        if data["Config"]["Labels"].get("com.docker.compose.service") == "keycloak" and data["State"]["Running"]
    ]
    if not running:
        raise CoffreError("no Keycloak is running")
    problems = []
    for data in running:
        address = next(each["IPAddress"] for each in data["NetworkSettings"]["Networks"].values() if each["IPAddress"])
        status, _ = fetch(f"http://{address}:9000/health/ready")
        if status != 200:
            name = data["Name"].removeprefix("/")
            problems.append(f"{name} is not ready (its readiness answers {status or 'nothing'})")
    return verdict(problems, f"{len(running)} ready")


def logins(target: Target) -> str:
    """Each value that Keycloak or PostgreSQL verifies is tried, and counts for good."""
    try:
        found = rotation_plan.refusals(target.paths, target.catalogue, target.state, LOGIN_SECONDS)
    except ModuleNotFoundError:
        raise CoffreError("the modules' Python is not on this host: playbooks/site.yml makes it") from None
    problems = [f"{name}: {each}" for name, told in found.items() for each in told]
    return verdict(problems, f"accepted as deployed: {', '.join(found) or 'nothing that others verify'}")


def boot(_: Target) -> str:
    """What raises the secrets when the machine starts."""
    if not Path("/run/systemd/system").is_dir():
        return "PID 1 is not systemd: after a reboot, run playbooks/site.yml"
    problems = []
    for unit in ("coffre-restore.service", "docker.service"):
        done = subprocess.run(["systemctl", "is-enabled", unit], capture_output=True, text=True, check=False)
        if done.stdout.strip() != "enabled":
            problems.append(
                f"{unit} is {done.stdout.strip() or 'not there'}, so a reboot would not bring the stack back"
            )
    return verdict(problems, "the boot unit is enabled")
