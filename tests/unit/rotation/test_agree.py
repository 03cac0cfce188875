"""After a rollout of a verifier its secrets are looked at: in which order, as of which value, and what is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import containers
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.strategies import agree as agreement
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
    monkeypatch.setattr(agreement, "load", lambda _: made)
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
