"""Each test plants a bad state on a host with a healthy stack; the next run of site.yml mends it, and exactly that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from machines import STACK, Play, fetch, list_containers, note_files, read_state, run_playbook, same_files

testinfra_hosts = ["ansible://debian13"]


def folder(host: Any, service: str) -> str:
    return f"/run/coffre/{STACK}/{service}/{read_state(host)['services'][service]['current']}"


def ids(host: Any) -> dict[str, str]:
    return {container.service: container.inspect["Id"] for container in list_containers(host)}


def converge() -> Play:
    play = run_playbook("--limit", "debian13")
    assert play.status == 0, play.output
    return play


@pytest.fixture(scope="module", autouse=True)
def mended() -> Iterator[None]:
    """After all repairs there is nothing left to do."""
    yield
    assert converge().recap["debian13"]["changed"] == 0


@pytest.fixture(autouse=True)
def healthy(host: Any) -> Iterator[None]:
    """After each repair the stack serves."""
    yield
    assert fetch(host, "/ready")[0] == 200


def test_what_hurts_no_content_is_mended_in_place(host: Any) -> None:
    before = ids(host)
    app, keycloak = folder(host, "app"), folder(host, "keycloak")
    note_files(host, f"/run/coffre/{STACK}", "/root/before")
    for damage in (
        f"chmod 0644 {app}/flask-secret-key",
        f"chown 1000:1000 {keycloak}/keycloak.conf",
        f"chmod 0755 /run/coffre /run/coffre/{STACK} {app} /var/lib/coffre/{STACK}",
        f"echo foreign >{app}/foreign.txt",
        f"mkdir {app}/directory",
        "nft flush chain inet coffre closed",
        "echo >>/usr/local/lib/coffre/coffre/host/restore.py",
        "chmod 0666 /usr/local/lib/coffre/coffre/host/state.py",
        "systemctl disable --quiet coffre-restore.service",
    ):
        host.check_output(damage)
    play = converge()
    assert f"{app}/foreign.txt" in play.output
    assert same_files(host, f"/run/coffre/{STACK}", "/root/before")
    status = "stat -c '%a %u:%g'"
    assert host.check_output(f"{status} {app}/flask-secret-key") == "400 60611:60611"
    assert host.check_output(f"{status} {keycloak}/keycloak.conf") == "400 60612:60612"
    shut = host.check_output(f"stat -c %a /run/coffre /run/coffre/{STACK} {app} /var/lib/coffre/{STACK}")
    assert set(shut.split()) == {"700"}
    assert not host.file(f"{app}/directory").exists
    assert host.check_output("find /usr/local/lib/coffre/coffre -perm /022") == ""
    assert "drop" in host.check_output("nft list chain inet coffre closed")
    assert host.service("coffre-restore.service").is_enabled
    assert ids(host) == before


def test_lost_content_is_a_new_bundle_of_the_same_values(host: Any) -> None:
    before = ids(host)
    old = {service: folder(host, service) for service in ("app", "keycloak", "proxy")}
    for service, path in old.items():
        note_files(host, path, f"/root/{service}")
    for damage in (
        f"printf x >>{old['app']}/flask-secret-key",
        f"rm {old['keycloak']}/keycloak.conf",
        f"rm {old['proxy']}/proxy-tls && mkdir {old['proxy']}/proxy-tls",
    ):
        host.check_output(damage)
    converge()
    for service, path in old.items():
        assert folder(host, service) != path
        assert same_files(host, folder(host, service), f"/root/{service}"), service
    # The app and Keycloak have new containers; the proxy took the new certificate in, and PostgreSQL was left alone.
    after = ids(host)
    assert {service for service in before if after[service] != before[service]} == {"app", "keycloak"}


def test_a_lost_tmpfs_is_raised_again(host: Any) -> None:
    note_files(host, f"/run/coffre/{STACK}", "/root/before")
    host.check_output("umount --lazy /run/coffre")
    converge()
    host.check_output("findmnt --mountpoint /run/coffre")
    assert same_files(host, f"/run/coffre/{STACK}", "/root/before")


def test_lost_seals_are_made_again_from_what_is_in_memory_and_a_lost_container_comes_back(host: Any) -> None:
    note_files(host, folder(host, "app"), "/root/app")
    before = ids(host)
    host.check_output(f"rm -r /var/lib/coffre/{STACK}/sealed && docker rm --force {before['app']}")
    play = converge()
    assert "sealed copy" in play.output
    assert same_files(host, folder(host, "app"), "/root/app")
    assert ids(host).keys() == before.keys()
