"""The user's Compose file: what Coffre takes from it, what it refuses, and the file that is run in its place.

Standard keys say what the Compose specification says; `x-coffre` has what it has no key for. Read with Compose 2.26.1,
which drops a service's `x-` keys and refuses a secret without a top-level entry, so the file is read as YAML here.
"""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
USER = re.compile(r"(\d{1,10}):(\d{1,10})")
MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmg]?)b?")
UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# A variable that Compose would fill in from whatever environment it is run in; $$ is a dollar.
VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$(?:\{([^}:?+-]*)|([A-Za-z_]\w*))")
RANGE = r"\d+(?:-\d+)?"
# The short syntax of `ports`: [[address:]published:]target[/protocol].
PORT = re.compile(
    rf"(?:(?:(?P<address>[^\[\]:]+|\[[^\[\]]+\]):)?(?P<said>{RANGE}|):)?(?P<target>{RANGE})(?:/(?P<protocol>tcp|udp|sctp))?"
)
SIGNAL = re.compile(r"SIG[A-Z0-9]{2,8}")
EXTENSION = "x-coffre"
MOUNT = "/run/secrets"
LABEL_BUNDLE = "coffre.bundle"
LABEL_ADOPT = "coffre.adopt"
LABEL_READY = "coffre.ready"
KNOWN = ("ready", "adopt", "proxy", "route", "audit", "environment", "artifacts")
# Every key of a service that Compose 2.26.1 knows.
KEYS = frozenset(
    """
    annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name
    cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset
    credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname
    entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck
    hostname image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation
    mem_swappiness memswap_limit network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform
    ports post_start pre_stop privileged profiles pull_policy read_only restart runtime scale secrets
    security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits user
    userns_mode uts volumes volumes_from working_dir
    """.split()  # noqa: SIM905 - a line each otherwise
)
# What a service cannot say here, and what to say instead.
REFUSED = {
    "extends": "write what it extends into the service",
    "env_file": "write the variables under environment, and what is secret under secrets",
    "container_name": "leave it out, for two containers of a service may stand side by side",
    "links": "let both share a network",
    "external_links": "let both share a network",
    "profiles": "leave the service out of the file, or the key out of the service",
    "scale": "say deploy.replicas",
    "volumes_from": "name the volumes",
    "label_file": "write the labels",
    "provider": "run it outside of the stack",
    "pull_policy": "leave it out, for what is missing is pulled, built or loaded before the rollout",
}
# How what is looked into must be, and what it is otherwise.
SHAPES: dict[str, tuple[tuple[type, ...], str]] = {
    "deploy": ((Mapping,), "not a mapping"),
    "ports": ((list,), "not a list"),
    "volumes": ((list,), "not a list"),
    "labels": ((list, Mapping), "neither a list nor a mapping"),
    "environment": ((list, Mapping), "neither a list nor a mapping"),
    "networks": ((list, Mapping), "neither a list nor a mapping"),
    "configs": ((list,), "not a list"),
}
# What Compose takes no notice of on one host, by the path to the key.
IGNORED = (
    ("attach",),
    ("develop",),
    ("deploy", "mode"),
    ("deploy", "placement"),
    ("deploy", "endpoint_mode"),
    ("deploy", "rollback_config"),
    ("deploy", "labels"),
    *(("deploy", "update_config", key) for key in ("parallelism", "delay", "failure_action", "monitor")),
)
# What `harden` fills in for a service that does not say it itself.
HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "ulimits": {"core": 0},
    "pids_limit": 256,
    "restart": "unless-stopped",
    "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
}


@dataclass(frozen=True)
class Entry:
    """What is taken from one service. `user` is (uid, gid), None where the file does not say it in numbers."""

    name: str
    data: Mapping[str, Any] = field(repr=False)
    user: tuple[int, int] | None = None
    listed: tuple[tuple[str, str], ...] = ()  # under `secrets`: source and target
    after: tuple[str, ...] = ()
    adopt: str = "restart"  # start_first restart reload
    signal: str = ""  # by which one that reloads is told; "" is the proxy's own way
    replicas: int = 1
    ready: tuple[str, ...] = ()
    audit: Mapping[str, str] = field(default_factory=dict)
    coffre: Mapping[str, Any] = field(default_factory=dict)

    @property
    def everywhere(self) -> bool:
        """Whether a swarm has one on each node of the stack: it says so, or is the proxy, which clients find there."""
        said = (self.data.get("deploy") or {}).get("mode")
        return said == "global" or (not said and self.adopt == "reload")

    @property
    def memory(self) -> int:
        """The most that one container may take, in bytes; 0 is no limit."""
        return _bytes(self.limit("mem_limit", "memory"))

    def limit(self, key: str, resource: str) -> Any:
        """A limit as the file says it: by the key of a service, or under deploy.resources.limits."""
        return self.data.get(key) or _at(self.data, ("deploy", "resources", "limits", resource))

    @property
    def published(self) -> list[tuple[str, int]]:
        """(address, port) of the host for each TCP port that is published; "" is every address."""
        return [found for each in self.data.get("ports") or [] for found in _published(each) or []]


