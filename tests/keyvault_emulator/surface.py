"""What Key Vault answers over HTTPS: the vault is the first label of the name that was asked for."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

from flask import Flask, Response, g, request

from .access import RESOURCE, permit
from .vault import PAGE, Body, Secret, Vault, VaultError, Version, bad, not_found
from .world import World

MESSAGES = {
    429: (
        "Throttled",
        "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
    ),
    500: ("InternalServerError", "An error has occurred."),
    503: ("ServiceUnavailable", "The service is temporarily unavailable."),
}


def transient_errors(world: World, operation: str, name: str) -> Response | None:
    """Meet the call's fault: an answer of its own, or a mark for the server that sends the answer."""
    fault = world.transient_errors.meet(operation, name)
    match fault.kind if fault else "":
        case "status":
            assert fault
            code, message = MESSAGES.get(fault.status, ("Error", "The request failed."))
            answer = Response(
                json.dumps(VaultError(fault.status, code, message).body()), fault.status, mimetype="application/json"
            )
            if fault.retry_after is not None:
                answer.headers["Retry-After"] = str(fault.retry_after)
            return answer
        case "reset":
            request.environ["emulator.cuts"].append("reset")
            return Response(status=503)
        case "lost":
            request.environ["emulator.cuts"].append("reset")
        case "half" | "failed" as cut:
            request.environ["emulator.cuts"].append(cut)
    return None


