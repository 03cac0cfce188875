"""A client's secret: whatever dies where, one value is left, and nothing of others is touched."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import Aside, CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies import consumers as inside
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Which
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import client as keycloak_client
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import session as keycloak
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak.administrator import administrator
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak_client import strategy
from tests.unit.strategies.given import DEATHS, back, container, forward, given, survive
from tests.unit.strategies.keycloak_model import OVERLAP, SERVICE, Keycloak

OLD, DEPLOYED = "old", "deployed"
IMPORTED = json.loads((Path(__file__).parents[3] / "images/keycloak/iam-realm.json").read_text(encoding="utf-8"))
FOREIGN = {"name": "foreign", "enabled": False}


def ensure(secret: str, admin: str = "admin-password", dry: bool = False) -> tuple[list[str], list[str]]:
    paths, asked = StackPaths("demo"), keycloak.Instance(container("keycloak"))
    return keycloak_client.ensure_client(paths, asked, "iam", "automation-cli", secret, ("admin", admin), dry=dry)


def rest(model: Keycloak) -> dict[str, Any]:
    """What of the client, and of the realm's policies, is not its secret."""
    attributes = {k: v for k, v in model.client["attributes"].items() if not k.startswith("client.secret.")}
    return copy.deepcopy({"client": model.client | {"secret": "", "attributes": attributes}, "entries": model.entries})


def test_both_secrets_live_until_the_old_one_is_withdrawn(model: Keycloak) -> None:
    context = given("client", b"old")
    assert strategy.blockers(context) == []
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
    lost = model.client["secret"]
    assert strategy.make(context).decode() == model.client["secret"]
    assert not model.accepts(lost)
    assert model.accepts("old")


@pytest.mark.parametrize("ahead", [-1200, 0, 1200], ids=["slow", "right", "fast"])
def test_a_lost_secret_is_ended_whatever_the_clock_was(model: Keycloak, ahead: int) -> None:
    """The run was opened by a wrong clock, and died between the making of the secret and its sealing."""
    context = given("client", b"old")
    context.run.started = state.now(ahead)
    model.deaths = {1: True}
    with pytest.raises(CoffreError, match="gave no answer"):
        strategy.make(context)
    back(strategy, context)
    assert model.client["secret"] == OLD
    assert "client.secret.rotated" not in model.client["attributes"]


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


@pytest.fixture
def regenerated(model: Keycloak) -> str:
    """Somebody pressed Regenerate in the admin console a minute ago: what the client has in the place of `old`."""
    model.answer("POST", "/admin/realms/iam/clients/client-uuid/client-secret", None)
    model.age(60)
    return str(model.client["secret"])


def test_a_secret_in_the_place_of_the_deployed_one_is_told(model: Keycloak, regenerated: str) -> None:
    changes, context = model.changes, given("client", b"old")
    for told in (strategy.deployed(context), strategy.blockers(context)):
        assert len(told) == 1
        assert isinstance(told[0], Aside)
        assert "Somebody gave the client automation-cli of realm iam another secret on " in told[0]
        assert "accepted until " in told[0] and "make the deployed one current again" in told[0]
        assert regenerated not in told[0]
    assert model.changes == changes


def test_a_rotation_ends_a_secret_in_the_place_of_the_deployed_one_and_no_other(
    model: Keycloak, regenerated: str
) -> None:
    context, refused = given("client", b"old"), []
    change = model._change

    def watched(*request: Any) -> Any:
        answer = change(*request)
        refused.append(not model.accepts(OLD))
        return answer

    model._change = watched  # type: ignore[method-assign, assignment]
    context.values["new"] = strategy.make(context)
    assert refused and not any(refused)  # whoever has the deployed one is served at each moment
    assert not model.accepts(regenerated)
    forward(strategy, context)
    assert model.accepts(context.values["new"].decode())
    assert not model.accepts(OLD)


def test_an_undone_rotation_ends_it_too(model: Keycloak, regenerated: str) -> None:
    back(strategy, given("client", b"old"))
    assert model.client["secret"] == OLD
    assert not model.accepts(regenerated)


def test_a_deploy_ends_a_secret_in_the_place_of_the_deployed_one(model: Keycloak, regenerated: str) -> None:
    repaired, told = ensure(OLD, dry=True)
    assert repaired == ["secret"]
    assert model.client["secret"] == regenerated
    assert ensure(OLD) == (repaired, told)
    assert "The deployed one is made current again, which ends it." in told[0]
    assert model.client["secret"] == OLD
    assert not model.accepts(regenerated)
    assert ensure(OLD) == ([], [])


