"""The packet filter, in network namespaces of the test's own: what it lets through, and that its absence is seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import firewall

ROLE = Path(__file__).parents[3] / "roles" / "docker_host"
OURS = {"Id": "a" * 64, "Driver": "bridge", "Options": {}}
NAMED = {"Id": "b" * 64, "Driver": "bridge", "Options": {"com.docker.network.bridge.name": "shop0"}}

needs_kernel = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "unshare", "nsenter", "ip"))),
    reason="needs root, nft and namespaces",
)

# A host with a bridge of a stack's, a bridge of somebody else's, an address of its LAN, and a cloud's metadata service
# behind it. Prints as JSON what a container on each bridge reaches, and whether the host reaches the containers.
WORLD = """
import json, socket, subprocess, sys

def ip(*words):
    subprocess.run(["ip", *words], check=True)

listeners = []
def listen(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family)
    listeners.append(listener)

CONNECT = '''
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reaches(target):
    address, _, port = target.rpartition(" ")
    try:
        socket.create_connection((address, int(port)), 1).close()
        return True
    except OSError:
        return False
with ThreadPoolExecutor(16) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(reaches, sys.argv[1:])))))
'''
SERVE = "import socket, sys; s = socket.create_server((sys.argv[1], 8000)); print(flush=True); sys.stdin.read()"

ip("link", "set", "lo", "up")
open("/proc/sys/net/ipv6/conf/default/accept_dad", "w").write("0")
ip("link", "add", "lan0", "type", "bridge")
for address in ("192.0.2.7/24", "169.254.169.254/32", "100.100.100.200/32", "fd00:ec2::254/128", "fe80::7/64"):
    ip("address", "add", address, "dev", "lan0")
