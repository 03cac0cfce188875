"""Makes secrets, with a strategy each, of the credentials that were found, and the services that read them as files."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..compose_file import REFUSED
from . import kinds
from .look import MARK, SECRETS, Looked, Sighting, look, settled
from .read import Found

ALPHABET = "A-Za-z0-9_.~-"
GENERIC = {"password", "passwd", "pass", "secret", "token", "key", "secret-key", "api-key", "private-key", "salt"}
PLACEHOLDER = re.compile(r"(?i).*(change|example|replace|your|secret|password|dummy|insert|todo|xxx|<)")
LONG = 16  # what two variables have in common by chance is shorter
USER = re.compile(r"(PASSWORD|PASSWD|PASS|PWD|PW)(?=_|\d|$)")
# What is left out of a service, and what a person does about it.
DROPPED = {key: instead for key, instead in REFUSED.items() if key not in ("env_file", "scale")}
# Redis keeps its users, as digests, in a file that must be there when it starts.
ACL = 'touch /data/users.acl && exec "$$@" --aclfile /data/users.acl'
SERVERS = {
    "mysql": "the image sets it when it makes its data; the strategy `command` can be taught ALTER USER",
    "mongodb": "the image sets it when it makes its data; the strategy `command` can be taught updateUser",
    "amqp": "the image sets it when it makes its data; the strategy `command` can be taught change_password",
    "postgres": "the image sets it when it makes its data, and whoever logs in has the user's name elsewhere",
}


@dataclass
class ProposedSecret:
    """One secret to be: what was seen of it, and the catalogue's entry."""

    sightings: list[Sighting]
    name: str = ""
    entry: dict[str, Any] = field(default_factory=dict)
    role: bool = False  # whether its user changes with it


@dataclass
class Proposal:
    """What is to be written, and what a person must decide."""

    compose: dict[str, Any]
    secrets: list[dict[str, Any]]
    files: list[dict[str, Any]]
    origins: dict[str, dict[str, str]]
    decide: list[str]
    more: dict[str, str] = field(default_factory=dict)  # other files of the folder


def propose(found: Found, uids: list[int]) -> Proposal:
    """`uids` are free ones, at least as many as there are services."""
    looked = look(found)
    mounts = _files(looked, found)
    _redis(looked, found)
    secrets = _grouped(looked)
    for secret in secrets:
        _strategy(secret, looked)
    by_mark = {number: secret for secret in secrets for number in _numbers(looked, secret)}
    files: dict[str, dict[str, Any]] = {}
    uids = list(uids)
    names = {name: kinds.slug(name) for name in found.data["services"]}
    volumes: dict[str, Any] = {}
    services = {
        names[name]: _Service(looked, found, name, by_mark, files, mounts.get(name, {}), names, volumes).written(uids)
        for name in found.data["services"]
    }
    extra = _split_superusers(secrets, looked, services)
    top = {key: found.data[key] for key in ("networks", "volumes", "configs") if found.data.get(key)}
    notes = [f"The file's `{key}` was left out." for key in ("include", "name") if found.data.get(key)]
    if kept := [name for name, how in (found.data.get("volumes") or {}).items() if not (how or {}).get("external")]:
        notes.append(
            f"The volumes {', '.join(kept)} begin empty. Where this stack runs already, say external: true and name: "
            "PROJECT_VOLUME of each, as docker volume ls has it, to keep its data."
        )
    top = {key: settled(looked, found, key, value, "") for key, value in top.items()}
    top |= {"volumes": {**(top.get("volumes") or {}), **volumes}} if volumes else {}
    notes += [f"{', '.join(services)}: {text}." for text, services in looked.said.items()]
    origins = {each.name: origin for each in secrets if (origin := _origin(each))}
    return Proposal(
        {"x-coffre": {"harden": True}, "services": services, **top},
        [each.entry for each in secrets] + [entry for entry, _ in extra],
        list(files.values()),
        origins | {entry["name"]: origin for entry, origin in extra},
        list(dict.fromkeys(found.notes + notes)),
    )


def _origin(secret: ProposedSecret) -> dict[str, str]:
    """Where the value stands whole, else where it can be cut out."""
    origins = sorted((each.origin for each in secret.sightings if each.origin), key=lambda origin: "part" in origin)
    return origins[0] if origins else {}


def _numbers(looked: Looked, secret: ProposedSecret) -> list[int]:
    return [number for number, each in enumerate(looked.sightings) if any(each is one for one in secret.sightings)]


