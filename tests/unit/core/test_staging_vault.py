"""Staging from a vault: a refusal leaves the host as it is, an unchanged vault changes nothing, no set is a mixture."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue
from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError, VaultUnavailable
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.sources import base as sources
from ansible_collections.coffre.stack.plugins.module_utils.sources import keyvault as source_keyvault

from .conftest import Stack

CANARY = "canary-0123456789"
SETTINGS = keyvault.settings({"url": "https://coffre.vault.azure.net", "unavailable": "keep"})


class Shelf:
    """A vault in memory, as far as the source asks it."""

    waiting = ""

    def __init__(self) -> None:
        self.secrets: dict[str, tuple[keyvault.Properties, str]] = {}
        self.pages = 0
        self.broken = False

    def put(self, name: str, text: str, expires: int | None = None) -> None:
        version = f"{len(text):032x}"
        about = keyvault.Properties(name, version, True, 10, 10 + len(text), expires, None, "", {}, "Purgeable")
        self.secrets[name] = (about, text)

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *raised: object) -> None:
        """Nothing to close."""

    def listing(self, pages: int | None = None) -> dict[str, keyvault.Properties] | None:  # noqa: ARG002
        self.pages = 1
        return {name: about for name, (about, _) in self.secrets.items()}

    def read(self, wanted: Mapping[str, str | None]) -> dict[str, keyvault.Answer]:
        if self.broken:
            raise VaultUnavailable("The vault is silent.")
        answers: dict[str, keyvault.Answer] = {}
        for name in wanted:
            found = self.secrets.get(name)
            answers[name] = (
                keyvault.Value(*found, int(time.time())) if found else keyvault.Refusal("missing", "make it")
            )
        return answers


@pytest.fixture
def shelf(stack: Stack) -> Shelf:
    made = Shelf()
    for entry in stack.data["secrets"]:
        made.put(entry["name"], "QUFB" if entry.get("kind") == "bytes" else CANARY)

    def resolve(catalogue: Catalogue, held: sources.Holdings, seen: Mapping[str, Any]) -> sources.Resolved:
        return source_keyvault.read(catalogue, held, seen, SETTINGS, "refuse", lambda _settings, first: made)  # type: ignore[arg-type,return-value]  # noqa: ARG005

    stack.vault = resolve
    return made


def everything(stack: Stack) -> dict[Path, bytes]:
    """All files of the stack on the host."""
    roots = (stack.paths.run_root, stack.paths.lib_root)
    return {path: path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}


def test_an_unchanged_vault_changes_nothing(stack: Stack, shelf: Shelf) -> None:
    assert stack.stage()["changed"]
    stack.adopt()
    before = everything(stack)
    assert not stack.stage()["changed"]
    assert everything(stack) == before
    assert set(stack.state.vault) == {"url", "pages", "seen"}
    shelf.put("tls", CANARY + "2")
    assert stack.stage()["new"] and everything(stack) != before
    assert not any(CANARY in output for output in stack.outputs)


def test_a_refusal_leaves_every_file_as_it_is(stack: Stack, shelf: Shelf) -> None:
    stack.stage()
    before = everything(stack)
    shelf.put("tls", CANARY + "2")
    shelf.put("blob", "no base64!")
    del shelf.secrets["api-key"]
    with pytest.raises(SourceError, match="api-key is missing: make it; blob cannot be used: the value is neither"):
        stack.stage()
    assert everything(stack) == before


def test_a_silent_vault_leaves_what_the_host_has(stack: Stack, shelf: Shelf) -> None:
    stack.stage()
    stack.adopt()
    before = everything(stack)
    shelf.put("tls", CANARY + "2")
    shelf.broken = True
    result = stack.stage()
    assert not result["changed"] and everything(stack) == before
    assert result["warnings"] == ["The vault is silent. Until then this host goes on with the versions that it has."]


def test_an_expiry_is_kept_in_the_state(stack: Stack, shelf: Shelf) -> None:
    shelf.put("tls", CANARY, 4_000_000_000)
    stack.stage()
    stack.adopt()
    assert stack.state.secrets["tls"].expires == "2096-10-02T07:06:40Z"
    assert not stack.stage()["changed"]
    assert stack.state.secrets["tls"].expires == "2096-10-02T07:06:40Z"


def test_back_to_a_version_whose_successor_failed(stack: Stack, shelf: Shelf) -> None:
    """The state tells of the successor, so that what is said of the pinned version has to be asked for."""
    shelf.put("tls", CANARY, 4_000_000_000)
    stack.stage()
    stack.adopt()
    version = stack.state.secrets["tls"].version
    shelf.put("tls", CANARY + "2", 4_100_000_000)
    stack.stage()
    st = stack.state
    for service in [service for service, entry in st.services.items() if entry.next]:
        bundles.discard_next(stack.paths, st, service)
    pinned = next(entry for entry in stack.data["secrets"] if entry["name"] == "tls")
    pinned["keyvault"] = {"version": version}
    shelf.put("tls", CANARY, 4_000_000_000)
    stack.stage()
    assert stack.state.secrets["tls"].version == version
    assert stack.state.secrets["tls"].expires == "2096-10-02T07:06:40Z"


def test_a_state_from_before_there_was_a_vault(stack: Stack, shelf: Shelf) -> None:  # noqa: ARG001
    stack.stage()
    old = json.loads(stack.paths.state.read_text())
    del old["vault"]
    for secret in old["secrets"].values():
        del secret["expires"]
    stack.paths.state.write_text(json.dumps(old))
    assert not stack.stage()["new"]
    assert stack.state.vault["pages"] == 1


SHARED = {"strategy": "key_ring", "settings": {"signers": ["app"]}}
LATER = "run 'make rotate-secret SECRET="


@pytest.mark.parametrize("source", ["file", "keyvault"])
@pytest.mark.parametrize(
    ("name", "entry", "replicas", "said"),
    [
        pytest.param("api-key", {"strategy": "replace"}, 2, "", id="replace"),
        pytest.param("api-key", SHARED, 1, "", id="a ring that one container signs with"),
        pytest.param("api-key", {"settings": {"mount_previous": False}}, 2, "", id="a ring that the host verifies"),
        pytest.param("api-key", SHARED, 2, f"{LATER}api-key'", id="a ring that two containers sign with"),
        pytest.param("api-key-2", {}, 1, f"{LATER}api-key-2'", id="verified"),
        pytest.param("api-key", {"strategy": "fixed"}, 1, "it is fixed, and never replaced: put the old", id="fixed"),
    ],
)
def test_a_deploy_adopts_nothing_that_only_a_rotation_may_replace(
    stack: Stack,
    request: pytest.FixtureRequest,
    source: str,
    name: str,
    entry: dict[str, Any],
    replicas: int,
    said: str,
) -> None:
    next(each for each in stack.data["secrets"] if each["name"] == name).update(entry)
    stack.data["services"][0]["compose"] = {"deploy": {"replicas": replicas, "update_config": {"order": "start-first"}}}

    def supply(name: str, value: str) -> None:
        stack.supplied = (stack.supplied or {each["name"]: b"QUFB" for each in stack.data["secrets"]}) | {
            name: value.encode()
        }

    put = supply if source == "file" else request.getfixturevalue("shelf").put
    put(name, CANARY)
    assert stack.stage()["warnings"] == []  # nothing is held, so it is taken
    stack.adopt()
    before = stack.state
    put(name, f"{CANARY}2")
    result = stack.stage()
    assert said in "".join(result["warnings"]) and len(result["warnings"]) == bool(said)
    assert bool(result["new"]) is not bool(said)
    stack.adopt()
    assert stack.stage()["warnings"] == result["warnings"]  # a vault that was read tells no less
    assert stack.value("app", name) == (CANARY if said else f"{CANARY}2").encode()
    assert (stack.state.secrets == before.secrets) is bool(said)
    put(name, CANARY)
    assert stack.stage()["warnings"] == []
    assert not any(CANARY in output for output in stack.outputs)
