"""A client's secret: whatever dies where, one value is left, and nothing of others is touched."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import compose, keycloak, keycloak_client, state
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.strategies import inside
from ansible_collections.coffre.stack.plugins.module_utils.strategies import keycloak_client as strategy
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Which
from tests.unit.strategies.given import DEATHS, back, container, forward, given, survive
from tests.unit.strategies.keycloak_model import OVERLAP, Keycloak

OLD, DEPLOYED = "old", "deployed"
FOREIGN = {"name": "foreign", "enabled": False}


def rest(model: Keycloak) -> dict[str, Any]:
    """What of the client, and of the realm's policies, is not its secret."""
    attributes = {k: v for k, v in model.client["attributes"].items() if not k.startswith("client.secret.")}
    return copy.deepcopy({"client": model.client | {"secret": "", "attributes": attributes}, "entries": model.entries})


def test_both_secrets_live_until_the_old_one_is_withdrawn(model: Keycloak) -> None:
    context = given("client", b"old")
    assert strategy.hinders(context) == []
    new = strategy.make(context).decode()
    assert new != "old"
    assert model.accepts("old")
    assert model.accepts(new)
    context.values["new"] = new.encode()
    forward(strategy, context)
    assert not model.accepts("old")
    assert model.accepts(new)


@pytest.mark.parametrize("deaths", DEATHS)
@pytest.mark.parametrize("way", [forward, back])
def test_a_death_anywhere_leaves_one_secret(model: Keycloak, deaths: dict[int, bool], way: Any) -> None:
    for entries in model.entries.values():
        entries.insert(0, FOREIGN)
    before, context = rest(model), given("client", b"old")
    model.deaths = deaths
    sides: tuple[Which, Which] = ("new", "old") if survive(strategy, context, way) else ("old", "new")
    kept, dropped = sides
    assert model.accepts(context.values[kept].decode())
    assert dropped not in context.values or not model.accepts(context.values[dropped].decode())
    assert "client.secret.rotated" not in model.client["attributes"]
    assert rest(model) == before


def test_a_call_that_got_no_answer_is_not_repeated(model: Keycloak) -> None:
    context = given("client", b"old")
    model.deaths = {1: True}
    with pytest.raises(CoffreError, match="gave no answer"):
        strategy.make(context)
    assert model.changes == 1
    assert strategy.make(context).decode() == model.client["secret"]
    assert model.changes == 1
    assert model.accepts("old")


def test_the_old_secret_comes_back_when_its_time_beside_an_unknown_one_is_over(model: Keycloak) -> None:
    """The new secret got lost with the answer, and the run stayed open for longer than both live."""
    context = given("client", b"old")
    model.deaths = {1: True}
    with pytest.raises(CoffreError, match="gave no answer"):
        strategy.make(context)
    model.age(OVERLAP)
    assert not model.accepts("old")
    back(strategy, context)
    assert model.client["secret"] == OLD


def test_the_old_secret_counts_as_long_as_a_rotation_may_well_stay_open(model: Keycloak) -> None:
    """Undo starts containers with it before it puts it back."""
    realm = json.loads((Path(__file__).parents[3] / "images/keycloak/iam-realm.json").read_text(encoding="utf-8"))
    assert realm["clientProfiles"]["profiles"] == [keycloak_client.PROFILE]
    assert keycloak_client.PROFILE["executors"][0]["configuration"]["rotated-expiration-period"] == OVERLAP
    context = given("client", b"old")
    strategy.make(context)
    model.age(7 * 86400)
    strategy.prove(context, "old")


def test_a_secret_that_outlived_its_period_can_be_set_back(model: Keycloak) -> None:
    context = given("client", b"old")
    context.values["new"] = strategy.make(context)
    model.client["attributes"]["client.secret.expiration.time"] = "1"
    back(strategy, context)
    assert model.client["secret"] == OLD
    assert not model.accepts(context.values["new"].decode())


def test_an_overlap_of_others_is_refused_and_kept(model: Keycloak) -> None:
    model.answer("POST", "/admin/realms/iam/clients/client-uuid/client-secret", None)
    model.age(60)
    theirs, changes, context = model.client["secret"], model.changes, given("client", b"old")
    assert "has a second secret" in strategy.hinders(context)[0]
    with pytest.raises(CoffreError, match="not the deployed one; nothing was changed"):
        strategy.make(context)
    strategy.withdraw(context, "old", "new")
    strategy.prove(context, "old")
    assert (model.changes, model.client["secret"]) == (changes, theirs)
    assert model.accepts("old")


