"""What the doctor advises mends what it found: each check is taken through its failing states, or names who does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.doctor import checks as doctor
from ansible_collections.coffre.stack.plugins.module_utils.doctor import leaks as doctor_leaks
from ansible_collections.coffre.stack.plugins.module_utils.doctor import target as examined
from ansible_collections.coffre.stack.plugins.module_utils.doctor import times as doctor_times
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError, SealError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.rotation import plan as rotation_plan
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.sources.directory import Directory
from ansible_collections.coffre.stack.plugins.module_utils.staging import decide
from ansible_collections.coffre.stack.plugins.module_utils.values import generate
from tests.unit.doctor import test_doctor as given
from tests.unit.doctor.test_doctor import Plantation

ROOT = Path(__file__).parents[3]
stack, staged = given.plantation, given.staged  # the fixtures
# By check, the tests that show its advice to mend what it finds; "here" are those below.
SHOWN = {
    "state": "here",
    "engine": "molecule/hostile/tests/test_mending.py",
    "boot unit": "molecule/default/tests/test_doctor.py",
    "packages": "tests/unit/hosts/test_probe.py",
    "memory": "tests/unit/core/test_host.py",
    "permissions": "here",
    "bundles": "here",
    "seals": "here",
    "ages": "here",
    "values": "here",
    "certificates": "here",
    "containers": "tests/unit/rollout/test_roll.py",
    "images": "tests/unit/images/test_image_tags.py",
    "hardening": "tests/unit/rollout/test_plan.py",
    "packet filter": "molecule/hostile/tests/test_mending.py",
    "docker metadata": "here",
    "environment": "here",
    "container logs": "here",
    "endpoints": "tests/unit/rollout/test_roll.py",
    "readiness": "tests/unit/rollout/test_roll.py",
    "logins": "molecule/hostile/tests/test_verifiers.py",
    "git history": "here",
    "vault": "tests/unit/keyvault/test_refusals.py",
    "vault versions": "tests/unit/rotation/test_rotation.py",
    "vault expiry": "tests/unit/rotation/test_rotation.py",
    "vault protection": "tests/unit/ensure/test_ensure.py",
}


def test_every_check_has_its_advice_shown() -> None:
    assert list(SHOWN) == [each.name for each in doctor.EXAMINATIONS + doctor.OF_THE_VAULT]
    assert [where for where in SHOWN.values() if where != "here" and not (ROOT / where).is_file()] == []


def site(stack: Plantation) -> None:
    """What playbooks/site.yml does for the secrets; it names the sealed copies that have to be removed first."""
    try:
        stack.stage()
    except SealError as error:
        damaged = re.findall(r"\S+\.cred", str(error))
        assert damaged and "or remove them and run again" in str(error)
        for path in damaged:
            Path(path).unlink()
        stack.stage()
    with state.locked(stack.paths):
        bundles.collect(stack.paths, state.load(stack.paths), set())


# Another play resolves an open rotation: tests/unit/rotation.
MENDED = [case for case in given.PLANTED if case[0] is not given.open_run]


@pytest.mark.parametrize(("plant", "check", "sentence"), MENDED, ids=[case[0].__name__ for case in MENDED])
def test_a_deploy_mends_the_files(
    plant: Callable[[Plantation], None],
    check: Callable[[Any], str],
    sentence: str,
    stack: Plantation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tmpfs, "ensure", lambda folder: folder.mkdir(mode=0o700, parents=True, exist_ok=True))
    monkeypatch.setattr(tmpfs, "options", lambda _: {"noswap", "nosuid", "nodev", "noexec"})
    plant(stack)
    with pytest.raises(CoffreError, match=sentence.partition(" where")[0].split(":")[0][:20]):
        check(stack.target())
    site(stack)
    assert check(stack.target())


def rotated(stack: Plantation, *names: str) -> set[str]:
    """The secrets that `make rotate-secret` takes, and what is then in force."""
    st = state.load(stack.paths)
    asked = rotation_plan.RotationRequest(names, 14)
    return set(rotation_plan.changes(stack.catalogue, st, asked, Demo("demo"), rotation_plan.present()))


def dated(stack: Plantation, days: float, *names: str) -> None:
    text = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def change(st: state.State) -> None:
        for name in names:
            st.secrets[name].created = text

    stack.alter(change)


@pytest.mark.parametrize("days", [-91, -1000, 1, 3000])
def test_what_the_ages_check_tells_is_due(days: int, stack: Plantation) -> None:
    assert rotated(stack) == set()
    dated(stack, days, "api-key")
    with pytest.raises(CoffreError, match=r"api-key (is due|was made on .*, which is to come)"):
        doctor_times.ages(stack.target())
    assert rotated(stack) == {"api-key"}
    dated(stack, 0, "api-key")
    assert not isinstance(doctor_times.ages(stack.target()), examined.Caution)


def made_ahead(stack: Plantation, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Let authority and certificate be of a clock that was ahead."""
    ahead = SimpleNamespace(now=lambda tz: datetime.now(tz) + timedelta(days=days))
    st = state.load(stack.paths)
    for service in ("host", "proxy"):
        st.services.pop(service)
    for name in ("ca", "tls"):
        st.secrets.pop(name)
    state.save(stack.paths, st)
    with monkeypatch.context() as patch:
        patch.setattr(generate, "datetime", ahead)
        patch.setattr(decide, "_certificates", lambda *_: [])
        stack.stage()
    dated(stack, days, "ca", "tls")


