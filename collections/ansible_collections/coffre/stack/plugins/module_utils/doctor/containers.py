"""The doctor's checks of the containers: what runs, and what it is held to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..engines import compose
from ..errors import CoffreError
from ..host import state as states
from ..rollout import apply as rollout
from .target import SOON, Target, networks_of, verdict

SERVICE = "com.docker.compose.service"
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
        names = {data["Config"]["Labels"][SERVICE] for data in target.inspected if data["Image"] == image}
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
    """Each service runs, healthy, as the Compose file says, with its current bundle."""
    if not target.paths.compose.exists():
        raise CoffreError(f"{target.paths.compose} is missing")
    actual = sorted((_parsed(target, data) for data in target.inspected), key=lambda each: each.created)
    wanted = compose.desired(target.paths.compose)
    broken = {each.id: path for each in actual if (path := compose.broken_mount(each, target.paths.run_root))}
    problems = [f"{each.name} belongs to no service" for each in actual if each.service not in wanted]
    for name, service in sorted(wanted.items()):
        step = rollout.plan(service, [each for each in actual if each.service == name], frozenset(broken))
        if step.acts:
            problems.append(f"{name} needs a rollout ({step.why})")
        elif step.keep and step.keep.health == "starting":
            problems.append(f"{name} is still starting")
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
    return verdict(problems, f"{len(actual)} containers run their current bundles, healthy")


def _published(data: dict[str, Any]) -> bool:
    """Whether a container has ports of the host, as only the proxy has."""
    return any(data["HostConfig"].get("PortBindings") or {})


def _parsed(target: Target, data: dict[str, Any]) -> compose.Container:
    """A container, of whose variables of a proxy only those that its image does not have."""
    found = compose.parse(data)
    images = target.ask("image", [found.image_id]) if found.proxies else []
    return replace(found, proxies=found.proxies.difference(*(compose.of_proxies(each["Config"]) for each in images)))


def hardening(target: Target) -> str:
    """What every container is held to, as the engine has it."""
    networks = {network["Name"]: network["Internal"] for network in target.ask("network", target.networks())}
    shares = [data["HostConfig"].get("CpuShares") or DEFAULT_SHARES for data in target.inspected if _published(data)]
    problems = []
    for data in target.inspected:
        host, config, name = data["HostConfig"], data["Config"], data["Name"].removeprefix("/")
        service = target.catalogue.services.get((config.get("Labels") or {}).get(SERVICE, ""))
        ulimits = {limit["Name"]: limit["Hard"] for limit in host.get("Ulimits") or []}
        published = _published(data)
        must = {
            "runs as its service's uid": service is None or config.get("User") == f"{service.uid}:{service.gid}",
            "has a read-only root": host.get("ReadonlyRootfs") is True,
            "drops all capabilities": host.get("CapDrop") == ["ALL"],
            "adds no capability": not host.get("CapAdd"),
            "is not privileged": not host.get("Privileged"),
            "gains no new privileges": any("no-new-privileges" in option for option in host.get("SecurityOpt") or []),
            "keeps seccomp on": not any("seccomp=unconfined" in option for option in host.get("SecurityOpt") or []),
            "has a memory limit that covers swap": 0 < host.get("Memory", 0) == host.get("MemorySwap"),
            "has a limit of processes": (host.get("PidsLimit") or 0) > 0,
            "leaves the proxy its share of the processors": published
            or (host.get("CpuShares") or DEFAULT_SHARES) < min(shares, default=DEFAULT_SHARES + 1),
            "dumps no core": ulimits.get("core") == 0,
            "shares no namespace of the host": not any(host.get(key) == "host" for key in ("PidMode", "IpcMode")),
            "is on internal networks only": published or all(networks.get(net) for net in networks_of(data)),
            "cannot reach the engine": not any("docker.sock" in mount["Source"] for mount in data.get("Mounts", [])),
        }
        problems += [f"it is not so that {name} {what}" for what, holds in must.items() if not holds]
    return verdict(problems, f"{len(target.inspected)} containers are held to the stack's limits", _unconfined(target))


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
