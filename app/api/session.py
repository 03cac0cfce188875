"""/session: a signed cookie that goes to the browser and back, under flask-secret-key."""

from typing import Any

from flask import Blueprint, current_app, request, session

blueprint = Blueprint("session", __name__, url_prefix="/session")


@blueprint.get("")
def visit() -> tuple[dict[str, Any], int]:
    """Count one visit."""
    return _count()


@blueprint.post("")
def post() -> tuple[dict[str, Any], int]:
    """Count one visit, given `{"value": ...}`; the value is neither kept nor sent back."""
    body = request.get_json()
    if not isinstance(body, dict) or "value" not in body:
        return {"error": 'Send a JSON object such as {"value": 1}.'}, 400
    return _count()


def _count() -> tuple[dict[str, Any], int]:
    if current_app.secret_key is None:
        return {"error": "The secret flask-secret-key is missing: there are no sessions."}, 503
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}, 200
