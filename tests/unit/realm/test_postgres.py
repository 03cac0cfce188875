"""The verifier against RFC 7677, and what is repaired in which case."""

import base64
import hmac

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_role import server as postgres
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_role.server import LoginRole

TARGET = LoginRole("keycloak", "keycloak", ("keycloak_a", "keycloak_b"), "keycloak_a")


def test_verifier_is_the_one_of_the_rfc() -> None:
    """RFC 7677, section 3: the server's signature follows from its key."""
    salt, nonce = "W22ZaJ0SNY7soEsUEjb6gQ==", "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    made = postgres.verifier(b"pencil", base64.b64decode(salt))
    scheme, cost, keys = made.split("$")
    assert (scheme, cost) == ("SCRAM-SHA-256", f"4096:{salt}")
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={salt},i=4096,c=biws,r={nonce}"
    signature = hmac.digest(base64.b64decode(keys.split(":")[1]), message.encode(), "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_verifiers_are_salted() -> None:
    assert postgres.verifier(b"same") != postgres.verifier(b"same")


@pytest.mark.parametrize("password", ["käse".encode(), b"a\nb", b"a\0b"])
def test_a_password_that_scram_would_normalise_is_refused(password: bytes) -> None:
    with pytest.raises(CoffreError, match="printable ASCII") as refusal:
        postgres.verifier(password)
    assert repr(password)[2:-1] not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "Key", "1a", "a-b", 'a"b', "a;b", "a" * 64])
def test_names_that_would_need_quoting_are_refused(name: str) -> None:
    for database, owner, roles in ((name, "o", ("r",)), ("d", name, ("r",)), ("d", "o", ("r", name))):
        with pytest.raises(CoffreError, match="cannot name"):
            LoginRole(database, owner, roles, "r")


def test_a_version_of_a_foreign_role_is_refused() -> None:
    with pytest.raises(CoffreError, match="'other', which is none of a, b"):
        LoginRole("d", "o", ("a", "b"), "other")


def test_the_script_gives_login_to_the_role_in_force_only() -> None:
    script = "\n".join(postgres.repair_script(TARGET))
    assert 'ALTER ROLE "keycloak" ' not in script  # an owner that logs in is somebody's
    assert 'ALTER ROLE "keycloak_a" LOGIN ' in script
    assert 'ALTER ROLE "keycloak_b" LOGIN ' not in script
    assert "PASSWORD" not in script


class Server:
    """Stands for PostgreSQL: what it answers to a login and to the query on the roles, and the scripts it got."""

    def __init__(self, password_right: bool, roles_right: bool) -> None:
        self.password_right, self.roles_right = password_right, roles_right
        self.scripts: list[str] = []

    def login(self, *_: object) -> bool | None:
        return self.roles_right if self.password_right else None

    def administer(self, _server: object, statements: list[str], _what: str) -> str:
        script = "\n".join(statements)
        if script.lstrip().startswith("SELECT concat_ws"):
            return "" if self.roles_right else "keycloak_a may not log in"
        self.scripts.append(script)
        self.password_right |= "PASSWORD" in script
        self.roles_right |= "GRANT" in script
        return ""


@pytest.mark.parametrize(
    ("password_right", "roles_right", "repaired"),
    [
        (True, True, []),
        (False, True, ["verifier"]),
        (True, False, ["roles"]),
        (False, False, ["roles", "verifier"]),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_only_what_is_amiss_is_mended(
    monkeypatch: pytest.MonkeyPatch, password_right: bool, roles_right: bool, repaired: list[str], dry: bool
) -> None:
    server = Server(password_right, roles_right)
    monkeypatch.setattr(postgres, "login", server.login)
    monkeypatch.setattr(postgres, "administer", server.administer)
    assert postgres.ensure(None, TARGET, b"canary", dry=dry) == repaired  # type: ignore[arg-type]
    assert len(server.scripts) == (0 if dry else len(repaired))
    assert not any("canary" in script for script in server.scripts)
    for script in server.scripts:
        if "PASSWORD" in script:
            assert script.startswith(postgres.QUIET)


def test_a_refusal_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "login", lambda *_: None)
    monkeypatch.setattr(postgres, "administer", lambda *_: "")
    with pytest.raises(CoffreError, match="still refuses keycloak_a") as refusal:
        postgres.ensure(None, TARGET, b"canary")  # type: ignore[arg-type]
    assert "canary" not in str(refusal.value)