@dataclass(frozen=True)
class File:
    """A whole file; `services` in the order in which they come up. `warnings` are what Compose would ignore."""

    data: Mapping[str, Any] = field(repr=False)
    services: dict[str, Entry]
    harden: bool = False
    warnings: tuple[str, ...] = ()
    plain_networks: bool = False  # on a swarm, what goes from node to node is not encrypted


def parse(data: Any, problems: list[str]) -> File:
    """Read a file, which is a mapping as YAML has it; what is wrong is added to `problems`, a clause each."""
    if not isinstance(data, Mapping) or not isinstance(data.get("services"), Mapping) or not data["services"]:
        problems.append("the Compose file has no services")
        return File({}, {})
    problems += _top(data)
    for where, text in _texts(data):
        problems += [f"{where} takes ${name} from nowhere: write its value, or $$ for a dollar" for name in _open(text)]
        if "FILL-IN" in text:
            problems.append(f"{where} says FILL-IN: write what it stands for")
    entries, warnings = {}, []
    for name, service in data["services"].items():
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == "host":
            problems.append(f"the service name {name!r} is ill-formed: use up to 63 of a-z, 0-9 and -, a letter first")
        elif not isinstance(service, Mapping):
            problems.append(f"service {name} is not a mapping")
        else:
            entries[name] = _entry(name, service, problems)
            ignored = [".".join(path) for path in IGNORED if _at(service, path) is not None]
            warnings += [f"service {name}: Compose ignores {each}" for each in ignored]
    for entry in entries.values():
        problems += _named(f"service {entry.name}", entry.data, data)
        problems += [
            f"service {entry.name} depends on {each}, which is none" for each in entry.after if each not in entries
        ]
    top = data.get(EXTENSION) or {}
    harden, plain = (isinstance(top, Mapping) and bool(top.get(key)) for key in ("harden", "plain_networks"))
    return File(data, _ordered(entries, problems), harden, tuple(warnings), plain)


