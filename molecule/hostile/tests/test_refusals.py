"""Bad input is told, all that one look sees, every file stays as it is, and no value shows."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environments
import pytest
from machines import STACK, adding, list_containers, run_playbook

testinfra_hosts = ["ansible://debian13"]

CATALOGUE = environments.catalogue("demo")
CANARY = "canary-Zx81_never-printed"
KEPT = (
    f"/run/coffre /var/lib/coffre /usr/local/lib/coffre/coffre /etc/apt /etc/docker /etc/systemd/system /root/{STACK}"
)


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


def refuse(tmp_path: Path, variables: dict[str, Any], *sentences: str, services: dict[str, Any] | None = None) -> None:
    """Run site.yml with these variables: it must fail, say every sentence, and not say the canary."""
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    words = ("--limit", "debian13", "-vvv", *adding(**(services or {})), "-e", f"@{tmp_path}/variables.json")
    play = run_playbook(*words)
    said = " ".join(play.output.split())
    assert play.status != 0
    for sentence in sentences:
        assert sentence in said, play.output
    assert "Nothing was changed on debian13." in said
    assert CANARY not in play.output


@pytest.fixture
def unfit(host: Any) -> Iterator[None]:
    """A distribution that is none of ours, and an engine that remaps users."""
    host.check_output("printf 'ID=plan9\\nVERSION_ID=4\\nPRETTY_NAME=Plan9\\n' >/run/os-release")
    host.check_output("""echo '{"userns-remap": "default"}' >/etc/docker/daemon.json""")
    host.check_output("mount --bind /run/os-release /usr/lib/os-release")
    yield
    host.check_output("umount /usr/lib/os-release && rm /etc/docker/daemon.json")


@pytest.mark.usefixtures("unfit", "untouched")
def test_a_description_that_is_wrong_on_a_host_that_is_unfit(tmp_path: Path) -> None:
    secrets = copy.deepcopy(CATALOGUE["secrets"])
    secrets += [each for each in secrets if each["name"] == "demo-ca"]
    secrets[0].update(name="../etc")
    refuse(
        tmp_path,
        {"stack_catalogue": CATALOGUE | {"secrets": secrets}},
        "the secret demo-ca is there twice",
        "the secret name '../etc' is ill-formed",
        "service app lists unknown under secrets",
        "service app has secrets, so say whose their files are",
        "The host runs Plan9: use Debian 12 or Debian 13.",
        "Docker remaps users here (userns-remap)",
        services={"app": {"secrets": ["unknown"], "user": "somebody"}},
    )


@pytest.fixture
def operator(host: Any) -> Iterator[str]:
    """A complete directory of an operator, every value of it a canary, but for what is damaged."""
    path = f"/root/{STACK}"
    names = " ".join(entry["name"] for entry in CATALOGUE["secrets"])
    host.check_output(f"install -d -m 0700 {path}")
    host.check_output(f"umask 077; cd {path}; for name in {names}; do printf %s {CANARY} >$name; done")
    host.check_output(f"cd {path} && {DAMAGE}")
    yield path
    host.check_output(f"rm -rf {path}")


@pytest.fixture
def occupied(host: Any) -> Iterator[int]:
    """A port of the host that something else has."""
    host.check_output("systemd-run --quiet --unit=occupier python3 -m http.server 9443")
    host.check_output("timeout 20 sh -c 'until ss -ltn | grep -q :9443; do sleep 0.2; done'")
    yield 9443
    host.check_output("systemctl stop occupier")


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


def test_a_stack_that_has_no_room_and_an_operators_files(
    tmp_path: Path, operator: str, occupied: int, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("untouched")
    refuse(
        tmp_path,
        {
            "stack_name": "another",
            "stack_https_port": occupied,
            "stack_secrets_source": "file",
            "stack_secrets_directory": operator,
        },
        f"Port {occupied} is in use by python3",
        f"Port 8080 is in use by the container {STACK}-",
        "The uid 1000 of service app belongs to the login ops",
        "MiB of memory left and the stack needs",
        "flask-secret-key is missing",
        "keycloak-service-client-secret is empty",
        "keycloak-admin-password is longer than",
        "audit-log-signing-key ends with a newline",
        "deployment-audit-key is a link",
        "keycloak-db-password must be root's with mode 0400 or 0600",
        services={"app": {"user": "1000:1000", "mem_limit": "9000g"}},
    )
