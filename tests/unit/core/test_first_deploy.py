"""In check mode a verifier that no deploy has started yet is not asked, and nothing is made for the question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.host import progress, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies import agree, loading
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.modules import stack_rollout
from tests.unit import described
from tests.unit.core.conftest import CATALOGUE, Stack

# Who checks something, and what.
CHECKED = {"postgres": "db-password", "keycloak": "api-key-2"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The secrets whose verifiers were asked, and whether only to tell."""
    found: list[tuple[str, bool]] = []

    def ask(context: Any, dry: bool) -> Agreement:
        found.append((context.secret.name, dry))
        return Agreement(["asked"])

    monkeypatch.setattr(loading, "load", lambda _: SimpleNamespace(agree=ask))
    return found


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    """What the engine says of each verifier, state and health; a test changes it."""
    found = dict.fromkeys(CHECKED, ("running", "healthy"))

    def containers(_: str) -> list[Any]:
        return [described.container(service=name, state=now, health=is_) for name, (now, is_) in found.items()]

    monkeypatch.setattr(compose, "containers", containers)
    return found


def told(stack: Stack, service: str) -> Any:
    """What a check says of the secrets of a verifier."""
    question = agree.agreeing(stack.paths, described.parse(stack.data), 0)
    return question(state.load(stack.paths), service, True).repaired


def unstage(stack: Stack) -> None:
    st = state.load(stack.paths)
    st.services.clear()
    st.secrets.clear()
    state.save(stack.paths, st)


@pytest.mark.parametrize("service", CHECKED)
@pytest.mark.parametrize(
    "lacks",
    [
        lambda _, running: running.clear(),
        lambda _, running: running.update(dict.fromkeys(CHECKED, ("exited", ""))),
        lambda _, running: running.update(dict.fromkeys(CHECKED, ("running", "unhealthy"))),
        lambda stack, _: unstage(stack),
    ],
    ids=["no container", "not running", "unhealthy", "not staged"],
)
def test_a_check_tells_what_a_deploy_would_see_to(
    staged: Stack,
    asked: list[tuple[str, bool]],
    running: dict[str, tuple[str, str]],
    service: str,
    lacks: Callable[[Stack, dict[str, tuple[str, str]]], object],
) -> None:
    lacks(staged, running)
    assert told(staged, service) == {CHECKED[service]: ["secret"]}
    assert asked == []


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("service", CHECKED)
@pytest.mark.parametrize("health", ["healthy", "starting", ""], ids=["healthy", "starting", "without a health check"])
def test_a_check_asks_what_runs(
    staged: Stack, asked: list[tuple[str, bool]], running: dict[str, tuple[str, str]], service: str, health: str
) -> None:
    running[service] = ("running", health)
    assert told(staged, service) == {CHECKED[service]: ["asked"]}
    assert asked == [(CHECKED[service], True)]


@pytest.mark.usefixtures("asked")
def test_a_check_of_a_new_stack_makes_no_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_rollout, "StackPaths", lambda _, **__: StackPaths("demo", root / "run", root / "lib"))
    catalogue, compose_file = described.split(CATALOGUE)
    given = {"stack": "demo", "engine": "compose", "catalogue": catalogue, "compose_file": compose_file}
    given |= {"bundles": {}, "images": {}}
    result = stack_rollout.work(given | {"timeout": 1, "run": "r1", "operator": "kim"}, True)
    progress.end()
    assert result["changed"]
    assert {each["action"] for each in result["services"]} == {"create"}
    assert list(root.iterdir()) == []
