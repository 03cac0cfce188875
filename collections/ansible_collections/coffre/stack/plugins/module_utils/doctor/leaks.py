"""The doctor's search for values where none belongs. They are opened here; names and places are all that comes out."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..engines import compose
from ..errors import CoffreError
from ..host import api
from ..scan import leaks
from .target import ACTING, NODE, UNNAMED, Target, verdict

BLOCK = 8 << 20  # bytes of words that are searched at once
# A password in a URL, as of a proxy or a database.
PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
SECRET_VARIABLE = re.compile(r"(DEMO_MODE|.*(PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIALS?|_KEY))$", re.IGNORECASE)


def metadata(target: Target) -> str:
    """No value in what the engine tells of containers, images, networks and volumes, nor in the images' history."""
    images = sorted({data["Image"] for data in target.inspected})
    volumes = {
        mount["Name"] for data in target.inspected for mount in data.get("Mounts", []) if mount["Type"] == "volume"
    }
    told = {
        "docker inspect of the containers": json.dumps(target.inspected),
        "docker inspect of the images": json.dumps(target.ask("image", images)),
        "docker inspect of the networks": json.dumps(target.ask("network", target.networks())),
        "docker inspect of the volumes": json.dumps(target.ask("volume", volumes)),
    }
    if target.place == ACTING:
        told |= {
            f"what the managers tell of {kind}": json.dumps(api.ask("GET", f"/{kind}"))
            for kind in ("services", "tasks", "configs", "secrets", "nodes")
        }
    for image in images:
        command = ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}} {{.Comment}}", image]
        told[f"docker history of {image[:19]}"] = compose.call(command)
    problems = [
        f"the value of {name} stands in {place}"
        for place, text in told.items()
        for name in target.finder.names(text.encode())
    ]
    note = f"{len(target.inspected)} containers and {len(images)} images hold no value"
    if short := leaks.unsearchable(target.values):
        note += f"; too short to be searched for: {', '.join(short)}"
    return verdict(problems, note)


def environment(target: Target) -> str:
    """No value in any process's environment or arguments, and no variable in a container that is meant for one.

    What a service's `x-coffre.environment` puts into its own processes is a warning.
    """
    own = {name.upper().replace("-", "_") for name in target.catalogue.secrets}
    problems = []
    for data in target.inspected:
        for entry in sorted(data["Config"].get("Env") or []):
            variable, _, text = entry.partition("=")
            if variable in own or SECRET_VARIABLE.match(variable):
                problems.append(f"{data['Name'].removeprefix('/')} has the variable {variable}")
            elif PASSWORD_IN_URL.search(text):
                problems.append(f"{data['Name'].removeprefix('/')} has a password in the variable {variable}")
    exported, warnings = _exported(target), []
    seen, closed = 0, 0
    for path in (path for kind in ("environ", "cmdline") for path in sorted(target.proc.glob(f"[0-9]*/{kind}"))):
        try:
            told = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except PermissionError:
            closed += 1  # in a container, root may not see all of its machine
            continue
        seen += 1
        for name in target.finder.names(told):
            if by := path.name == "environ" and _service(path, exported, name):
                warnings.append(f"{by} has the value of {name} in its environment, as its x-coffre.environment says")
            else:
                problems.append(f"the value of {name} stands in {path}")
    note = f"no value in {seen} environments and argument lists of processes"
    return verdict(problems, note + (f"; {closed} more could not be read" if closed else ""), warnings)


def _exported(target: Target) -> dict[str, tuple[str, set[str]]]:
    """By a container's id its service, and the secrets that its `x-coffre.environment` gives to its processes."""
    found = {}
    for data in target.inspected:
        service = target.catalogue.services.get(target.service_of(data))
        mapping = service.entry.coffre.get("environment") if service and service.entry else None
        if service and mapping:
            files = target.catalogue.files(service)
            unnamed = {name for name in target.values if name.startswith(f"{UNNAMED} {service.name} (")}
            names = {name for file in mapping.values() for name in files.get(file, [])}
            found[data["Id"]] = (service.name, names | (unnamed if target.place == NODE else set()))
    return found


def _service(environ: Path, exported: dict[str, tuple[str, set[str]]], secret: str) -> str:
    """The service that gives a secret to this process, which is in its container; "" for none."""
    try:
        group = environ.with_name("cgroup").read_text(encoding="utf-8") if exported else ""
    except OSError:
        return ""
    known = {secret, secret.partition(" ")[0]}  # one that is no longer in force has its version behind its name
    return next((name for id, (name, secrets) in exported.items() if id in group and known & secrets), "")


def logs(target: Target) -> str:
    """No value in the containers' logs."""
    problems, unread, size = [], [], 0
    for data in target.inspected:
        container = data["Name"].removeprefix("/")
        try:
            for text in _logged(data):
                size += len(text)
                problems += [
                    f"the value of {name} stands in the log of {container}" for name in target.finder.names(text)
                ]
        except CoffreError:
            driver = data["HostConfig"].get("LogConfig", {}).get("Type", "")
            unread.append(f"not searched: the log of {container}, which the driver {driver or '?'} does not give back")
    return verdict(problems, f"no value in {size // 1024} KiB of logs", unread)


def _logged(data: dict[str, Any]) -> Iterator[bytes]:
    """What a container has logged: from the engine's own files, or what the engine tells. CoffreError if neither."""
    current = Path(data.get("LogPath") or "/nonexistent")
    if current.is_file():
        for path in sorted(current.parent.glob(f"{current.name}*")):
            yield path.read_bytes()
    else:
        yield compose.logged(data["Id"])


def git_history(target: Target) -> str:
    """No value and no private key in anything that the checkout's repository holds."""
    problems = [f"the object {key} is a private key" for key in target.history.private_keys]
    unsearched = list(target.history.unsearched)
    if target.history.words:
        with gzip.open(target.history.words) as file:
            names = target.finder.names_in(_blocks(file))
        problems += [f"the value of {name} stands in it" for name in names]
        if short := leaks.unsearchable(target.values):
            unsearched.append(f"what is too short to be searched for ({', '.join(short)})")
        if without := target.finder.without_words:
            unsearched.append(f"what is no text, but for its encodings ({', '.join(without)})")
    return verdict(problems, target.history.note, [f"not searched: {each}" for each in unsearched])


def _blocks(file: gzip.GzipFile) -> Iterator[bytes]:
    """Blocks of whole lines of some MiB."""
    while block := file.read(BLOCK):
        yield block + file.readline()