ip("link", "set", "lan0", "up")
containers = {}
for number, bridge in enumerate(sys.argv[2:]):
    ip("link", "add", bridge, "type", "bridge")
    for address in (f"10.9.{number}.1/24", f"fd09:{number}::1/64"):
        ip("address", "add", address, "dev", bridge)
    ip("link", "set", bridge, "up")
    holder = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    inside = ["nsenter", "--net", "--target", str(holder.pid)]
    ip("link", "add", f"out{number}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
    ip("link", "set", f"out{number}", "master", bridge, "up")
    for words in (
        f"address add 10.9.{number}.2/24 dev eth0", f"address add fd09:{number}::2/64 dev eth0 nodad",
        "link set eth0 up", "link set lo up",
        f"route add default via 10.9.{number}.1", f"-6 route add default via fd09:{number}::1",
    ):
        subprocess.run([*inside, "ip", *words.split()], check=True)
    server = subprocess.Popen(
        [*inside, sys.executable, "-c", SERVE, f"10.9.{number}.2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    server.stdout.readline()
    containers[bridge] = (number, inside, holder, server)
for port in (53, 2222, 8443):
    listen("0.0.0.0", port)
    socket_6 = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    socket_6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    socket_6.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    socket_6.bind(("::", port))
    socket_6.listen()
    listeners.append(socket_6)
listen("0.0.0.0", 80)
listen("fd00:ec2::254", 80)
subprocess.run(["nft", "--file", sys.argv[1]], check=True)
found = {}
for bridge, (number, inside, holder, server) in containers.items():
    targets = {
        "service": f"10.9.{number}.1 2222", "service on the LAN": "192.0.2.7 2222",
        "service over IPv6": f"fd09:{number}::1 2222", "names": f"10.9.{number}.1 53",
        "published": "192.0.2.7 8443", "metadata": "169.254.169.254 80", "metadata of Alibaba": "100.100.100.200 80",
        "metadata over IPv6": "fd00:ec2::254 80",
    }
    told = subprocess.run([*inside, sys.executable, "-c", CONNECT, *targets.values()], check=True, capture_output=True)
    reached = json.loads(told.stdout)
    found[bridge] = sorted(name for name, target in targets.items() if reached[target])
    try:
        socket.create_connection((f"10.9.{number}.2", 8000), 1).close()
        found[bridge].append("and from the host")
    except OSError:
        pass
for _, _, holder, server in containers.values():
    server.stdin.close()
    holder.stdin.close()
    server.wait()
    holder.wait()
print(json.dumps(found))
"""
EVERYTHING = [
    "metadata",
    "metadata of Alibaba",
    "metadata over IPv6",
    "names",
    "published",
    "service",
    "service on the LAN",
    "service over IPv6",
    "and from the host",
]


class Host:
    """The files of the packet filter, in a folder of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rules = root / "firewall.nft"
        text = (ROLE / "files" / "firewall.nft").read_text()
        text = text.replace("/usr/local/lib/coffre/", f"{root}/").replace("/var/lib/coffre/", f"{root}/lib/")
        self.rules.write_text(text)

    def role(self, stack: str, addresses: list[str], interfaces: list[str]) -> None:
        """What a deploy of a stack leaves of the role's variables."""
        lines = [f'containers iifname "{name}" jump blocked' for name in interfaces]
        lines += [f"blocked {'ip6' if ':' in each else 'ip'} daddr {each} counter drop" for each in addresses]
        (self.root / "firewall.d").mkdir(exist_ok=True)
        text = "".join(f"add rule inet coffre {line}\n" for line in lines)
        (self.root / "firewall.d" / f"{stack}.nft").write_text(text)

    def stack(self, name: str, networks: list[Mapping[str, Any]], ports: set[str]) -> None:
        """What a rollout of a stack leaves."""
        folder = self.root / "lib" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "firewall.nft").write_text(firewall.of_stack(networks, ports))

    def reached(self, *bridges: str, rules: Path | None = None) -> dict[str, list[str]]:
        words = ["unshare", "--net", sys.executable, "-c", WORLD, str(rules or self.rules), *bridges]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, list[str]] = json.loads(done.stdout)
        return found


def test_the_rules_of_a_stack_are_told_by_its_networks() -> None:
    swarm = {"Id": "c" * 64, "Driver": "overlay", "Options": None}
    assert firewall.of_stack([], {"8443/tcp"}) == ""
    assert firewall.of_stack([NAMED, swarm, {**OURS, "Options": None}], {"8443/tcp", "53/udp"}).splitlines() == [
        f"add rule inet coffre {line}"
        for name in ("br-aaaaaaaaaaaa", "shop0")
        for line in (
            f'containers iifname "{name}" jump blocked',
            f'host iifname "{name}" tcp dport 8443 accept',
            f'host iifname "{name}" udp dport 53 accept',
            f'host iifname "{name}" jump closed',
        )
    ]


@needs_kernel
def test_what_containers_reach(tmp_path: Path) -> None:
    host, empty = Host(tmp_path), tmp_path / "empty.nft"
    empty.write_text("")
    bridges = ("br-aaaaaaaaaaaa", "shop0", "br-cccccccccccc")
    assert host.reached(*bridges, rules=empty) == dict.fromkeys(bridges, EVERYTHING)
    host.role("demo", ["169.254.0.0/16", "100.100.100.200", "fe80::/10", "fd00:ec2::/32"], ["docker*", "br-*"])
    host.stack("demo", [OURS, NAMED], {"8443/tcp"})
    closed = ["names", "published", "and from the host"]
    assert host.reached(*bridges) == {
        "br-aaaaaaaaaaaa": closed,
        "shop0": closed,
        # Of somebody else's containers the host's services may be what they live by; metadata never is.
        "br-cccccccccccc": [each for each in EVERYTHING if not each.startswith("metadata")],
    }


@needs_kernel
def test_stacks_of_one_host_do_not_undo_each_other(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.role("shop", ["100.100.100.200"], ["br-*"])
    host.stack("shop", [OURS], set())
    host.role("demo", ["169.254.0.0/16"], ["br-*"])
    host.stack("demo", [NAMED], set())
    closed = ["names", "and from the host"]
    assert host.reached("br-aaaaaaaaaaaa", "shop0", "br-cccccccccccc") == {
        "br-aaaaaaaaaaaa": closed,
        "shop0": closed,
        "br-cccccccccccc": [each for each in EVERYTHING if each not in ("metadata", "metadata of Alibaba")],
    }


@needs_kernel
@pytest.mark.parametrize(
    ("damage", "same"),
    [
        ("true", True),
        ("nft list table inet coffre", True),
        ("nft add table ip other", True),
        ("nft 'add element inet coffre held_4 { 0.0.0.0/0 . 8443 timeout 30s }'", True),
        ("nft flush ruleset", False),
        ("nft delete table inet coffre", False),
        ("nft flush chain inet coffre closed", False),
        ("nft add rule inet coffre closed accept", False),
        ("nft insert rule inet coffre blocked ip daddr 169.254.169.254 accept", False),
    ],
)
def test_what_became_of_the_loaded_table_is_seen(tmp_path: Path, damage: str, same: bool) -> None:
    host = Host(tmp_path)
    host.role("demo", ["169.254.0.0/16", "fd00:ec2::/32"], ["docker*", "br-*"])
    host.stack("demo", [OURS], {"8443/tcp"})
    asks = f"import {firewall.__name__} as f; f.RULES = f.Path({str(host.rules)!r}); print(f.loaded() == f.intended())"
    script = f"nft --file {host.rules} && {damage} >/dev/null && {sys.executable} -c {asks!r}"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(firewall.__file__).parents[6])},
    )
    assert done.stdout.strip() == str(same)


