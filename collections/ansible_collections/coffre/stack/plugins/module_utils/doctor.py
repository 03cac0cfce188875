"""The checks of a stack on its host: all of them read only, each with a line that says what is wrong and what to do.

Values are opened here to be compared and searched for; names and places are all that comes out.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import re
import ssl
import stat
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from . import bundles, compose, leaks, rings, rollout, seals, tmpfs
from . import state as states
from .catalogue import HOST, Catalogue
from .errors import CoffreError, SealError
from .outcome import guard
from .paths import LINK, StackPaths

SOON = timedelta(days=30)
HTTP_SECONDS = 10
SECRET_VARIABLE = re.compile(r"(DEMO_MODE|.*(PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIALS?|_KEY))$", re.IGNORECASE)
BINDINGS = {
    "host": "the host key alone, so a copy of the whole disk opens them",
    "tpm2": "the TPM",
    "host+tpm2": "the TPM and the host key",
}


@dataclass(frozen=True)
class Check:
    """The outcome of one check, for a person and for a machine."""

    check: str
    ok: bool
    message: str


@dataclass(frozen=True)
class History:
    """What the controller found in its checkout: the words of its history, as a file on this host, and private keys."""

    words: Path | None
    private_keys: tuple[str, ...]
    note: str


@dataclass
class Patient:
    """The stack on this host. What several checks ask for is fetched once."""

    paths: StackPaths
    catalogue: Catalogue
    url: str
    ca_path: Path | None
    history: History
    proc: Path = Path("/proc")

    @functools.cached_property
    def state(self) -> states.State:
        return states.load(self.paths)

    @functools.cached_property
    def contents(self) -> dict[tuple[str, str], bundles.Content | None]:
        """Every bundle that state knows, from its sealed copy; None where that does not open."""
        return {key: self._opened(*key) for key, _ in self.known()}

    def _opened(self, service: str, name: str) -> bundles.Content | None:
        try:
            return bundles.unseal(self.paths, service, name)
        except SealError:
            return None

    def known(self) -> Iterator[tuple[tuple[str, str], states.Bundle]]:
        """((service, bundle id), bundle) of each bundle in the state."""
        for service, entry in sorted(self.state.services.items()):
            for name, bundle in sorted(entry.bundles.items()):
                yield (service, name), bundle

    @functools.cached_property
    def values(self) -> dict[str, bytes]:
        """All values that the sealed copies hold, `secret` and `secret (bundle)` for those no longer staged."""
        found = {}
        for (service, name), bundle in self.known():
            content = self.contents[service, name]
            staged = self.state.services[service].staged == name
            for secret in bundle.versions if content else []:
                value = content.value(secret, bundle) if content else None
                if value:
                    found[secret if staged else f"{secret} ({name})"] = value
        return found

    @functools.cached_property
    def finder(self) -> leaks.Finder:
        return leaks.of_values(self.values)

    @functools.cached_property
    def inspected(self) -> list[dict[str, Any]]:
        """What `docker inspect` says of every container of the stack."""
        ids = compose.call(["docker", "ps", "-aq", "--no-trunc", "--filter", f"label={self.label}"]).split()
        return self.ask("container", ids)

    @property
    def label(self) -> str:
        return f"com.docker.compose.project={self.paths.stack}"

    @staticmethod
    def ask(kind: str, names: Iterable[str]) -> list[dict[str, Any]]:
        """`docker <kind> inspect` of some objects."""
        wanted = sorted(set(names))
        found: list[dict[str, Any]] = json.loads(compose.call(["docker", kind, "inspect", *wanted])) if wanted else []
        return found


def insist(problems: Iterable[str], note: str) -> str:
    """Return note if there are no problems, else raise them as one CoffreError."""
    if found := list(dict.fromkeys(problems)):
        shown = found if len(found) <= 8 else [*found[:8], f"and {len(found) - 8} more"]
        raise CoffreError("; ".join(shown))
    return note


# --- files ------------------------------------------------------------------------------------------------


def memory(patient: Patient) -> str:
    """The tmpfs, its options, and what could swap it out."""
    root = patient.paths.run_root
    options = tmpfs.options(root)
    if options is None:
        raise CoffreError(f"{root} is no tmpfs of its own, so secrets there would be on a disk or gone at a reboot")
    missing = sorted({"nosuid", "nodev", "noexec"} - options)
    problems = [f"{root} is mounted without {option}" for option in missing]
    if exposure := tmpfs.exposure(root):
        problems.append(exposure)
    return insist(
        problems, f"{root} is a tmpfs" + (" with noswap" if "noswap" in options else ", and no swap in clear")
    )


def permissions(patient: Patient) -> str:
    """Owner and mode of everything of ours on tmpfs and on disk."""
    paths, problems = patient.paths, []
    expected = {
        folder: (0, 0, 0o700) for folder in (paths.run_root, paths.run, paths.lib_root, paths.lib, paths.sealed)
    }
    expected |= {paths.state: (0, 0, 0o600)} | {path: (0, 0, 0o600) for path in paths.sealed.glob("*")}
    for (service, name), bundle in patient.known():
        folder = paths.bundle(service, name)
        if patient.state.services[service].staged == name:
            expected[paths.service(service)] = bundles.directory_rights(bundle)
        expected[folder] = bundles.directory_rights(bundle)
        expected |= {folder / file: (bundle.uid, bundle.gid, bundles.FILE_MODE) for file in bundle.files}
    seen = 0
    for path, rights in expected.items():
        try:
            about = path.lstat()
        except FileNotFoundError:
            continue  # the checks of bundles and seals tell what is missing
        seen += 1
        if (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) != rights:
            problems.append(f"{path} is {_rights(about)} where {rights[0]}:{rights[1]} {rights[2]:04o} is due")
    for path in paths.lib.rglob("*"):
        about = path.lstat()
        if about.st_uid != 0 or (about.st_mode & 0o022 and not path.is_symlink()):
            problems.append(f"{path} is {_rights(about)}, and others than root could change it")
    return insist(problems, f"{seen} files and directories have the owner and mode they should")


def _rights(about: os.stat_result) -> str:
    return f"{about.st_uid}:{about.st_gid} {stat.S_IMODE(about.st_mode):04o}"


def staged(patient: Patient) -> str:
    """The state is readable, of this catalogue, and no run is under way in it."""
    services = patient.state.services
    if not services:
        raise CoffreError(f"stack {patient.paths.stack} was never deployed on this host")
    problems = []
    if run := patient.state.run:
        problems.append(
            f"the rotation of {', '.join(run.secrets)} by {run.operator} is open since {run.started}: "
            "run playbooks/rotate.yml, which finishes or undoes it"
        )
    for service in patient.catalogue.receivers():
        entry = services.get(service.name, states.Service())
        if not entry.staged:
            problems.append(f"no bundle is staged for {service.name}")
        elif entry.bundles[entry.staged].files != rings.files(patient.catalogue, service, patient.state.secrets):
            problems.append(f"the bundle of {service.name} has other files than the catalogue says")
        elif entry.next:
            problems.append(f"the bundle {entry.next} of {service.name} is staged and not adopted")
    return insist(problems, f"{len(patient.state.secrets)} secrets are staged for {len(services)} consumers")


def content(patient: Patient) -> str:
    """The bundles on tmpfs are exactly those of the state, and equal their sealed copies."""
    paths, problems = patient.paths, []
    known = {key for key, _ in patient.known()}
    for (service, name), bundle in patient.known():
        folder, sealed = paths.bundle(service, name), patient.contents[service, name]
        if not folder.is_dir() or folder.is_symlink():
            problems.append(f"the bundle {name} of {service} is missing")
            continue
        present = {path.name for path in folder.iterdir()}
        problems += [f"{folder / file} is foreign" for file in sorted(present - set(bundle.files))]
        problems += [f"{folder / file} is missing" for file in sorted(set(bundle.files) - present)]
        for file in sorted(present & set(bundle.files)):
            path = folder / file
            if path.is_symlink() or not path.is_file():
                problems.append(f"{path} is no regular file")
            elif sealed and path.read_bytes() != sealed.files.get(file):
                problems.append(f"{path} differs from its sealed copy")
    for folder in paths.run.iterdir():
        entry = patient.state.services.get(folder.name, states.Service())
        reloads = any(bundle.reload for bundle in entry.bundles.values())
        if not entry.bundles or not folder.is_dir() or folder.is_symlink():
            problems.append(f"{folder} is foreign")
            continue
        for path in folder.iterdir():
            if (folder.name, path.name) not in known and not (reloads and path.name == LINK):
                problems.append(f"{path} is foreign")
        link = folder / LINK
        if reloads and (not link.is_symlink() or str(link.readlink()) != (entry.current or entry.next)):
            problems.append(f"{link} does not name the bundle in force")
    return insist(problems, f"{len(known)} bundles hold exactly what their sealed copies do")


def sealed(patient: Patient) -> str:
    """Every bundle has a sealed copy that opens here; what they are bound to."""
    paths, bound = patient.paths, set()
    problems = []
    for (service, name), _ in patient.known():
        path = paths.seal(service, name)
        if patient.contents[service, name] is None:
            missing = "is missing" if not path.exists() else "does not open: it is damaged, or from another host"
            problems.append(f"{path} {missing}")
        else:
            bound.add(seals.binding(path))
    known = {paths.seal(*key).name for key, _ in patient.known()}
    problems += [f"{path} is foreign" for path in sorted(paths.sealed.iterdir()) if path.name not in known]
    return insist(problems, "the seals are bound to " + ", ".join(sorted(BINDINGS.get(key, key) for key in bound)))


# --- time -------------------------------------------------------------------------------------------------


def ages(patient: Patient) -> str:
    """No secret is older than its catalogue allows."""
    now, problems, soon = datetime.now(UTC), [], []
    for name, secret in sorted(patient.catalogue.secrets.items()):
        held = patient.state.secrets.get(name)
        if secret.max_age_days is None or held is None:
            continue
        due = datetime.fromisoformat(held.created) + timedelta(days=secret.max_age_days)
        if due <= now:
            problems.append(f"{name} is due for rotation since {due:%Y-%m-%d}")
        elif due <= now + SOON:
            soon.append(f"{name} on {due:%Y-%m-%d}")
    return insist(problems, f"due within {SOON.days} days: {', '.join(soon)}" if soon else "no secret is due soon")


def certificates(patient: Patient) -> str:
    """The certificates that services present: key, name and chain agree, and they are valid for a while."""
    now, problems, notes = datetime.now(UTC), [], []
    for (service, name), bundle in patient.known():
        if service == HOST or patient.state.services[service].staged != name:
            continue
        for file in bundle.files:
            path = patient.paths.bundle(service, name) / file
            if b"-----BEGIN CERTIFICATE-----" not in path.read_bytes():
                continue
            try:
                expires = _handshake(path, patient)
            except ssl.SSLCertVerificationError as error:
                problems.append(f"{file} is refused by a client: {error.verify_message}")
            except ssl.SSLError as error:
                problems.append(f"{file} cannot be used: {(error.reason or 'unknown').replace('_', ' ').lower()}")
            else:
                notes.append(f"{file} expires on {expires:%Y-%m-%d}" + (", soon" if expires <= now + SOON else ""))
    if patient.ca_path:
        for authority in ssl.create_default_context(cafile=str(patient.ca_path)).get_ca_certs():
            expires = _date(str(authority["notAfter"]))
            if expires <= now:
                problems.append(f"the authority in {patient.ca_path} expired on {expires:%Y-%m-%d}")
            elif expires <= now + SOON:
                notes.append(f"the authority in {patient.ca_path} expires soon, on {expires:%Y-%m-%d}")
    return insist(problems, "; ".join(notes) or "no service presents a certificate")


def _date(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _handshake(path: Path, patient: Patient) -> datetime:
    """Present a certificate to a client of the stack, in memory; when it expires. Raises ssl.SSLError."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    presenting = server.wrap_bio(to_server, to_client, server_side=True)
    name = urllib.parse.urlsplit(patient.url).hostname
    asking = _trusting(patient).wrap_bio(to_client, to_server, server_hostname=name)
    for side in (asking, presenting, asking):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return _date(str((asking.getpeercert() or {})["notAfter"]))


