"""Where the app finds its secrets and its settings."""

import os
import re
import secrets
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[0-9a-f]{32}")
SECRET_NAMES = ("flask-secret-key", "keycloak-service-client-secret", "audit-log-signing-key")
DEMO_MARK = "demo-"
_demo_values: defaultdict[str, str] = defaultdict(lambda: DEMO_MARK + secrets.token_urlsafe(32))


@dataclass(frozen=True)
class Secret:
    """A value and where it came from: `file`, `environment`, `demo` or `default`.

    `previous` has the values before it that still count, in no order.
    """

    value: str = field(repr=False)
    source: str
    previous: tuple[str, ...] = field(default=(), repr=False)


def _setting(variable: str, default: str) -> str:
    value: str = field(default_factory=lambda: os.environ.get(variable, default))
    return value


@dataclass(frozen=True)
class Config:
    """The app's settings, read from the environment when the object is made. None of them is a secret."""

    keycloak_url: str = _setting("KEYCLOAK_URL", "http://localhost:8080")
    keycloak_realm: str = _setting("KEYCLOAK_REALM", "iam")
    keycloak_client_id: str = _setting("KEYCLOAK_CLIENT_ID", "automation-cli")
    public_url: str = _setting("PUBLIC_URL", "https://localhost:8443")
    audit_log: str = _setting("AUDIT_LOG", "/var/lib/coffre-app/audit.jsonl")

    @property
    def token_url(self) -> str:
        """The realm's token endpoint, on the back channel."""
        return f"{self.keycloak_url}/realms/{self.keycloak_realm}/protocol/openid-connect/token"

    @property
    def account_url(self) -> str:
        """The realm's account page, as a browser reaches it."""
        return f"{self.public_url}/realms/{self.keycloak_realm}/account/"

    @staticmethod
    def get_secret(name: str, default: str | None = None) -> str:
        """The secret's value; see `find_secret`."""
        return Config.find_secret(name, default).value

    @staticmethod
    def find_secret(name: str, default: str | None = None) -> Secret:
        """Look in the file SECRETS_DIR/<name>, then the environment (`flask-secret-key` is FLASK_SECRET_KEY),
        then, only with DEMO_MODE=true, make a random value that begins with `demo-` and lasts as long as the process,
        and at last take the default, if one is given. Beside a file, the files SECRETS_DIR/<name>.<version> are its
        previous values.

        The value is text (UTF-8). One newline at the end of a file is not part of it, as `echo` and editors leave
        one; another is refused, and so is one at the end of a variable. Only a file and a variable that are absent
        let the search go on. ValueError names the secret, never its value.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(
                "A secret's name has a lower-case letter first, then letters, digits and hyphens (63 at most)."
            )
        if (delivered := _from_file(name)) is not None:
            return Secret(decoded(name, delivered), "file", _previous(name))
        if (variable := os.environ.get(name.upper().replace("-", "_"))) is not None:
            return Secret(decoded(name, os.fsencode(variable)), "environment")
        if os.environ.get("DEMO_MODE") == "true":
            return Secret(_demo_values[name], "demo")
        if default is not None:
            return Secret(default, "default")
        raise ValueError(f"The secret {name} is missing: neither a file nor an environment variable has it.")


def _directory() -> Path:
    return Path(os.environ.get("SECRETS_DIR", "/run/secrets"))


def _previous(name: str) -> tuple[str, ...]:
    """The values in the files <name>.<version>."""
    names = sorted(path.name for path in _directory().iterdir() if path.name.startswith(f"{name}."))
    rings = [each for each in names if _VERSION.fullmatch(each.removeprefix(f"{name}."))]
    return tuple(decoded(each, _from_file(each) or b"") for each in rings)


def _from_file(name: str) -> bytes | None:
    """What a file holds but for a newline at its end, or None if it is not there."""
    try:
        delivered = (_directory() / name).read_bytes()
        return delivered[:-1].removesuffix(b"\r") if delivered.endswith(b"\n") else delivered
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"The secret {name} is missing: its file cannot be read ({type(error).__name__})."
    raise ValueError(reason)


def decoded(name: str, delivered: bytes) -> str:
    """The value that the bytes of a file are. ValueError, which names the secret, if they are none."""
    if not delivered:
        raise ValueError(f"The secret {name} is missing: it is empty.")
    if delivered.endswith(b"\n"):
        raise ValueError(f"The secret {name} ends in a newline: deliver it without.")
    try:
        return delivered.decode()
    except UnicodeDecodeError:
        reason = f"The secret {name} is not UTF-8 text."
    raise ValueError(reason)  # outside the handler: a decoding error holds the bytes
