"""fixed: no rotation begins, and should one have begun by other hands, none of its acts ends the old value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Secret
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies.fixed import strategy
from ansible_collections.coffre.stack.plugins.module_utils.values.lifetimes import due
from tests.unit.strategies.given import Given


def given(**settings: Any) -> Given:
    secret = Secret("disk-key", ("app",), "fixed", max_age_days=1, settings=settings)
    change = state.Change("fixed", state.Version("v1", state.now()), state.Version("v2", state.now()))
    st = state.State("demo", run=state.Run("r1", "play", "operator", "", "", {"disk-key": change}))
    return Given(StackPaths("demo"), Catalogue({"disk-key": secret}, {}), st, secret, change, 1.0, {"old": b"old"})


def test_a_rotation_is_refused_with_its_reason() -> None:
    assert strategy.blockers(given())[0].startswith("disk-key is never rotated, because data are encrypted under it: ")
    why = "the shop's orders are sealed with it."
    assert "never rotated, because the shop's orders are sealed with it: " in strategy.blockers(given(why=why))[0]


@pytest.mark.parametrize(
    "act",
    [
        strategy.make,
        strategy.teach,
        lambda context: strategy.prove(context, "new"),
        lambda context: strategy.confirm(context, "new"),
        lambda context: strategy.withdraw(context, "new", "old"),
    ],
)
def test_no_act_goes_forward(act: Any) -> None:
    with pytest.raises(CoffreError, match="disk-key is never rotated"):
        act(given())


def test_the_way_back_is_open_and_nobody_has_to_agree() -> None:
    context = given()
    strategy.withdraw(context, "old", "new")
    strategy.prove(context, "old")
    strategy.confirm(context, "old")
    strategy.refused(context, "new")
    assert strategy.deployed(context) == []
    assert strategy.agree(context, dry=False) == Agreement()


@pytest.mark.parametrize("age", [-30, 0, 400], ids=["dated ahead", "new", "past its age"])
def test_it_is_never_due(age: int) -> None:
    created = state.moment((datetime.now(UTC) - timedelta(days=age)).timestamp())
    assert due(given().secret, state.Version("v1", created, expires=created), 14, datetime.now(UTC)) is None