def _trusting(patient: Patient) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(patient.ca_path) if patient.ca_path else None)


# --- containers -------------------------------------------------------------------------------------------


def engine(_: Patient) -> str:
    """The Docker engine answers."""
    return f"Docker Engine {compose.call(['docker', 'version', '--format', '{{.Server.Version}}'], timeout=20).strip()}"


def containers(patient: Patient) -> str:
    """Each service runs, healthy, as the Compose file says, with its current bundle."""
    if not patient.paths.compose.exists():
        raise CoffreError(f"{patient.paths.compose} is missing")
    actual = sorted(map(compose.parse, patient.inspected), key=lambda each: each.created)
    wanted = compose.wanted(patient.paths.compose)
    broken = {each.id: path for each in actual if (path := compose.broken_mount(each, patient.paths.run_root))}
    problems = [f"{each.name} belongs to no service" for each in actual if each.service not in wanted]
    for name, service in sorted(wanted.items()):
        step = rollout.plan(service, [each for each in actual if each.service == name], frozenset(broken))
        if step.acts:
            problems.append(f"{name} needs a rollout ({step.why})")
        elif step.keep and step.keep.health == "starting":
            problems.append(f"{name} is still starting")
        current = patient.state.services.get(name, states.Service()).current
        folder = patient.paths.bundle(name, current) if current else None
        for each in actual:
            if each.service != name:
                continue
            if folder and each.bundle not in (current, None):
                problems.append(f"{each.name} has the bundle {each.bundle}, not the current {current}")
            for source, _ in each.mounts:
                inside = Path(source).is_relative_to(patient.paths.run_root)
                if inside and not (folder and (Path(source).parent == folder or Path(source) == folder.parent)):
                    problems.append(f"{each.name} mounts {source}, which is not of its current bundle")
            if each.out_of_memory:
                problems.append(f"{each.name} was killed for want of memory")
    problems += [f"the mount {path} of a container is broken" for path in broken.values()]
    return insist(problems, f"{len(actual)} containers run their current bundles, healthy")


