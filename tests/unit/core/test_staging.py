from __future__ import annotations

import itertools
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError, SealError, SourceError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, seals, state, tmpfs

CANARY = "canary-7f3a"
SUPPLIED = {
    "api-key": f"{CANARY}-one".encode(),
    "api-key-2": f"{CANARY}-two".encode(),
    "blob": b"\x00\xff\n" + CANARY.encode() + b"\n",
    "db-password": f"{CANARY}-db".encode(),
    "tls": f"{CANARY}-tls\nline".encode(),
}
QUIET = {"new": [], "restored": [], "repaired": [], "removed": [], "warnings": [], "changed": False}


def rights(path: Path) -> tuple[int, int, int]:
    about = path.lstat()
    return about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)


def told(result: dict[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in QUIET}


def test_a_first_run_makes_every_bundle(stack: Any) -> None:
    result = stack.stage()
    assert result["changed"]
    assert set(result["bundles"]) == {"app", "db-client", "proxy", "host"}
    assert result["bundles"]["app"]["files"] == ["api-key", "api-key-2", "blob"]
    assert result["bundles"]["db-client"]["files"] == ["client.conf"]
    for service, uid, mode in (("app", 0, 0o700), ("db-client", 0, 0o700), ("host", 0, 0o700), ("proxy", 60614, 0o500)):
        folder = Path(result["bundles"][service]["path"])
        assert rights(folder) == rights(folder.parent) == (uid, uid, mode)
    assert rights(stack.folder("app") / "api-key") == (60611, 60611, 0o400)
    assert rights(stack.folder("db-client") / "client.conf") == (60612, 60612, 0o400)
    assert rights(stack.folder("host") / "api-key-2") == (0, 0, 0o400)
    assert rights(stack.paths.lib) == rights(stack.paths.run) == rights(stack.paths.sealed) == (0, 0, 0o700)
    assert rights(stack.paths.state) == (0, 0, 0o600)
    st = stack.state
    assert (st.services["app"].current, st.services["host"].next) == (None, None)
    assert st.services["app"].next == result["bundles"]["app"]["bundle"]
    assert st.services["host"].current == result["bundles"]["host"]["bundle"]
    assert (stack.paths.service("proxy") / "current").readlink() == Path(result["bundles"]["proxy"]["bundle"])


def test_a_composed_file_has_value_and_attribute(stack: Any) -> None:
    stack.stage()
    password = stack.value("db-client", "db-password").decode()
    text = (stack.folder("db-client") / "client.conf").read_text()
    assert text == f"user=role_a\npassword={password}\nmail=a@b\n"
    assert [path.name for path in stack.folder("db-client").iterdir()] == ["client.conf"]


def test_a_composed_file_can_say_which_version_it_is_and_since_when(stack: Any) -> None:
    """And the service goes on having the secret alone beside it."""
    about = {"name": "about", "alphabet": "a-z", "template": "@{api-key.version} @{api-key.created}"}
    stack.data["services"][0] |= {"files": [about], "compose": {"secrets": ["about", "api-key"]}}
    stack.stage()
    record = stack.state.secrets["api-key"]
    assert (stack.folder("app") / "about").read_text() == f"{record.version} {record.created}"
    assert stack.value("app", "api-key")


def test_both_consumers_get_one_value(stack: Any) -> None:
    stack.stage()
    assert stack.value("app", "api-key-2") == stack.value("host", "api-key-2")
    assert stack.value("app", "api-key-2") != stack.value("app", "api-key")


@pytest.mark.parametrize("adopted", [False, True])
def test_a_second_run_changes_nothing(stack: Any, adopted: bool) -> None:
    first = stack.stage()
    if adopted:
        stack.adopt()
    before = stack.tree()
    again = stack.stage()
    assert told(again) == QUIET
    assert again["bundles"] == first["bundles"]
    assert stack.tree() == before
    assert told(stack.stage(check=True)) == QUIET


def test_check_mode_writes_nothing(stack: Any) -> None:
    with_lock = stack.paths.lock
    with state.locked(stack.paths):
        assert with_lock.exists()
    before = stack.tree()
    result = stack.stage(check=True)
    assert result["changed"]
    assert len(result["new"]) == 4
    assert stack.tree() == before


def loosen(path: Path) -> None:
    os.chown(path, 1234, 1234)
    path.chmod(0o644)


@pytest.mark.parametrize(
    "place",
    [
        lambda stack: stack.folder("app") / "api-key",
        lambda stack: stack.folder("app"),
        lambda stack: stack.folder("app").parent,
        lambda stack: stack.folder("proxy"),
        lambda stack: stack.folder("proxy").parent,
        lambda stack: stack.paths.run,
        lambda stack: stack.paths.lib,
        lambda stack: stack.paths.sealed,
        lambda stack: stack.paths.state,
    ],
    ids=["file", "bundle", "service", "reload bundle", "reload service", "run", "lib", "sealed", "state"],
)
def test_owner_and_mode_are_mended_in_place(staged: Any, place: Callable[[Any], Path]) -> None:
    before, path = staged.tree(), place(staged)
    loosen(path)
    told_before = staged.stage(check=True)
    assert (told_before["repaired"], told_before["new"]) == ([str(path)], [])
    result = staged.stage()
    assert told(result) == QUIET | {"repaired": [str(path)], "changed": True}
    assert staged.tree() == before


def alter(path: Path) -> None:
    first, *rest = path.read_bytes()
    path.write_bytes(bytes([first ^ 1, *rest]))


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def replace_by_link(path: Path) -> None:
    path.rename(path.parent.parent / "moved")
    path.symlink_to("../moved")


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def share(path: Path) -> None:
    os.link(path, path.parents[3] / "shared")


@pytest.mark.parametrize("fault", [Path.unlink, alter, lengthen, replace_by_link, replace_by_directory, share])
def test_missing_or_altered_content_becomes_a_new_bundle(staged: Any, fault: Callable[[Path], object]) -> None:
    value, old = staged.value("app", "api-key"), staged.folder("app").name
    versions = staged.state.services["app"].bundles[old].versions
    fault(staged.folder("app") / "api-key")
    result = staged.stage()
    new = result["bundles"]["app"]["bundle"]
    assert result["new"] == [f"app/{new}"]
    assert "api-key in app's bundle" in result["warnings"][0]
    assert (staged.state.services["app"].current, staged.state.services["app"].next) == (old, new)
    assert staged.value("app", "api-key") == value
    assert staged.state.services["app"].bundles[new].versions == versions
    assert (staged.folder("app") / "api-key").read_bytes() == value
    assert told(staged.stage())["new"] == []
    staged.adopt()
    assert not staged.paths.bundle("app", old).exists()
    assert told(staged.stage()) == QUIET


@pytest.mark.parametrize("fault", [Path.unlink, alter])
def test_the_hosts_own_bundle_is_replaced_at_once(staged: Any, fault: Callable[[Path], object]) -> None:
    value = staged.value("host", "api-key-2")
    fault(staged.folder("host") / "api-key-2")
    result = staged.stage()
    assert staged.state.services["host"].current == result["bundles"]["host"]["bundle"]
    assert staged.value("host", "api-key-2") == value


def test_a_missing_bundle_becomes_a_new_one(staged: Any) -> None:
    bundles.remove(staged.folder("db-client"))
    result = staged.stage()
    assert [name.partition("/")[0] for name in result["new"]] == ["db-client"]


def fill(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("x")


FOREIGN: list[tuple[str, Callable[[Path], object]]] = [
    ("app/{app}/extra", lambda path: path.write_text("x")),
    ("app/{app}/link", lambda path: path.symlink_to("/etc/passwd")),
    ("app/{app}/folder", fill),
    ("app/stray", lambda path: path.write_text("x")),
    ("app/0123456789ab", lambda path: path.symlink_to("/etc")),
    ("app/.0123456789ab.new", lambda path: path.mkdir()),
    ("app/current", lambda path: path.symlink_to("/etc")),
    ("stranger", fill),
    ("link", lambda path: path.symlink_to("/etc")),
    ("file", lambda path: path.write_text("x")),
]


@pytest.mark.parametrize(("place", "plant"), FOREIGN, ids=[place for place, _ in FOREIGN])
def test_what_is_foreign_is_reported_and_removed(staged: Any, place: str, plant: Callable[[Path], object]) -> None:
    before = staged.tree()
    path = staged.paths.run / place.format(app=staged.folder("app").name)
    plant(path)
    assert staged.stage(check=True)["removed"] == [str(path)]
    assert os.path.lexists(path)
    result = staged.stage()
    assert told(result) == QUIET | {"removed": [str(path)], "changed": True}
    assert staged.tree() == before


def test_foreign_seals_go_and_unknown_bundles_wait_for_the_collection(staged: Any) -> None:
    foreign, unknown = staged.paths.sealed / "notes.txt", staged.paths.seal("app", "0123456789ab")
    bundle = staged.paths.bundle("app", "0123456789ab")
    foreign.write_text("x")
    unknown.write_text("x")
    bundle.mkdir()
    assert staged.stage()["removed"] == [str(foreign)]
    assert unknown.exists()
    assert bundle.exists()
    st = staged.state
    assert bundles.collect(staged.paths, st, {"0123456789ab"}) == []
    assert bundles.collect(staged.paths, st, set()) == ["app/0123456789ab"]
    assert not unknown.exists()
    assert not bundle.exists()


def test_a_linked_service_folder_is_not_followed(staged: Any, root: Path) -> None:
    elsewhere = root / "elsewhere"
    staged.folder("app").parent.rename(elsewhere)
    staged.paths.service("app").symlink_to(elsewhere)
    result = staged.stage()
    assert result["removed"] == [str(staged.paths.service("app"))]
    assert [name.partition("/")[0] for name in result["new"]] == ["app"]
    assert not staged.paths.service("app").is_symlink()


def test_the_current_link_is_mended(staged: Any) -> None:
    before, link = staged.tree(), staged.paths.service("proxy") / "current"
    link.unlink()
    link.symlink_to("/etc")
    assert told(staged.stage()) == QUIET | {"repaired": [str(link)], "changed": True}
    assert staged.tree() == before


def test_a_lost_tmpfs_is_raised_with_the_same_bundles(staged: Any) -> None:
    before = staged.tree()
    bundles.remove(staged.paths.run)
    assert len(staged.stage(check=True)["restored"]) == 4
    assert not staged.paths.run.exists()
    result = staged.stage()
    assert (len(result["restored"]), result["new"], result["repaired"], result["warnings"]) == (4, [], [], [])
    assert staged.tree() == before
    assert told(staged.stage()) == QUIET


def test_a_lost_tmpfs_is_raised_beside_a_bundle_that_is_new(staged: Any) -> None:
    bundles.remove(staged.paths.run)
    staged.data["services"][0]["uid"] = 60699
    foreseen, result = staged.stage(check=True), staged.stage()
    for said in (foreseen, result):
        assert ([name.partition("/")[0] for name in said["new"]], said["warnings"]) == (["app"], [])
    assert foreseen["restored"] == result["restored"] and len(result["restored"]) == 4
    assert rights(staged.folder("app") / "api-key") == (60699, 60611, 0o400)


def test_directories_that_docker_made_without_a_tmpfs_mean_new_bundles(
    staged: Any, unmounted: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = staged.folder("app").name
    bundles.remove(staged.paths.run)
    (staged.paths.bundle("app", old) / "api-key").mkdir(parents=True)
    unmounted()

    def mount(run_root: Path) -> bool:
        bundles.remove(run_root)  # a mount hides what was there
        run_root.mkdir(mode=0o700)
        return True

    monkeypatch.setattr(tmpfs, "ensure", mount)
    result = staged.stage()
    assert len(result["new"]) == 4
    assert result["bundles"]["app"]["bundle"] != old


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (seals, "seal"),
        (bundles, "point"),
        (Path, "rename"),
    ],
    ids=lambda part: getattr(part, "__name__", part).rpartition(".")[2],
)
@pytest.mark.parametrize("first", [True, False], ids=["first run", "later run"])
def test_a_crash_leaves_the_old_set_or_the_new(
    stack: Any, monkeypatch: pytest.MonkeyPatch, target: Any, name: str, first: bool
) -> None:
    stack.supplied = dict(SUPPLIED)
    if not first:
        stack.stage()
        stack.adopt()
    original, calls = getattr(target, name), [0]
    stack.supplied |= {"api-key": f"{CANARY}-new".encode(), "tls": f"{CANARY}-tls-new".encode()}
    # Die at the first call, in the next run at the second, and so on, until a run lives.
    for dies_at in range(1, 60):
        calls[0] = 0

        def dying(*args: Any, dies_at: int = dies_at, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] == dies_at:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        before = stack.state
        with monkeypatch.context() as patch:
            patch.setattr(target, name, dying)
            try:
                stack.stage()
            except KeyboardInterrupt:
                after = stack.state
                complete = [entry.staged for entry in after.services.values()]
                assert all(complete)
                for service, entry in after.services.items():
                    for bundle in entry.named:
                        assert set(bundles.unseal(stack.paths, service, bundle).files) == set(
                            entry.bundles[bundle].files
                        )
                if after != before:
                    versions = {
                        secret: version
                        for entry in after.services.values()
                        for secret, version in entry.bundles[entry.staged or ""].versions.items()
                    }
                    assert versions == {secret: known.version for secret, known in after.secrets.items()}
                continue
        break
    else:
        pytest.fail("no run lived")
    result = stack.stage()
    assert told(result) == QUIET
    assert stack.value("app", "api-key") == stack.supplied["api-key"]
    stack.adopt()
    assert told(stack.stage()) == QUIET
    kept = {f"{service}.{entry.current}.cred" for service, entry in stack.state.services.items()}
    assert {path.name for path in stack.paths.sealed.iterdir()} == kept


def test_a_damaged_seal_is_refused_and_nothing_changes(staged: Any) -> None:
    seal = staged.paths.seal("app", staged.folder("app").name)
    seal.write_bytes(seal.read_bytes()[:200])
    before = staged.tree()
    with pytest.raises(SealError) as caught:
        staged.stage()
    assert str(seal) in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert staged.tree() == before


def test_a_seal_moved_to_another_bundle_does_not_open(staged: Any) -> None:
    app, host = (staged.paths.seal(service, staged.folder(service).name) for service in ("app", "host"))
    app.write_bytes(host.read_bytes())
    with pytest.raises(SealError, match=str(app)):
        staged.stage()


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_removed_seal_is_made_again_from_what_is_left(staged: Any, in_memory: bool) -> None:
    before, old = staged.state.secrets, {service: staged.folder(service).name for service in ("app", "db-client")}
    values = {secret: staged.value("app", secret) for secret in ("api-key", "api-key-2", "blob")}
    for service, name in old.items():
        staged.paths.seal(service, name).unlink()
    if not in_memory:
        bundles.remove(staged.paths.run)
    result = staged.stage()
    assert f"The sealed copy of app's bundle {old['app']} is gone" in result["warnings"][0]
    assert {name.partition("/")[0] for name in result["new"]} == set(old)
    anew = {name for name, secret in staged.state.secrets.items() if secret.version != before[name].version}
    # The host's bundle holds api-key-2 too; a password that is only in a composed file is in no memory.
    assert anew == ({"db-password"} if in_memory else {"api-key", "blob", "db-password"})
    assert {name for name, value in values.items() if staged.value("app", name) != value} == anew - {"db-password"}
    assert told(staged.stage()) == QUIET
    staged.adopt()
    assert told(staged.stage()) == QUIET


@pytest.mark.parametrize(
    "content", [None, "{", "\xff", "[]", '{"format": 2, "stack": "demo"}', '{"format": 1, "stack": "other"}']
)
def test_a_lost_or_strange_state_is_refused(staged: Any, content: str | None) -> None:
    staged.paths.state.unlink()
    if content is not None:
        staged.paths.state.write_text(content, encoding="latin-1")
    before = staged.tree()
    with pytest.raises(CoffreError, match="nothing was changed"):
        staged.stage()
    assert staged.tree() == before


def test_a_changed_value_makes_new_bundles_for_its_consumers_only(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.count(1_700_000_000, 60)  # whoever asks the clock is a minute later than who asked before
    monkeypatch.setattr(state, "now", lambda later=0.0: state.moment(next(moments) + later))
    about = {"name": "about", "alphabet": "a-z", "template": "@{api-key.version} @{api-key.created}"}
    stack.data["services"][0] |= {"files": [about], "compose": {"secrets": ["about", "api-key"]}}
    stack.supplied = dict(SUPPLIED)
    stack.stage()
    stack.adopt()
    before = stack.state
    stack.supplied["api-key"] = f"{CANARY}-new".encode()
    result = stack.stage()
    assert [name.partition("/")[0] for name in result["new"]] == ["app"]
    after = stack.state
    changed = {name for name in after.secrets if after.secrets[name] != before.secrets[name]}
    assert changed == {"api-key"}
    # Put back before anything was adopted: there is nothing left to roll out, and it is as old as it was.
    stack.supplied["api-key"] = SUPPLIED["api-key"]
    result = stack.stage()
    assert (result["new"], result["changed"]) == ([], True)
    assert result["bundles"]["app"]["bundle"] == before.services["app"].current
    assert stack.state.secrets == before.secrets


def test_a_secret_that_others_check_keeps_its_working_value(stack: Any) -> None:
    stack.supplied = dict(SUPPLIED)
    stack.stage()
    stack.adopt()
    stack.supplied["db-password"] = f"{CANARY}-other".encode()
    result = stack.stage()
    assert (result["new"], result["changed"]) == ([], False)
    assert "db-password" in result["warnings"][0]
    assert "rotate-secret SECRET=db-password" in result["warnings"][0]
    assert stack.value("db-client", "db-password") == SUPPLIED["db-password"]


def test_values_arrive_byte_for_byte(stack: Any) -> None:
    stack.supplied = dict(SUPPLIED)
    stack.stage()
    for secret in ("api-key", "api-key-2", "blob"):
        assert (stack.folder("app") / secret).read_bytes() == SUPPLIED[secret]
    stack.adopt()
    bundles.remove(stack.paths.run)
    stack.stage()
    assert (stack.folder("app") / "blob").read_bytes() == SUPPLIED["blob"]
    assert stack.value("db-client", "db-password") == SUPPLIED["db-password"]


def test_a_new_value_that_is_a_demos_is_refused(stack: Any) -> None:
    stack.supplied = SUPPLIED | {"api-key": f"demo-{CANARY}".encode()}
    with pytest.raises(
        SourceError, match="api-key begins with demo-, as what a program has built in for a demo"
    ) as caught:
        stack.stage()
    assert CANARY not in str(caught.value)
    assert not stack.paths.state.exists()


def test_a_value_that_a_file_cannot_take_is_refused(stack: Any) -> None:
    stack.supplied = SUPPLIED | {"db-password": f"{CANARY} $".encode()}
    with pytest.raises(SourceError) as caught:
        stack.stage()
    assert "db-password has characters that client.conf of db-client cannot take" in str(caught.value)
    assert CANARY not in str(caught.value)
    assert not stack.paths.run.exists()


def test_no_value_is_in_any_output_or_in_the_state(stack: Any) -> None:
    stack.supplied = dict(SUPPLIED)
    stack.stage()
    stack.adopt()
    alter(stack.folder("app") / "api-key")
    loosen(stack.folder("proxy") / "tls")
    stack.supplied["tls"] = f"{CANARY}-tls-new".encode()
    stack.stage()
    told_so_far = "".join(stack.outputs) + stack.paths.state.read_text()
    assert CANARY not in told_so_far
    for path in stack.paths.lib.rglob("*"):
        assert CANARY.encode() not in (path.read_bytes() if path.is_file() else b"")


def test_a_service_that_left_the_catalogue_leaves_with_the_collection(staged: Any) -> None:
    old = staged.folder("db-client").name
    staged.data["services"] = [entry for entry in staged.data["services"] if entry["name"] != "db-client"]
    staged.data["secrets"] = [entry for entry in staged.data["secrets"] if entry["name"] != "db-password"]
    result = staged.stage()
    assert "db-client" not in result["bundles"]
    assert staged.paths.bundle("db-client", old).is_dir()  # its container may still run
    assert bundles.collect(staged.paths, staged.state, set()) == [f"db-client/{old}"]
    assert set(staged.state.services) == {"app", "proxy", "host"}
    assert staged.stage()["removed"] == [str(staged.paths.service("db-client"))]
    assert told(staged.stage()) == QUIET


@pytest.fixture
def mounting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bundles that a container of the stack uses."""
    used: list[str] = []
    monkeypatch.setattr(compose, "containers", lambda _: [SimpleNamespace(bundle=each) for each in [*used, None]])
    return used


def unsaid(result: dict[str, Any]) -> list[str]:
    return [each for each in result["warnings"] if "audit trail" not in each]


def without(staged: Any, *names: str) -> None:
    staged.data["secrets"] = [entry for entry in staged.data["secrets"] if entry["name"] not in names]


def test_who_still_has_what_left_the_catalogue_is_said_until_it_is_gone(staged: Any, mounting: list[str]) -> None:
    old = staged.folder("app").name
    mounting.append(old)
    without(staged, "blob")
    sentence = (
        f"app still has blob, which the catalogue no longer gives it, in its bundle {old}, on tmpfs and sealed, "
        "because its container was made with it: playbooks/site.yml rolls it and then removes them for good."
    )
    assert unsaid(staged.deliver()) == unsaid(staged.deliver()) == [sentence]
    staged.adopt()
    assert unsaid(staged.deliver()) == []
    assert not [*staged.paths.run.rglob("blob"), staged.paths.seal("app", old)][0].exists()


def test_a_consumer_that_left_a_secret_is_said_too(staged: Any, mounting: list[str]) -> None:
    mounting.append(staged.folder("app").name)
    staged.data["secrets"][1]["consumers"] = ["host"]
    assert "app still has api-key-2, which the catalogue no longer gives it" in unsaid(staged.deliver())[0]


def test_what_the_host_no_longer_needs_is_gone_at_once(staged: Any, mounting: list[str]) -> None:
    old = staged.folder("host")
    mounting.append(staged.folder("app").name)
    staged.data["secrets"][1].update(consumers=["app"], strategy="replace")  # automation need not sign in with it
    staged.data["secrets"][0]["consumers"] = ["app", "host"]
    result = staged.deliver()
    assert (result["changed"], unsaid(result)) == (True, [])
    assert not old.exists() and not staged.paths.seal("host", old.name).exists()
    assert not [*staged.paths.service("host").rglob("api-key-2")]
    assert not staged.deliver()["changed"]


def test_a_service_that_left_keeps_its_bundle_as_long_as_its_container(staged: Any, mounting: list[str]) -> None:
    old = staged.folder("db-client").name
    mounting.append(old)
    staged.data["services"] = [entry for entry in staged.data["services"] if entry["name"] != "db-client"]
    without(staged, "db-password")
    for _ in range(2):
        (said,) = unsaid(staged.deliver())
        assert f"db-client still has db-password, which the catalogue no longer gives it, in its bundle {old}" in said
        assert "its container is still there: remove that (docker ps --all names it, docker rm --force NAME)" in said
    mounting.clear()
    assert unsaid(staged.deliver()) == []
    assert not staged.paths.bundle("db-client", old).exists() and not staged.paths.seal("db-client", old).exists()


def test_what_a_rotation_that_ended_left_sealed_is_removed(staged: Any, mounting: list[str]) -> None:
    left = staged.paths.sealed_value("r1", "blob", "old")
    left.write_bytes(b"sealed")
    assert staged.deliver()["changed"]
    assert not left.exists()
    assert (staged.deliver()["changed"], mounting) == (False, [])


def test_an_engine_that_gives_no_answer_hinders_no_staging(staged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: str) -> None:
        raise CoffreError("Docker Engine gives no answer.")

    monkeypatch.setattr(compose, "containers", silent)
    assert unsaid(staged.deliver()) == []  # nobody has to be asked
    without(staged, "blob")
    staged.deliver()
    without(staged, "api-key")
    stay, *_ = unsaid(staged.deliver())
    assert stay.startswith("Bundles that nobody uses any more stay on this host until the next run: Docker Engine")


def test_a_new_uid_makes_a_new_bundle(staged: Any) -> None:
    staged.data["services"][0]["uid"] = 60699
    result = staged.stage()
    assert [name.partition("/")[0] for name in result["new"]] == ["app"]
    assert rights(staged.folder("app") / "api-key") == (60699, 60611, 0o400)


def test_a_changed_template_makes_a_new_bundle(staged: Any) -> None:
    staged.data["services"][1]["files"][0]["template"] += "more=yes\n"
    result = staged.stage()
    assert [name.partition("/")[0] for name in result["new"]] == ["db-client"]
    assert (staged.folder("db-client") / "client.conf").read_text().endswith("more=yes\n")


def test_a_next_bundle_that_did_not_work_is_tried_again(staged: Any) -> None:
    staged.data["secrets"].append(
        {"name": "late", "consumers": ["app"], "generate": {"type": "random", "bytes": 16}, "strategy": "replace"}
    )
    first = staged.stage()["bundles"]["app"]["bundle"]
    st = staged.state
    bundles.discard_next(staged.paths, st, "app")
    second = staged.stage()["bundles"]["app"]["bundle"]
    assert second != first
    st = staged.state
    assert bundles.collect(staged.paths, st, {st.services["app"].current, second}) == [f"app/{first}"]


@pytest.mark.parametrize("require", [False, True])
def test_swap_in_the_clear_is_a_warning_or_a_refusal(
    stack: Any, monkeypatch: pytest.MonkeyPatch, require: bool
) -> None:
    monkeypatch.setattr(tmpfs, "options", lambda _: {"rw"})
    monkeypatch.setattr(tmpfs, "swaps_in_clear", lambda: ["/dev/sdb1"])
    if require:
        with pytest.raises(CoffreError, match=r"could be swapped to /dev/sdb1.*no secret was staged"):
            stack.stage(require_noswap=True)
        assert not stack.paths.sealed.exists()
    else:
        assert "could be swapped to /dev/sdb1" in stack.stage()["warnings"][0]


def test_a_link_in_place_of_a_folder_is_refused(staged: Any, root: Path) -> None:
    staged.paths.run.rename(root / "elsewhere")
    staged.paths.run.symlink_to(root / "elsewhere")
    with pytest.raises(CoffreError, match="is no directory"):
        staged.stage()


def test_the_result_is_plain_data(stack: Any) -> None:
    result = stack.stage()
    assert json.loads(json.dumps(result)) == result
    assert result["diff"]["before"] == ""
    assert len(result["diff"]["after"].splitlines()) == 6


@pytest.mark.usefixtures("mounting")
def test_the_authoritys_certificate_is_told_without_its_key(staged: Any) -> None:
    assert staged.deliver()["authority"] == ""
    generate = {"type": "certificate_authority", "names": ["localhost"], "days": 10}
    staged.data["secrets"].append(
        {"name": "demo-ca", "consumers": ["host"], "generate": generate, "strategy": "replace"}
    )
    told = staged.deliver()["authority"]
    assert told == staged.paths.authority.read_text()
    assert (told.count("BEGIN CERTIFICATE"), "PRIVATE" in told) == (1, False)
