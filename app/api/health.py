"""GET /health: the secrets are here. GET /ready: Keycloak accepts them too."""

from typing import Any

from flask import Blueprint, request

from app import runtime
from app.runtime import Runtime

CHECK = "app"  # the Host of the proxy's health checks; a request from outside bears the public name

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> tuple[dict[str, Any], int]:
    """200 `healthy`, or 503 with what is missing. It asks nobody else, so Keycloak's outage is not the app's."""
    now = runtime.current()
    if now.stopping.is_set():
        if request.host == CHECK:
            now.refused.release()
        return {"status": "stopping"}, 503
    secrets = now.secrets()
    if problem := now.audit_problem():
        return {"status": "unhealthy", "secrets": secrets, "audit": problem}, 503
    if "missing" in secrets.values():
        return {"status": "unhealthy", "secrets": secrets}, 503
    return {"status": "healthy", "secrets": secrets}, 200


@blueprint.get("/ready")
def ready() -> tuple[dict[str, Any], int]:
    """200 `ready`, or 503 with the cause: an unhealthy app, or no token from Keycloak."""
    if cause := _cause(runtime.current()):
        return {"status": "not ready", "cause": cause}, 503
    return {"status": "ready"}, 200


def _cause(now: Runtime) -> str | None:
    if now.stopping.is_set():
        return "stopping"
    if missing := [name for name, state in now.secrets().items() if state == "missing"]:
        return f"secret missing: {', '.join(missing)}"
    return now.audit_problem() or now.token.get()
