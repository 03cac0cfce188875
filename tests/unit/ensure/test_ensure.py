"""ensure-secrets makes what is missing, and nothing that is there loses its place."""

from __future__ import annotations

import base64
import json
import shlex
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import SourceError
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.sources import seed

if TYPE_CHECKING:
    from tests.unit.ensure.conftest import Ensuring

RANDOM = {"type": "random", "bytes": 32}
CANARY = "canary-7d1e"
DAY = 86400


def test_makes_what_is_missing_and_then_nothing(ensuring: Ensuring) -> None:
    result = ensuring()
    assert result["changed"]
    assert result["made"] == ["api-key", "blob", "db-password"]
    ((_, key, content, expires, tags),) = ensuring.versions["api-key"]
    assert (len(key), content) == (43, "")
    assert expires is not None and abs(expires - time.time() - 90 * DAY) < 60
    assert tags == {"coffre-owner": "demo", "coffre-generator": "random 32", "coffre-rotation": "key_ring"}
    ((_, blob, content, expires, _),) = ensuring.versions["blob"]
    assert (len(base64.b64decode(blob, validate=True)), content, expires) == (
        32,
        "application/octet-stream;base64",
        None,
    )
    ((_, password, _, _, tags),) = ensuring.versions["shared-db-password"]
    assert tags["coffre-attribute-role"] == "role_a"
    assert not any(value in json.dumps(result) for value in (key, blob, password))

    before = ensuring.versions
    again = ensuring()
    assert not again["changed"]
    assert (again["made"], again["kept"]) == ([], ["api-key", "blob", "db-password"])
    assert again["diff"]["before"] == again["diff"]["after"]
    assert again["warnings"] == []
    assert ensuring.versions == before


