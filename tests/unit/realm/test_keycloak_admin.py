"""Keycloak's prompts as a stand-in command gives them."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.keycloak import admin as keycloak_admin

CANARY = "canary-4f0c2b"


PROMPTING = """#!/bin/bash
[[ $1 == image ]] && { echo '["/kc.sh"]'; exit; }
tr '\\0' '\\n' < /proc/$$/cmdline > {seen}; tr '\\0' '\\n' < /proc/$$/environ >> {seen}
[[ -t 0 && -t 1 ]] || exit 9
echo some words first
read -rsp 'Enter password:' one; echo
read -rsp 'Enter password again:' two; echo
echo a log line
printf '%s|%s' "$one" "$two" > {typed}
exit {status}
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.fixture
def paths(container: Container, monkeypatch: pytest.MonkeyPatch) -> StackPaths:
    monkeypatch.setattr(compose, "beside", lambda *_: nullcontext(replace(container, id="beside")))
    return StackPaths("demo")


def prompting(folder: Path, status: int, text: str = PROMPTING) -> None:
    script = folder / "docker"
    for name, value in (("seen", folder / "seen"), ("typed", folder / "typed"), ("status", status)):
        text = text.replace(f"{{{name}}}", str(value))
    script.write_text(text)
    script.chmod(0o755)


def test_the_password_is_typed_and_nothing_else(command: Path, paths: StackPaths, container: Container) -> None:
    prompting(command, 0)
    keycloak_admin.bootstrap(paths, container, "coffre-bootstrap-1", CANARY)
    assert (command / "typed").read_text() == f"{CANARY}|{CANARY}"
    seen = (command / "seen").read_text()
    assert CANARY not in seen
    words = "exec -it beside /kc.sh --config-file=/c --db-url-host=db bootstrap-admin user --optimized"
    assert "\n".join(words.split()) in seen


def test_a_failed_command_is_told_without_the_password(command: Path, paths: StackPaths, container: Container) -> None:
    prompting(command, 3)
    with pytest.raises(CoffreError, match=r"failed \(exit status 3\)") as told:
        keycloak_admin.bootstrap(paths, container, "coffre-bootstrap-1", CANARY)
    assert CANARY not in str(told.value)


def test_a_command_that_hangs_is_ended(
    command: Path, paths: StackPaths, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompting(command, 0, PROMPTING.replace("echo a log line", "exec sleep 60"))
    monkeypatch.setattr(keycloak_admin, "BOOTSTRAP_SECONDS", 0.5)
    with pytest.raises(CoffreError, match="did not end within"):
        keycloak_admin.bootstrap(paths, container, "coffre-bootstrap-1", CANARY)


class Master:
    """Realm master as an admin's session reads and changes it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings, self.changes = settings, 0

    def get_realm(self, name: str) -> dict[str, Any]:
        assert name == "master"
        return dict(self.settings)

    def update_realm(self, name: str, payload: dict[str, Any]) -> None:
        assert name == "master"
        self.changes += 1
        self.settings |= payload


SWITCHES = ("bruteForceProtected", "eventsEnabled", "adminEventsEnabled")


def test_realm_master_is_guarded_once() -> None:
    master = Master({"realm": "master", "bruteForceProtected": False, "eventsEnabled": False, "failureFactor": 30})
    guard: Any = keycloak_admin._guard
    assert guard(master, dry=True)
    assert master.changes == 0
    assert guard(master)
    assert all(master.settings[name] for name in SWITCHES)
    assert master.settings["permanentLockout"] is False
    # A rotation's own look at the old password is one failure, however soon after another.
    assert master.settings["quickLoginCheckMilliSeconds"] == 0
    assert master.settings["eventsExpiration"] == 2592000
    assert not guard(master)
    assert master.changes == 1


def test_what_somebody_has_set_of_realm_master_stays() -> None:
    stricter = {"bruteForceProtected": True, "failureFactor": 3, "permanentLockout": True}
    master = Master(stricter | {"eventsEnabled": True, "eventsExpiration": 60})
    guard: Any = keycloak_admin._guard
    assert guard(master)
    assert master.settings == stricter | {
        "eventsEnabled": True,
        "eventsExpiration": 60,
        "adminEventsEnabled": True,
        "adminEventsDetailsEnabled": False,
    }
