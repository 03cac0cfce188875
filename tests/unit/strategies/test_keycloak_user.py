"""The admin's password: whatever dies where, one of both logs in, and nobody is locked out."""

from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import bundles, keycloak_admin
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.strategies import keycloak_user as strategy
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Which
from tests.unit.strategies.given import DEATHS, Given, back, forward, given, survive
from tests.unit.strategies.keycloak_model import Keycloak

OLD, FOREIGN = "admin-password", "by-hand"


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Given:
    def no_bootstrap(*_: Any) -> None:
        raise AssertionError("one of both passwords should have logged in")

    monkeypatch.setattr(keycloak_admin, "ensure_admin", no_bootstrap)
    return given("password", b"admin-password")


def test_old_sessions_end(model: Keycloak, context: Given) -> None:
    assert strategy.hinders(context) == []
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


def test_what_hinders_is_told(model: Keycloak, context: Given) -> None:
    model.policy = "length(8) and passwordHistory(3)"
    assert "passwordHistory" in strategy.hinders(context)[0]
    model.password = FOREIGN
    assert "refuses the deployed password" in strategy.hinders(context)[0]


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