def hardening(patient: Patient) -> str:
    """What every container is held to, as the engine has it."""
    networks = {network["Name"]: network["Internal"] for network in patient.ask("network", _networks(patient))}
    problems = []
    for data in patient.inspected:
        host, config, name = data["HostConfig"], data["Config"], data["Name"].removeprefix("/")
        service = patient.catalogue.services.get((config.get("Labels") or {}).get("com.docker.compose.service", ""))
        ulimits = {limit["Name"]: limit["Hard"] for limit in host.get("Ulimits") or []}
        published = any(host.get("PortBindings") or {})
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
            "dumps no core": ulimits.get("core") == 0,
            "shares no namespace of the host": not any(host.get(key) == "host" for key in ("PidMode", "IpcMode")),
            "is on internal networks only": published or all(networks.get(net) for net in _networks_of(data)),
            "cannot reach the engine": not any("docker.sock" in mount["Source"] for mount in data.get("Mounts", [])),
        }
        problems += [f"it is not so that {name} {what}" for what, holds in must.items() if not holds]
    return insist(problems, f"{len(patient.inspected)} containers are held to the stack's limits")


def _networks_of(data: dict[str, Any]) -> list[str]:
    return sorted(data["NetworkSettings"].get("Networks") or {})


def _networks(patient: Patient) -> set[str]:
    return {name for data in patient.inspected for name in _networks_of(data)}


