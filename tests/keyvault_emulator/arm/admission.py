"""Who may ask Resource Manager for what: token, subscription, API version, right, registration, resource group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
from flask import request

from ..access import TENANT
from ..vault import SUBSCRIPTION
from . import documented
from .errors import ArmError, bad, no_group, no_right
from .ids import GROUPS, PROVIDERS, SPELLING, SUBSCRIPTIONS, Place
from .kinds import Caller
from .registry import KINDS, NAMESPACES

if TYPE_CHECKING:
    from ..world import World

AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete", "POST": "action"}


def authenticated(world: World, place: Place) -> Caller:
    """Who asks.

    Raises:
        ArmError: 401.
    """
    header = request.headers.get("Authorization")
    if not header:
        raise ArmError(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
    try:
        claims = world.tokens.read(header)
    except jwt.ExpiredSignatureError:
        raise ArmError(
            401, "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC time."
        ) from None
    except jwt.PyJWTError:
        raise ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.") from None
    if str(claims["aud"]).rstrip("/") not in AUDIENCES:
        message = (
            "The access token has been obtained for wrong audience or resource "
            f"'{claims['aud']}'. It should exactly match with one of the allowed audiences '{AUDIENCES[1]}/', "
            f"'{AUDIENCES[1]}', '{AUDIENCES[0]}/', '{AUDIENCES[0]}'."
        )
        raise ArmError(401, "InvalidAuthenticationToken", message)
    if place.subscription and claims["tid"] != TENANT:
        message = (
            f"The access token is from the wrong issuer '{claims['iss']}'. It must match the tenant "
            f"'https://sts.windows.net/{TENANT}/' associated with this subscription. Please use the authority (URL) "
            f"'https://login.windows.net/{TENANT}' to get the token."
        )
        raise ArmError(401, "InvalidAuthenticationTokenTenant", message)
    return Caller(claims["appid"], claims["oid"])


def no_subscription(name: str) -> ArmError:
    """A subscription that is not there, or that the caller cannot see."""
    return ArmError(404, "SubscriptionNotFound", f"The subscription '{name}' could not be found.")


def version(place: Place) -> None:
    """Refuse an API version that the type does not have.

    Raises:
        ArmError: 400.
    """
    asked = request.args.get("api-version", "")
    if not asked:
        raise bad(
            "The api-version query parameter (?api-version=) is required for all requests.",
            "MissingApiVersionParameter",
        )
    served = documented.VERSIONS.get(place.kind) or documented.VERSIONS.get(place.namespace)
    if served and asked not in served:
        raise bad(
            f"No registered resource provider found for location 'westeurope' and API version '{asked}' for type "
            f"'{place.kind.partition('/')[2]}'. The supported api-versions are '{', '.join(served)}'.",
            "NoRegisteredProviderFound",
        )


def admit(world: World, place: Place, caller: Caller) -> None:
    """Refuse a caller without the right, for a GET as for a PUT; what is there is not told.

    Raises:
        ArmError: 403, or 409 for a namespace that is not registered.
    """
    word = SPELLING.get(place.kind.rpartition("/")[2])
    kind = KINDS.get(place.kind)
    spelling = word or (
        kind.spelling if kind else f"{NAMESPACES.get(place.namespace, place.namespace)}/{place.kind.partition('/')[2]}"
    )
    verb = f"{place.last}/action" if place.last else VERBS[request.method]
    if place.kind == PROVIDERS and place.last:
        spelling = NAMESPACES.get(place.name.lower(), place.name)
    if spelling.lower().endswith("checknameavailability"):
        verb = "read"
    action = f"{spelling}/{verb}"
    scope = place.path if place.name or place.kind.startswith(SUBSCRIPTIONS) else place.scope
    open_to_all = place.kind in ("microsoft.authorization/permissions", SUBSCRIPTIONS) and request.method == "GET"
    if not open_to_all and not world.rights.may(caller.oid, action, scope):
        raise no_right(caller.client, caller.oid, action, scope)
    if request.method in ("PUT", "PATCH") and place.namespace in world.resources.unregistered:
        namespace = NAMESPACES.get(place.namespace, place.namespace)
        raise ArmError(
            409,
            "MissingSubscriptionRegistration",
            f"The subscription is not registered to use namespace '{namespace}'. See https://aka.ms/rps-not-found for "
            "how to register subscriptions.",
        )


def in_group(world: World, place: Place) -> None:
    """Refuse what lies in a resource group that is not there.

    Raises:
        ArmError: 404.
    """
    group = f"/subscriptions/{SUBSCRIPTION}/resourcegroups/{place.group.lower()}"
    if place.group and place.kind != GROUPS and group not in world.resources.kept:
        raise no_group(place.group)
