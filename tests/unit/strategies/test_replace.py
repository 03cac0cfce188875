"""replace: what is made is what its consumer can use, and the proxy shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Generate, Secret
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies import consumers as inside
from ansible_collections.coffre.stack.plugins.module_utils.strategies.replace import issue, strategy
from ansible_collections.coffre.stack.plugins.module_utils.values import certificates, generate
from tests.unit.strategies.given import Given, container

NAMES = ("localhost", "127.0.0.1")
SECRETS = {
    "ca": Secret("ca", ("host",), "replace", generate=Generate("certificate_authority", names=NAMES, days=30)),
    "tls": Secret(
        "tls",
        ("proxy",),
        "replace",
        generate=Generate("certificate", names=NAMES, days=10, authority="ca"),
        settings={"port": 8443},
    ),
    "supplied": Secret("supplied", ("proxy",), "replace", settings={"names": [*NAMES], "port": 8443}),
    "sent": Secret("sent", ("app",), "replace"),
    "word": Secret("word", ("app",), "replace", generate=Generate("random")),
}
AUTHORITY = generate.authority("demo", Generate("certificate_authority", names=NAMES, days=30))
OLD, NEW = (generate.certificate(Generate("certificate", names=NAMES, days=10), AUTHORITY).pem() for _ in range(2))


def given(name: str, **values: bytes) -> Given:
    change = state.Change("replace", state.Version("v1", ""), state.Version("v2", ""))
    st = state.State("demo", run=state.Run("r1", "play", "operator", "", "", {name: change}))
    held: Any = values
    return Given(StackPaths("demo"), Catalogue(SECRETS, {}), st, SECRETS[name], change, 1.0, held)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the proxy shows, and whom it was asked for."""
    found: dict[str, Any] = {"pem": NEW, "asked": []}

    def show(*asked: Any) -> bytes | None:
        found["asked"].append(asked)
        if found["pem"] is None:
            raise ConnectionRefusedError
        return certificates.leaf(found["pem"])

    monkeypatch.setattr(certificates, "shown", show)
    return found


def test_a_certificate_is_signed_by_the_authority_in_force(
    monkeypatch: pytest.MonkeyPatch, shown: dict[str, Any]
) -> None:
    monkeypatch.setattr(bundles, "value", lambda *_: AUTHORITY.pem())
    context = given("tls", old=OLD)
    assert strategy.blockers(context) == []
    context.values["new"] = strategy.make(context)
    made = generate.load(context.values["new"])
    assert made
    assert made.chain[1:] == AUTHORITY.chain
    strategy.teach(context)
    strategy.prove(context, "new")
    shown["pem"] = context.values["new"]
    strategy.confirm(context, "new")
    strategy.withdraw(context, "new", "old")
    strategy.refused(context, "old")
    assert shown["asked"] == [("127.0.0.1", 8443, "localhost")] * 2


def test_one_run_replaces_authority_and_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    context = given("ca", old=AUTHORITY.pem())
    context.values["new"] = strategy.make(context)
    strategy.prove(context, "new")
    monkeypatch.setattr(issue, "unseal", lambda *_: context.values["new"])
    other = given("tls")
    other.run.secrets["ca"] = context.change
    made, authority = generate.load(strategy.make(other)), generate.load(context.values["new"])
    assert made
    assert authority
    assert made.chain[1:] == authority.chain != AUTHORITY.chain


def test_an_authority_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "value", lambda *_: b"canary")
    with pytest.raises(CoffreError, match=r"^ca is no authority that can sign tls\.$"):
        strategy.make(given("tls"))
    with pytest.raises(CoffreError, match=r"^The new ca is no authority for the catalogue's names\.$"):
        strategy.prove(given("ca", new=b"canary"), "new")


def test_only_the_owner_can_replace_what_nothing_generates() -> None:
    assert "nothing generates supplied: put the new key" in strategy.blockers(given("supplied"))[0]
    assert "nothing generates sent: put the new value" in strategy.blockers(given("sent"))[0]


def test_a_certificate_that_does_not_fit() -> None:
    mark = b"-----BEGIN CERTIFICATE"
    key, certificate = OLD.partition(mark)[0], NEW.partition(mark)[2]
    with pytest.raises(CoffreError, match=r"^The new supplied begins with a certificate that is not its key's\.$"):
        strategy.prove(given("supplied", new=key + mark + certificate), "new")


def test_the_old_certificate_may_be_past_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "misfit", lambda *_: "is past its end")
    strategy.prove(given("tls", old=OLD), "old")


def test_the_proxy_that_shows_another(shown: dict[str, Any]) -> None:
    context = given("tls", old=OLD, new=NEW)
    shown["pem"] = OLD
    with pytest.raises(CoffreError, match=r"^proxy shows another certificate than the new tls\.$"):
        strategy.confirm(context, "new")
    with pytest.raises(CoffreError, match=r"^proxy still shows the old tls\.$"):
        strategy.refused(context, "old")
    strategy.confirm(context, "old")
    shown["pem"] = None
    with pytest.raises(CoffreError, match=r"^demo-proxy-1 shows no certificate \(ConnectionRefusedError\)\.$"):
        strategy.confirm(context, "new")


def test_every_node_must_show_the_new_certificate_and_none_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"10.0.0.1": NEW, "10.0.0.2": OLD}
    monkeypatch.setattr(certificates, "shown", lambda address, *_: certificates.leaf(shown[address]))
    both = tuple(container("proxy", address=address) for address in shown)
    context = replace(given("tls", old=OLD, new=NEW), running=both)
    with pytest.raises(CoffreError, match=r"^proxy shows another certificate than the new tls\.$"):
        strategy.confirm(context, "new")
    with pytest.raises(CoffreError, match=r"^proxy still shows the old tls\.$"):
        strategy.refused(context, "old")
    shown["10.0.0.2"] = NEW
    strategy.confirm(context, "new")
    strategy.refused(context, "old")


def test_what_is_no_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(inside, "work", lambda _, which: seen.append(which))
    monkeypatch.setattr(compose, "ask", lambda *_: pytest.fail("nobody is asked"))
    context = given("word", old=b"old")
    context.values["new"] = strategy.make(context)
    assert len(context.values["new"]) >= 43
    assert strategy.blockers(context) == []
    strategy.prove(replace(context), "new")
    strategy.confirm(context, "new")
    strategy.withdraw(context, "new", "old")
    strategy.refused(context, "old")
    assert seen == ["new"]
