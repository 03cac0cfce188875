"""The database's roles: the next one is made to log in, and the other is shut once nobody is logged in as it."""

import re
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Secret
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.strategies import consumers as inside
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_role import login_role, retire, strategy
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_role import server as postgres
from tests.unit.strategies.given import DEATHS, Given, back, container, forward, given, survive


class Server:
    """Roles with their passwords, None where a role has none or may not log in, and the addresses of their sessions."""

    def __init__(self) -> None:
        self.passwords: dict[str, bytes | None] = {"role_a": b"old", "role_b": None}
        self.sessions: dict[str, list[str]] = {"role_a": [], "role_b": []}
        self.amiss = ""
        self.changes = 0
        self.deaths: dict[int, bool] = {}

    def login(self, _container: object, target: postgres.LoginRole, password: bytes) -> bool | None:
        return True if self.passwords[target.role] == password else None

    def administer(self, _server: object, script: list[str], what: str) -> str:
        role = match[0] if (match := re.search("role_[ab]", what)) else ""
        if what.startswith("list"):
            return "\n".join(self.sessions[role])
        if what.startswith("read"):
            return self.amiss
        self.changes += 1
        made = self.deaths.get(self.changes)
        if made is not False:
            verifier = re.search("'for (.*)'", script[-1])
            self.passwords[role] = verifier[1].encode() if verifier else None
        if made is not None:
            raise CoffreError("PostgreSQL gave no answer")
        return ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(postgres, "login", found.login)
    monkeypatch.setattr(postgres, "administer", found.administer)
    monkeypatch.setattr(postgres, "verifier", lambda password: f"for {password.decode()}")
    monkeypatch.setattr(postgres, "POLL_SECONDS", 0.01)
    return found


@pytest.fixture
def context() -> Given:
    return given("database", b"old")


@pytest.mark.parametrize(
    ("roles", "current", "following"),
    [(["a", "b"], "a", "b"), (["a", "b"], "b", "a"), (["a", "b", "c"], "c", "a")],
)
def test_versions_alternate_between_the_roles(roles: list[str], current: str, following: str) -> None:
    secret = Secret("database", ("keycloak",), "postgres_role", settings={"roles": roles})
    old, new = (state.Version(version, "", {"role": current, "kept": "x"}) for version in ("v1", "v2"))
    assert strategy.successor(secret, old, new).attributes == {"role": following, "kept": "x"}
    assert new.attributes["role"] == current


@pytest.mark.parametrize("roles", [["a"], ["a", "a"], ["b", "c"]])
def test_a_role_without_a_successor_is_refused(roles: list[str]) -> None:
    secret = Secret("database", ("keycloak",), "postgres_role", settings={"roles": roles})
    old = state.Version("v1", "", {"role": "a"})
    with pytest.raises(CoffreError, match="nothing was changed"):
        strategy.successor(secret, old, old)


def test_both_roles_work_until_the_old_one_is_shut(server: Server, context: Given) -> None:
    assert strategy.blockers(context) == []
    context.values["new"] = strategy.make(context)
    strategy.teach(context)
    for which in ("old", "new"):
        strategy.prove(context, which)
    forward(strategy, context)
    assert server.passwords == {"role_a": None, "role_b": context.values["new"]}


@pytest.mark.parametrize("deaths", DEATHS)
@pytest.mark.parametrize("way", [forward, back])
def test_a_death_anywhere_leaves_one_role(server: Server, context: Given, deaths: dict[int, bool], way: Any) -> None:
    server.deaths = deaths
    if survive(strategy, context, way):
        assert server.passwords == {"role_a": None, "role_b": context.values["new"]}
    else:
        assert server.passwords == {"role_a": b"old", "role_b": None}