def _top(data: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong beside the services."""
    known = {"services", "networks", "volumes", "secrets", "configs", "version"}
    for key in data:
        if key == "name":
            yield "the file says `name`: leave it to stack_name"
        elif key == "include":
            yield "the file says `include`: write what it includes into it"
        elif key not in known and not str(key).startswith("x-"):
            yield f"the file has the unknown key `{key}`"
    for kind in ("secret", "config"):
        entries = data.get(f"{kind}s") or {}
        if not isinstance(entries, Mapping):
            yield f"the file's {kind}s is not a mapping"
            continue
        for name, entry in entries.items():
            if kind == "secret" and entry not in (None, {}, {"external": True}):
                yield f"the top-level secret {name} has a source of its own: leave it out, for the catalogue has them"
            if kind == "config" and "content" not in (entry or {}):
                yield f"the config {name} is no text of the file's own: give it as `content`"
    top = data.get(EXTENSION) or {}
    switches = {"harden", "plain_networks"}  # the second is stack_plain_networks, which the playbooks put there
    if not isinstance(top, Mapping) or set(top) - switches or set(top.values()) - {None, True, False}:
        yield f"{EXTENSION} of the file can say harden: true, and no more"


def _texts(value: Any, where: str = "the file") -> Iterator[tuple[str, str]]:
    """(place, text) of each text of the file."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, f"{key}" if where in ("the file", "services") else f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, where)


def _open(text: str) -> list[str]:
    """The name of each variable in a text that Compose would look for."""
    return [found[1] or found[2] for found in VARIABLE.finditer(text)]


def _at(data: Any, path: tuple[str, ...]) -> Any:
    """What lies at a path of keys, None for nothing."""
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _entry(name: str, data: Mapping[str, Any], problems: list[str]) -> Entry:
    where = f"service {name}"
    said = [key for key in REFUSED if data.get(key) not in (None, "", [], {})]
    problems += [f"{where} says {key}: {REFUSED[key]}" for key in said]
    unknown = [f"`{key}`" for key in data if key not in {*KEYS, *REFUSED} and not str(key).startswith("x-")]
    problems += [f"{where} has the unknown key {key}: Compose 2.26 has none of that name" for key in unknown]
    wrong = {key: is_ for key, (types, is_) in SHAPES.items() if data.get(key) and not isinstance(data[key], types)}
    problems += [f"{where}: {key} is {is_}" for key, is_ in wrong.items()]
    data = {key: value for key, value in data.items() if key not in wrong}
    if str(data.get("network_mode") or "").startswith(("service:", "container:")):
        problems.append(f"{where} shares another container's network: let both share a network of the file")
    if not data.get("image") and not data.get("build"):
        problems.append(f"{where} has neither image nor build")
    coffre = data.get(EXTENSION) or {}
    if not isinstance(coffre, Mapping):
        problems.append(f"{where}: {EXTENSION} is not a mapping")
        coffre = {}
    problems += [f"{where}: {EXTENSION} has an unknown key `{key}`" for key in coffre if key not in KNOWN]
    problems += _binds(where, data)
    problems += _valueless(where, data.get("environment") or {})
    problems += [
        f"{where} publishes {each}, which is neither a port nor two ranges of one length: write [ADDRESS:]PORT:PORT"
        for each in data.get("ports") or []
        if _published(each) is None
    ]
    replicas = _at(data, ("deploy", "replicas"))
    replicas = 1 if replicas is None else replicas
    if isinstance(replicas, bool) or not isinstance(replicas, int) or not 1 <= replicas <= 100:
        problems.append(f"{where}: deploy.replicas must be a whole number from 1 to 100")
        replicas = 1
    adopt, signal = _adopt(where, data, coffre, problems)
    entry = Entry(
        name,
        data,
        _user(data.get("user")),
        tuple(_listed(where, data.get("secrets") or [], problems)),
        tuple(_after(where, data.get("depends_on") or [], problems)),
        adopt,
        signal,
        replicas,
        _words(where, coffre.get("ready") or [], problems),
        coffre.get("audit") or {},
        coffre,
    )
    if entry.audit and not (isinstance(entry.audit, Mapping) and set(entry.audit) == {"volume", "file", "secret"}):
        problems.append(f"{where}: {EXTENSION}.audit must say volume, file and secret")
    if data.get("ports") and (adopt == "start_first" or replicas > 1):
        problems.append(f"{where} publishes ports, which two containers at once cannot: put a proxy before it")
    if adopt == "reload" and replicas > 1:
        problems.append(f"{where} reloads, so it has one container: say no deploy.replicas")
    return entry


def _words(where: str, ready: Any, problems: list[str]) -> tuple[str, ...]:
    """A readiness command, which is a text or a list."""
    with suppress(ValueError):  # a quotation mark without another
        if isinstance(ready, str):
            return tuple(shlex.split(ready))
    if isinstance(ready, list):
        return tuple(map(str, ready))
    problems.append(f"{where}: {EXTENSION}.ready must be a command, as a text or a list")
    return ()


def _user(value: Any) -> tuple[int, int] | None:
    found = USER.fullmatch(str(value)) if value is not None else None
    return (int(found[1]), int(found[2])) if found else None


def _listed(where: str, entries: Any, problems: list[str]) -> Iterator[tuple[str, str]]:
    """(source, target) of each secret of a service, in the short and the long syntax."""
    for each in entries if isinstance(entries, list) else [None]:
        if isinstance(each, str):
            yield each, each
        elif isinstance(each, Mapping) and isinstance(each.get("source"), str):
            if extra := sorted(set(each) - {"source", "target"}):
                problems.append(
                    f"{where}: its secret {each['source']} says {', '.join(extra)}: the file is its user's, 0400"
                )
            yield each["source"], str(each.get("target") or each["source"]).removeprefix(f"{MOUNT}/")
        else:
            problems.append(f"{where}: secrets must be a list of names, or of mappings with source and target")


def _after(where: str, value: Any, problems: list[str]) -> Iterator[str]:
    """The services that come up before this one."""
    if isinstance(value, Mapping):
        for name, how in value.items():
            condition = how.get("condition") if isinstance(how, Mapping) else None
            if condition == "service_completed_successfully":
                problems.append(f"{where} waits for the end of {name}: run that at the start of the service itself")
        yield from map(str, value)
    elif isinstance(value, list):
        yield from map(str, value)
    else:
        problems.append(f"{where}: depends_on must be a list or a mapping")


def _adopt(where: str, data: Mapping[str, Any], coffre: Mapping[str, Any], problems: list[str]) -> tuple[str, str]:
    """How a service adopts a new bundle, and the signal of one that reloads by itself."""
    said = coffre.get("adopt")
    if coffre.get("proxy"):
        if said:
            problems.append(f"{where} is the proxy, which reloads: say no {EXTENSION}.adopt")
        return "reload", ""
    if said == "reload":
        return "reload", "SIGHUP"
    if isinstance(said, Mapping) and set(said) == {"reload"} and SIGNAL.fullmatch(str(said["reload"])):
        return "reload", str(said["reload"])
    if said is not None:
        problems.append(f"{where}: {EXTENSION}.adopt is reload, or reload with a signal such as {{reload: SIGHUP}}")
    order = _at(data, ("deploy", "update_config", "order")) or "stop-first"
    if order not in ("start-first", "stop-first"):
        problems.append(f"{where}: deploy.update_config.order is start-first or stop-first")
    return ("start_first" if order == "start-first" else "restart"), ""


def _binds(where: str, data: Mapping[str, Any]) -> Iterator[str]:
    """The mounts of a path that is relative, for the file that is run lies elsewhere."""
    for each in data.get("volumes") or []:
        source = each.get("source") if isinstance(each, Mapping) and each.get("type") == "bind" else None
        source = each.partition(":")[0] if isinstance(each, str) and ":" in each else source
        relative = isinstance(each, Mapping) or str(source).startswith((".", "~"))
        if source and relative and not str(source).startswith("/"):
            yield f"{where} mounts {source}, which is relative: copy it into an image, or name a path of the hosts"


def _valueless(where: str, environment: Any) -> Iterator[str]:
    """The variables that Compose would take from the shell it is run in, which is nobody's."""
    for each in environment:
        given = environment[each] is not None if isinstance(environment, Mapping) else "=" in str(each)
        if not given:
            yield f'{where}: environment gives {each} no value: write one, which may be "", or leave it out'


def _named(where: str, data: Mapping[str, Any], top: Mapping[str, Any]) -> Iterator[str]:
    """What a service takes from the file's own lists and they lack."""
    for kind in ("volumes", "configs", "networks"):
        names = dict.fromkeys(_source(kind, each) for each in data.get(kind) or [])
        for name in names:
            if name and not name.startswith(("/", ".", "~")) and name not in (top.get(kind) or {}):
                yield f"{where} takes {name} from the file's {kind}, which have none of that name: list it there"


def _source(kind: str, each: Any) -> str:
    """The name in the file's own list of one entry of a service's; "" for one that needs none."""
    if isinstance(each, Mapping):
        return str(each.get("source") or "") if each.get("type", "volume") == "volume" else ""
    name, colon, _ = str(each).partition(":")
    return "" if (kind == "volumes" and not colon) or (kind == "networks" and name == "default") else name


def _ordered(entries: dict[str, Entry], problems: list[str]) -> dict[str, Entry]:
    """The services so that each comes behind what it depends on, else as in the file."""
    done: dict[str, Entry] = {}
    left = dict(entries)
    while left:
        free = [name for name, each in left.items() if not set(each.after) & set(left)]
        if not free:
            problems.append(f"the services {', '.join(left)} depend on each other in a circle")
            return done | left
        done[free[0]] = left.pop(free[0])
    return done


def _bytes(value: Any) -> int:
    found = MEMORY.fullmatch(str(value).strip().lower()) if value else None
    return int(float(found[1]) * UNITS[found[2]]) if found else 0


def _published(port: Any) -> list[tuple[str, int]] | None:
    """(address, port) of the host for each TCP port that one entry of `ports` wants; None for an entry that is none.

    What the engine chooses, also from a range for one port of the container, is left out.
    """
    if isinstance(port, Mapping):
        keys = ("host_ip", "published", "target", "protocol")
        address, said, target, protocol = (str(port.get(key) or "") for key in keys)
        if not target.isdigit() or not re.fullmatch(f"(?:{RANGE})?", said):
            return None
    elif found := PORT.fullmatch(str(port)):
        address, said, target, protocol = (each or "" for each in found.group("address", "said", "target", "protocol"))
    else:
        return None
    outside, inside = _range(said), _range(target)
    if (said and not outside) or not inside or (len(inside) > 1 and said and len(outside) != len(inside)):
        return None
    chosen = len(outside) != len(inside) or protocol not in ("", "tcp")
    return [] if chosen else [(address.strip("[]"), each) for each in outside]


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1) if first else range(0)


