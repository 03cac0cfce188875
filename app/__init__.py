"""The Flask app that Coffre deploys: it shows that its secrets arrived and that Keycloak accepts them."""

import logging
import logging.config
from collections.abc import Mapping
from pathlib import Path

from flask import Flask, Response
from werkzeug.middleware.proxy_fix import ProxyFix

from app import login, logs, overview
from app.api import health, home, session
from app.api import login as login_api
from app.audit import AuditError, AuditLog, Head
from app.config.settings import SECRET_NAMES, Config, Secret
from app.keycloak import Client, SharedAnswer
from app.runtime import Runtime
from app.sessions import sign_sessions

_logger = logging.getLogger(__name__)
# Strict-Transport-Security is the proxy's: it ends TLS.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def create_app(settings: Config | None = None) -> Flask:
    """The app, with its secrets read once, from where `Config.find_secret` finds them.

    A missing secret or an audit log that cannot be written does not stop it: it logs why and answers /health with
    503, so that whoever looks learns the name.
    """
    if not logging.root.handlers:
        logging.config.dictConfig(logs.CONFIG)
    settings = settings or Config()
    found = _load_secrets()
    app = Flask(__name__)
    app.config.update(MAX_CONTENT_LENGTH=16 * 1024)
    signing = found.get("flask-secret-key")
    sign_sessions(app, signing.value if signing else None, signing.previous if signing else ())
    client = Client(
        settings.token_url, settings.keycloak_client_id, _value(found, "keycloak-service-client-secret") or ""
    )
    audit, head = _record_loads(Path(settings.audit_log), found)
    app.extensions["coffre"] = Runtime(
        settings=settings,
        sources={name: found[name].source if name in found else None for name in SECRET_NAMES},
        audit=audit,
        head=head,
        token=SharedAnswer(client.problem),
    )
    login.register(app, settings)
    for blueprint in (health.blueprint, home.blueprint, login_api.blueprint, session.blueprint):
        app.register_blueprint(blueprint)
    app.add_template_filter(overview.ago)
    app.add_template_filter(overview.clock)
    app.after_request(_with_headers)
    # One hop: the proxy, which overwrites these headers.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    return app


def _load_secrets() -> dict[str, Secret]:
    found = {}
    for name in SECRET_NAMES:
        try:
            found[name] = Config.find_secret(name)
        except ValueError as error:
            _logger.error("%s", error, extra={"secret": name})
        else:
            level = logging.INFO if found[name].source == "file" else logging.WARNING
            _logger.log(level, "secret loaded", extra={"secret": name, "source": found[name].source})
    return found


def _value(found: Mapping[str, Secret], name: str) -> str | None:
    return found[name].value if name in found else None


def _record_loads(path: Path, found: Mapping[str, Secret]) -> tuple[AuditLog | None, Head]:
    """The audit log after it took a record of each secret, and its head; or None, with the reason logged."""
    key = _value(found, "audit-log-signing-key")
    if key is None:
        _logger.error("The audit log is not written: its signing key is missing.")
        return None, Head()
    audit = AuditLog(path, key.encode())
    try:
        for name in SECRET_NAMES:
            if name in found:
                head = audit.append("secret-loaded", {"secret": name, "source": found[name].source})
            else:
                head = audit.append("secret-missing", {"secret": name})
    except AuditError as error:
        _logger.error("%s", error)
        return None, Head()
    # Kept apart from the file, a head proves later that no record before it was cut off.
    _logger.info("audit log continued", extra={"audit_seq": head.seq, "audit_digest": head.digest})
    return audit, head


def _with_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