# --- leaks ------------------------------------------------------------------------------------------------


def metadata(patient: Patient) -> str:
    """No value in what the engine tells of containers, images, networks and volumes, nor in the images' history."""
    images = sorted({data["Image"] for data in patient.inspected})
    volumes = {
        mount["Name"] for data in patient.inspected for mount in data.get("Mounts", []) if mount["Type"] == "volume"
    }
    told = {
        "docker inspect of the containers": json.dumps(patient.inspected),
        "docker inspect of the images": json.dumps(patient.ask("image", images)),
        "docker inspect of the networks": json.dumps(patient.ask("network", _networks(patient))),
        "docker inspect of the volumes": json.dumps(patient.ask("volume", volumes)),
    }
    for image in images:
        command = ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}} {{.Comment}}", image]
        told[f"docker history of {image[:19]}"] = compose.call(command)
    problems = [
        f"the value of {name} stands in {place}"
        for place, text in told.items()
        for name in patient.finder.names(text.encode())
    ]
    note = f"{len(patient.inspected)} containers and {len(images)} images hold no value"
    if short := leaks.unsearchable(patient.values):
        note += f"; too short to be searched for: {', '.join(short)}"
    return insist(problems, note)


def environment(patient: Patient) -> str:
    """No value in any process's environment or arguments, and no variable in a container that is meant for one."""
    own = {name.upper().replace("-", "_") for name in patient.catalogue.secrets}
    problems = []
    for data in patient.inspected:
        for variable in sorted(entry.partition("=")[0] for entry in data["Config"].get("Env") or []):
            if variable in own or SECRET_VARIABLE.match(variable):
                problems.append(f"{data['Name'].removeprefix('/')} has the variable {variable}")
    seen, closed = 0, 0
    for path in (path for kind in ("environ", "cmdline") for path in sorted(patient.proc.glob(f"[0-9]*/{kind}"))):
        try:
            told = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except PermissionError:
            closed += 1  # in a container, root may not see all of its machine
            continue
        seen += 1
        problems += [f"the value of {name} stands in {path}" for name in patient.finder.names(told)]
    note = f"no value in {seen} environments and argument lists of processes"
    return insist(problems, note + (f"; {closed} more could not be read" if closed else ""))


