"""Bad input gets one clear sentence, every file stays as it is, and no value shows."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
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
def test_catalogue(tmp_path: Path) -> None:
    catalogue = copy.deepcopy(CATALOGUE)
    secret(catalogue, "audit-log-signing-key")["consumers"].append("web")
    catalogue["secrets"].append(copy.deepcopy(secret(catalogue, "demo-ca")))
    secret(catalogue, "flask-secret-key").update(name="../etc")
    service(catalogue, "app").pop("uid")
    refuse(
        tmp_path,
        {"stack_catalogue": catalogue},
        "its consumer web is no service",
        "the secret demo-ca is there twice",
        "the secret name '../etc' is ill-formed",
        "service app lacks `uid`",
    )


@pytest.mark.usefixtures("untouched")
def test_a_uid_that_a_login_has(tmp_path: Path) -> None:
    catalogue = copy.deepcopy(CATALOGUE)
    service(catalogue, "app").update(uid=1000)
    refuse(tmp_path, {"stack_catalogue": catalogue}, "The uid 1000 of service app belongs to the login ops")


@pytest.fixture
def operator(host: Any) -> Iterator[str]:
    """A complete directory of an operator, every value of it a canary."""
    path = f"/root/{STACK}"
    names = " ".join(entry["name"] for entry in CATALOGUE["secrets"])
    host.check_output(f"install -d -m 0700 {path}")
    host.check_output(f"umask 077; cd {path}; for name in {names}; do printf %s {CANARY} >$name; done")
    yield path
    host.check_output(f"rm -rf {path}")


DAMAGE = " && ".join(
    (
        "rm flask-secret-key",
        "truncate -s 0 keycloak-service-client-secret",
        "truncate -s 1M keycloak-admin-password",
        "printf '\\n' >>audit-log-signing-key",
        "ln -sf /etc/shadow deployment-audit-key",
        "chmod 0644 keycloak-db-password",
    )
)
DAMAGED = (
    "flask-secret-key is missing",
    "keycloak-service-client-secret is empty",
    "keycloak-admin-password is longer than",
    "audit-log-signing-key ends with a newline",
    "deployment-audit-key is a link",
    "keycloak-db-password must be root's with mode 0400 or 0600",
)


@pytest.mark.parametrize(
    ("damage", "sentences"),
    [
        (DAMAGE, DAMAGED),
        ("printf '$' >>keycloak-db-password", ("keycloak-db-password has characters that keycloak.conf",)),
        ("chmod 0755 .", ("must be root's with mode 0700",)),
    ],
    ids=["files", "alphabet", "directory"],
)
def test_operators_files(
    host: Any, tmp_path: Path, operator: str, damage: str, sentences: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    host.check_output(f"cd {operator} && {damage}")
    request.getfixturevalue("untouched")
    refuse(tmp_path, {"stack_secrets_source": "file", "stack_secrets_directory": operator}, *sentences)


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
