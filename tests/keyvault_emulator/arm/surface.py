"""What management.azure.com answers over HTTPS."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from ..access import TENANT
from ..surface import transient_errors
from ..vault import SUBSCRIPTION, Body, VaultError
from . import documented
from .admission import VERBS, admit, authenticated, in_group, no_subscription, version
from .assignments import Assignments, Permissions
from .deleted import name_available
from .errors import ArmError
from .ids import PROVIDERS, SUBSCRIPTIONS, Place, parse
from .kinds import Answer, Call, Caller, Kind
from .registry import KINDS, NAMESPACES

if TYPE_CHECKING:
    from ..world import World

HOST = "management.azure.com"
PAGE = 100


def create(world: World) -> Flask:
    """The application of Resource Manager."""
    app = Flask("arm")
    app.json.sort_keys = False  # type: ignore[attr-defined]

    @app.errorhandler(VaultError)
    def refuse(error: VaultError) -> Response:
        answer = Response(json.dumps(error.body()), error.status, mimetype="application/json")
        if error.status == 401:
            answer.headers["WWW-Authenticate"] = (
                f'Bearer authorization_uri="https://login.microsoftonline.com/{TENANT}", error="invalid_token"'
            )
        return answer

    @app.after_request
    def stamp(answer: Response) -> Response:
        answer.headers["x-ms-request-id"] = answer.headers["x-ms-correlation-request-id"] = str(uuid.uuid4())
        return answer

    @app.route("/", defaults={"path": ""}, methods=list(VERBS))
    @app.route("/<path:path>", methods=list(VERBS))
    def serve(path: str) -> Response:
        try:
            place = parse(path)
        except ValueError:
            raise ArmError(404, "InvalidResourceType", "The resource type could not be found.") from None
        operation = f"{request.method} {place.kind.rpartition('/')[2]}"
        if (answer := transient_errors(world, operation, place.name)) is not None:
            return answer
        with world.lock:
            caller = authenticated(world, place)
            told = answered(world, place, caller)
        return written(told)

    return app


def answered(world: World, place: Place, caller: Caller) -> Answer:
    """Find out what was meant, whether the caller may, and do it."""
    if place.subscription and place.subscription.lower() != SUBSCRIPTION:
        raise no_subscription(place.subscription)
    if "operation" in place.kind.rpartition("/")[2]:
        return polled(world, place)
    version(place)
    admit(world, place, caller)
    if place.kind.startswith((SUBSCRIPTIONS, PROVIDERS)):
        return about_subscription(world, place)
    if request.method == "POST" and place.kind == "microsoft.keyvault/checknameavailability":
        return Answer(name_available(world, request.get_json(silent=True)))
    kind = KINDS.get(place.kind)
    if kind is None:
        message = f"The resource type could not be found in the namespace '{place.namespace}'."
        raise ArmError(404, "InvalidResourceType", message)
    in_group(world, place)
    if not place.name:
        return listed(world, place, kind, caller)
    if request.method not in kind.verbs:
        raise ArmError(405, "MethodNotAllowed", f"{request.method} is not served for {kind.spelling}.")
    match request.method:
        case "GET":
            return Answer(kind.get(world, place))
        case "DELETE":
            return kind.delete(world, place)
        case "POST":
            return getattr(kind, "post")(world, place)  # type: ignore[no-any-return] # noqa: B009
    return written_to(world, place, kind, caller)


def about_subscription(world: World, place: Place) -> Answer:
    """Subscriptions and their resource providers."""
    told: Body = {
        "id": f"/subscriptions/{SUBSCRIPTION}",
        "subscriptionId": SUBSCRIPTION,
        "tenantId": TENANT,
        "displayName": "Emulated",
        "state": "Enabled",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionPolicies": {"spendingLimit": "Off"},
    }
    if place.kind == SUBSCRIPTIONS:
        return Answer(told if place.name else {"value": [told]})
    if place.kind != PROVIDERS:
        return Answer({"value": [{"name": each, "id": f"{told['id']}/locations/{each}"} for each in ("westeurope",)]})
    if not place.name:
        return Answer({"value": [provider(world, each) for each in NAMESPACES]})
    if place.name.lower() not in NAMESPACES:
        message = f"The resource provider '{place.name}' could not be found."
        raise ArmError(404, "InvalidResourceNamespace", message)
    if place.last:
        world.resources.unregistered.discard(place.name.lower())
    return Answer(provider(world, place.name.lower()))


def provider(world: World, namespace: str) -> Body:
    """A resource provider."""
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/providers/{NAMESPACES[namespace]}",
        "namespace": NAMESPACES[namespace],
        "registrationPolicy": "RegistrationRequired",
        "registrationState": "NotRegistered" if namespace in world.resources.unregistered else "Registered",
        "resourceTypes": [],
    }


def listed(world: World, place: Place, kind: Kind, caller: Caller) -> Answer:
    """A page of a collection and the link to the next one."""
    if request.method != "GET":
        raise ArmError(405, "MethodNotAllowed", f"{request.method} is not served for a collection.")
    if isinstance(kind, Assignments):
        items = kind.list(world, place, request.args.get("$filter", ""))
    elif isinstance(kind, Permissions):
        items = kind.of(world, place, caller)
    else:
        items = kind.list(world, place)
    start = int(base64.urlsafe_b64decode(request.args.get("$skiptoken", "MA==")))
    size = world.page or PAGE
    body: Body = {"value": items[start : start + size]}
    if len(items) > start + size:
        token = base64.urlsafe_b64encode(str(start + size).encode()).decode()
        told = "&".join(f"{key}={value}" for key, value in request.args.items() if key != "$skiptoken")
        body["nextLink"] = f"https://{request.host}{request.path}?{told}&$skiptoken={token}"
    return Answer(body)


def written_to(world: World, place: Place, kind: Kind, caller: Caller) -> Answer:
    """A PUT or PATCH, after its body was examined."""
    body: Any = request.get_json(silent=True)
    documented.examine(place.kind, body)
    if request.method == "PATCH":
        return getattr(kind, "patch")(Call(world, place, body, caller))  # type: ignore[no-any-return] # noqa: B009
    answer = kind.put(Call(world, place, body, caller))
    if "failed" in request.environ["emulator.cuts"]:
        world.resources.kept[place.key].failed = True
    return answer


def polled(world: World, place: Place) -> Answer:
    """How an operation that goes on is doing: by its status, or by its result."""
    known = world.resources.operations.get(place.name)
    if known is None:
        raise ArmError(404, "OperationNotFound", f"The operation '{place.name}' could not be found.")
    known.pending = max(0, known.pending - 1)
    kept = world.resources.kept.get(known.resource)
    if kept is not None:
        kept.pending = min(kept.pending, known.pending)
    if place.kind.endswith("operationresults"):
        if known.pending:
            return Answer(None, 202, {"Location": request.url, "Retry-After": "0"})
        where = parse(known.resource)
        return Answer(KINDS[where.kind].get(world, where) if kept else None, 200 if kept else 204)
    body: Body = {"id": request.path, "name": known.id, "status": "InProgress" if known.pending else "Succeeded"}
    if not known.pending and kept is not None and kept.failed:
        body |= {"status": "Failed", "error": {"code": "InternalServerError", "message": "An error has occurred."}}
    return Answer(body, 200, {"Retry-After": "0"} if known.pending else {})


def written(told: Answer) -> Response:
    """An answer, with the links in its headers made whole."""
    text = "" if told.body is None else json.dumps(told.body)
    answer = Response(text, told.status, mimetype="application/json")
    for key, value in told.headers.items():
        answer.headers[key] = value.replace("{base}", f"https://{request.host}")
    return answer
