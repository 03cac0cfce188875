"""Bad input gets one clear sentence, every file stays as it is, and no value shows."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import environments
import pytest
from machines import STACK, list_containers, run_playbook

testinfra_hosts = ["ansible://debian13"]

CATALOGUE = environments.catalogue("demo")
CANARY = "canary-Zx81_never-printed"
KEPT = (
    f"/run/coffre /var/lib/coffre /usr/local/lib/coffre/coffre /etc/apt /etc/docker /etc/systemd/system /root/{STACK}"
)

Edit = Callable[[dict[str, Any]], object]


def secret(catalogue: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in catalogue["secrets"] if entry["name"] == name)
    return found


def service(catalogue: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in catalogue["services"] if entry["name"] == name)
    return found


@pytest.fixture
def untouched(host: Any) -> Iterator[None]:
    """Every file that a run could touch is the same afterwards, and so are the containers."""

    def look() -> tuple[str, list[str]]:
        files = host.check_output(
            f"find {KEPT} -printf '%p %m %U %G\\n' -type f -printf '%s %T@\\n' 2>/dev/null | sort;"
            f"find {KEPT} -type f -exec sha256sum {{}} + 2>/dev/null | sort | sha256sum"
        )
        return files, [container.inspect["Id"] for container in list_containers(host)]

    before = look()
    yield
    assert look() == before


def refuse(tmp_path: Path, variables: dict[str, Any], *sentences: str) -> None:
    """Run site.yml with these variables: it must fail, say every sentence, and not say the canary."""
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    play = run_playbook("--limit", "debian13", "-vvv", "-e", f"@{tmp_path}/variables.json")
    said = " ".join(play.output.split())
    assert play.status != 0
    for sentence in sentences:
        assert sentence in said, play.output
    assert "Nothing was changed on debian13." in said
    assert CANARY not in play.output


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda c: secret(c, "flask-secret-key")["consumers"].append("web"), "its consumer web is no service"),
        (lambda c: c["secrets"].append(secret(c, "demo-ca")), "the secret demo-ca is there twice"),
        (lambda c: secret(c, "flask-secret-key").update(name="../etc"), "the secret name '../etc' is ill-formed"),
        (lambda c: service(c, "app").pop("uid"), "service app lacks `uid`"),
        (lambda c: service(c, "app").update(uid=1000), "The uid 1000 of service app belongs to the login ops"),
    ],
    ids=["unknown-consumer", "duplicate", "ill-formed", "no-uid", "login-uid"],
)
def test_catalogue(tmp_path: Path, edit: Edit, sentence: str) -> None:
    catalogue = copy.deepcopy(CATALOGUE)
    edit(catalogue)
    refuse(tmp_path, {"stack_catalogue": catalogue}, sentence)


@pytest.fixture
def operator(host: Any) -> Iterator[str]:
    """A complete directory of an operator, every value of it a canary."""
    path = f"/root/{STACK}"
    names = " ".join(entry["name"] for entry in CATALOGUE["secrets"])
    host.check_output(f"install -d -m 0700 {path}")
    host.check_output(f"umask 077; cd {path}; for name in {names}; do printf %s {CANARY} >$name; done")
    yield path
    host.check_output(f"rm -rf {path}")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("rm flask-secret-key", "flask-secret-key is missing"),
        ("truncate -s 0 flask-secret-key", "flask-secret-key is empty"),
        ("truncate -s 1M flask-secret-key", "flask-secret-key is longer than"),
        ("printf '\\n' >>flask-secret-key", "flask-secret-key ends with a newline"),
        ("printf '$' >>keycloak-db-password", "keycloak-db-password has characters that keycloak.conf"),
        ("ln -sf /etc/shadow flask-secret-key", "flask-secret-key is a link"),
        ("chmod 0644 flask-secret-key", "flask-secret-key must be root's with mode 0400 or 0600"),
        ("chmod 0755 .", "must be root's with mode 0700"),
    ],
    ids=["missing", "empty", "long", "newline", "alphabet", "link", "open-file", "open-directory"],
)
def test_operators_files(
    host: Any, tmp_path: Path, operator: str, damage: str, sentence: str, request: pytest.FixtureRequest
) -> None:
    host.check_output(f"cd {operator}; {damage}")
    request.getfixturevalue("untouched")
    refuse(tmp_path, {"stack_secrets_source": "file", "stack_secrets_directory": operator}, sentence)


@pytest.mark.usefixtures("untouched")
def test_a_port_that_something_else_has(host: Any, tmp_path: Path) -> None:
    host.check_output("systemd-run --quiet --unit=occupier python3 -m http.server 9443")
    try:
        host.check_output("timeout 20 sh -c 'until ss -ltn | grep -q :9443; do sleep 0.2; done'")
        refuse(tmp_path, {"stack_https_port": 9443}, "9443")
    finally:
        host.check_output("systemctl stop occupier")


@pytest.mark.usefixtures("untouched")
def test_too_little_memory(tmp_path: Path) -> None:
    refuse(tmp_path, {"stack_name": "another", "stack_secrets_memory_mb": 10_000_000}, "MiB")


@pytest.mark.usefixtures("untouched")
def test_an_unsupported_distribution(host: Any, tmp_path: Path) -> None:
    host.check_output("printf 'ID=plan9\\nVERSION_ID=4\\nPRETTY_NAME=Plan9\\n' >/run/os-release")
    host.check_output("mount --bind /run/os-release /usr/lib/os-release")
    try:
        refuse(tmp_path, {}, "The host runs Plan9: use Debian 12 or Debian 13.")
    finally:
        host.check_output("umount /usr/lib/os-release")


@pytest.mark.usefixtures("untouched")
def test_an_engine_that_remaps_users(host: Any, tmp_path: Path) -> None:
    host.check_output("""echo '{"userns-remap": "default"}' >/etc/docker/daemon.json""")
    try:
        refuse(tmp_path, {}, "Docker remaps users here (userns-remap)")
    finally:
        host.check_output("rm /etc/docker/daemon.json")
