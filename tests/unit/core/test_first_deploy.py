"""In check mode a verifier that no deploy has started yet is not asked, and nothing is made for the question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.modules import keycloak_admin, keycloak_client, postgres_role
from tests.unit.core.conftest import Stack

PARAMETERS: dict[Any, dict[str, Any]] = {
    postgres_role: {
        "secret": "db-password",
        "consumer": "db-client",
        "owner": "owner",
        "roles": ["role_a", "role_b"],
        "database": None,
        "service": "db",
    },
    keycloak_admin: {"secret": "api-key-2", "user": "admin", "service": "db"},
    keycloak_client: {
        "secret": "api-key-2",
        "realm": "iam",
        "client": "cli",
        "admin_user": "admin",
        "admin_secret": "api-key-2",
        "service": "db",
    },
}


def undeploy(paths: StackPaths) -> None:
    paths.compose.unlink()


def unstage(paths: StackPaths) -> None:
    st = state.load(paths)
    st.services.clear()
    state.save(paths, st)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, staged: Stack) -> list[str]:
    """Which services of the stack run: `db`, healthy, unless a test removes it."""
    running = ["db"]

    def containers(_: str) -> list[Any]:
        return [SimpleNamespace(service=each, state="running", health="healthy", name=each) for each in running]

    monkeypatch.setattr(compose, "containers", containers)
    for module in PARAMETERS:
        monkeypatch.setattr(module, "StackPaths", lambda _: staged.paths)
    return running


@pytest.mark.parametrize("module", PARAMETERS, ids=lambda module: module.__name__.rpartition(".")[2])
@pytest.mark.parametrize("lacks", [undeploy, unstage, None], ids=["no stack", "not staged", "not running"])
def test_a_check_tells_what_a_deploy_would_see_to(
    staged: Stack, asked: list[str], module: Any, lacks: Callable[[StackPaths], None] | None
) -> None:
    if lacks:
        lacks(staged.paths)
    else:
        asked.clear()
    told = module.work({"stack": "demo", **PARAMETERS[module]}, True)
    assert told["changed"] and told["repaired"]
    if lacks is not undeploy:
        with pytest.raises(CoffreError):
            module.work({"stack": "demo", **PARAMETERS[module]}, False)


@pytest.mark.parametrize("module", PARAMETERS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_check_makes_no_folder(root: Path, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setattr(module, "StackPaths", lambda _: StackPaths("demo", root / "run", root / "lib"))
    assert module.work({"stack": "demo", **PARAMETERS[module]}, True)["changed"]
    assert list(root.iterdir()) == []


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("module", "core", "function"),
    [
        (postgres_role, "postgres", "ensure"),
        (keycloak_admin, "keycloak_admin", "ensure_admin"),
        (keycloak_client, "keycloak_client", "ensure_client"),
    ],
)
def test_a_check_asks_what_runs(monkeypatch: pytest.MonkeyPatch, module: Any, core: str, function: str) -> None:
    def ask(*_: Any, **how: Any) -> Any:
        repaired = ["asked"] * how["dry"]
        return (repaired, "") if module is keycloak_client else repaired

    monkeypatch.setattr(getattr(module, core), function, ask)
    assert module.work({"stack": "demo", **PARAMETERS[module]}, True)["repaired"] == ["asked"]
