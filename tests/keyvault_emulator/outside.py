"""What stands beside the vaults, on plain HTTP: the managed identity's endpoints and the control API."""

from __future__ import annotations

import json
import time
from typing import Any

from flask import Flask, Response, request

from .access import RESOURCE, Identity
from .surface import transient_errors
from .vault import Body, VaultError
from .world import World

IDENTITY_HEADER = "emulator"
VERBS = (
    "vault",
    "identity",
    "grant",
    "revoke",
    "assign",
    "unassign",
    "assignments",
    "resource",
    "provider",
    "delete_vault",
    "logged",
    "put",
    "delete",
    "fault",
    "clear_faults",
    "set",
    "count",
    "expire_tokens",
    "reset",
)


def create(world: World) -> Flask:
    """The application of the identity endpoints and of `POST /control/<verb>`, whose body holds the arguments."""
    app = Flask("outside")

    def managed() -> Identity | None:
        """The managed identity that is meant: the one named by an id, else the machine's own."""
        wanted = [request.args.get(key) for key in ("client_id", "object_id", "principal_id")]
        for each in world.identities.values():
            here = not each.resource or each.resource in world.attached()
            if ((each.client_id in wanted or each.object_id in wanted) and here) if any(wanted) else each.system:
                return each
        return None

    def issue(identity: Identity, **extra: str) -> Body:
        resource = request.args["resource"]
        token = world.tokens.issue(identity, resource)
        return {
            "access_token": token["access_token"],
            "expires_on": str(token["expires_on"]),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": identity.client_id,
        } | extra

    @app.get("/msi/token")
    def app_service() -> Response | Body | tuple[Body, int]:
        if (answer := transient_errors(world, "token", "")) is not None:
            return answer
        if request.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
            return {"statusCode": 401, "message": "Unauthorized"}, 401
        identity = managed()
        if identity is None or "resource" not in request.args:
            message = (
                "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
            )
            return {"statusCode": 400, "message": message}, 400
        return issue(identity)

    @app.get("/metadata/identity/oauth2/token")
    def imds() -> Response | Body | tuple[Body, int]:
        if (answer := transient_errors(world, "token", "")) is not None:
            return answer
        if request.headers.get("Metadata", "").lower() != "true" or "resource" not in request.args:
            return {"error": "invalid_request", "error_description": "Required metadata header not specified"}, 400
        identity = managed()
        if identity is None:
            return {"error": "invalid_request", "error_description": "Identity not found"}, 400
        return issue(identity, expires_in=str(world.tokens.seconds))

    @app.get("/az/<name>")
    def azure_cli(name: str) -> Response | Body:
        """What `az account get-access-token` prints for an identity that logged in: for a stand-in of that program;
        `resource`: what the token is for, by default the vaults."""
        if (answer := transient_errors(world, "token", "")) is not None:
            return answer
        identity = world.identities[name]
        token = world.tokens.issue(identity, request.args.get("resource", RESOURCE))
        return {
            "accessToken": token["access_token"],
            "expiresOn": time.strftime("%Y-%m-%d %H:%M:%S.000000", time.localtime(token["expires_on"])),
            "expires_on": token["expires_on"],
            "tenant": identity.tenant,
            "tokenType": "Bearer",
        }

    @app.post("/control/<verb>")
    def control(verb: str) -> tuple[Any, int]:
        if verb not in VERBS:
            return {"error": f"no such verb: {verb}"}, 404
        try:
            return json.dumps(getattr(world, verb)(**request.get_json(force=True))), 200
        except (TypeError, ValueError, KeyError, VaultError) as error:
            return {"error": f"{type(error).__name__}: {error}"}, 400

    return app