def logs(patient: Patient) -> str:
    """No value in the containers' logs."""
    problems, size = [], 0
    for data in patient.inspected:
        current = Path(data.get("LogPath") or "/nonexistent")
        for path in sorted(current.parent.glob(f"{current.name}*")) if current.is_file() else []:
            text = path.read_bytes()
            size += len(text)
            problems += [
                f"the value of {name} stands in the log of {data['Name'].removeprefix('/')}"
                for name in patient.finder.names(text)
            ]
    return insist(problems, f"no value in {size // 1024} KiB of logs")


def git_history(patient: Patient) -> str:
    """No value and no private key in anything that the checkout's repository holds."""
    problems = [f"the object {key} is a private key" for key in patient.history.private_keys]
    if patient.history.words:
        with gzip.open(patient.history.words) as file:
            names = patient.finder.names(file.read())
        problems += [f"the value of {name} stands in it" for name in names]
    return insist(problems, patient.history.note)


# --- the stack answers ------------------------------------------------------------------------------------


def fetch(url: str, context: ssl.SSLContext | None = None, form: dict[str, str] | None = None) -> tuple[int, Any]:
    """(status, parsed JSON or None) of a request; 0 when there is no answer. No proxy of the environment is used."""
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(url, data=data)  # noqa: S310 - the URLs are the stack's own
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=HTTP_SECONDS) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    except (OSError, ValueError):
        return 0, None
    try:
        return status, json.loads(text)
    except ValueError:
        return status, None


def app(patient: Patient) -> str:
    """The app is healthy, and ready with a token from Keycloak, asked through the proxy over TLS."""
    problems = []
    context = _trusting(patient)
    for path in ("/health", "/ready"):
        status, told = fetch(patient.url + path, context)
        cause = told.get("cause") or told.get("secrets") if isinstance(told, dict) else None
        if status == 0:
            problems.append(f"{patient.url}{path} gives no answer that can be trusted")
        elif status != 200:
            problems.append(f"{patient.url}{path} answers {status}" + (f" ({cause})" if cause else ""))
    return insist(problems, f"{patient.url} is healthy and ready")


def keycloak(patient: Patient) -> str:
    """Keycloak is ready, and grants a token for each client secret that the host holds."""
    running = [
        data
        for data in patient.inspected
        if data["Config"]["Labels"].get("com.docker.compose.service") == "keycloak" and data["State"]["Running"]
    ]
    if not running:
        raise CoffreError("no Keycloak is running")
    problems, granted = [], []
    for data in running:
        address = next(each["IPAddress"] for each in data["NetworkSettings"]["Networks"].values() if each["IPAddress"])
        name = data["Name"].removeprefix("/")
        status, _ = fetch(f"http://{address}:9000/health/ready")
        if status != 200:
            problems.append(f"{name} is not ready (its readiness answers {status or 'nothing'})")
            continue
        for secret in patient.catalogue.secrets.values():
            if secret.strategy != "keycloak_client" or HOST not in secret.consumers:
                continue
            realm, client = secret.settings["realm"], secret.settings["client"]
            form = {
                "grant_type": "client_credentials",
                "client_id": client,
                "client_secret": bundles.value(patient.paths, patient.state, HOST, secret.name).decode(),
            }
            status, _ = fetch(f"http://{address}:8080/realms/{realm}/protocol/openid-connect/token", form=form)
            if status == 200:
                granted.append(client)
            else:
                problems.append(
                    f"{name} grants no token to {client} with {secret.name} (it answers {status or 'nothing'})"
                )
    return insist(problems, f"{len(running)} ready, with a token for {', '.join(sorted(set(granted))) or 'nobody'}")