def _grouped(looked: Looked) -> list[ProposedSecret]:
    """One secret for sightings of one server that have one value or one variable, and for those of one long value."""
    groups: dict[tuple[str, str], ProposedSecret] = {}
    for sighting in looked.sightings:
        value = sighting.value
        telling = value is not None and (sighting.kind or (len(value) >= LONG and not PLACEHOLDER.match(value)))
        same = f"={value}" if telling else f"${sighting.label}"
        kind, same = ("", f"file {sighting.file}") if sighting.file else (sighting.kind, same)
        groups.setdefault((kind, same), ProposedSecret([])).sightings.append(sighting)
    used: set[str] = set()
    for secret in groups.values():
        secret.name = _name(secret, looked, used)
        used.add(secret.name)
    return list(groups.values())


def _name(secret: ProposedSecret, looked: Looked, used: set[str]) -> str:
    """What its server calls it, or the first who has it; with the service's name where that says nothing."""
    first = next((each for each in secret.sightings if looked.servers[each.service].kind), secret.sightings[0])
    name = kinds.slug(first.label)
    if name in GENERIC or name in used or (first.part == "password" and name == kinds.slug(first.variable)):
        name = kinds.slug(f"{first.service}-{'password' if first.part == 'password' else name}")
    number = 2
    while name in used:
        name, number = f"{name.rstrip('0123456789').rstrip('-')}-{number}", number + 1
    return name


def _strategy(secret: ProposedSecret, looked: Looked) -> None:
    first, name = secret.sightings[0], secret.name
    kind = next((each.kind for each in secret.sightings if each.kind), "")
    words = f"{first.label} {first.variable}".upper()
    consumers = list(dict.fromkeys(kinds.slug(each.service) for each in secret.sightings))
    entry: dict[str, Any] = {"name": name, "strategy": "replace", "generate": {"type": "random", "bytes": 32}}
    why = "it is replaced in its consumers only; if somebody else checks it, choose that one's strategy"
    server = next((each for each, image in looked.servers.items() if image.kind and image.kind == kind), "")
    outside = kinds.FILES.search(str(first.file)) if first.file else kinds.PAIR.search(words)
    if outside and kind not in SERVERS:
        del entry["generate"]
        entry |= {"kind": "bytes"} if first.file else {}
        why = "it comes from outside, so that nothing generates it"
    elif kind == "postgres" and server and (superuser := _superuser(secret, looked, server)):
        secret.role = True
        database = looked.plain[server].get("POSTGRES_DB", superuser)
        roles = [f"{superuser}_a", f"{superuser}_b"]
        settings = {"service": kinds.slug(server), "superuser": superuser, "owner": superuser, "database": database}
        entry |= {
            "strategy": "postgres_role",
            "settings": settings | {"roles": roles},
            "attributes": {"role": roles[0]},
        }
        why = "its consumers log in as one of two roles in turn; say sessions: optional if their connections are short"
    elif kind == "redis" and server:
        entry |= {"strategy": "redis_acl", "settings": {"service": kinds.slug(server), "user": "default"}}
        why = "the user is Redis' default one; an application of its own user is better"
    elif kind in SERVERS:
        entry |= {"strategy": "fixed", "settings": {"why": SERVERS[kind]}}
        why = SERVERS[kind]
    elif kinds.ENCRYPTS.search(words):
        entry |= {"strategy": "fixed", "settings": {"why": "data are encrypted or hashed under it"}}
        why = "data may be encrypted or hashed under it"
    elif kinds.RING.search(words):
        entry |= {"strategy": "key_ring", "settings": {"keep_days": 31}}
        if len(consumers) > 1:
            entry["settings"]["signers"] = [consumers[0]]
        why = "earlier keys lie beside it as NAME.VERSION, if the app reads them; say in signers which services sign"
    if entry["strategy"] != "fixed":
        entry["max_age_days"] = 180 if outside else 90
    secret.entry = entry
    if all(each.value is None and not each.file for each in secret.sightings):
        why += ". It has no value here: take it out where you have none"
    for service in consumers:
        looked.say(service, f"secret {name}, by {entry['strategy']}: {why}")


def _superuser(secret: ProposedSecret, looked: Looked, server: str) -> str:
    """The user of the database, where everybody who logs in takes the name from Coffre too; else nothing."""
    user = looked.plain[server].get("POSTGRES_USER", "postgres")
    clients = [each for each in secret.sightings if each.service != server]
    able = all(each.part == "password" or _user_variable(looked, each) for each in clients)
    return user if clients and able and re.fullmatch(r"[a-z_][a-z0-9_]{0,60}", user) else ""