def test_a_second_secret_beside_the_deployed_one_is_refused(model: Keycloak) -> None:
    model.answer("POST", "/admin/realms/iam/clients/client-uuid/client-secret", None)
    model.age(60)
    context = given("client", model.client["secret"].encode())
    assert "has a second secret" in strategy.blockers(context)[0]
    with pytest.raises(CoffreError, match="has a second secret"):
        strategy.make(context)
    model.age(OVERLAP)
    assert strategy.blockers(context) == []
    strategy.make(context)


def test_what_else_hinders_is_told(model: Keycloak) -> None:
    assert "refuses the deployed secret" in strategy.blockers(given("client", b"another"))[0]
    model.entries["policies"] = [FOREIGN]
    context = given("client", b"old")
    assert "lacks the client policies" in strategy.blockers(context)[0]
    with pytest.raises(CoffreError, match="lacks the client policies"):
        strategy.make(context)
    assert model.changes == 0


def test_either_password_of_the_admin_will_do(model: Keycloak) -> None:
    context = given("client", b"old", admins=(b"not-yet", b"admin-password"))
    forward(strategy, context)
    assert model.accepts(context.values["new"].decode())


def test_a_module_logs_in_once_and_out_at_its_end(model: Keycloak) -> None:
    context = given("client", b"old")
    assert strategy.blockers(context) == []
    forward(strategy, context)
    assert model.logins == 1
    assert len(model.sessions) == 1
    keycloak._end(context.paths)
    assert model.sessions == set()
    assert strategy.blockers(given("client", context.values["new"])) == []
    assert model.logins == 2


def test_a_session_is_renewed_in_its_own_realm(model: Keycloak) -> None:
    context = given("client", b"old")
    for _ in range(2):
        with administrator(context, "look") as admin:
            admin.change_current_realm("iam")
            admin.connection.refresh_token()
    assert model.logins == 1


def test_a_session_that_was_ended_meanwhile_begins_anew(model: Keycloak) -> None:
    context = given("client", b"old")
    assert strategy.blockers(context) == []
    model.sessions.clear()
    forward(strategy, context)
    assert model.logins == 2
    model.sessions.clear()
    model.password += "-by-hand"
    assert "refuses the deployed password" in strategy.blockers(given("client", context.values["new"]))[0]
    assert model.logins == 3


