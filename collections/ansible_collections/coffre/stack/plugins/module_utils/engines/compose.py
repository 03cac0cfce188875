"""What a project should run, as `docker compose` says, what it runs, as the engine says, and the few verbs between.

Read with Compose 2.26.1 on Engines 20.10 and 26.1. `docker compose config --hash` equals the label
com.docker.compose.config-hash of a container made from the same file, with two exceptions this module relies on:
`up --no-deps` drops `depends_on` from the hash (so a file that has it is refused), and `--scale`, `pull_policy` and
`build` never enter it. The hash covers the service only: neither the definition of a network or volume nor the path
or content of a secret is part of it, and an image counts by its reference, so image ids are compared beside it.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import stat
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..compose_file import LABEL_ADOPT, LABEL_BUNDLE, LABEL_READY
from ..errors import CoffreError
from ..host.api import CALL_SECONDS, engine
from ..paths import StackPaths
from .base import Container, DesiredService, Place

# Not root's own configuration of the docker command: its `proxies` would be in each new container's environment.
CLIENT = "/usr/local/lib/coffre/docker"
PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"})
PROBE_SECONDS = 10.0
BESIDE_SECONDS = 900


def call(command: Sequence[str], stdin: str = "", timeout: float = CALL_SECONDS, quotes: bool = True) -> str:
    """Run a command and return its standard output; CoffreError if it fails, which quotes the line that says why."""
    what = " ".join(command[:2])
    environment = {**os.environ, "DOCKER_CONFIG": CLIENT}
    try:
        done = subprocess.run(
            list(command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        raise CoffreError(f"{command[0]} is not installed on this host; run playbooks/site.yml.") from None
    except subprocess.TimeoutExpired:
        raise CoffreError(f"`{what}` did not end within {timeout:.0f} s.") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        why = next((line for line in said if line.startswith("Error response from daemon:")), said[-1])
        why = why if quotes else "what it said is withheld, because it was given values"
        raise CoffreError(f"`{what}` failed with exit code {done.returncode}: {why[:300]}")
    return done.stdout


def _compose(file: Path, *words: str, content: str = "") -> str:
    """What Compose prints for a file, or for the content that is to stand in its place."""
    source = ["--project-directory", str(file.parent), "-f", "-"] if content else ["-f", str(file)]
    return call(["docker", "compose", "--ansi", "never", *source, *words], content)


def desired(file: Path, content: str = "") -> dict[str, DesiredService]:
    """Every service of a compose file by name, or of the content that is to stand in its place."""
    asked = [("--hash", "*"), ("--format", "json")]
    with ThreadPoolExecutor() as pool:
        told = pool.map(lambda words: _compose(file, "config", *words, content=content), asked)
        lines, config = next(told).splitlines(), json.loads(next(told))
    hashes = dict(line.split() for line in lines if line.strip())
    services: dict[str, Any] = config["services"]
    if dependent := sorted(name for name, service in services.items() if service.get("depends_on")):
        raise CoffreError(
            f"{file}: {', '.join(dependent)} must not say depends_on; the rollout keeps the order, "
            "and Compose counts it as a change of configuration."
        )
    ids = image_ids({str(service["image"]) for service in services.values()})
    result = {}
    for name, service in services.items():
        labels: dict[str, str] = service.get("labels") or {}
        result[name] = DesiredService(
            name=name,
            config_hash=hashes[name],
            image=service["image"],
            image_id=ids.get(service["image"]),
            bundle=labels.get(LABEL_BUNDLE),
            adopt=labels.get(LABEL_ADOPT, "restart"),
            restart=str(service.get("restart") or "no").partition(":")[0],
            variables=frozenset(service.get("environment") or {}),
        )
    return result


def entrypoint(image: str) -> list[str]:
    """The words of an image's own program. Raises CoffreError."""
    found: list[str] | None = json.loads(
        call(["docker", "image", "inspect", "--format", "{{json .Config.Entrypoint}}", image])
    )
    return found or []


