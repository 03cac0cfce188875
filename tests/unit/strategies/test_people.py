"""Users to try a stack with: whoever makes them sees a path, and a password is in its file and in Keycloak only."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import people
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import session as keycloak
from tests.unit.strategies.given import SECRETS, given
from tests.unit.strategies.keycloak_model import Keycloak

KIM: dict[str, Any] = {"username": "kim", "firstName": "Kim", "clientRoles": {"shop": ["viewer"]}}
CATALOGUE = Catalogue(SECRETS, {})


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackPaths:
    """A host that knows the admin of the stack's Keycloak, whose password is the model's."""
    monkeypatch.setattr(tmpfs, "ensure", lambda root: root.mkdir(exist_ok=True))
    monkeypatch.setattr(people, "Context", lambda *_: given("password", b"admin-password"))
    found = StackPaths("demo", tmp_path / "run", tmp_path / "lib")
    found.lib.mkdir(parents=True)
    known = {"password": state.Version("v1", state.now())}
    state.save(found, state.State("demo", secrets=known))
    return found


def test_each_has_a_new_password_that_only_a_file_tells(model: Keycloak, paths: StackPaths) -> None:
    made = people.make(paths, CATALOGUE, "iam", [KIM, {"username": "lee", "enabled": False}], check=False)
    assert made == {"kim": str(paths.people / "kim"), "lee": str(paths.people / "lee")}
    place = Path(made["kim"])
    first = place.read_text()
    assert len(first) == 24
    assert (stat.S_IMODE(place.stat().st_mode), stat.S_IMODE(paths.people.stat().st_mode)) == (0o400, 0o700)
    credential = {"type": "password", "value": first, "temporary": False}
    assert model.people["kim"] == {"enabled": True, **KIM, "credentials": [credential]}
    assert model.people["lee"]["enabled"] is False
    keycloak._end(paths)
    assert model.sessions == set()
    people.make(paths, CATALOGUE, "iam", [KIM], check=False)
    assert place.read_text() != first
    assert model.people["kim"]["credentials"][0]["value"] == place.read_text()


def test_a_check_makes_nobody(model: Keycloak, paths: StackPaths) -> None:
    assert list(people.make(paths, CATALOGUE, "iam", [KIM], check=True)) == ["kim"]
    assert (model.changes, model.people, paths.people.exists()) == (0, {}, False)


@pytest.mark.parametrize("name", ["../kim", "a/b", "", None, "Kim", "."])
def test_a_name_that_is_no_file_of_ours(model: Keycloak, paths: StackPaths, name: Any) -> None:
    with pytest.raises(CoffreError, match=r"^1 of the users have no username of a-z, 0-9 and -; none was made"):
        people.make(paths, CATALOGUE, "iam", [KIM, {"username": name}], check=False)
    assert (model.changes, paths.people.exists()) == (0, False)


def test_an_admin_who_cannot_log_in_is_told(model: Keycloak, paths: StackPaths) -> None:
    model.password = "another"  # noqa: S105 (a model's)
    with pytest.raises(CoffreError, match=r"refuses the deployed password of its admin admin.* No user was made\.$"):
        people.make(paths, CATALOGUE, "iam", [KIM], check=False)
    assert not paths.people.exists()


@pytest.mark.parametrize("lacks", ["admin", "deploy", "both"])
def test_a_stack_without_a_keycloak_of_ours(paths: StackPaths, lacks: str) -> None:
    two = SECRETS | {"other": replace(SECRETS["password"], name="other")}
    secrets = {"admin": {"client": SECRETS["client"]}, "deploy": SECRETS, "both": two}[lacks]
    if lacks == "deploy":
        state.save(paths, state.State("demo"))
    with pytest.raises(CoffreError, match="no user was made: deploy it first"):
        people.make(paths, Catalogue(secrets, {}), "iam", [KIM], check=False)


def test_nobody_is_made_while_a_rotation_is_open(model: Keycloak, paths: StackPaths) -> None:
    opened = given("password", b"x").state
    state.save(paths, opened)
    with pytest.raises(CoffreError, match="is open since"):
        people.make(paths, CATALOGUE, "iam", [KIM], check=False)
    assert model.logins == 0
