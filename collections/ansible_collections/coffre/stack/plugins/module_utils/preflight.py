"""What makes a host unfit for a stack: found all at once, before anything changes. Standard library only."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import compose_file, sources, stack
from .catalogue import Catalogue
from .errors import CoffreError
from .host import state, tmpfs
from .host.memory import available
from .paths import LIB_ROOT, RUN_ROOT, SWARM, StackPaths
from .rollout import registry

RELEASES = {"debian": ("12", "13")}
TOLD = 5  # ports of one owner
LISTENING = "0A"  # the state in /proc/net/tcp
# In `docker ps`: the host's address and ports, before the arrow.
PUBLISHED = re.compile(r"([\d.]+|\[?[\da-f:]+\]?):(\d+)(?:-(\d+))?->[\d-]+/tcp")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - as Docker publishes


@dataclass(frozen=True)
class Request:
    """What is to run on the host, by its catalogue and its Compose file.

    `directory` is the operator's, for the source `file`; `keyvault` is stack_secrets_keyvault, for that source;
    `ca_path` is the file of the CA that the stack is asked with. `images` is what the controller knows of the images,
    as rollout.images.told has it, and `builds` whether it is on this host that they are built; `acts` whether the
    stack's values are brought to this one, as to each, but of a swarm to one manager.
    """

    stack: str
    catalogue: Any
    compose_file: Any
    source: str
    host: str
    directory: Path | None = None
    keyvault: Any = None
    trailing_newline: str = "refuse"
    ca_path: Path | None = None
    require_noswap: bool = False
    images: Any = None
    builds: bool = False
    engine: str = "compose"
    acts: bool = True


def check(request: Request) -> list[str]:
    """Return warnings. Raises CoffreError with everything that is wrong, one sentence each."""
    problems: list[str] = []
    warnings: list[str] = []
    catalogue = None
    try:
        paths = StackPaths(request.stack, engine=request.engine)
        if not paths.on_swarm:  # whose managers are asked by a library that may not be here yet
            state.load(paths)
    except CoffreError as error:
        problems.append(str(error))
    try:
        catalogue = stack.read(request.catalogue, request.compose_file)
    except CoffreError as error:
        problems.append(str(error))
    file = compose_file.parse(request.compose_file, [])  # of one that is refused, what can be read
    problems += ports(compose_file.published(file), request.stack)
    if request.engine != SWARM:  # whose nodes share it
        problems += memory(compose_file.memory(file) >> 20, request.stack)
    if catalogue:
        found, passed_over = _swarm(catalogue) if request.engine == SWARM else ([], catalogue.file.warnings)
        problems += found + [f"{line}." for line in logins(catalogue)]
        warnings += [f"{each}." for each in passed_over]
        try:
            # With what an older system has, which is refused below, the sources cannot even be loaded.
            warnings += _source(request, catalogue) if request.acts and sys.version_info >= (3, 11) else []
        except CoffreError as error:
            problems.append(str(error))
    for found in (
        distribution(),
        engine(),
        authority(request.ca_path if request.acts else None),
        registry.blockers(request.images or {}, request.builds),
    ):
        problems += found
    if exposed := tmpfs.exposure(RUN_ROOT):
        sentence = f"{exposed}: switch it off, encrypt it, or use Linux 6.4 or later."
        (problems if request.require_noswap else warnings).append(sentence)
    if problems:
        raise CoffreError(f"{' '.join(problems)} Nothing was changed on {request.host}.")
    return warnings


def _swarm(catalogue: Catalogue) -> tuple[list[str], Sequence[str]]:
    """What of a stack a swarm cannot run, as sentences, and what it takes no notice of, as clauses."""
    from .engines.swarm import file  # late: an older system's Python cannot even load it

    return [f"On a swarm, {line}." for line in file.problems(catalogue)], file.passed_over(catalogue.file)


def _source(request: Request, catalogue: Catalogue) -> list[str]:
    """The source's own checks. Returns warnings; raises CoffreError."""
    return sources.load(request.stack, vars(request)).check(catalogue)


def authority(path: Path | None) -> list[str]:
    """A CA that the operator names and that is not there; the demo's comes with the deploy itself."""
    if path is None or LIB_ROOT in path.parents or path.is_file():
        return []
    return [f"{path}, which stack_services_ca_path names, is no file: put the CA's certificate there."]


def logins(catalogue: Catalogue, lookup: Callable[[int], Any] = pwd.getpwuid) -> list[str]:
    """The services whose uid somebody on the host has: whoever logs in with it could read the service's files."""
    problems = []
    for service in catalogue.services.values():
        if not service.uid:
            continue
        try:
            login = lookup(service.uid).pw_name
        except KeyError:
            continue
        problems.append(
            f"The uid {service.uid} of service {service.name} belongs to the login {login}: choose a free one"
        )
    return problems


def distribution(release: Path = Path("/etc/os-release")) -> list[str]:
    values = {}
    if release.is_file():
        for line in release.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            values[key] = value.strip("\"'")
    if values.get("VERSION_ID") in RELEASES.get(values.get("ID", ""), ()):
        return []
    name = values.get("PRETTY_NAME", "an unknown system")
    return [f"The host runs {name}: use Debian 12 or Debian 13."]


