"""login.microsoftonline.com, as far as a client certificate and a workload identity need it."""

from __future__ import annotations

from typing import Any

import jwt
from cryptography import x509
from flask import Flask, Response, request

from .access import Identity
from .surface import transient_errors
from .vault import Body
from .world import World

HOST = "login.microsoftonline.com"
Answer = Response | Body | tuple[Body, int]


def create(world: World) -> Flask:
    """The application that answers for HOST."""
    app = Flask("login")

    @app.get("/common/discovery/instance")
    def instances() -> Body:
        return {"metadata": [{"preferred_network": HOST, "preferred_cache": HOST, "aliases": [HOST]}]}

    @app.get("/<tenant>/v2.0/.well-known/openid-configuration")
    def discovery(tenant: str) -> Body:
        base = f"https://{request.host}/{tenant}"
        return {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
        }

    @app.post("/<tenant>/oauth2/v2.0/token")
    def token(tenant: str) -> Answer:
        if (answer := transient_errors(world, "token", "")) is not None:
            return answer
        form = request.form
        client = form.get("client_id", "")
        identity = next((each for each in world.identities.values() if each.client_id == client), None)
        if identity is None or identity.tenant != tenant:
            return refusal(
                "unauthorized_client",
                f"AADSTS700016: Application with identifier '{client}' was not found in the directory '{tenant}'. This "
                "can happen if the application has not been installed by the administrator of the tenant or consented "
                "to by any user in the tenant. You may have sent your authentication request to the wrong tenant.",
                400,
            )
        assertion = form.get("client_assertion", "")
        if (identity.federated and assertion == identity.federated) or proven(identity, assertion):
            issued = world.tokens.issue(identity, form.get("scope", "").split(" ")[0])
            life: Any = issued["expires_in"]
            return {
                "token_type": "Bearer",
                "expires_in": life,
                "ext_expires_in": life,
                "access_token": issued["access_token"],
            }
        if identity.federated:
            return refusal(
                "invalid_client", "AADSTS70021: No matching federated identity record found for presented assertion."
            )
        return refusal(
            "invalid_client",
            "AADSTS700027: The certificate with identifier used to sign the client "
            "assertion is not registered on application.",
        )

    return app


def proven(identity: Identity, assertion: str) -> bool:
    """Whether the holder of the identity's certificate signed the assertion, for this endpoint and now."""
    if not identity.certificate:
        return False
    key: Any = x509.load_pem_x509_certificate(identity.certificate.encode()).public_key()
    try:
        claims = jwt.decode(assertion, key, algorithms=["RS256", "PS256"], audience=request.base_url)
    except jwt.PyJWTError:
        return False
    return claims.get("sub") == identity.client_id


def refusal(error: str, description: str, status: int = 401) -> tuple[Body, int]:
    """An error as OAuth words it."""
    return {"error": error, "error_description": description}, status