def test_a_role_in_use_keeps_its_password(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.sessions["role_a"] = ["10.0.0.7", "10.0.0.7"]
    with pytest.raises(CoffreError, match=r"2 of its sessions have not ended within 0 s: .* 10\.0\.0\.7"):
        postgres.shut(postgres.Database(container("postgres")), "role_a", 0.0)
    assert server.passwords["role_a"] == b"old"
    monkeypatch.setattr("time.sleep", lambda _: server.sessions["role_a"].pop())
    postgres.shut(postgres.Database(container("postgres")), "role_a", 5.0)
    assert server.passwords["role_a"] is None


def test_what_hinders_is_told(server: Server, context: Given) -> None:
    server.sessions["role_b"] = ["10.0.0.7"]
    assert "role_b, which is to come next, is in use from 10.0.0.7" in strategy.blockers(context)[0]
    server.passwords["role_a"] = b"by-hand"
    assert "refuses the deployed password of role_a" in strategy.blockers(context)[0]


def test_a_consumer_without_the_session_that_is_waited_for_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    context = replace(given("database", b"old", running=(container("keycloak", "b1", "10.0.0.9"),)), seconds=0.0)
    server.sessions["role_a"] = ["10.0.0.8"]
    told = strategy.blockers(context)
    assert len(told) == 1
    assert "demo-keycloak-1 holds no session as role_a" in told[0]
    assert "set `sessions: optional`" in told[0]
    assert strategy.blockers(optional(context)) == []
    server.sessions["role_a"] = ["10.0.0.9"]
    assert strategy.blockers(context) == []


def optional(context: Given) -> Given:
    """The same, of consumers whose connections live for one request."""
    settings = {**context.secret.settings, "sessions": "optional"}
    return replace(context, secret=replace(context.secret, settings=settings))


def test_why_the_deployed_password_is_refused_is_told(server: Server, context: Given) -> None:
    assert strategy.deployed(context) == []
    server.passwords["role_a"] = None
    server.amiss = "the password of role_a counts until 2026-11-01 00:00:00+00"
    told = [
        "PostgreSQL refuses the deployed password of role_a (the password of role_a counts until 2026-11-01 "
        "00:00:00+00): run site.yml, which mends it."
    ]
    assert strategy.deployed(context) == strategy.blockers(context) == told
    server.amiss = ""
    assert "(role_a has another password): run site.yml" in strategy.deployed(context)[0]


def test_agree_gives_the_deployed_password_back(server: Server, context: Given) -> None:
    assert strategy.agree(context, dry=False) == Agreement()
    server.passwords["role_a"] = b"by-hand"
    assert strategy.agree(context, dry=True) == Agreement(["verifier"])
    assert server.passwords["role_a"] == b"by-hand"
    assert strategy.agree(context, dry=False) == Agreement(["verifier"])
    assert server.passwords["role_a"] == b"old"


@pytest.mark.usefixtures("server")
def test_a_password_that_still_works_is_told(context: Given) -> None:
    with pytest.raises(CoffreError, match="still accepts the old password of role_a"):
        strategy.refused(context, "old")
    context.values["new"] = b"new"
    strategy.refused(context, "new")
    with pytest.raises(CoffreError, match="refuses the new password of role_b"):
        strategy.prove(context, "new")


def test_a_container_is_believed_by_its_sessions(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "succeeds", lambda *_: True)
    monkeypatch.setattr(inside, "PATIENCE_SECONDS", 0.05)
    context = given("database", b"old", running=(container("keycloak", "b2", "10.0.0.9"),))
    bundle = state.Bundle({"keycloak.conf": ["database"]}, {"database": "v2"}, "", 1, 1)
    context.state.services["keycloak"] = state.ServiceState("b2", None, {"b2": bundle})
    server.sessions["role_b"] = ["10.0.0.8"]
    with pytest.raises(CoffreError, match="demo-keycloak-1 has no session as role_b"):
        strategy.confirm(context, "new")
    strategy.confirm(optional(context), "new")
    server.sessions["role_b"].append("10.0.0.9")
    strategy.confirm(context, "new")
    monkeypatch.setattr(compose, "succeeds", lambda *_: False)
    for each in (context, optional(context)):
        with pytest.raises(CoffreError, match="does not work with database v2"):
            strategy.confirm(each, "new")


def test_a_dropped_role_is_waited_for_whatever_sessions_are(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retire, "PATIENCE_SECONDS", 0.0)
    context = optional(given("database", b"old"))
    context.values["new"] = b"new"
    server.sessions["role_a"] = ["10.0.0.7"]
    with pytest.raises(CoffreError, match="The role role_a keeps its password"):
        strategy.withdraw(context, "new", "old")


def test_psql_logs_in_as_the_superuser_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    context = given("database", b"old")
    for settings, superuser in (({}, "postgres"), ({"superuser": "shop"}, "shop")):
        secret = replace(context.secret, settings={**context.secret.settings, **settings})
        postgres.sessions(login_role.server(replace(context, secret=secret)), "role_a")
        assert asked.pop()[-4:] == ["-U", superuser, "-d", "postgres"]
