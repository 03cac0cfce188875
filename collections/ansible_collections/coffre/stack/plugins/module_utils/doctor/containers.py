"""The doctor's checks of the containers: what runs, and what it is held to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import compose_file
from ..engines import compose
from ..engines.base import Container
from ..errors import CoffreError
from ..host import state as states
from ..rollout import apply as rollout
from .target import SOON, Target, networks_of, verdict

NO_DATE = 2000
DEFAULT_SHARES = 1024  # what the engine takes no word about processors for


def engine(_: Target) -> str:
    """The Docker engine answers."""
    return f"Docker Engine {compose.call(['docker', 'version', '--format', '{{.Server.Version}}'], timeout=20).strip()}"


def images(target: Target) -> str:
    """The images' packages are of late: an image is not built anew as long as what it is made from stands still."""
    now = datetime.now(UTC)
    ages: dict[str, int] = {}
    for image in sorted({data["Image"] for data in target.inspected}):
        # Its oldest layer tells: what is built on it may be of today. Years before are those of builds without a date.
        lines = compose.call(["docker", "history", "--no-trunc", "--format", "{{.CreatedAt}}", image]).split()
        dates = [date for line in lines if (date := datetime.fromisoformat(line)).year > NO_DATE]
        names = {target.service_of(data) for data in target.inspected if data["Image"] == image}
        ages |= dict.fromkeys(names, (now - min(dates, default=now)).days)
    old = [f"{name} ({days} days)" for name, days in sorted(ages.items()) if days > SOON.days]
    warning = (
        f"without Debian's security updates since they were built: {', '.join(old)}; give container_images_packages_of "
        "in the inventory a new text, such as the month, and run playbooks/site.yml; of an image that "
        "container_images_references names, name a newer one there"
    )
    note = f"the packages of the images are {max(ages.values(), default=0)} days old"
    return verdict([], note, [warning] if old else [])


def containers(target: Target) -> str:
    """Each service runs as the Compose file says, with its current bundle, and no container counts as unhealthy.

    One that the engine has not asked yet may be as well as any: `readiness` asks each now.
    """
    if not target.paths.compose.exists():
        raise CoffreError(f"{target.paths.compose} is missing")
    actual = sorted((_parsed(target, data) for data in target.inspected), key=lambda each: each.created)
    wanted = compose.desired(target.paths.compose)
    broken = {each.id: path for each in actual if (path := compose.broken_mount(each, target.paths.run_root))}
    problems = [f"{each.name} belongs to no service" for each in actual if each.service not in wanted]
    for name, service in sorted(wanted.items()):
        mine = [each for each in actual if each.service == name]
        replicas = target.catalogue.services[name].replicas if name in target.catalogue.services else 1
        for step in rollout.plans(service, mine, frozenset(broken), replicas=replicas):
            if step.acts:
                problems.append(f"{name} needs a rollout ({step.why})")
        current = target.state.services.get(name, states.ServiceState()).current
        folder = target.paths.bundle(name, current) if current else None
        for each in actual:
            if each.service != name:
                continue
            if folder and each.bundle not in (current, None):
                problems.append(f"{each.name} has the bundle {each.bundle}, not the current {current}")
            for source, _ in each.mounts:
                inside = Path(source).is_relative_to(target.paths.run_root)
                if inside and not (folder and (Path(source).parent == folder or Path(source) == folder.parent)):
                    problems.append(f"{each.name} mounts {source}, which is not of its current bundle")
            if each.out_of_memory:
                problems.append(f"{each.name} was killed for want of memory")
    problems += [f"the mount {path} of a container is broken" for path in broken.values()]
    return verdict(problems, f"{len(actual)} containers run their current bundles")


def _published(data: dict[str, Any]) -> bool:
    """Whether a container has ports of the host, as only the proxy has."""
    return any(data["HostConfig"].get("PortBindings") or {})


def _parsed(target: Target, data: dict[str, Any]) -> Container:
    """A container, of whose variables of a proxy only those that its image does not have."""
    found = compose.parse(data)
    images = target.ask("image", [found.image_id]) if found.proxies else []
    return replace(found, proxies=found.proxies.difference(*(compose.of_proxies(each["Config"]) for each in images)))


# What harden asks of a container, and the key of its service by which it is taken back.
CONTROLS = {
    "a read-only root": "read_only",
    "all capabilities dropped": "cap_drop",
    "no capability added": "cap_add",
    "no privileges of the host": "privileged",
    "no way to new privileges": "security_opt",
    "seccomp on": "security_opt",
    "a memory limit that covers swap": "memswap_limit",
    "a limit of processes": "pids_limit",
    "fewer shares of the processors than the proxy": "cpu_shares",
    "no core dumps": "ulimits",
    "no namespace of the host": "ipc",
    "internal networks only": "networks",
    "no way to the engine": "volumes",
}


