"""GET /health: the secrets are here. GET /ready: Keycloak accepts them too.

Who asks from inside the container, as its probes do, also hears the names of secrets and where the audit log fails.
"""

from typing import Any

from flask import Blueprint, request

from app import runtime
from app.runtime import Runtime

CHECK = "app"  # the Host of the proxy's health checks; a request from outside bears the public name

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> tuple[dict[str, Any], int]:
    """200 `healthy`, or 503 and inside what is missing. It asks nobody else: Keycloak's outage is not the app's."""
    now = runtime.current()
    if now.stopping.is_set():
        if request.host == CHECK:
            now.refused.release()
        return {"status": "stopping"}, 503
    secrets, problem = now.secrets(), now.audit_problem()
    sound = not problem and "missing" not in secrets.values()
    answer: dict[str, Any] = {"status": "healthy" if sound else "unhealthy"}
    if _inside():
        answer |= {"secrets": secrets} | ({"audit": problem} if problem else {})
    return answer, 200 if sound else 503


@blueprint.get("/ready")
def ready() -> tuple[dict[str, Any], int]:
    """200 `ready`, or 503 with the cause: an unhealthy app, or no token from Keycloak."""
    if cause := _cause(runtime.current()):
        return {"status": "not ready", "cause": cause}, 503
    return {"status": "ready"}, 200


def _cause(now: Runtime) -> str | None:
    inside = _inside()
    if now.stopping.is_set():
        return "stopping"
    if missing := [name for name, state in now.secrets().items() if state == "missing"]:
        return f"secret missing: {', '.join(missing)}" if inside else "secret missing"
    if problem := now.audit_problem():
        return problem if inside else "audit log not writable"
    return now.token.get(outside=not inside)


def _inside() -> bool:
    """Whether a process of the container's own asks: through the proxy comes the client's address, set by it alone."""
    return request.remote_addr == "127.0.0.1"