def _user_variable(looked: Looked, sighting: Sighting) -> str:
    """The variable beside a password's that has the user's name; none is needed in a URL."""
    if sighting.part == "password":
        return ""
    plain = looked.plain[sighting.service]
    names = [USER.sub(word, sighting.variable) for word in ("USER", "USERNAME")]
    return next((name for name in names if name != sighting.variable and name in plain), "")


def _split_superusers(
    secrets: list[ProposedSecret], looked: Looked, services: dict[str, Any]
) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """For a server whose clients get roles: a password of its own, which it is made with and nobody uses."""
    found = []
    for secret in (each for each in secrets if each.role):
        own = [each for each in secret.sightings if looked.servers[each.service].kind]
        for sighting in own:
            name = f"{kinds.slug(sighting.service)}-first-password"
            service = services[kinds.slug(sighting.service)]
            service["secrets"] = [name if each == secret.name else each for each in service["secrets"]]
            service["environment"] = {
                key: value.replace(SECRETS + secret.name, SECRETS + name) if isinstance(value, str) else value
                for key, value in service["environment"].items()
            }
            why = "the image makes its data with it; whoever logs in has roles of their own"
            entry = {
                "name": name,
                "strategy": "fixed",
                "generate": {"type": "random", "bytes": 32},
                "settings": {"why": why},
            }
            found.append((entry, sighting.origin))
    return found


def _files(looked: Looked, found: Found) -> dict[str, dict[str, Sighting]]:
    """By service, the files with credentials that it mounts or has as Compose's own secrets, by source."""
    mounts: dict[str, dict[str, Sighting]] = {}
    tops = found.data.get("secrets") or {}
    for name, service in found.data["services"].items():
        here = mounts.setdefault(name, {})
        for each in service.get("volumes") or []:
            source, target = _mount(each)
            path = found.path.parent / Path(source).expanduser() if source[:1] in (".", "/", "~") else None
            if path and (kinds.FILES.search(source) or kinds.FILES.search(target)) and not path.is_dir():
                here[source] = Sighting(name, "", Path(target).name, kind="", file=path, target=target)
        for each in service.get("secrets") or []:
            source = str(each.get("source") if isinstance(each, Mapping) else each)
            top = tops.get(source) or {}
            target = str((isinstance(each, Mapping) and each.get("target")) or source)
            path = found.path.parent / str(top["file"]) if top.get("file") else None
            variable = top.get("environment", "")
            here[source] = Sighting(name, variable, source, kind=_asked(looked, name, target), file=path, target=target)
    for here in mounts.values():
        for sighting in here.values():
            looked.mark(sighting)
    return mounts


def _asked(looked: Looked, service: str, target: str) -> str:
    """The server that a Compose secret is for: that of the variable that names its file."""
    place = target if target.startswith("/") else SECRETS + target
    names = [name for name, value in looked.plain[service].items() if value == place]
    return looked.servers[service].kind if names else ""


def _mount(volume: Any) -> tuple[str, str]:
    """(source, target) of one entry of `volumes`."""
    if isinstance(volume, Mapping):
        return str(volume.get("source") or ""), str(volume.get("target") or "")
    source, _, rest = str(volume).partition(":")
    return (source, rest.partition(":")[0]) if rest else ("", source)


def _redis(looked: Looked, found: Found) -> None:
    """The password that Redis is started with."""
    for name, service in found.data["services"].items():
        if looked.servers[name].kind != "redis" or "requirepass" not in str(service.get("command")):
            continue
        words = _words(service["command"])
        place = words.index("--requirepass") if "--requirepass" in words[:-1] else -1
        if place >= 0:
            label = re.sub(r"\W*(\w+).*", r"\1", words[place + 1]) if "$" in words[place + 1] else "redis-password"
            value = found.variables.get(label) if "$" in words[place + 1] else words[place + 1]
            looked.mark(Sighting(name, "", label, value, "redis", "within"))


def _words(command: Any) -> list[str]:
    if isinstance(command, list):
        return [
            word for each in command for word in (shlex.split(str(each)) if "requirepass" in str(each) else [str(each)])
        ]
    try:
        return shlex.split(str(command))
    except ValueError:
        return str(command).split()


