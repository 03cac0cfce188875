"""The service file that is run on a swarm, of version 3.12, made from the user's Compose file.

Read with docker 26.1: of what `docker stack deploy` does not know, it refuses some and passes over the rest without a
word, `tmpfs`, `security_opt` and a tmpfs's mode among it; so each key is said here as Swarm has it, or refused.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...catalogue import Catalogue
from ...compose_file import LABEL_BUNDLE, Entry, File, hardened, labelled
from ...host import objects, state
from . import SPEC, courier

VERSION = "3.12"
# What a service is given as the file says it.
KEPT = frozenset(
    """
    cap_add cap_drop command configs dns dns_search entrypoint environment extra_hosts healthcheck hostname image init
    isolation logging read_only stdin_open stop_grace_period stop_signal sysctls tty ulimits user working_dir
    """.split()  # noqa: SIM905 - a line each otherwise
)
# What is said otherwise, or is for those who look after the nodes: no-new-privileges is every container's there.
SAID_ELSEWHERE = frozenset(
    """
    build cpu_shares cpus depends_on deploy expose labels mem_limit memswap_limit networks pids_limit ports restart
    secrets security_opt tmpfs volumes
    """.split()  # noqa: SIM905
)
RESTARTS = {"no": "none", "on-failure": "on-failure", "always": "any", "unless-stopped": "any"}
MONITOR = "2s"  # that each new task is watched; the last one's end before the update is over
LONGEST = 31  # of a service's name: Swarm has 63 characters for STACK_SERVICE
NOT_YET = "which stack_engine: swarm does not do yet"
READY = "/dev/shm/coffre-ready"  # noqa: S108 - in memory that every container has, and can write to
ALLOWED_SECURITY = {"no-new-privileges:true", "no-new-privileges=true", "no-new-privileges"}


def problems(catalogue: Catalogue) -> list[str]:
    """What of a stack Swarm has no way to do, or is not done yet, a clause each."""
    found = [problem for entry in catalogue.file.services.values() for problem in _of(entry)]
    made = {name for name in catalogue.file.services if courier.called(name) in catalogue.file.services}
    found += [f"the service {courier.called(name)} has the name of what brings {name} its files" for name in made]
    for name, volume in (catalogue.file.data.get("volumes") or {}).items():
        if volume and volume.get("external"):
            found.append(f"the volume {name} is external, {NOT_YET}")
    return [*found, *_out_of_reach(catalogue)]


def _out_of_reach(catalogue: Catalogue) -> Iterator[str]:
    """Secrets that would need a command in the container of a verifier that may be on another node."""
    users = {each.verifier for each in catalogue.secrets.values() if each.strategy == "postgres_user"}
    for name, secret in catalogue.secrets.items():
        where = f"the container of {secret.verifier}, which may be on another node"
        if secret.strategy == "postgres_role" and secret.verifier not in users:
            yield f"{name} needs psql in {where}: add a secret of the strategy postgres_user for that service"
        if secret.strategy == "command" and not secret.settings.get("beside"):
            yield f"{name} has commands for {where}: set beside: true where they reach it over the network"


def _of(entry: Entry) -> Iterator[str]:
    where = f"service {entry.name}"
    for key in entry.data:
        if key not in KEPT | SAID_ELSEWHERE and not str(key).startswith("x-"):
            yield f"{where} says {key}, which Swarm has no way to do: leave it out"
    if set(entry.data.get("security_opt") or ()) - ALLOWED_SECURITY:
        yield f"{where} says security_opt, of which Swarm knows no-new-privileges alone, on every node: leave it out"
    if entry.signal:
        yield f"{where} reloads on a signal, which nobody sends to another node: leave x-coffre.adopt out"
    if len(courier.called(entry.name) if entry.adopt == "reload" else entry.name) > LONGEST:
        yield f"the service name {entry.name} is too long for Swarm: use up to {LONGEST} characters"
    for address, port in entry.published:
        if address not in ("", "0.0.0.0", "::"):  # noqa: S104
            yield f"{where} publishes port {port} on {address}: Swarm publishes on every address of a node, so say none"


def passed_over(file: File) -> list[str]:
    """What Swarm takes no notice of, a clause each."""
    return [
        f"service {name}: Swarm takes no notice of {key}"
        for name, entry in file.services.items()
        for key in ("cpu_shares", "memswap_limit")
        if key in entry.data
    ]


def rendered(
    stack: str,
    file: File,
    st: state.State,
    images: Mapping[str, str],
    plain_networks: bool,
    shim: Callable[[Entry], Mapping[str, Any]] = lambda _: {},
) -> dict[str, Any]:
    """The whole file. Each service has its own secrets by reference, and a label with the hash of what it is given.

    `images` and `shim` as for `compose_file.run_file`.
    """
    secrets: dict[str, Any] = {}
    volumes = copy.deepcopy(file.data.get("volumes") or {})
    services = {}
    for name, entry in file.services.items():
        known = st.services.get(name, state.ServiceState())
        data = {**hardened(entry, file.harden), **shim(entry)}
        if name in images:
            data["image"] = images[name]
        made = {name: _service(stack, entry, data, known)}
        if entry.adopt == "reload":
            volumes[courier.called(name)] = courier.volume(entry)
            made |= _courier(file, entry, made[name], known)
        for called, service in made.items():
            secrets |= {each["source"]: _external(stack, each["source"]) for each in service.get("secrets", [])}
            services[called] = _hashed(service)
    top = {
        "version": VERSION,
        "services": services,
        "networks": {name: _network(each, plain_networks) for name, each in _networks(file)},
        "volumes": volumes,
        "configs": copy.deepcopy(file.data.get("configs") or {}),
        "secrets": secrets,
    }
    return {key: value for key, value in top.items() if value}


def parts(whole: Mapping[str, Any], name: str) -> list[str]:
    """The services of the rendered file that a service of the user's has become, in the order of their rollout."""
    return [each for each in (courier.called(name), name) if each in whole["services"]]


