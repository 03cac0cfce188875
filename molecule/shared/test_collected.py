"""Fails a scenario that collected no test of its own."""

import pytest


def test_scenario_has_tests_of_its_own(request: pytest.FixtureRequest) -> None:
    assert any(item.path.parent.name == "tests" for item in request.session.items)