def test_networks_are_covered_once_and_taken_back_when_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    networks = [OURS]
    monkeypatch.setattr(compose, "containers", lambda _: [])
    monkeypatch.setattr(compose, "networks", lambda _: networks)
    monkeypatch.setattr(compose, "call", calls.append)
    paths = StackPaths("demo", tmp_path, tmp_path)
    paths.lib.mkdir()
    assert [firewall.cover(paths), firewall.cover(paths)] == [True, False]
    assert calls == [["nft", "--file", "/usr/local/lib/coffre/firewall.nft"]]
    before = firewall.kept(paths)
    assert "br-aaaaaaaaaaaa" in before
    networks.append(NAMED)

    def refuse(_: object) -> None:
        raise CoffreError("`nft` failed")

    monkeypatch.setattr(compose, "call", refuse)
    with pytest.raises(CoffreError, match="the packet filter does not take the networks of demo: `nft` failed"):
        firewall.cover(paths)
    assert firewall.kept(paths) == before


# Prints as JSON what becomes of connections to ports of a host, one of which is held, let in, or held for a second.
WAITING = """
import json, socket, subprocess, sys
import {module} as firewall

for words in ("link set lo up", "link add lan0 type bridge", "address add 192.0.2.7/24 dev lan0", "link set lan0 up"):
    subprocess.run(["ip", *words.split()], check=True)
subprocess.run(["nft", "--file", sys.argv[1]], check=True)
TARGETS = [(address, port) for port in (8443, 9000) for address in ("127.0.0.1", "192.0.2.7", "::1")]

def listen():
    families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address, _ in TARGETS]
    return [socket.create_server(each, family=family) for each, family in zip(TARGETS, families)]

def tried(address, port, seconds=0.3):
    try:
        return socket.create_connection((address, port), seconds)
    except TimeoutError:
        return "waits"
    except ConnectionRefusedError:
        return "refused"

def all_tried():
    return sorted({{(port, made if isinstance(made, str) else "connected") for address, port in TARGETS
                   for made in [tried(address, port)]}})

def heard(connection):
    try:
        return connection.recv(1).decode()
    except TimeoutError:
        return "nothing"

listeners, found = listen(), {{}}
found["before"] = all_tried()
open_before = tried("127.0.0.1", 8443)
firewall.hold([("", 8443)])
firewall.hold([("", 8443)])
found["held"] = all_tried()
open_before.sendall(b"x")
for each in listeners:
    each.close()
found["gone"] = all_tried()
listeners = listen()
firewall.release([("", 8443)])
firewall.release([("", 8443)])
found["let in"] = all_tried()
for address in ("127.0.0.1", "::1", "0.0.0.0", "::"):
    firewall.hold([(address, 8443)])
    made = {{each: tried(each, port) for each, port in TARGETS if port == 8443}}
    found[f"held at {{address}}"] = sorted(each for each, what in made.items() if what == "waits")
    firewall.release([(address, 8443)])
asking = tried("127.0.0.1", 8443)
answering, peer = listeners[0].accept()
while peer != asking.getsockname():
    answering, peer = listeners[0].accept()
for each in (asking, answering):
    each.settimeout(0.3)
firewall.hold([("127.0.0.1", 8443)], kept=True)
asking.sendall(b"y")
found["paused"] = [tried("127.0.0.1", 8443), heard(answering)]
answering.sendall(b"z")
found["an answer under way"] = heard(asking)
firewall.release([("127.0.0.1", 8443)], kept=True)
answering.settimeout(20)
found["gone on"] = heard(answering)
firewall.HELD_SECONDS = 1
firewall.hold([("127.0.0.1", 8443)])
found["in time"] = "waits" if tried("127.0.0.1", 8443, 20) == "waits" else "connected"
print(json.dumps(found))
"""


@needs_kernel
def test_who_connects_to_a_port_that_is_held_waits_and_nobody_else_does(tmp_path: Path) -> None:
    script = WAITING.format(module=firewall.__name__)
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script, str(Host(tmp_path).rules)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(firewall.__file__).parents[6])},
    )
    assert done.returncode == 0, done.stderr
    both = [[8443, "connected"], [9000, "connected"]]
    assert json.loads(done.stdout) == {
        "before": both,
        "held": [[8443, "waits"], [9000, "connected"]],
        "gone": [[8443, "waits"], [9000, "refused"]],
        "let in": both,
        "held at 127.0.0.1": ["127.0.0.1"],
        "held at ::1": ["::1"],
        "held at 0.0.0.0": ["127.0.0.1", "192.0.2.7"],
        "held at ::": ["::1"],
        "paused": ["waits", "nothing"],
        "an answer under way": "z",
        "gone on": "y",
        "in time": "connected",
    }
