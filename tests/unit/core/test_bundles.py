from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state


def test_the_archive_is_the_same_for_the_same_content() -> None:
    one = bundles.Content(files={"a": b"1", "b": b"\x00" * 20000}, values={"c": b""})
    other = bundles.Content(files={"b": b"\x00" * 20000, "a": b"1"}, values={"c": b""})
    assert bundles.pack(one) == bundles.pack(other)
    assert bundles.unpack(bundles.pack(one)) == one
    assert "files" not in repr(one)


def test_names_that_begin_alike_are_kept_apart(staged: Any) -> None:
    assert staged.value("app", "api-key") != staged.value("app", "api-key-2")
    staged.data["secrets"] = [entry for entry in staged.data["secrets"] if entry["name"] != "api-key"]
    kept = staged.value("app", "api-key-2")
    staged.stage()
    staged.adopt()
    assert staged.value("app", "api-key-2") == kept
    with pytest.raises(CoffreError, match="The secret api-key is not staged for app"):
        staged.value("app", "api-key")


@pytest.mark.parametrize(("service", "secret"), [("app", "tls"), ("stranger", "api-key"), ("host", "api-key")])
def test_a_value_that_is_not_there(staged: Any, service: str, secret: str) -> None:
    with pytest.raises(CoffreError, match=f"The secret {secret} is not staged for {service}"):
        staged.value(service, secret)


def test_the_version_that_state_names_is_in_force(staged: Any) -> None:
    old = staged.value("app", "api-key")
    supplied = {secret["name"]: b"new" if secret["name"] == "api-key" else b"" for secret in staged.data["secrets"]}
    for secret in staged.data["secrets"]:
        service = secret["consumers"][0]
        supplied[secret["name"]] = supplied[secret["name"]] or staged.value(service, secret["name"])
    staged.supplied = supplied
    staged.stage()
    assert staged.value("app", "api-key") == b"new"
    st = staged.state
    assert bundles.value(staged.paths, st, "app", "api-key", st.services["app"].current) == old
    bundles.discard_next(staged.paths, st, "app")
    assert staged.value("app", "api-key") == old


def test_promote_moves_the_link_of_a_service_that_reloads(staged: Any) -> None:
    link = staged.paths.service("proxy") / "current"
    old = link.readlink()
    staged.data["services"][2]["gid"] = 60699
    new = staged.stage()["bundles"]["proxy"]["bundle"]
    assert link.readlink() == old
    assert bundles.point(staged.paths, "proxy", new)
    bundles.discard_next(staged.paths, staged.state, "proxy")
    assert link.readlink() == old
    new = staged.stage()["bundles"]["proxy"]["bundle"]
    st = staged.state
    bundles.promote(staged.paths, st, "proxy")
    assert link.readlink() == Path(new)
    assert (staged.state.services["proxy"].current, staged.state.services["proxy"].next) == (new, None)
    bundles.promote(staged.paths, st, "proxy")
    assert staged.state.services["proxy"].current == new


def test_collect_keeps_what_is_in_force_or_in_use(staged: Any) -> None:
    first = staged.folder("app").name
    staged.data["services"][0]["gid"] = 60699
    second = staged.stage()["bundles"]["app"]["bundle"]
    st = staged.state
    assert bundles.collect(staged.paths, st, set()) == []
    bundles.promote(staged.paths, st, "app")
    assert bundles.collect(staged.paths, st, {first}) == []
    assert bundles.collect(staged.paths, st, set()) == [f"app/{first}"]
    assert not staged.paths.bundle("app", first).exists()
    assert not staged.paths.seal("app", first).exists()
    assert staged.paths.bundle("app", second).is_dir()
    assert list(staged.state.services["app"].bundles) == [second]


def test_collect_after_a_crash(staged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old = staged.folder("app").name
    staged.data["services"][0]["gid"] = 60699
    staged.stage()
    st = staged.state
    bundles.promote(staged.paths, st, "app")

    def die(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bundles, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            bundles.collect(staged.paths, st, set())
    assert old not in staged.state.services["app"].bundles
    assert bundles.collect(staged.paths, staged.state, set()) == [f"app/{old}"]


def test_an_unknown_bundle_cannot_be_read(staged: Any) -> None:
    entry = staged.state.services["app"]
    entry.bundles["0123456789ab"] = entry.bundles[entry.current]
    st = state.State("demo", services={"app": entry})
    with pytest.raises(CoffreError, match="is missing"):
        bundles.value(staged.paths, st, "app", "api-key", "0123456789ab")