@dataclass
class _Service:
    """One service on its way from the file that was found to the one that is written."""

    looked: Looked
    found: Found
    name: str
    by_mark: Mapping[int, ProposedSecret]
    files: dict[str, dict[str, Any]]
    mounts: Mapping[str, Sighting]
    names: Mapping[str, str]
    volumes: dict[str, Any]  # of the file, beside its own
    secrets: list[Any] = field(default_factory=list)
    shim: dict[str, str] = field(default_factory=dict)

    def written(self, uids: list[int]) -> dict[str, Any]:
        data, image = self.found.data["services"][self.name], self.looked.servers[self.name]
        skip = {*REFUSED, "environment", "secrets", "depends_on", "x-coffre"}
        kept = {key: value for key, value in data.items() if key not in skip and not str(key).startswith("x-")}
        mounts = [each for each in data.get("volumes") or [] if _mount(each)[0] not in self.mounts]
        kept["volumes"] = [
            self._volume(settled(self.looked, self.found, self.name, each, "volumes")) for each in mounts
        ]
        if self._is_checked_by_acl():
            kept |= self._acl(data.get("command"), kept["volumes"])
        kept = settled(self.looked, self.found, self.name, copy.deepcopy(kept), "")
        kept |= {"build": self._build(kept["build"])} if kept.get("build") else {}
        if data.get("scale"):
            kept["deploy"] = {**(kept.get("deploy") or {}), "replicas": data["scale"]}
        kept["environment"] = self._environment(image)
        kept["depends_on"] = self._after(data.get("depends_on"))
        self._mounted()
        kept["secrets"] = self.secrets
        kept |= self._limits(data, image, uids)
        if self.shim:
            kept["x-coffre"] = {"environment": dict(sorted(self.shim.items()))}
        if self.names[self.name] != self.name:
            self._renamed(kept)
        self._left_out(data)
        return {key: value for key, value in kept.items() if value not in (None, {}, [])} | {
            "environment": kept["environment"],
            "secrets": kept["secrets"],
        }

    def _say(self, text: str) -> None:
        self.looked.say(self.name, text)

    def _environment(self, image: kinds.Image) -> dict[str, str]:
        plain = dict(self.looked.plain[self.name])
        for variable, text in self.looked.marked[self.name].items():
            file = self._file(variable, text)
            self._list(file)
            if image.files and (variable in image.passwords or not image.kind):
                plain[f"{variable}{image.files}"] = SECRETS + file
            else:
                self.shim[variable] = file
            for number in map(int, MARK.findall(text)):
                self._user(self.by_mark[number], self.looked.sightings[number], plain)
        return plain

    def _file(self, variable: str, text: str) -> str:
        """The name of the file that has a variable's text: the secret alone, or one that is composed."""
        if alone := MARK.fullmatch(text):
            return self.by_mark[int(alone[1])].name
        template = MARK.sub(lambda mark: f"@{{{self.by_mark[int(mark[1])].name}}}", text.replace("$$", "$"))
        for secret in {secret.name: secret for secret in self.by_mark.values() if secret.role}.values():
            template = re.sub(
                rf"://[^:/@\s]*:@\{{{secret.name}\}}", f"://@{{{secret.name}.role}}:@{{{secret.name}}}", template
            )
        return self._composed(kinds.slug(variable), template)

    def _composed(self, name: str, template: str) -> str:
        taken = {secret.name for secret in self.by_mark.values()}
        if name in taken or self.files.get(name, {"template": template})["template"] != template:
            name = kinds.slug(f"{self.name}-{name}-file" if f"{self.name}-{name}" in taken else f"{self.name}-{name}")
        self.files[name] = {"name": name, "alphabet": ALPHABET, "template": template}
        return name

    def _user(self, secret: ProposedSecret, sighting: Sighting, plain: dict[str, str]) -> None:
        """The user's name changes with the password, where roles take turns."""
        server = bool(self.looked.servers[self.name].kind)
        if secret.role and not server and (variable := _user_variable(self.looked, sighting)):
            plain.pop(variable, None)
            name = self._composed(kinds.slug(f"{secret.name}-user"), f"@{{{secret.name}.role}}")
            self._list(name)
            self.shim[variable] = name

    def _list(self, entry: Any) -> None:
        if entry not in self.secrets:
            self.secrets.append(entry)

    def _mounted(self) -> None:
        for sighting in self.mounts.values():
            number = next(index for index, each in enumerate(self.looked.sightings) if each is sighting)
            name = self.by_mark[number].name
            target = sighting.target.removeprefix(SECRETS)
            self._list(name if target == name else {"source": name, "target": target})

    def _volume(self, volume: Any) -> Any:
        source, _ = _mount(volume)
        if source.endswith("docker.sock"):
            self._say(f"it mounts {source}, by which it is root on the host")
        if not source.startswith((".", "~")):
            return volume
        path = str((self.found.path.parent / Path(source).expanduser()).resolve())
        self._say(
            f"it mounts {source}, which is relative: {path} must be there on every host; better copied into an image"
        )
        if isinstance(volume, Mapping):
            return {**volume, "source": path}
        return f"{path}{str(volume)[len(source) :]}"

    def _is_checked_by_acl(self) -> bool:
        service = self.names[self.name]
        entries = [each.entry for each in self.by_mark.values() if each.entry["strategy"] == "redis_acl"]
        return any(entry["settings"]["service"] == service for entry in entries)

    def _acl(self, command: Any, volumes: list[Any]) -> dict[str, Any]:
        """The command without its password and with a file of users, and the volume that keeps that."""
        words = _words(command) if command else ["redis-server"]
        if not words[0].endswith("-server"):
            self._say("start it with an aclfile that it can write, and without the password: redis_acl gives it that")
            return {}
        place = words.index("--requirepass") if "--requirepass" in words else len(words)
        if not any(_mount(each)[1].rstrip("/") == "/data" for each in volumes):
            name = f"{self.names[self.name]}-data"
            self.volumes[name] = None
            volumes = [*volumes, f"{name}:/data"]
        return {"command": ["sh", "-c", ACL, "redis", *words[:place], *words[place + 2 :]], "volumes": volumes}

    def _build(self, build: Any) -> Any:
        """A build whose context is where it was."""
        wanted = {"context": build} if isinstance(build, str) else dict(build)
        context = str(wanted.get("context", "."))
        if "://" not in context and not context.startswith("git@"):
            wanted["context"] = str((self.found.path.parent / context).resolve())
        return wanted

    def _after(self, value: Any) -> list[str]:
        names = [str(each) for each in value or []]
        if isinstance(value, Mapping):
            ends = [n for n, how in value.items() if (how or {}).get("condition") == "service_completed_successfully"]
            for name in ends:
                names.remove(name)
                self._say(f"it waits for the end of {name}, and no service ends here: run that at its own start")
        return [self.names[name] for name in names if name in self.names]

    def _limits(self, data: Mapping[str, Any], image: kinds.Image, uids: list[int]) -> dict[str, Any]:
        """Whose the service is, and what of the hardening it takes back."""
        said = str(data.get("user") or "")
        limits: dict[str, Any] = {}
        if re.fullmatch(r"\d+(:\d+)?", said):
            limits["user"] = said if ":" in said else f"{said}:{said}"
        elif image.uid:
            limits["user"] = f"{image.uid}:{image.uid}"
        elif self.secrets or data.get("build") or said:
            uid = uids.pop(0)
            limits["user"] = f"{uid}:{uid}"
            self._say("it runs as a uid (user) that nothing else has: what it writes in its volumes must be that one's")
        else:
            self._say(
                "it runs as whoever its image says, as it has no secret; say user: if it can be another than root"
            )
        if image.tmpfs and "tmpfs" not in data:
            limits["tmpfs"] = [f"{each}:uid={image.uid},gid={image.uid},mode=0700" for each in image.tmpfs[:1]]
            limits["tmpfs"] += [f"{each}:mode=1777" for each in image.tmpfs[1:]]
        elif not image.kind and "read_only" not in data:
            limits["read_only"] = False
            self._say(
                "its file system can be written: try it without read_only: false, with a tmpfs for what it writes"
            )
        return limits

    def _renamed(self, kept: dict[str, Any]) -> None:
        old, networks = self.name, kept.get("networks") or ["default"]
        named = networks if isinstance(networks, Mapping) else dict.fromkeys(networks)
        kept["networks"] = {each: {**(how or {}), "aliases": [old]} for each, how in named.items()}
        self._say(f"it was called {old}, which no service can be here; others still reach it by that name")

    def _left_out(self, data: Mapping[str, Any]) -> None:
        for key, instead in DROPPED.items():
            if data.get(key):
                self._say(f"{key} was left out: {instead}")
        if not data.get("healthcheck"):
            self._say("no healthcheck in the file; without one in its image it is healthy when it has run a while")
        if str(data.get("network_mode") or "").startswith(("service:", "container:", "host")):
            self._say("network_mode was kept, and puts it outside of the stack's networks")