def _docker(*arguments: str) -> str | None:
    """What a docker command prints, or None if there is no engine that answers."""
    if not shutil.which("docker"):
        return None
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None


def engine(configuration: Path = Path("/etc/docker/daemon.json")) -> list[str]:
    """A rootless engine and one that remaps users cannot give a service the files of its uid."""
    told = _docker("info", "--format", "{{json .SecurityOptions}}") or "[]"
    try:
        configured = json.loads(configuration.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        configured = {}
    problems = []
    if "name=rootless" in told:
        problems.append("Docker runs rootless here, so that no file can belong to a service alone: use root's engine.")
    if "name=userns" in told or configured.get("userns-remap"):
        problems.append(
            "Docker remaps users here (userns-remap), so that services cannot read their files: turn it off."
        )
    return problems


def ports(desired: Iterable[tuple[str, int]], stack: str) -> list[str]:
    """What keeps the stack from ports of the host, (address, port) each, such as somebody else who listens there."""
    pairs = list(desired)
    places = {address for address, _ in pairs if address}
    if problems := [problem for each in sorted(places) if (problem := _foreign(each))]:
        return problems
    problems = [f"{port} is no port: choose one from 1 to 65535." for _, port in pairs if not 0 < port < 65536]
    problems += [
        f"Port {port} is wanted twice: choose another." for (_, port), count in Counter(pairs).items() if count > 1
    ]
    return problems or _taken(pairs, stack)


def _taken(pairs: Iterable[tuple[str, int]], stack: str) -> list[str]:
    """A sentence for each who has ports of the host at an address where they are wanted, "" being all of them."""
    containers = list(_publishing())
    by_owner: dict[str, list[str]] = {}
    for address, port in pairs:
        places = [address] if address else list(EVERYWHERE)
        found = _publisher(containers, port, places)
        if found and found[0] != stack:
            by_owner.setdefault(f"the container {found[1]}", []).append(str(port))
        elif not found and not all(_free(port, place) for place in places):
            by_owner.setdefault(_listener(port) or "another program", []).append(str(port))
    return [_in_use(ports, owner) for owner, ports in by_owner.items()]


def _in_use(ports: list[str], owner: str) -> str:
    if len(ports) == 1:
        return f"Port {ports[0]} is in use by {owner}: stop it, or choose another port."
    more = f" and {len(ports) - TOLD} more" if len(ports) > TOLD else ""
    return f"Ports {', '.join(ports[:TOLD])}{more} are in use by {owner}: stop it, or choose other ports."


def _foreign(address: str) -> str:
    """Why an address cannot be listened on: "", or a sentence."""
    try:
        _bind(address, 0)
    except ValueError:
        return f"The Compose file publishes at {address}, which is no address: write it as 127.0.0.1 or ::1 is written."
    except OSError as error:
        why = f"which is none of this host's ({error.strerror}): name one it has."
        return f"The Compose file publishes at {address}, {why}"
    return ""


def _publishing() -> Iterator[tuple[str, str, str, int, int]]:
    """(stack, name, address, first port, last port) of what containers publish."""
    # Not `--filter publish=`: that means the container's own port. A container has one label or the other.
    stack = '{{.Label "com.docker.compose.project"}}{{.Label "com.docker.stack.namespace"}}'
    listed = _docker("ps", "--format", stack + "\t{{.Names}}\t{{.Ports}}") or ""
    for line in listed.splitlines():
        project, name, published = line.split("\t")
        for address, first, last in PUBLISHED.findall(published):
            yield project, name, address.strip("[]"), int(first), int(last or first)


def _publisher(
    containers: Iterable[tuple[str, str, str, int, int]], port: int, places: Iterable[str]
) -> tuple[str, str] | None:
    """(Compose project, name) of the container that publishes a port of the host at one of these addresses."""
    for project, name, address, first, last in containers:
        if first <= port <= last and any(_meet(address, each) for each in places):
            return project, name
    return None


def _meet(one: str, other: str) -> bool:
    """Whether two listeners at these addresses and one port exclude each other."""
    here, there = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return here.version == there.version and (here == there or here.is_unspecified or there.is_unspecified)


def _free(port: int, address: str) -> bool:
    try:
        _bind(address, port)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _bind(address: str, port: int) -> None:
    """Take a port of an address, and let it go. Raises OSError, and ValueError for what is no address."""
    family = socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((address, port))


def _listener(port: int, proc: Path = Path("/proc")) -> str | None:
    """The program that listens on a port, as `name (pid n)`."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        path = proc / "net" / table
        for line in path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    for process in proc.glob("[0-9]*"):
        try:
            if any(os.readlink(handle) in sockets for handle in (process / "fd").iterdir()):  # noqa: PTH115
                return f"{(process / 'comm').read_text(encoding='utf-8').strip()} (pid {process.name})"
        except OSError:
            continue
    return None


def memory(needed_mb: int, stack: str, meminfo: Path = Path("/proc/meminfo")) -> list[str]:
    """Too little free memory to start the stack; none is needed where it already runs."""
    left_mb = available(meminfo) >> 20
    if left_mb >= needed_mb or _docker("ps", "-q", "--filter", f"label=com.docker.compose.project={stack}"):
        return []
    return [f"The host has {left_mb} MiB of memory left and the stack needs {needed_mb} MiB: free some, or add some."]
