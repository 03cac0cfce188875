"""The packet filter of the host: a stack's own rules in it, and whether what is loaded is what the files say.

The table is made from files alone, so that it can be loaded before the engine starts, and by whoever flushed it:
RULES, which takes in a file of each stack from the role docker_host and one, `StackPaths.firewall`, from its rollouts.
Run as a program it says by its exit code whether the table is loaded as the files have it.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..engines import compose
from ..engines.base import Place
from ..errors import CoffreError
from ..host import files
from ..paths import StackPaths

RULES = Path("/usr/local/lib/coffre/firewall.nft")
ADD = "add rule inet coffre "
SHOW = "nft --stateless --terse list table inet coffre"  # without who waits just now
SETS = {False: ("held",), True: ("held", "paused")}  # of who connects, and of who is connected already
HELD_SECONDS = 60  # the longest that connections wait, whoever was to let them in


def of_stack(networks: Iterable[Mapping[str, Any]], ports: Iterable[str]) -> str:
    """The rules that keep containers on these networks from the host's own services, and from what all are kept from.

    `networks`: as the engine tells them, {Id, Driver, Options}; `ports`: published on the host, as 8443/tcp. A
    connection to one of those comes to the host only from the network of the container that it is for.
    """
    names = sorted(
        (each.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{each['Id'][:12]}"
        for each in networks
        if each["Driver"] == "bridge"
    )
    published = sorted({(kind, int(port)) for port, _, kind in (each.partition("/") for each in ports)})
    lines = []
    for name in names:
        lines.append(f'containers iifname "{name}" jump blocked')
        lines += [f'host iifname "{name}" {kind} dport {port} accept' for kind, port in published]
        lines.append(f'host iifname "{name}" jump closed')
    return "".join(f"{ADD}{line}\n" for line in lines)


def shown(rules: str) -> list[str]:
    """Rules as the loaded table shows them."""
    return [line.removeprefix(ADD).partition(" ")[2] for line in rules.splitlines()]


def cover(paths: StackPaths) -> bool:
    """Have the packet filter know the stack's networks before containers start on them; whether it did not.

    Raises CoffreError when the rules cannot be loaded; then those before stay.
    """
    ports = {port for each in compose.containers(paths.stack) for port in each.published}
    rules = of_stack(compose.networks(paths.stack), ports)
    if (before := kept(paths)) == rules:
        return False
    files.write(paths.firewall, rules.encode(), 0o600)
    try:
        compose.call(["nft", "--file", str(RULES)])
    except CoffreError as error:
        files.write(paths.firewall, before.encode(), 0o600)
        raise CoffreError(f"the packet filter does not take the networks of {paths.stack}: {error}") from None
    return True


def hold(places: Iterable[Place], kept: bool = False) -> None:
    """Have who connects to ports of the host wait rather than be refused, until `release`.

    `kept`: so must who is connected already and says something. What nobody acknowledges is sent again, a first packet
    after a second and any other after less. Raises CoffreError; then none waits.
    """
    try:
        # What is held already is so anew, for the whole time.
        _change(places, kept, ("add", "delete", "add"), f"timeout {HELD_SECONDS}s ")
    except CoffreError as error:
        raise CoffreError(
            f"the packet filter, which playbooks/site.yml loads anew, does not let connections wait: {error}"
        ) from None


def release(places: Iterable[Place], kept: bool = False) -> None:
    """Let those in who wait; where none do, that is well too."""
    with suppress(CoffreError):  # their time ends by itself
        _change(places, kept, ("add", "delete"))


def _change(places: Iterable[Place], kept: bool, verbs: Sequence[str], limit: str = "") -> None:
    elements = [f"{name}_{each}" for place in sorted(places) for each in _elements(*place) for name in SETS[kept]]
    if lines := [f"{verb} element inet coffre {each} {limit}}}\n" for each in elements for verb in verbs]:
        compose.call(["nft", "--file", "-"], "".join(lines))


def _elements(address: str, port: int) -> Iterator[str]:
    """A place as an open element of its family's set, or of both. At another address nobody would be waited for."""
    for each in map(ipaddress.ip_address, [address] if address else ["0.0.0.0", "::"]):  # noqa: S104
        yield f"{each.version} {{ {each}{'/0' if each.is_unspecified else ''} . {port}"


def files_of(paths: StackPaths) -> list[Path]:
    """What the table takes in of a stack: what the role docker_host wrote, and what its rollouts did."""
    return [RULES.parent / "firewall.d" / f"{paths.stack}.nft", paths.firewall]


def kept(paths: StackPaths) -> str:
    """The stack's own rules as its last rollout left them, "" without any."""
    return paths.firewall.read_text(encoding="utf-8") if paths.firewall.exists() else ""


def intended() -> str:
    """The table as the files have it: the kernel's own words for it, from a network namespace of a moment."""
    return compose.call(["unshare", "--net", "sh", "-c", f"nft --file {RULES} && {SHOW}"])


def loaded() -> str:
    """The table as it is loaded, "" where there is none."""
    try:
        return compose.call(SHOW.split())
    except CoffreError:
        return ""


if __name__ == "__main__":
    try:
        sys.exit(intended() != loaded())
    except CoffreError:
        sys.exit(1)