def file_of_image(image: str, path: str) -> bytes:
    """A file of an image, from a container that is never started. Raises CoffreError where it has none."""
    with engine(f"does not read {path} of {image}") as api:
        made = api.create_container(image, command=["none"])["Id"]
        try:
            stream, _ = api.get_archive(made, path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
                file = archive.extractfile(archive.getmembers()[0])
                return file.read() if file else b""
        finally:
            api.remove_container(made, v=True, force=True)


def image_ids(references: Iterable[str]) -> dict[str, str]:
    """The ids of those images that this host has, by reference."""
    found = {}
    for each in references:
        with suppress(CoffreError), engine(f"does not tell of {each}") as api:
            found[each] = str(api.inspect_image(each)["Id"])
    return found


def containers(project: str) -> list[Container]:
    """All containers of a project, stopped ones too, oldest first."""
    with engine() as api:
        mine = [f"com.docker.compose.project={project}", "com.docker.compose.oneoff=False"]
        listed = api.containers(all=True, filters={"label": mine})
        found = [parse(api.inspect_container(each["Id"])) for each in listed]
        found = [
            replace(each, proxies=each.proxies - of_proxies(api.inspect_image(each.image_id)["Config"]))
            if each.proxies
            else each
            for each in found
        ]
    return sorted(found, key=lambda container: container.created)


def networks(project: str) -> list[dict[str, Any]]:
    """What the engine says of each network of a project: Id, Driver, Options and more."""
    with engine() as api:
        found: list[dict[str, Any]] = api.networks(filters={"label": f"com.docker.compose.project={project}"})
    return found


def inspect(ids: Sequence[str]) -> list[Container]:
    """The containers with these ids; one that is gone meanwhile is an error."""
    with engine() as api:
        return [parse(api.inspect_container(each)) for each in ids]


def parse(data: dict[str, Any]) -> Container:
    """What the engine says of a container, which is also an element of `docker container inspect`."""
    config, state = data["Config"], data["State"]
    labels: dict[str, str] = config.get("Labels") or {}
    check = (config.get("Healthcheck") or {}).get("Test") or []
    networks: dict[str, dict[str, str]] = data["NetworkSettings"].get("Networks") or {}
    return Container(
        id=data["Id"],
        name=data["Name"].removeprefix("/"),
        service=labels.get("com.docker.compose.service", ""),
        config_hash=labels.get("com.docker.compose.config-hash", ""),
        image=config["Image"],
        image_id=data["Image"],
        bundle=labels.get(LABEL_BUNDLE),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        exit_code=int(state["ExitCode"]),
        out_of_memory=bool(state.get("OOMKilled")),
        restarts=int(data.get("RestartCount", 0)),
        created=data["Created"],
        pid=int(state["Pid"]),
        stop_seconds=int(config.get("StopTimeout", 10)),
        restart=data["HostConfig"]["RestartPolicy"]["Name"] or "no",
        health_check=tuple(check),
        ready=tuple(shlex.split(labels.get(LABEL_READY, ""))),
        addresses=frozenset(network["IPAddress"] for network in networks.values() if network.get("IPAddress")),
        mounts=tuple(
            (mount["Source"], mount["Destination"]) for mount in data.get("Mounts", []) if mount["Type"] == "bind"
        ),
        adopt=labels.get(LABEL_ADOPT, ""),
        arguments=tuple(config.get("Cmd") or ()),
        memory=int(data["HostConfig"].get("Memory") or 0),
        published=published(data),
        places=places(data),
        proxies=of_proxies(config),
        networks=frozenset(networks),
    )


def of_proxies(config: dict[str, Any]) -> frozenset[str]:
    """The names of the variables of a proxy in the `Config` of a container or an image."""
    names = (entry.partition("=")[0] for entry in config.get("Env") or [])
    return frozenset(name for name in names if name.upper() in PROXIES)


def published(data: dict[str, Any]) -> frozenset[str]:
    """The ports of the host that lead to a container, as 8443/tcp, from what the engine says of it."""
    bindings: dict[str, list[dict[str, str]] | None] = data["HostConfig"].get("PortBindings") or {}
    return frozenset(
        f"{each['HostPort']}/{inside.partition('/')[2]}"
        for inside, places in bindings.items()
        for each in places or []
        if each.get("HostPort", "").isdigit()
    )


def places(data: dict[str, Any]) -> frozenset[Place]:
    """Where on the host a container listens over TCP, from what the engine says of it."""
    bindings: dict[str, list[dict[str, str]] | None] = data["HostConfig"].get("PortBindings") or {}
    return frozenset(
        (each.get("HostIp") or "", int(each["HostPort"]))
        for inside, found in bindings.items()
        for each in found or []
        if inside.endswith("/tcp") and each.get("HostPort", "").isdigit()
    )


def queued(pid: int) -> float:
    """For how many seconds the threads of a process, and of what it started, have waited for a processor so far."""
    total, left = 0, [pid] if pid else []
    while left:
        # Whoever ends meanwhile has no more to tell.
        with suppress(OSError, IndexError, ValueError):
            for thread in Path(f"/proc/{left.pop()}/task").iterdir():
                with suppress(OSError, IndexError, ValueError):
                    total += int((thread / "schedstat").read_text(encoding="ascii").split()[1])
                    left += map(int, (thread / "children").read_text(encoding="ascii").split())
    return total / 1e9


def broken_mount(container: Container, root: Path) -> str | None:
    """A mount of this container under `root` that no longer is what was mounted; None if all are sound.

    Docker makes a directory where the file of a bind mount is missing, and a container that mounted one keeps it
    although the file has come back; one that mounted a directory never sees another that took its place. So both
    sides are looked at, the container's through /proc.
    """
    for source, target in container.mounts:
        if not Path(source).is_relative_to(root):
            continue
        here = _identity(source)
        inside = _identity(f"/proc/{container.pid}/root{target}") if container.pid else here
        if not here or here != inside or (here[0] == stat.S_IFDIR and not any(Path(source).iterdir())):
            return target
    return None


def _identity(path: str) -> tuple[int, ...] | None:
    """The kind of a file, and of a directory also which one it is."""
    try:
        about = Path(path).stat()
    except OSError:
        return None
    kind = stat.S_IFMT(about.st_mode)
    return (kind, about.st_dev, about.st_ino) if kind == stat.S_IFDIR else (kind,)


def add(file: Path, project: str, service: str) -> Container:
    """Make one more container of a service, not started, and leave those there are as they are.

    Compose starts what is paused or dead, whatever it is told; it must not find such a one.
    """
    known = {each.id for each in containers(project) if each.service == service}
    words = ["up", "--no-start", "--no-deps", "--no-recreate", "--no-build", "--pull", "never"]
    try:
        _compose(file, *words, "--scale", f"{service}={len(known) + 1}", service)
        problem = ""
    except CoffreError as error:
        problem = str(error)
    made = [each for each in containers(project) if each.service == service and each.id not in known]
    if len(made) == 1 and not problem:
        return made[0]
    for each in made:
        remove(each.id)
    raise CoffreError(problem or f"Compose made {len(made)} containers of {service} where one was asked for.")


def start(container: str) -> None:
    """Start a container; one that runs is left alone."""
    with engine("does not start a container") as api:
        api.start(container)


def connect(container: Container, networks: Iterable[str]) -> None:
    """Put a container on more networks, where it is found by its service's name like all others of it."""
    for each in sorted(networks):
        with engine(f"does not put {container.name} on the network {each}") as api:
            api.connect_container_to_network(container.id, each, aliases=[container.service])


def disconnect(container: Container, networks: Iterable[str]) -> None:
    """Take a container off networks."""
    for each in sorted(networks):
        with engine(f"does not take {container.name} off the network {each}") as api:
            api.disconnect_container_from_network(container.id, each)


def unpause(container: str) -> None:
    """Let a paused container go on."""
    with engine("does not let a paused container go on") as api:
        api.unpause(container)


def stop(container: Container) -> None:
    """Stop a container within its own grace period; one that has stopped is left alone."""
    with engine(f"does not stop {container.name}") as api:
        api.stop(container.id, timeout=container.stop_seconds)


def set_restart(container: str, policy: str) -> None:
    """Change a container's restart policy. After a reboot `always` starts one that was stopped, and `no` none."""
    with engine("does not change the restart policy of a container") as api:
        api.update_container(container, restart_policy={"Name": policy})


def near(_: StackPaths) -> AbstractContextManager[None]:
    """This host is in all networks of its containers."""
    return nullcontext()


@contextmanager
def beside(paths: StackPaths, service: str) -> Iterator[Container]:
    """A container that is as those of a service and sleeps. Raises CoffreError where it does not start.

    It joins no other under the service's name, is no container of the stack to `containers`, and ends by itself.
    """
    words = ["run", "--detach", "--rm", "--no-deps", "--entrypoint", "sleep", service, str(BESIDE_SECONDS)]
    made = _compose(paths.compose, *words).strip()
    try:
        yield inspect([made])[0]
    finally:
        with suppress(CoffreError):
            remove(made)


def remove(container: str) -> None:
    """Remove a container, killing it if it runs; one that is gone is left alone."""
    with engine("does not remove a container") as api:
        from docker.errors import NotFound  # late, as in `engine`

        with suppress(NotFound):
            api.remove_container(container, v=True, force=True)


def save_logs(container: str, path: Path, lines: int = 200, of: Sequence[str] = ("logs",)) -> bool:
    """Write a container's last log lines to a file of root's, unread. False if it cannot, on a full disk say.

    `of` are the words of docker's command; those for a swarm's service are others.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError, subprocess.SubprocessError), os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        subprocess.run(
            ["docker", *of, "--tail", str(lines), container],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=CALL_SECONDS,
            check=True,
        )
        return True
    return False


def logged(container: str) -> bytes:
    """All that the engine tells of a container's log. CoffreError where the driver keeps it from the engine."""
    try:
        done = subprocess.run(
            ["docker", "logs", container],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CALL_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        raise CoffreError("The engine does not tell the log of a container.") from None
    return done.stdout


def ask(container: str, *command: str, stdin: str = "", seconds: float = PROBE_SECONDS) -> str:
    """What a command run inside a container prints. CoffreError if it fails, without its words if it was given any."""
    return call(["docker", "exec", "-i", container, *command], stdin=stdin, timeout=seconds, quotes=not stdin)


def checked(container: Container, command: Sequence[str]) -> tuple[bool, str]:
    """Whether a container's own check succeeds in time, and the first of what it prints."""
    done = _inside(container.id, command, subprocess.PIPE)
    if done is None:
        return False, f"it did not answer within {PROBE_SECONDS:.0f} s"
    return done.returncode == 0, done.stdout.decode(errors="replace").strip()[:300]


def succeeds(container: str, command: Sequence[str]) -> bool:
    """Whether a command run inside a container exits with 0 in time; what it prints is thrown away."""
    done = _inside(container, command, subprocess.DEVNULL)
    return done is not None and done.returncode == 0


def _inside(container: str, command: Sequence[str], stdout: int) -> subprocess.CompletedProcess[bytes] | None:
    """How a command run inside a container ended, its standard output where `stdout` says; None if not in time."""
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(
            ["docker", "exec", container, *command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
            check=False,
        )
    return None
