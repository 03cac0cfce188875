"""After a rollout of a verifier its secrets are looked at: in which order, as of which value, and what is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import containers
from ansible_collections.coffre.stack.plugins.module_utils.errors import Aside, ByHand, CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.rollout.apply import STABLE_SECONDS
from ansible_collections.coffre.stack.plugins.module_utils.rotation import plan as rotation_plan
from ansible_collections.coffre.stack.plugins.module_utils.strategies import agree as agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies import loading
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Context
from tests.unit.rotation.conftest import House


@dataclass
class Agreeing:
    """A strategy that notes what it is asked about, and finds something to repair."""

    asked: list[tuple[str, bool]] = field(default_factory=list)
    values: dict[str, bytes] = field(default_factory=dict)
    down: bool = False

    def agree(self, context: Context, dry: bool) -> Agreement:
        name = context.secret.name
        assert context.state.run is None
        assert context.change.old == context.change.new == context.state.secrets[name]
        if self.down:
            raise CoffreError("The verifier gives no answer.")
        self.asked.append((name, dry))
        self.values[name] = context.value("old")
        return Agreement(["secret"] if name == "client" else [], [f"{name}: somebody may want it so."])


@pytest.fixture
def strategy(monkeypatch: pytest.MonkeyPatch) -> Agreeing:
    made = Agreeing()
    monkeypatch.setattr(loading, "load", lambda _: made)
    return made


@pytest.mark.parametrize("dry", [False, True])
def test_those_come_first_that_others_are_set_right_with(
    house: House, strategy: Agreeing, monkeypatch: pytest.MonkeyPatch, dry: bool
) -> None:
    monkeypatch.setattr(containers, "to_come", lambda *_: False)
    found = agreement.agreeing(house.paths, house.catalogue, 5)(house.state, "keycloak", dry)
    names = ["admin", "client", "client-2"]  # the admin is behind a client in the catalogue
    assert strategy.asked == [(name, dry) for name in names]
    assert {strategy.values[name] in house.verifier.accepted[name] for name in names} == {True}
    assert found.repaired == {"client": ["secret"]}
    assert found.warnings == [f"{name}: somebody may want it so." for name in names]
    strategy.asked.clear()
    assert agreement.agreeing(house.paths, house.catalogue, 5)(house.state, "app", dry).repaired == {}
    assert strategy.asked == []  # it verifies nothing


def test_of_a_secret_that_is_not_deployed_a_dry_run_tells_that_it_would_be(house: House, strategy: Agreeing) -> None:
    agree = agreement.agreeing(house.paths, house.catalogue, 5)
    found = agree(state.State("demo"), "keycloak", True)
    assert (found.repaired, strategy.asked) == ({name: ["secret"] for name in ("admin", "client", "client-2")}, [])


def test_a_verifier_that_gives_no_answer_is_told(house: House, strategy: Agreeing) -> None:
    strategy.down = True
    with pytest.raises(CoffreError, match="gives no answer"):
        agreement.agreeing(house.paths, house.catalogue, 5)(house.state, "keycloak", False)


def test_what_only_a_person_can_mend_is_told_before_a_service_is_touched(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = house.catalogue

    def look() -> str:
        return agreement.by_hand(house.paths, catalogue, house.state)

    for told in ([], ["It is disabled: run site.yml."], [Aside("Somebody gave it another secret.")]):
        monkeypatch.setattr(house.verifier, "told", told)
        assert look() == ""
    house.verifier.down.add("deployed")
    assert look() == ""
    house.verifier.down.clear()
    monkeypatch.setattr(house.verifier, "told", [ByHand("It has a second factor: take it away.")])
    assert look() == "It has a second factor: take it away. No service was changed."
    del catalogue.secrets["admin"]
    assert look() == ""  # of the others nobody is asked, for a login takes its time


def test_a_verifier_without_a_health_check_is_asked_before_a_service_is_touched(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has to be seen ready, which takes a moment."""
    seconds: list[float] = []

    def deployed(context: Context) -> list[str]:
        seconds.append(context.seconds)
        return []

    monkeypatch.setattr(loading, "load", lambda _: SimpleNamespace(deployed=deployed))
    assert agreement.by_hand(house.paths, house.catalogue, house.state) == ""
    assert seconds and min(seconds) > STABLE_SECONDS


def test_a_look_tries_what_is_deployed_and_leaves_an_open_run_alone(house: House) -> None:
    def look() -> dict[str, list[str]]:
        return agreement.refusals(house.paths, house.catalogue, house.state, 0.0)

    verified: dict[str, list[str]] = {name: [] for name, secret in house.catalogue.secrets.items() if secret.verified}
    assert look() == verified
    house.verifier.accepted["database"] = {b"by hand"}
    house.verifier.accepted["client"].add(b"another")
    assert look() == verified | {"database": ["not accepted"]}
    house.verifier.down.add("deployed")
    assert look()["admin"] == ["The verifier gives no answer to deployed."]
    chosen = rotation_plan.changes(
        house.catalogue,
        house.state,
        rotation_plan.RotationRequest(("client",), 14),
        house.source,
        rotation_plan.present(),
    )
    rotation_plan.begin(house.paths, house.catalogue, house.state, chosen, house.settings("r1"))
    assert house.state.run
    assert "client" not in look()