def test_certificates_of_a_clock_that_was_ahead_are_due(
    stack: Plantation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tmpfs, "ensure", lambda folder: folder.mkdir(mode=0o700, parents=True, exist_ok=True))
    monkeypatch.setattr(tmpfs, "options", lambda _: {"noswap", "nosuid", "nodev", "noexec"})
    made_ahead(stack, monkeypatch, 30)
    with pytest.raises(
        CoffreError, match=r"tls is refused by a client: certificate is not yet valid.*not valid before"
    ):
        doctor_times.certificates(stack.target())
    assert rotated(stack) == {"ca", "tls"}


def test_a_value_of_a_demo_is_refused_where_none_is(stack: Plantation) -> None:
    target = stack.target()
    target.__dict__["values"] = {
        "db-password": b"demo-kP3-vXq8",
        "api-key (1)": b"demo-no-longer",
        "api-key": b"a-demo-",
    }
    assert doctor_times.values(target) == "the stack is a demo"
    target.source = Directory(None)
    with pytest.raises(CoffreError, match=r"^db-password begins with demo-, as what a program has built in for a demo"):
        doctor_times.values(target)
    assert rotated(stack, "db-password") == {"db-password"}


def test_of_the_operators_own_files_the_advice_is_what_works(stack: Plantation) -> None:
    dated(stack, -91, "api-key")
    target = stack.target()
    target.source = Directory(None)
    told = "api-key is due for rotation since [0-9-]*$"
    with pytest.raises(CoffreError, match=told):  # a new file is enough
        doctor_times.ages(target)
    given = target.catalogue.secrets
    checked = replace(given["api-key"], strategy="keycloak_client", settings={"service": "keycloak"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(given, "api-key", checked)
        with pytest.raises(CoffreError, match=r"\(its new value goes into the file api-key of the oper"):
            doctor_times.ages(target)


@pytest.mark.parametrize("name", ["api-key", "db-password"])
def test_a_value_that_leaked_is_no_longer_a_finding_when_it_is_replaced_and_what_shows_it_is(
    name: str,
    stack: Plantation,
    tmp_path: Path,
) -> None:
    log = tmp_path / "c-json.log"
    stack.containers[0]["LogPath"] = str(log)
    service = "app" if name == "api-key" else "db"
    log.write_bytes(stack.value(service, name))
    with pytest.raises(CoffreError, match=f"the value of {name} stands in the log"):
        doctor_leaks.logs(stack.target())
    target = stack.target()
    target.__dict__["values"] = {name: b"another value altogether"}
    assert doctor_leaks.logs(target)
    log.unlink()
    assert doctor_leaks.logs(stack.target())
