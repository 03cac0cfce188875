"""What a machine has as soon as it is up again, before any container could want it."""

from __future__ import annotations

from typing import Any

from machines import STACK


def assert_raised_before_docker(host: Any) -> None:
    """The secrets and the packet filter were there before the engine, without a network, and files are files."""
    assert host.check_output("ip -o route show default") == ""
    restored = _monotonic(host, "coffre-restore.service", "ExecMainExitTimestamp")
    assert 0 < restored <= _monotonic(host, "docker.service", "ExecMainStartTimestamp")
    assert host.check_output(f"find /run/coffre/{STACK} -mindepth 3 -type d") == ""
    assert "jump closed" in host.check_output("nft list chain inet coffre host")


def _monotonic(host: Any, unit: str, moment: str) -> int:
    return int(host.check_output(f"systemctl show --value --property={moment}Monotonic {unit}"))