def test_a_second_secret_beside_the_deployed_one_is_refused(model: Keycloak) -> None:
    model.answer("POST", "/admin/realms/iam/clients/client-uuid/client-secret", None)
    model.age(60)
    context = given("client", model.client["secret"].encode())
    assert "has a second secret" in strategy.hinders(context)[0]
    with pytest.raises(CoffreError, match="has a second secret"):
        strategy.make(context)
    model.age(OVERLAP)
    assert strategy.hinders(context) == []
    strategy.make(context)


def test_what_else_hinders_is_told(model: Keycloak) -> None:
    assert "refuses the deployed secret" in strategy.hinders(given("client", b"another"))[0]
    assert "refuses its admin admin" in strategy.hinders(given("client", b"old", admins=(b"another",)))[0]
    model.entries["policies"] = [FOREIGN]
    context = given("client", b"old")
    assert "lacks the client policies" in strategy.hinders(context)[0]
    with pytest.raises(CoffreError, match="lacks the client policies"):
        strategy.make(context)
    assert model.changes == 0


def test_either_password_of_the_admin_will_do(model: Keycloak) -> None:
    context = given("client", b"old", admins=(b"not-yet", b"admin-password"))
    forward(strategy, context)
    assert model.accepts(context.values["new"].decode())
    assert model.sessions == set()


def test_the_containers_try_it_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def succeeds(container: str, command: list[str]) -> bool:
        asked.append((container, command))
        return True

    monkeypatch.setattr(compose, "succeeds", succeeds)
    context = given("client", b"old", running=(container("app", "b2"),))
    context.state.services["app"] = state.Service(
        "b2", None, {"b2": state.Bundle({"client": ["client"]}, {"client": "v2"}, "", 1, 1)}
    )
    strategy.confirm(context, "new")
    assert asked == [("id-app", ["probe"])]
    with pytest.raises(CoffreError, match="does not have client v1"):
        strategy.confirm(context, "old")
    with pytest.raises(CoffreError, match="No container of app runs that could try client v2"):
        strategy.confirm(given("client", b"old"), "new")


@pytest.mark.parametrize(("looks", "works"), [(3, True), (2, False)], ids=["ready in the end", "never"])
def test_patience_begins_once_all_containers_are_up(monkeypatch: pytest.MonkeyPatch, looks: int, works: bool) -> None:
    """Each look takes longer than the patience; after two of them nothing is starting any more."""
    now, answers = [0.0], iter([False] * looks + [works])

    def succeeds(*_: Any) -> bool:
        now[0] += inside.PATIENCE_SECONDS * 2
        return next(answers)

    monkeypatch.setattr(compose, "succeeds", succeeds)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda _: None)
    bundle = state.Bundle({"client": ["client"]}, {"client": "v2"}, "", 1, 1)
    boots = [True] * 3 if works else [True, False]
    context = replace(given("client", b"old", running=(container("app", "b2"),), boots=boots), seconds=1000.0)
    context.state.services["app"] = state.Service("b2", None, {"b2": bundle})
    if works:
        strategy.confirm(context, "new")
    else:
        with pytest.raises(CoffreError, match="demo-app-1 does not work with client v2"):
            strategy.confirm(context, "new")
    assert not context.boots


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("accepted", [True, False])
def test_a_dry_run_tells_of_the_client_although_the_admin_is_yet_to_be_made(accepted: bool) -> None:
    secret = OLD if accepted else DEPLOYED
    ensure = keycloak_client.ensure_client
    told = ensure(container("keycloak"), "iam", "automation-cli", secret, ("admin", "wrong"), dry=True)
    assert told == ([] if accepted else ["secret"])
    with pytest.raises(CoffreError, match="refuses its admin admin; nothing was changed"):
        ensure(container("keycloak"), "iam", "automation-cli", secret, ("admin", "wrong"))


def test_the_deployed_secret_is_repaired(model: Keycloak) -> None:
    told = keycloak_client.ensure_client(
        container("keycloak"), "iam", "automation-cli", DEPLOYED, ("admin", "admin-password")
    )
    assert told == ["secret"]
    assert model.client["secret"] == DEPLOYED
    assert not model.accepts("old")
    assert keycloak.granted(keycloak.url(container("keycloak")), "iam", "automation-cli", DEPLOYED)