def boot(_: Patient) -> str:
    """What raises the secrets when the machine starts."""
    if not Path("/run/systemd/system").is_dir():
        return "PID 1 is not systemd: after a reboot, run playbooks/site.yml"
    problems = []
    for unit in ("coffre-restore.service", "docker.service"):
        done = subprocess.run(["systemctl", "is-enabled", unit], capture_output=True, text=True, check=False)
        if done.stdout.strip() != "enabled":
            problems.append(
                f"{unit} is {done.stdout.strip() or 'not there'}, so a reboot would not bring the stack back"
            )
    return insist(problems, "the boot unit is enabled")


# --- all of it --------------------------------------------------------------------------------------------

SITE = "run playbooks/site.yml"


@dataclass(frozen=True)
class Examination:
    """A check, the checks without which it makes no sense, and what to do when it fails."""

    name: str
    run: Callable[[Patient], str]
    needs: tuple[str, ...]
    cure: str


EXAMINATIONS = (
    Examination("state", staged, (), SITE),
    Examination("engine", engine, (), f"start it (systemctl start docker), or {SITE}"),
    Examination("boot unit", boot, (), SITE),
    Examination("memory", memory, (), f"{SITE}; swap must be off or encrypted where the kernel has no noswap"),
    Examination("permissions", permissions, ("state",), SITE),
    Examination("bundles", content, ("state",), f"{SITE}, which mends them from the sealed copies"),
    Examination("seals", sealed, ("state",), f"{SITE}, which seals anew what it can, and names what it cannot"),
    Examination("ages", ages, ("state",), f"give the source a new value, and {SITE}"),
    Examination(
        "certificates", certificates, ("state",), "give the source a new certificate, and run playbooks/site.yml"
    ),
    Examination("containers", containers, ("engine", "state"), SITE),
    Examination("hardening", hardening, ("engine", "state"), f"{SITE} and see what else starts or changes containers"),
    Examination("docker metadata", metadata, ("engine", "state"), "replace the secret, then what shows it"),
    Examination("environment", environment, ("engine", "state"), "replace the secret, then what shows it"),
    Examination("container logs", logs, ("engine", "state"), "replace the secret, then what logs it"),
    Examination("app", app, ("state",), f"see docker logs of the app and the proxy, or {SITE}"),
    Examination("keycloak", keycloak, ("engine", "state"), f"see docker logs of Keycloak, or {SITE}"),
    Examination("git history", git_history, (), "replace the secret; what was pushed once is known"),
)


def examine(patient: Patient) -> list[Check]:
    """All checks, in order. Nothing that a check stumbles over keeps the others from running."""
    found: dict[str, Check] = {}
    for each in EXAMINATIONS:
        if missing := [need for need in each.needs if not _usable(found[need], patient)]:
            found[each.name] = Check(each.name, False, f"not checked, because of: {', '.join(missing)}")
            continue
        result, problem = guard(functools.partial(_run, each, patient))
        message = result["note"] if result else f"{problem}. What to do: {each.cure}."
        found[each.name] = Check(each.name, result is not None, message)
    return list(found.values())


def _usable(check: Check, patient: Patient) -> bool:
    """Whether what rests on a check can be done: a state that is not in order is one nevertheless."""
    if check.check == "state" and not check.ok:
        result, _ = guard(lambda: {"there": bool(patient.state.services)})
        return bool(result and result["there"])
    return check.ok


def _run(each: Examination, patient: Patient) -> dict[str, Any]:
    try:
        return {"note": each.run(patient)}
    except OSError as error:
        raise CoffreError(f"{error.filename or 'something'} cannot be read ({error.strerror})") from None
