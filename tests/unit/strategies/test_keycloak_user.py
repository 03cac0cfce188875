"""The admin's password: whatever dies where, one of both logs in, and nobody is locked out."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Secret
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import ByHand, CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Which
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import admin as keycloak_admin
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import session as keycloak
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak_client import strategy as keycloak_client
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak_user import strategy
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_role import server as postgres
from tests.unit.strategies.given import DEATHS, Given, back, container, forward, given, survive
from tests.unit.strategies.keycloak_model import Keycloak

OLD, FOREIGN = "admin-password", "by-hand"


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Given:
    def no_bootstrap(*_: Any) -> None:
        raise AssertionError("one of both passwords should have logged in")

    monkeypatch.setattr(keycloak_admin, "ensure_admin", no_bootstrap)
    return given("password", b"admin-password")


def test_old_sessions_end(model: Keycloak, context: Given) -> None:
    assert strategy.blockers(context) == []
    model.sessions.add("of-an-admin")
    forward(strategy, context)
    assert model.password == context.values["new"].decode()
    assert model.sessions == set()


def test_sessions_outlast_an_undone_run(model: Keycloak, context: Given) -> None:
    model.sessions.add("of-an-admin")
    context.values["new"] = strategy.make(context)
    strategy.teach(context)
    back(strategy, context)
    assert model.password == OLD
    assert model.sessions == {"of-an-admin"}


@pytest.mark.parametrize("deaths", DEATHS)
@pytest.mark.parametrize("way", [forward, back])
def test_a_death_anywhere_locks_nobody_out(model: Keycloak, context: Given, deaths: dict[int, bool], way: Any) -> None:
    model.deaths = deaths
    kept: Which = "new" if survive(strategy, context, way) else "old"
    assert model.password.encode() == context.values[kept]


def test_a_password_that_neither_side_knows_is_repaired(
    model: Keycloak, context: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        keycloak_admin, "ensure_admin", lambda _file, _container, _user, password: setattr(model, "password", password)
    )
    model.password = FOREIGN
    back(strategy, context)
    assert model.password == OLD


def test_what_hinders_is_told(model: Keycloak, context: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keycloak_admin, "second_factor", lambda *_: False)
    model.policy = "length(8) and passwordHistory(3)"
    assert "passwordHistory" in strategy.blockers(context)[0]
    keycloak._logins.clear()  # another play
    model.password = FOREIGN
    assert "refuses the deployed password" in strategy.blockers(context)[0]


@pytest.mark.usefixtures("model")
def test_the_hosts_bundle_is_tried(context: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "value", lambda *_: b"admin-password")
    strategy.confirm(context, "old")
    monkeypatch.setattr(bundles, "value", lambda *_: b"another")
    with pytest.raises(CoffreError, match="refuses the new password of admin"):
        strategy.confirm(context, "new")


def test_a_session_that_goes_on_is_told(model: Keycloak, context: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_apply", lambda *_: (204, None))
    context.values["new"] = b"admin-password"
    with pytest.raises(CoffreError, match="still renews a session"):
        strategy.withdraw(context, "new", "old")


def test_agree_leaves_an_admin_that_logs_in_and_guards_its_realm(model: Keycloak) -> None:
    context = given("password", b"admin-password")
    assert strategy.agree(context, dry=True) == Agreement(["realm"])
    assert model.changes == 0
    assert strategy.agree(context, dry=False) == Agreement(["realm"])
    assert strategy.agree(context, dry=False) == Agreement()
    assert strategy.agree(given("password", b"another"), dry=True) == Agreement(["admin"])
    model.password = FOREIGN  # the session that the module has goes on
    assert strategy.agree(context, dry=True) == Agreement(["admin"])
    keycloak._end(context.paths)
    assert model.sessions == set()


def test_the_second_factor_is_asked_of_the_database_that_keycloak_consumes(
    model: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def factor(database: postgres.Database, name: str, user: str) -> bool:
        asked.append((database.container.service, database.superuser, name, user))
        return True

    monkeypatch.setattr(keycloak_admin, "second_factor", factor)
    settings = {"service": "db", "owner": "own", "roles": ["a", "b"], "superuser": "shop"}
    other = {"service": "elsewhere", "owner": "x", "roles": ["a", "b"]}
    databases = {
        "other": Secret("other", ("app",), "postgres_role", settings=other),
        "database": Secret("database", ("keycloak",), "postgres_role", settings=settings),
    }
    context = given("password", b"another", admins=(b"another",))
    context = replace(context, catalogue=Catalogue(context.catalogue.secrets | databases, {}))
    assert "second factor" in strategy.deployed(context)[0]
    assert asked == [("db", "shop", "own", "admin")]
    assert model.changes == 0


def login_error(error: str) -> str:
    """An event as Keycloak 26.7.3 logs it."""
    return (
        f'2026-11-29 17:42:58,234 WARN  [org.keycloak.events] (executor-thread-5) type="LOGIN_ERROR", realmId="r", '
        f'realmName="master", clientId="admin-cli", userId="u", ipAddress="172.19.0.1", error="{error}", '
        'auth_method="openid-connect", grant_type="password", client_auth_method="client-secret", username="admin"\n'
    )


NO = {"error": "invalid_grant", "error_description": "Invalid user credentials"}
# The answer, the event that is logged, whether the database has a second factor, and what is said of it.
REFUSALS = {
    "disabled": (NO | {"error_description": "Account disabled"}, "user_disabled", False, "is disabled: run site.yml"),
    "an action": (
        NO | {"error_description": "Account is not fully set up"},
        "resolve_required_actions",
        True,
        "has to do something at its next login",
    ),
    "a second factor": (NO, "invalid_user_credentials", True, "has a second factor, which automation cannot give"),
    "locked": (NO, "user_temporarily_disabled", False, "is locked for a while"),
    "gone": (NO, "user_not_found", False, "is gone: run site.yml"),
    "another password": (NO, "invalid_user_credentials", False, "refuses the deployed password of its admin admin"),
    "no log": (NO, "", False, "refuses the deployed password of its admin admin"),
}


@pytest.mark.parametrize(("answer", "event", "factor", "said"), REFUSALS.values(), ids=REFUSALS)
def test_why_the_admin_is_refused_is_told_after_one_try(
    model: Keycloak, monkeypatch: pytest.MonkeyPatch, answer: dict[str, str], event: str, factor: bool, said: str
) -> None:
    asked = []

    def call(command: list[str], *_: Any, **__: Any) -> str:
        asked.append(command)
        if not event:
            raise CoffreError("this logging driver does not support reading")
        return login_error("invalid_user_credentials").replace('"admin"', '"another"') + login_error(event)

    def administer(_server: object, script: list[str], _what: str, database: str) -> str:
        assert database == "own"
        assert "u.username = 'admin'" in script[0]
        return "t" if factor else "f"

    monkeypatch.setattr(compose, "call", call)
    monkeypatch.setattr(postgres, "administer", administer)
    model.answers_to_admin = answer
    context = given("password", b"admin-password")
    told = strategy.deployed(context)
    assert len(told) == 1
    assert said in told[0]
    assert isinstance(told[0], ByHand) == ("second factor" in said)
    assert all(words[:2] == ["docker", "logs"] for words in asked)
    assert context.refused == {"keycloak/admin": told[0]}
    # A second wrong login within a second would get the admin locked.
    client = replace(given("client", b"old"), refused=context.refused)
    assert keycloak_client.blockers(client) == strategy.blockers(context) == told
    assert keycloak_client.deployed(client) == []
    assert model.logins == 1


def test_an_admin_without_the_rights_of_one_is_told(model: Keycloak, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = model.answer

    def forbidden(method: str, path: str, body: Any) -> Any:
        return (403, {"error": "HTTP 403 Forbidden"}) if path.endswith("/users") else answer(method, path, body)

    monkeypatch.setattr(model, "answer", forbidden)
    assert "has lost the rights of one: run site.yml" in strategy.deployed(given("password", b"admin-password"))[0]


@pytest.mark.parametrize("factor", [False, True])
def test_a_locked_admin_is_unlocked_but_a_second_factor_stays(
    model: Keycloak, monkeypatch: pytest.MonkeyPatch, factor: bool
) -> None:
    """By the one-time admin, who logs in beside the locked one."""
    helpers = []
    model.answers_to_admin = NO
    answer, token = model.answer, model.token

    def answers(method: str, path: str, body: Any) -> Any:
        if path.endswith("/credentials"):
            return 200, [{"id": "1", "type": "password"}, *([{"id": "2", "type": "otp"}] if factor else [])]
        if method == "DELETE" and "/attack-detection/brute-force/users/" in path:
            model.answers_to_admin = {}
            return 204, None
        if "/roles/" in path or "/role-mappings/" in path:
            return (200, {"name": "admin"}) if method == "GET" else (204, None)
        return answer(method, path, body)

    def tokens(realm: str, form: dict[str, str]) -> Any:
        if form.get("username", "").startswith(keycloak_admin.BOOTSTRAP_PREFIX):
            model.sessions.add("helper")
            return 200, {"access_token": "helper", "refresh_token": "helper", "expires_in": 60}
        return token(realm, form)

    monkeypatch.setattr(model, "answer", answers)
    monkeypatch.setattr(model, "token", tokens)
    monkeypatch.setattr(keycloak_admin, "bootstrap", lambda _file, _container, name, _password: helpers.append(name))

    def ensure() -> list[str]:
        return keycloak_admin.ensure_admin(StackPaths("demo"), keycloak.Instance(container("keycloak")), "admin", OLD)

    if factor:
        with pytest.raises(CoffreError, match="has a second factor, which automation cannot give: take it away"):
            ensure()
        assert model.changes == 0
        monkeypatch.setattr(postgres, "administer", lambda *_: "t")
        for dry in (False, True):  # where the database tells, no one-time admin is made for it
            with pytest.raises(CoffreError, match="has a second factor"):
                strategy.agree(given("password", b"admin-password"), dry)
    else:
        with suppress(CoffreError):  # the model knows no end of a one-time admin's life
            ensure()
        assert strategy.deployed(given("password", b"admin-password")) == []
    assert len(helpers) == 1