def of_one(whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The file with one of its services, and of the lists no more than that takes from them."""
    service = whole["services"][name]
    taken = {
        "networks": set(service.get("networks") or {}),
        "secrets": {each["source"] for each in service.get("secrets") or []},
        "volumes": {each.get("source") for each in service.get("volumes") or [] if each["type"] == "volume"},
        "configs": {_source(each) for each in service.get("configs") or []},
    }
    lists = {
        kind: {key: each for key, each in whole.get(kind, {}).items() if key in names} for kind, names in taken.items()
    }
    return {"version": VERSION, "services": {name: service}, **{kind: each for kind, each in lists.items() if each}}


def _source(each: Any) -> str:
    return str(each["source"] if isinstance(each, Mapping) else each)


def _hashed(service: dict[str, Any]) -> dict[str, Any]:
    """A service with the hash of all that it is, on itself and on its tasks."""
    text = json.dumps(service, sort_keys=True)
    label = {SPEC: hashlib.sha256(text.encode()).hexdigest()}
    deploy = {**service["deploy"], "labels": {**service["deploy"].get("labels", {}), **label}}
    return {**service, "deploy": deploy, "labels": {**service["labels"], **label}}


def _external(stack: str, called: str) -> dict[str, Any]:
    return {"external": True, "name": f"{stack}.{called}"}


def _secrets(entry: Entry, name: str, bundle: state.Bundle) -> list[dict[str, Any]]:
    """The files of a bundle by reference, each its service's own."""
    targets = dict(entry.listed)
    own = {"uid": str(bundle.uid), "gid": str(bundle.gid), "mode": 0o400}
    called = sorted(objects.references(name, bundle).items())
    return [{"source": each, "target": targets.get(file, file), **own} for file, each in called]


def _courier(file: File, entry: Entry, proxy: dict[str, Any], known: state.ServiceState) -> dict[str, Any]:
    """What brings a proxy its staged bundle, by its name; nothing where none is staged yet."""
    if not known.staged:
        return {}
    said = file.data.get("networks") or {}
    joined = proxy["networks"]
    network = next((name for name in joined if (said.get(name) or {}).get("internal")), next(iter(joined)))
    secrets = _secrets(entry, known.staged, known.bundles[known.staged])
    return {courier.called(entry.name): courier.service(entry, proxy, known.staged, secrets, network)}


def _service(stack: str, entry: Entry, data: Mapping[str, Any], known: state.ServiceState) -> dict[str, Any]:
    service = {key: copy.deepcopy(value) for key, value in data.items() if key in KEPT}
    reloads = entry.adopt == "reload"
    name = None if reloads else known.staged
    labels = labelled(entry) | ({LABEL_BUNDLE: name} if name else {})
    secrets = _secrets(entry, name, known.bundles[name]) if name else []
    shared = courier.mounts(entry) if reloads else []
    taken = {each["target"] for each in shared}
    more = {
        "healthcheck": _health(entry, data.get("healthcheck") or {}),
        "volumes": [*_volumes(data), *(each for each in _tmpfs(data) if each["target"] not in taken), *shared],
        "ports": list(_ports(data)),
        "networks": _joined(data),
        "secrets": secrets,
        "labels": labels,
        "deploy": _deploy(stack, entry, data),
    }
    return service | {key: value for key, value in more.items() if value or key in ("labels", "deploy")}


def _health(entry: Entry, said: Mapping[str, Any]) -> dict[str, Any]:
    """When Swarm goes on to the next task: once a service's own readiness check has passed.

    From then on its health check counts alone, for Swarm ends a task that fails it, and who is not ready for want of
    another service must not be ended for that. Until it is well a task is looked at every second.
    """
    health = copy.deepcopy(dict(said))
    if health.get("start_period"):
        health.setdefault("start_interval", "1s")
    if entry.ready:
        line = f"if [ -e {READY} ]; then {_line(health.get('test'))}; else {shlex.join(entry.ready)} && : >{READY}; fi"
        health["test"] = ["CMD", "/bin/sh", "-c", line]
    return health


def _line(test: Any) -> str:
    """A health check as a line for a shell."""
    match test:
        case str(line):
            return line
        case ["CMD", *words]:
            return shlex.join(map(str, words))
        case ["CMD-SHELL", line]:
            return str(line)
    return ":"


def _deploy(stack: str, entry: Entry, data: Mapping[str, Any]) -> dict[str, Any]:
    said = copy.deepcopy(dict(entry.data.get("deploy") or {}))
    order = "start-first" if entry.adopt == "start_first" else "stop-first"
    limits = {
        "memory": _text(entry.limit("mem_limit", "memory")),
        "pids": data.get("pids_limit") or entry.limit("pids_limit", "pids"),
        "cpus": _text(entry.limit("cpus", "cpus")),
    }
    way = {"order": order, "parallelism": 1, "monitor": MONITOR}
    restart = str(data.get("restart") or "unless-stopped").partition(":")[0]
    placement = said.get("placement") or {}
    constraints = [*(placement.get("constraints") or []), *_where(stack, entry, data)]
    resources = said.get("resources") or {}
    kept = {key: value for key, value in limits.items() if value}
    return {
        **said,
        "mode": "global" if entry.everywhere else said.get("mode") or "replicated",
        **({} if entry.everywhere else {"replicas": entry.replicas}),
        "endpoint_mode": said.get("endpoint_mode", "dnsrr"),  # not every kernel has what a virtual address needs
        "update_config": {**way, **(said.get("update_config") or {}), "failure_action": "rollback"},
        "rollback_config": {**way, **(said.get("rollback_config") or {})},
        "restart_policy": said.get("restart_policy") or {"condition": RESTARTS[restart], "delay": "1s"},
        "placement": {**placement, "constraints": constraints},
        "resources": {**resources, **({"limits": kept} if kept else {})},
    }


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _where(stack: str, entry: Entry, data: Mapping[str, Any]) -> list[str]:
    """On which nodes a service's tasks may run: one with data of its own on the node that has them.

    A trail that each task writes by itself is none of those.
    """
    own = {each["source"] for each in _volumes(data) if each["type"] == "volume"} - {entry.audit.get("volume")}
    here = [f"node.labels.coffre.{stack}==true"]
    return [*here, f"node.labels.coffre.{stack}.data==true"] if own else here


def _volumes(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The mounts of a service but those in memory, in the long syntax."""
    for each in data.get("volumes") or []:
        if isinstance(each, Mapping):
            known = {key: copy.deepcopy(value) for key, value in each.items() if key != "bind"}
            yield known | ({"type": "volume"} if "type" not in each else {})
            continue
        source, _, rest = str(each).partition(":")
        target, _, options = rest.partition(":")
        kind = "bind" if source.startswith("/") else "volume"
        yield {"type": kind, "source": source, "target": target} | ({"read_only": True} if options == "ro" else {})


def _tmpfs(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is mounted in memory, as root's, with the rights of the image's folder: Swarm knows of a size alone."""
    said = data.get("tmpfs") or []
    for each in [said] if isinstance(said, str) else said:
        target, _, options = str(each).partition(":")
        sizes = [option.partition("=")[2] for option in options.split(",") if option.startswith("size=")]
        yield {"type": "tmpfs", "target": target} | ({"tmpfs": {"size": _bytes(sizes[0])}} if sizes else {})


def _bytes(size: str) -> int:
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    return int(size[:-1]) * units[size[-1].lower()] if size[-1].lower() in units else int(size)


def _ports(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The ports of a service on the node that its task runs on: without the mesh a client's address stays known."""
    for each in data.get("ports") or []:
        if isinstance(each, Mapping):
            published, target, protocol = each.get("published"), each["target"], each.get("protocol")
        else:
            said, _, protocol = str(each).partition("/")
            rest, _, target = said.rpartition(":")
            published = rest.rpartition(":")[2]
        port = {"target": int(target), "protocol": str(protocol or "tcp"), "mode": "host"}
        yield port | ({"published": int(published)} if published else {})


def _joined(data: Mapping[str, Any]) -> dict[str, Any]:
    said = data.get("networks") or ["default"]
    return dict.fromkeys(map(str, said)) if isinstance(said, list) else copy.deepcopy(dict(said))


def _networks(file: File) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The networks of a file, with the one of those that name none."""
    said = {name: each or {} for name, each in (file.data.get("networks") or {}).items()}
    names = [name for entry in file.services.values() for name in _joined(entry.data)]
    return {**{name: said.get(name, {}) for name in names}, **said}.items()


def _network(said: Mapping[str, Any], plain: bool) -> dict[str, Any]:
    options = {**(said.get("driver_opts") or {}), **({} if plain else {"encrypted": ""})}
    return {**said, "driver": "overlay", **({"driver_opts": options} if options else {})}