def hardening(target: Target) -> str:
    """What every container is held to, as the engine has it; what the Compose file takes back is a warning."""
    networks = {network["Name"]: network["Internal"] for network in target.ask("network", target.networks())}
    shares = [data["HostConfig"].get("CpuShares") or DEFAULT_SHARES for data in target.inspected if _published(data)]
    problems, off = [], []
    held = [data for data in target.inspected if target.held(data)]
    for data in held:
        name, config = data["Name"].removeprefix("/"), data["Config"]
        service = target.catalogue.services.get(target.service_of(data))
        if service and service.entry and service.entry.user and config.get("User") != f"{service.uid}:{service.gid}":
            problems.append(f"{name} should have its service's uid")
        if (config.get("User") or "0").partition(":")[0] in ("0", "root"):
            off.append(f"{name} runs as root")
        holding = _held_to(data, networks, shares) | (_by_node(target, data) if target.paths.on_swarm else {})
        for what, holds in holding.items():
            if not holds and service and _taken_back(target, service.entry, what):
                off.append(f"{name} does without {what}")
            elif not holds:
                problems.append(f"{name} should have {what}")
    note = f"{len(held)} containers are held to the stack's limits"
    return verdict(problems, note, off + _unconfined(target))


def _held_to(data: dict[str, Any], networks: dict[str, bool], shares: list[int]) -> dict[str, bool]:
    """Which controls hold for a container."""
    host, options = data["HostConfig"], data["HostConfig"].get("SecurityOpt") or []
    ulimits = {limit["Name"]: limit["Hard"] for limit in host.get("Ulimits") or []}
    published = _published(data)
    holds = (
        host.get("ReadonlyRootfs") is True,
        host.get("CapDrop") == ["ALL"],
        not host.get("CapAdd"),
        not host.get("Privileged"),
        any("no-new-privileges" in option for option in options),
        not any("seccomp=unconfined" in option for option in options),
        0 < host.get("Memory", 0) == host.get("MemorySwap"),
        (host.get("PidsLimit") or 0) > 0,
        published or (host.get("CpuShares") or DEFAULT_SHARES) < min(shares, default=DEFAULT_SHARES + 1),
        ulimits.get("core") == 0,
        not any(host.get(key) == "host" for key in ("PidMode", "IpcMode")),
        published or all(networks.get(net) for net in networks_of(data)),
        not any("docker.sock" in mount["Source"] for mount in data.get("Mounts", [])),
    )
    return dict(zip(CONTROLS, holds, strict=True))


def _by_node(target: Target, data: dict[str, Any]) -> dict[str, bool]:
    """Which of the controls hold that a service of a swarm cannot ask for, and that each node sees to."""
    try:
        status = (target.proc / str(data["State"]["Pid"]) / "status").read_text(encoding="utf-8")
    except OSError:
        status = "NoNewPrivs:\t1"  # it has just ended
    return {
        "no way to new privileges": "NoNewPrivs:\t1" in status,
        "a memory limit that covers swap": data["HostConfig"].get("Memory", 0) > 0,  # none that is not encrypted is on
        "fewer shares of the processors than the proxy": True,  # Swarm has none
    }


def _taken_back(target: Target, entry: compose_file.Entry | None, what: str) -> bool:
    """Whether the Compose file itself does without a control: by not asking for any, or by the key of the service."""
    if entry is None or not target.catalogue.file.harden:
        return True
    key, proxied = CONTROLS[what], any(each.data.get("cpu_shares") for each in target.catalogue.file.services.values())
    match key:
        case "memswap_limit":
            return not entry.memory or key in entry.data
        case "cpu_shares":
            return not proxied
        case "ipc":
            return "ipc" in entry.data or "pid" in entry.data
        case "networks":
            return not all((each or {}).get("internal") for each in _networks(target, entry))
    return key in entry.data


def _networks(target: Target, entry: compose_file.Entry) -> list[Any]:
    """What the file says of the networks of a service; one that it does not name has the default network."""
    declared = target.catalogue.file.data.get("networks") or {}
    return [declared.get(name) for name in entry.data.get("networks") or ["default"]]


def _unconfined(target: Target) -> list[str]:
    """What AppArmor does not confine. Where SELinux does that, nothing is missed."""
    if (target.sys / "fs/selinux/enforce").exists():
        return []
    try:
        enabled = (target.sys / "module/apparmor/parameters/enabled").read_text().strip() == "Y"
    except OSError:
        enabled = False
    if not enabled:
        return ["AppArmor is off in this kernel, though Debian has it on (see apparmor= in /proc/cmdline)"]
    bare = [data for data in target.inspected if data.get("AppArmorProfile") in (None, "", "unconfined")]
    if not bare:
        return []
    names = ", ".join(data["Name"].removeprefix("/") for data in bare)
    return [
        f"no AppArmor profile confines {names}, though the kernel has AppArmor: install the package apparmor, restart "
        "Docker, or see security_opt in the Compose file"
    ]