Bundle = Mapping[str, Any]  # {bundle: id, path: of its folder on the host, files: names}


def run_file(
    stack: str,
    file: File,
    bundles: Mapping[str, Bundle],
    images: Mapping[str, str],
    shim: Callable[[Entry], Mapping[str, Any]] = lambda _: {},
) -> dict[str, Any]:
    """The file that is run: each service with its own secrets, its image, labels and hardening.

    `images` has the references of services whose image is not the file's; what `shim` gives stands over their own keys.
    A changed bundle is a changed label, which Compose acts on; it would ignore a changed file. No service's name has a
    dot, so no two names of sources run into one.
    """
    services: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    for name, entry in file.services.items():
        bundle = bundles.get(name) or {}
        service = {**hardened(entry, file.harden), **shim(entry)}
        if name in images:
            service["image"] = images[name]
        labels = labelled(entry)
        if bundle and entry.adopt == "reload":
            service["volumes"] = [*(service.get("volumes") or []), _folder(str(bundle["path"]))]
        elif bundle:
            labels[LABEL_BUNDLE] = str(bundle["bundle"])
            targets = dict(entry.listed)
            service["secrets"] = [
                {"source": f"{name}.{each}", "target": targets.get(each, each)} for each in bundle["files"]
            ]
            sources |= {f"{name}.{each}": {"file": f"{bundle['path']}/{each}"} for each in bundle["files"]}
        services[name] = service | {"labels": labels}
    top = {key: value for key, value in file.data.items() if key in ("networks", "volumes", "configs") and value}
    return {"name": stack, "services": services, **copy.deepcopy(top), **({"secrets": sources} if sources else {})}


