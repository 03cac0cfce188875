"""Where the app finds its secrets and its settings."""

import json
import os
import re
import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[0-9a-f]{32}")
SECRET_NAMES = ("flask-secret-key", "keycloak-service-client-secret", "audit-log-signing-key")
DEMO_MARK = "demo-"
# What the catalogue tells of the versions: {secret: {version, created}}. It holds no value.
VERSIONS = "versions.json"
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
    login_client_id: str = _setting("LOGIN_CLIENT_ID", "flask-app")
    public_url: str = _setting("PUBLIC_URL", "https://localhost:8443")
    audit_log: str = _setting("AUDIT_LOG", "/var/lib/coffre-app/audit.jsonl")

    @property
    def issuer(self) -> str:
        """The realm as a browser reaches it, and as its tokens name it."""
        return f"{self.public_url}/realms/{self.keycloak_realm}"

    @property
    def realm_url(self) -> str:
        """The realm on the back channel."""
        return f"{self.keycloak_url}/realms/{self.keycloak_realm}"

    @property
    def token_url(self) -> str:
        """The realm's token endpoint, on the back channel."""
        return f"{self.realm_url}/protocol/openid-connect/token"

    @property
    def account_url(self) -> str:
        """The realm's account page, as a browser reaches it."""
        return f"{self.issuer}/account/"

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


@dataclass(frozen=True)
class Given:
    """What anybody may be told of a secret: no value. `source` is None if it is missing.

    `version` and `created` (ISO 8601, UTC) are "" where nobody tells them; `previous` has the versions before it that
    still count.
    """

    name: str
    source: str | None
    version: str = ""
    created: str = ""
    previous: tuple[str, ...] = ()


def given(sources: Mapping[str, str | None]) -> list[Given]:
    """What is known of secrets that came from these sources; only what comes as a file has versions."""
    told = _versions() if "file" in sources.values() else {}
    return [
        Given(name, source, **told.get(name, {}), previous=tuple(_previous_versions(name)))
        if source == "file"
        else Given(name, source)
        for name, source in sources.items()
    ]


def _versions() -> dict[str, dict[str, str]]:
    """What `VERSIONS` has; nothing where it is not there or not understood."""
    try:
        read = json.loads(_from_file(VERSIONS) or b"{}")
        return {name: {key: str(each[key]) for key in ("version", "created")} for name, each in read.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _directory() -> Path:
    return Path(os.environ.get("SECRETS_DIR", "/run/secrets"))


def _previous(name: str) -> tuple[str, ...]:
    """The values in the files <name>.<version>."""
    files = [f"{name}.{version}" for version in _previous_versions(name)]
    return tuple(decoded(each, _from_file(each) or b"") for each in files)


def _previous_versions(name: str) -> list[str]:
    """The versions that the files <name>.<version> are of."""
    found = (path.name.removeprefix(f"{name}.") for path in _directory().iterdir())
    return sorted(each for each in found if _VERSION.fullmatch(each))


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