def create(world: World) -> Flask:
    """The application of all vaults of `world`."""
    app = Flask("keyvault")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False

    @app.before_request
    def admit() -> Response | None:
        operation = request.endpoint or "unknown"
        name = str((request.view_args or {}).get("name", ""))
        authorization = request.headers.get("Authorization")
        if (answer := transient_errors(world, operation if authorization else "challenge", name)) is not None:
            return answer
        g.vault = world.vaults.get(request.host.partition(".")[0].lower())
        if g.vault is None:
            raise VaultError(404, "VaultNotFound", "The vault was not found.")
        claims = world.tokens.check(authorization, g.vault)
        if request.endpoint is None:
            raise VaultError(404, "ResourceNotFound", "The resource was not found.")
        if "api-version" not in request.args:
            raise bad("The api-version parameter is missing.")
        g.claims = claims
        permit(world.rights, claims, g.vault, operation, name, request.remote_addr or "")
        g.body = request.get_json(silent=True) if request.method in {"PUT", "PATCH", "POST"} else None
        return None

    @app.errorhandler(VaultError)
    def refuse(error: VaultError) -> tuple[Body, int, dict[str, str]]:
        headers = {}
        if error.status == 401:
            where = f"https://login.microsoftonline.com/{g.vault.tenant}"
            # The SDK compares the vault's host, with its port, with the resource's.
            port = f":{request.host.partition(':')[2]}" if ":" in request.host else ""
            headers["WWW-Authenticate"] = f'Bearer authorization="{where}", resource="{RESOURCE}{port}"'
        return error.body(), error.status, headers

    @app.after_request
    def stamp(answer: Response) -> Response:
        if claims := g.get("claims"):
            name = str((request.view_args or {}).get("name", ""))
            world.log(g.vault, str(request.endpoint), name, claims["oid"], answer.status_code)
        answer.headers["Cache-Control"] = "no-cache"
        answer.headers["x-ms-request-id"] = str(uuid.uuid4())
        answer.headers["x-ms-client-request-id"] = request.headers.get("x-ms-client-request-id", "")
        answer.headers["x-ms-keyvault-service-version"] = "emulator"
        answer.date = world.now()  # type: ignore[assignment]
        return answer

    def parameters() -> Body:
        if not isinstance(g.body, dict):
            raise bad("The request body is missing or is not a JSON object.")
        return g.body

    def listing(items: list[Body]) -> Body:
        """A page of items and the link to the next one, which names the port even where it is 443, as Azure does."""
        try:
            size = int(request.args.get("maxresults", PAGE))
            start = int(base64.urlsafe_b64decode(request.args.get("$skiptoken", "MA==")))
        except ValueError:
            raise bad("Property maxresults or $skiptoken has invalid value\r\n") from None
        if not 1 <= size <= PAGE:
            raise bad(f"Property maxresults has invalid value: it must be from 1 to {PAGE}.\r\n")
        link = None
        if len(items) > start + size:
            host = request.host if ":" in request.host else f"{request.host}:443"
            token = base64.urlsafe_b64encode(str(start + size).encode()).decode()
            asked = f"&maxresults={size}" if "maxresults" in request.args else ""
            version = request.args["api-version"]
            link = f"https://{host}{request.path}?api-version={version}&$skiptoken={token}{asked}"
        return {"value": items[start : start + size], "nextLink": link}

    def base() -> str:
        return f"https://{request.host}"

    def in_order(secrets: dict[str, Secret]) -> list[Secret]:
        return [secrets[name] for name in sorted(secrets) if shows(secrets[name])]

    def shows(secret: Secret) -> bool:
        """Whether the deletion or recovery that brought a secret where it is has come to its end."""
        return time.time() + world.clock >= secret.since + world.moving_seconds

    def settled(name: str) -> None:
        """Refuse a name whose deletion or recovery is still under way."""
        for secrets, what in ((g.vault.deleted, "Deleted"), (g.vault.secrets, "Recovered")):
            if (secret := secrets.get(name.lower())) and not shows(secret):
                raise VaultError(409, "Conflict", f"Secret is currently being {what.lower()}.", f"ObjectIsBeing{what}")

    def there(name: str, version: str = "") -> tuple[Secret, Version]:
        secret, found = g.vault.version(name, version)
        if not shows(secret):
            raise not_found(name)
        return secret, found

    @app.put("/secrets/<name>", endpoint="set")
    def put(name: str) -> Body:
        with world.lock:
            vault: Vault = g.vault
            settled(name)
            body = parameters()
            made = vault.put(name, body.get("value"), body, world.now())
            return {"value": made.value} | vault.properties(base(), vault.secret(name), made)

    @app.get("/secrets/<name>", endpoint="get")
    @app.get("/secrets/<name>/<version>", endpoint="get")
    def get(name: str, version: str = "") -> Body:
        with world.lock:
            secret, found = there(name, version)
            if not found.enabled:
                message = "Operation get is not allowed on a disabled secret."
                raise VaultError(403, "Forbidden", message, "SecretDisabled")
            return {"value": found.value, **g.vault.properties(base(), secret, found)}

    @app.patch("/secrets/<name>", endpoint="update")
    @app.patch("/secrets/<name>/<version>", endpoint="update")
    def update(name: str, version: str = "") -> Body:
        with world.lock:
            settled(name)
            secret, made = g.vault.update(name, version, parameters(), world.now())
            return dict(g.vault.properties(base(), secret, made))

    @app.get("/secrets", endpoint="list")
    def list_all() -> Body:
        with world.lock:
            vault: Vault = g.vault
            return listing(
                [vault.properties(base(), each, each.versions[-1], False) for each in in_order(vault.secrets)]
            )

    @app.get("/secrets/<name>/versions", endpoint="versions")
    def versions(name: str) -> Body:
        with world.lock:
            secret, _ = there(name)
            ordered = sorted(secret.versions, key=lambda each: each.id)
            return listing([dict(g.vault.properties(base(), secret, each)) for each in ordered])

    @app.delete("/secrets/<name>", endpoint="delete")
    def delete(name: str) -> Body:
        with world.lock:
            settled(name)
            return dict(g.vault.epitaph(base(), g.vault.delete(name, world.now())))

    @app.get("/deletedsecrets", endpoint="list_deleted")
    def list_deleted() -> Body:
        with world.lock:
            return listing([g.vault.epitaph(base(), each, False) for each in in_order(g.vault.deleted)])

    @app.get("/deletedsecrets/<name>", endpoint="get_deleted")
    def get_deleted(name: str) -> Body:
        with world.lock:
            secret = g.vault.gone(name)
            if not shows(secret):
                raise VaultError(404, "SecretNotFound", f"Deleted Secret not found: {name}")
            return dict(g.vault.epitaph(base(), secret))

    @app.post("/deletedsecrets/<name>/recover", endpoint="recover")
    def recover(name: str) -> Body:
        with world.lock:
            settled(name)
            secret = g.vault.recover(name, world.now())
            return dict(g.vault.properties(base(), secret, secret.versions[-1]))

    @app.delete("/deletedsecrets/<name>", endpoint="purge")
    def purge(name: str) -> tuple[str, int]:
        with world.lock:
            settled(name)
            g.vault.purge(name)
            return "", 204

    @app.post("/secrets/<name>/backup", endpoint="backup")
    def backup(name: str) -> Body:
        with world.lock:
            there(name)
            return {"value": base64.urlsafe_b64encode(g.vault.backup(name).encode()).decode().rstrip("=")}

    @app.post("/secrets/restore", endpoint="restore")
    def restore() -> Body:
        with world.lock:
            ticket: Any = parameters().get("value")
            try:
                ticket = base64.urlsafe_b64decode(f"{ticket}{'=' * (-len(str(ticket)) % 4)}").decode()
            except ValueError:
                ticket = None
            secret = g.vault.restore(ticket)
            return dict(g.vault.properties(base(), secret, secret.versions[-1]))

    return app