def test_says_how_to_put_what_is_never_generated(ensuring: Ensuring) -> None:
    ensuring.data["secrets"] += [
        {"name": "token", "consumers": ["app"], "strategy": "replace"},
        {"name": "keystore", "consumers": ["app"], "kind": "bytes", "strategy": "replace"},
        {
            "name": "ca",
            "consumers": ["host"],
            "strategy": "replace",
            "generate": {"type": "certificate_authority", "names": ["localhost"], "days": 30},
        },
    ]
    by_hand = {entry["name"]: shlex.split(entry["command"]) for entry in ensuring()["by_hand"]}
    assert list(by_hand) == ["proxy-tls", "token", "keystore", "ca"]
    start = ["az", "keyvault", "secret", "set", "--vault-name", "coffre", "--name"]
    tags = ["--tags", "coffre-owner=demo", "coffre-rotation=replace"]
    tls, until = by_hand["proxy-tls"], by_hand["proxy-tls"].index("--expires") + 1
    assert tls[:11] == [*start, "proxy-tls", "--file", "proxy-tls", "--content-type"]
    assert tls[11] == "application/x-pem-file"
    assert (
        abs(time.mktime(time.strptime(tls[until], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - time.time() - 30 * DAY) < 60
    )
    assert tls[until + 1 :] == tags
    assert by_hand["token"] == [*start, "token", "--file", "token", *tags]
    base64 = ["--encoding", "base64", "--content-type", "application/octet-stream;base64"]
    assert by_hand["keystore"] == [*start, "keystore", "--file", "keystore", *base64, *tags]
    assert "application/x-pem-file" in by_hand["ca"]
    assert {"proxy-tls", "token", "ca"}.isdisjoint(ensuring.versions)


def test_check_mode_tells_names_and_changes_nothing(ensuring: Ensuring) -> None:
    ensuring.control.put("coffre", "api-key", CANARY, tags={"coffre-owner": "demo"})
    ensuring.control.put("coffre", "blob", CANARY)
    ensuring.control.delete("coffre", "blob")
    before = ensuring.versions
    result = ensuring(recover=True, check=True)
    assert (result["changed"], result["made"], result["recovered"]) == (True, ["db-password"], ["blob"])
    assert result["diff"] == {"before": "api-key\n", "after": "api-key\nblob\ndb-password\n"}
    assert ensuring.versions == before


def test_keeps_what_bears_no_mark_and_says_so(ensuring: Ensuring) -> None:
    ensuring.control.put("coffre", "api-key", CANARY)
    before = ensuring.versions["api-key"]
    result = ensuring()
    assert result["kept"] == ["api-key"]
    (warning,) = result["warnings"]
    assert warning.startswith("api-key: kept as found")
    assert "set-attributes --vault-name coffre --name api-key --tags coffre-owner=demo" in warning
    assert ensuring.versions["api-key"] == before


def test_recovers_what_was_deleted_if_told(ensuring: Ensuring) -> None:
    version = ensuring.control.put("coffre", "Shared-DB-Password", CANARY, tags={"coffre-owner": "demo"})
    ensuring.control.put("coffre", "proxy-tls", CANARY, enabled=False)
    for name in ("shared-db-password", "proxy-tls"):
        ensuring.control.delete("coffre", name)
    result = ensuring(recover=True)
    assert (result["recovered"], result["made"], result["by_hand"]) == (
        ["db-password", "proxy-tls"],
        ["api-key", "blob"],
        [],
    )
    ((found, value, *_),) = ensuring.versions["shared-db-password"]
    assert (found, value) == (version, CANARY)


def other(ensuring: Ensuring) -> None:
    for name in ("api-key", "blob"):
        ensuring.control.put("coffre", name, CANARY, tags={"coffre-owner": "other"})


def deleted(ensuring: Ensuring) -> None:
    for name in ("api-key", "proxy-tls"):
        ensuring.control.put("coffre", name, CANARY)
        ensuring.control.delete("coffre", name)


def deleted_of_other(ensuring: Ensuring) -> None:
    ensuring.control.put("coffre", "blob", CANARY, tags={"coffre-owner": "other"})
    ensuring.control.delete("coffre", "blob")


def several(ensuring: Ensuring) -> None:
    deleted_of_other(ensuring)
    ensuring.control.put("coffre", "api-key", CANARY)
    ensuring.control.delete("coffre", "api-key")
    pinned(ensuring)


def pinned(ensuring: Ensuring) -> None:
    ensuring.data["secrets"][2]["keyvault"]["version"] = "0" * 32


def digits(ensuring: Ensuring) -> None:
    ensuring.data["services"][0]["files"][0]["alphabet"] = "0-9a-z_"


def attributes(ensuring: Ensuring) -> None:
    ensuring.data["secrets"].append(
        {
            "name": "wide",
            "consumers": ["host"],
            "strategy": "replace",
            "generate": RANDOM,
            "attributes": {f"a{number}": "x" for number in range(13)},
        }
    )


def long_attribute(ensuring: Ensuring) -> None:
    ensuring.data["secrets"][2]["attributes"]["role"] = "r" * 257


REFUSALS: list[tuple[Callable[[Ensuring], None], bool, list[str]]] = [
    (other, False, ["api-key and blob belong to the stack other (tag coffre-owner)"]),
    (deleted, False, ["api-key and proxy-tls were deleted and can be recovered: run again with -e recover=true"]),
    (deleted_of_other, True, ["blob belongs to the stack other"]),
    (pinned, False, ["db-password cannot be made, because a version is wanted"]),
    (
        several,
        False,
        [
            "blob belongs to the stack other",
            "api-key was deleted",
            "az keyvault secret purge",
            "db-password cannot be made",
        ],
    ),
    (digits, False, ["db-password has characters that app.conf of app cannot take"]),
    (attributes, False, ["the attributes of wide do not fit into the tags of a vault: 15 of 256"]),
    (long_attribute, False, ["the attributes of db-password do not fit"]),
]


@pytest.mark.parametrize(("plant", "recover", "said"), REFUSALS, ids=[plant.__name__ for plant, *_ in REFUSALS])
def test_refuses_all_at_once_and_changes_nothing(
    ensuring: Ensuring, plant: Callable[[Ensuring], None], recover: bool, said: list[str]
) -> None:
    plant(ensuring)
    before, deleted_before = ensuring.versions, set(ensuring.emulator.world.vaults["coffre"].deleted)
    with pytest.raises(SourceError) as refusal:
        ensuring(recover=recover)
    text = str(refusal.value)
    assert all(part in text for part in said), text
    assert text.endswith("Nothing in the vault was changed.")
    assert CANARY not in text
    assert (ensuring.versions, set(ensuring.emulator.world.vaults["coffre"].deleted)) == (before, deleted_before)


def test_a_writer_whose_right_is_on_its_way_is_waited_for(ensuring: Ensuring) -> None:
    for each in ensuring.emulator.world.rights.assignments:
        each.late = 2
    result = ensuring()
    assert result["made"] == ["api-key", "blob", "db-password"]
    assert len(result["warnings"]) == 1 and "so this was asked again for" in result["warnings"][0]
    assert ensuring()["warnings"] == []


def test_a_writer_whose_right_does_not_arrive(ensuring: Ensuring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyvault, "BACKOFF", (0.01, 60.0))
    ensuring.control.revoke("operator", "coffre")
    with pytest.raises(SourceError, match=r"so this was asked again for \d s\. Nothing in the vault was changed\.$"):
        ensuring()


def test_names_the_right_that_the_writer_lacks(ensuring: Ensuring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyvault, "BACKOFF", (0.01, 60.0))
    ensuring.control.revoke("operator", "coffre")
    ensuring.control.grant("operator", "coffre", ["get", "list"])
    with pytest.raises(SourceError, match="setSecret/action") as refusal:
        ensuring()
    assert "Key Vault Secrets Officer" in str(refusal.value)
    assert "The run did not finish api-key, blob and db-password: run again" in str(refusal.value)
    assert ensuring.versions == {}


def test_a_vault_that_does_not_answer_is_as_it_was(ensuring: Ensuring) -> None:
    ensuring.settings["seconds"] = 1
    ensuring.control.fault("reset", "versions", count=0)
    with pytest.raises(SourceError, match=r"gave no usable answer .* Nothing in the vault was changed\.$"):
        ensuring()


def test_goes_on_after_a_failure_in_the_middle(ensuring: Ensuring) -> None:
    ensuring.control.fault("status", "set", name="blob", status=400)
    with pytest.raises(SourceError, match="put api-key and db-password, and did not finish blob: run again"):
        ensuring()
    before = ensuring.versions
    assert ensuring()["made"] == ["blob"]
    assert before.items() <= ensuring.versions.items()


def test_bears_transient_errors(ensuring: Ensuring) -> None:
    ensuring.control.fault("status", "set", status=429, retry_after=0, count=2)
    ensuring.control.fault("reset", "versions", count=2)
    ensuring.control.fault("half", "get_deleted", count=2)
    assert ensuring()["made"] == ["api-key", "blob", "db-password"]
    assert {len(versions) for versions in ensuring.versions.values()} == {1}


def test_an_answer_that_is_lost_is_no_strangers_version(ensuring: Ensuring) -> None:
    ensuring.control.fault("lost", "set", name="api-key")
    assert ensuring()["made"] == ["api-key", "blob", "db-password"]
    assert len({value for _, value, *_ in ensuring.versions["api-key"]}) == 1


def test_leaves_a_name_that_was_taken_since_the_look(ensuring: Ensuring, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = seed._plan

    def late(*arguments: Any) -> seed.VaultPlan:
        made = plan(*arguments)
        ensuring.control.put("coffre", "api-key", CANARY)
        return made

    monkeypatch.setattr(seed, "_plan", late)
    with pytest.raises(SourceError, match="Somebody else has just put api-key into the vault coffre, which keeps it"):
        ensuring()
    assert [value for _, value, *_ in ensuring.versions["api-key"]] == [CANARY]


def test_tells_of_a_version_that_came_at_the_same_moment(ensuring: Ensuring, monkeypatch: pytest.MonkeyPatch) -> None:
    put, theirs = keyvault.Vault.put, []

    def crossed(vault: keyvault.Vault, name: str, *arguments: Any, **options: Any) -> keyvault.Properties:
        if name == "api-key":
            theirs.append(ensuring.control.put("coffre", name, CANARY))
        return put(vault, name, *arguments, **options)

    monkeypatch.setattr(keyvault.Vault, "put", crossed)
    with pytest.raises(SourceError, match="put api-key into the vault coffre at the same moment") as told:
        ensuring()
    assert theirs[0] in str(told.value)
    assert CANARY not in str(told.value)
    assert len(ensuring.versions["api-key"]) == 2
    assert "did not finish api-key: run again, and it keeps what is there" in str(told.value)