def test_the_containers_try_it_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def succeeds(container: str, command: list[str]) -> bool:
        asked.append((container, command))
        return True

    monkeypatch.setattr(compose, "succeeds", succeeds)
    context = given("client", b"old", running=(container("app", "b2"),))
    context.state.services["app"] = state.ServiceState(
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
    context.state.services["app"] = state.ServiceState("b2", None, {"b2": bundle})
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
    assert ensure(secret, "wrong", dry=True) == ([] if accepted else ["secret"], [])
    with pytest.raises(CoffreError, match="refuses its admin admin; nothing was changed"):
        ensure(secret, "wrong")


def test_the_deployed_secret_is_repaired(model: Keycloak) -> None:
    assert ensure(DEPLOYED) == (["secret"], [])
    assert model.client["secret"] == DEPLOYED
    assert not model.accepts("old")
    assert keycloak.granted(keycloak.Instance(container("keycloak")).url, "iam", "automation-cli", DEPLOYED)


def test_agree_tells_what_it_repairs_and_what_somebody_may_have_wanted(model: Keycloak, regenerated: str) -> None:
    context = given("client", b"old")
    told = strategy.agree(context, dry=True)
    assert told.repaired == ["secret"]
    assert model.client["secret"] == regenerated
    assert strategy.agree(context, dry=False) == told
    assert "another secret" in told.warnings[0]
    assert model.client["secret"] == OLD
    assert strategy.agree(context, dry=False) == Agreement()


def imports(monkeypatch: pytest.MonkeyPatch, model: Keycloak, *, there: bool = True) -> None:
    """Let the image have the demo's realm, whose other clients and roles are `there` already."""
    monkeypatch.setattr(compose, "file_of_image", lambda *_: json.dumps(IMPORTED).encode())
    if there:
        model.others = [{"id": each["clientId"], **each} for each in IMPORTED["clients"][1:]]
        model.roles = copy.deepcopy(IMPORTED["roles"]["client"])


def taken(model: Keycloak) -> Any:
    return copy.deepcopy((model.others, model.roles))


def test_a_realm_that_is_there_gets_what_a_newer_image_brings(model: Keycloak, monkeypatch: pytest.MonkeyPatch) -> None:
    imports(monkeypatch, model)
    whole, before = taken(model), rest(model)
    assert ensure(OLD) == ([], [])
    model.others.clear()
    model.roles.clear()
    assert ensure(OLD, dry=True) == (["import"], [])
    assert model.changes == 0
    assert ensure(OLD) == (["import"], [])
    assert (taken(model), model.changes) == (whole, 1)
    assert ensure(OLD) == ([], [])
    assert rest(model) == before


def test_of_the_import_only_what_is_missing_is_added(model: Keycloak, monkeypatch: pytest.MonkeyPatch) -> None:
    imports(monkeypatch, model)
    monkeypatch.setitem(IMPORTED["roles"], "realm", [{"name": "one"}, {"name": "two"}])
    model.others[0]["redirectUris"] = ["/by-hand"]
    model.roles[""] = [{"name": "one", "description": "by hand"}]
    model.roles["flask-app"] = [{"name": "by-hand"}]
    others, _ = taken(model)
    assert ensure(OLD) == (["import"], [])
    assert model.others == others
    assert model.roles == {
        "": [{"name": "one", "description": "by hand"}, {"name": "two"}],
        "flask-app": [{"name": "by-hand"}, *IMPORTED["roles"]["client"]["flask-app"]],
    }


@pytest.mark.parametrize("said", ["", "{", CoffreError("no such file")], ids=["empty", "torn", "none"])
def test_an_image_without_an_import_brings_nothing(model: Keycloak, monkeypatch: pytest.MonkeyPatch, said: Any) -> None:
    def read(*_: Any) -> bytes:
        if isinstance(said, CoffreError):
            raise said
        return str(said).encode()

    monkeypatch.setattr(compose, "file_of_image", read)
    assert ensure(OLD) == ([], [])
    assert model.changes == 0


def shut(what: str, **changed: Any) -> Callable[[Keycloak], None]:
    return lambda model: getattr(model, what).update(changed)


DISABLED: dict[str, tuple[Callable[[Keycloak], Any], str, list[str]]] = {
    "client": (shut("client", enabled=False), "the client automation-cli is disabled", ["client"]),
    "authenticator": (
        shut("client", clientAuthenticatorType="client-jwt"),
        "the client automation-cli authenticates by other means than a secret",
        ["client"],
    ),
    "public": (shut("client", publicClient=True), "the client automation-cli is public", ["client"]),
    "no service account": (
        shut("client", serviceAccountsEnabled=False),
        "the client automation-cli has no service account",
        ["client"],
    ),
    "service account": (
        lambda model: model.users[SERVICE].update(enabled=False),
        "the service account of the client automation-cli is disabled",
        ["client"],
    ),
    "realm": (lambda model: model.realms["iam"].update(enabled=False), "realm iam is disabled", ["realm"]),
    "client gone": (lambda model: model.client.clear(), "the client automation-cli is gone", ["client", "secret"]),
    "realm gone": (lambda model: model.realms.pop("iam"), "realm iam is gone", ["realm", "secret"]),
}


@pytest.mark.parametrize(("shut", "said", "repaired"), DISABLED.values(), ids=DISABLED)
def test_a_client_that_cannot_authenticate_is_told_and_mended(
    model: Keycloak, monkeypatch: pytest.MonkeyPatch, shut: Any, said: str, repaired: list[str]
) -> None:
    imports(monkeypatch, model)
    before = rest(model)
    shut(model)
    told = strategy.deployed(given("client", b"old"))
    assert len(told) == 1
    assert f"of realm iam, for {said}: run site.yml" in told[0]
    changes = model.changes
    assert ensure(OLD, dry=True)[0] == repaired[:1]
    assert model.changes == changes
    assert ensure(OLD) == (repaired, [f"Repaired: {said}."])
    assert model.client["secret"] == OLD
    assert strategy.deployed(given("client", b"old")) == []
    if "gone" not in said:
        assert rest(model) == before


def test_a_client_that_was_given_another_secret_and_disabled_has_the_deployed_one_for_good(
    model: Keycloak, regenerated: str
) -> None:
    model.client["enabled"] = False
    repaired, told = ensure(OLD)
    assert repaired == ["client", "secret"]
    assert [each.partition(" ")[0] for each in told] == ["Repaired:", "Somebody"]
    assert model.client["secret"] == OLD
    assert not model.accepts(regenerated)


def test_a_client_that_the_image_does_not_have_is_left_to_a_person(
    model: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "file_of_image", lambda *_: json.dumps(IMPORTED | {"clients": []}).encode())
    model.client.clear()
    with pytest.raises(CoffreError, match=r"no client automation-cli, and its image has none .* make it in the admin"):
        ensure(OLD)
