"""No container reaches a cloud's metadata service or the host's own; and each test here would notice if one did."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from machines import Container

testinfra_hosts = ["ansible://stack_hosts"]

RULES = "/usr/local/lib/coffre/firewall.nft"
SERVICES = {"app", "keycloak", "postgres", "proxy"}
METADATA = "169.254.169.254"
CONNECT = f'python3 -c "import socket, sys; socket.create_connection((sys.argv[1], 80), 2)" {METADATA}'


@pytest.fixture(scope="module")
def metadata(host: Any) -> Iterator[None]:
    """A listener one hop away from the host, as a cloud has it."""
    plant = f"""
        ip netns add metadata
        ip link add metadata0 type veth peer name metadata1 netns metadata
        ip address add 169.254.0.1/16 dev metadata0
        ip link set metadata0 up
        ip -n metadata address add {METADATA}/16 dev metadata1
        ip -n metadata link set metadata1 up
        systemd-run --quiet --unit=metadata ip netns exec metadata python3 -m http.server --bind {METADATA} 80
        timeout 20 sh -c 'until {CONNECT} 2>/dev/null; do sleep 0.2; done'
    """
    host.check_output(f"set -e; {plant}")
    yield
    host.check_output("systemctl stop metadata; ip link delete metadata0; ip netns delete metadata")


def reaches(host: Any, container: Container) -> bool:
    return bool(host.run(f"nsenter --net --target {container.pid} {CONNECT}").succeeded)


def open_ports(host: Any, container: Container, *ports: int) -> set[str]:
    """The ports of the host that a container reaches, at the addresses of its bridges and of the LAN."""
    networks = container.inspect["NetworkSettings"]["Networks"].values()
    own = [ipaddress.ip_interface(f"{each['IPAddress']}/{each['IPPrefixLen']}") for each in networks]
    addresses = [str(each.network[1]) for each in own] + host.check_output("hostname -I").split()[:1]
    targets = " ".join(f"{address}:{port}" for address in addresses for port in ports)
    script = (
        "import socket, sys\n"
        "for address, port in (each.split(':') for each in sys.argv[1:]):\n"
        "    try:\n"
        "        socket.create_connection((address, int(port)), 0.5).close()\n"
        "    except OSError:\n"
        "        continue\n"
        "    print(port)\n"
    )
    inside = f"nsenter --net --target {container.pid} python3 -c {shlex.quote(script)} {targets}"
    return set(host.check_output(inside).split())


@pytest.mark.usefixtures("metadata")
def test_no_container_reaches_the_metadata_service(host: Any, containers: list[Container]) -> None:
    assert {each.service: reaches(host, each) for each in containers} == dict.fromkeys(SERVICES, False)


@pytest.mark.usefixtures("metadata")
def test_only_our_table_stands_between(host: Any, containers: list[Container]) -> None:
    """Without it the proxy does reach the service, so that the test above can fail; and the host always does."""
    proxy = next(container for container in containers if container.service == "proxy")
    host.check_output("nft delete table inet coffre")
    try:
        assert reaches(host, proxy)
        assert {each.service for each in containers if "22" in open_ports(host, each, 22)} == SERVICES
    finally:
        host.check_output(f"nft --file {RULES}")
    assert not reaches(host, proxy)
    host.check_output(CONNECT)


def test_no_container_reaches_the_hosts_own_services(host: Any, containers: list[Container]) -> None:
    assert host.socket("tcp://0.0.0.0:22").is_listening
    assert [each.service for each in containers if open_ports(host, each, 22)] == []


def test_it_outlives_the_unit_that_flushes_all_rules(host: Any) -> None:
    before = host.check_output("nft --stateless list table inet coffre")
    # Docker's rules do not outlive it: they are put back here, where an operator would restart the engine.
    host.check_output("iptables-save >/root/docker.rules")
    try:
        for verb in ("start", "reload", "restart", "stop"):
            host.check_output(f"systemctl {verb} nftables.service")
            assert host.check_output("nft --stateless list table inet coffre") == before, verb
    finally:
        host.check_output("iptables-restore </root/docker.rules")