def hardened(entry: Entry, harden: bool) -> dict[str, Any]:
    """A service's own keys but those that are Coffre's to say, with what hardening fills in."""
    dropped = {EXTENSION, "depends_on", "build", "secrets", "labels", "deploy"}
    kept = {key: copy.deepcopy(value) for key, value in entry.data.items() if key not in dropped}
    deploy = {
        key: value for key, value in (entry.data.get("deploy") or {}).items() if key in ("resources", "restart_policy")
    }
    if deploy:
        kept["deploy"] = copy.deepcopy(deploy)
    if harden:
        # Compose takes a limit that is said in two places only where both are equal.
        said = {"pids_limit"} if entry.limit("pids_limit", "pids") else set()
        kept = {key: copy.deepcopy(value) for key, value in HARDENED.items() if key not in said} | kept
        if entry.memory:
            kept.setdefault("memswap_limit", entry.limit("mem_limit", "memory"))
    return kept


def labelled(entry: Entry) -> dict[str, str]:
    """A service's own labels, with those by which the rollout knows how it adopts and when it is ready."""
    said = entry.data.get("labels") or {}
    labels = dict(each.partition("=")[::2] for each in said) if isinstance(said, list) else dict(said)
    labels[LABEL_ADOPT] = entry.adopt
    if entry.ready:
        labels[LABEL_READY] = shlex.join(entry.ready)
    return labels


def _folder(bundle: str) -> dict[str, Any]:
    """The mount of the folder that a service's bundles lie in."""
    source = bundle.rpartition("/")[0]
    return {"type": "bind", "source": source, "target": MOUNT, "read_only": True, "bind": {"create_host_path": False}}


def published(file: File) -> list[tuple[str, int]]:
    """(address, port) of the host that the whole file wants."""
    return [each for entry in file.services.values() for each in entry.published]


def memory(file: File) -> int:
    """The bytes that all containers together may take, of those that have a limit."""
    return sum(entry.memory * entry.replicas for entry in file.services.values())
