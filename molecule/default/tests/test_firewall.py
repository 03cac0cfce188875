"""No container reaches the cloud's metadata service; and each test here would notice if one did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from machines import Container

testinfra_hosts = ["ansible://stack_hosts"]

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


@pytest.mark.usefixtures("metadata")
def test_no_container_reaches_the_metadata_service(host: Any, containers: list[Container]) -> None:
    assert {container.service: reaches(host, container) for container in containers} == {
        "app": False,
        "keycloak": False,
        "postgres": False,
        "proxy": False,
    }


@pytest.mark.usefixtures("metadata")
def test_only_our_table_stands_between(host: Any, containers: list[Container]) -> None:
    """Without it the proxy does reach the service, so that the test above can fail; and the host always does."""
    proxy = next(container for container in containers if container.service == "proxy")
    host.check_output("nft delete table inet coffre")
    try:
        assert reaches(host, proxy)
    finally:
        host.check_output("nft -f /usr/local/lib/coffre/firewall.nft")
    assert not reaches(host, proxy)
    host.check_output(CONNECT)
