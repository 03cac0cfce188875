"""The catalogue: what secrets a stack has and, with the Compose file, who consumes them. Checked here alone."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from . import compose_file
from .compose_file import NAME
from .errors import CatalogueError
from .paths import LINK

HOST = "host"
FILE = re.compile(r"[a-z][a-z0-9.-]{0,62}")
ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,62}")
REFERENCE = re.compile(r"@\{([a-z][a-z0-9-]*)(?:\.([a-z][a-z0-9_]*))?\}")
DNS = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
VAULT_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
VAULT_VERSION = re.compile(r"[0-9a-f]{32}")
KINDS = ("text", "bytes")
# What a file can say of any secret beside the secret's own attributes: which version it is, and since when.
OF_VERSION = ("version", "created")
GENERATORS = {
    "random": {"bytes"},
    "certificate_authority": {"names", "days"},
    "certificate": {"authority", "names", "days"},
}
NOBODY = (65534, 65535)


@dataclass(frozen=True)
class Generate:
    """How a value is made: `bytes` of randomness, or a certificate for `names`, valid for `days`."""

    type: str
    bytes: int = 32
    names: tuple[str, ...] = ()
    days: int = 0
    authority: str = ""


@dataclass(frozen=True)
class Secret:
    name: str
    consumers: tuple[str, ...]
    strategy: str
    kind: str = "text"
    generate: Generate | None = None
    max_age_days: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    other_name: str = ""  # what the vault calls it, where that is not its name
    vault_version: str | None = None  # the version of the vault that is wanted, and no other

    @property
    def vault_name(self) -> str:
        """Its name in the vault, which does not tell cases apart."""
        return (self.other_name or self.name).lower()

    @property
    def verifier(self) -> str:
        """The service that checks it; "" where its consumers alone do."""
        return str(self.settings.get("service") or "")

    @property
    def verified(self) -> bool:
        """Whether somebody else checks it, so that a value that appears by other hands would not be accepted."""
        return bool(self.verifier)


@dataclass(frozen=True)
class FileTemplate:
    """A file composed of several secrets: `@{secret}` and `@{secret.attribute}` in its text are replaced."""

    name: str
    template: str
    alphabet: str

    @property
    def references(self) -> list[tuple[str, str | None]]:
        return [(match[1], match[2]) for match in REFERENCE.finditer(self.template)]

    @property
    def secrets(self) -> list[str]:
        return sorted({secret for secret, _ in self.references})

    def accepts(self, text: str) -> bool:
        """Whether a value is made of this file's alphabet only."""
        return re.fullmatch(f"[{self.alphabet}]*", text) is not None

    def render(self, lookup: Callable[[str, str | None], str]) -> str:
        return REFERENCE.sub(lambda match: lookup(match[1], match[2]), self.template)


@dataclass(frozen=True)
class Service:
    """A service that consumes something, or may come to; uid and gid are 0 where nobody said whose its files are."""

    name: str
    uid: int
    gid: int
    adopt: str
    files: tuple[FileTemplate, ...] = ()
    entry: compose_file.Entry | None = field(default=None, repr=False, compare=False)

    @property
    def replicas(self) -> int:
        """How many containers of it run side by side."""
        return self.entry.replicas if self.entry else 1

    @property
    def everywhere(self) -> bool:
        """Whether a swarm has one on each node of the stack."""
        return self.entry.everywhere if self.entry else self.adopt == "reload"

    @property
    def composed(self) -> set[str]:
        """The secrets that reach this service inside a composed file only."""
        alone = {source for source, _ in self.entry.listed} if self.entry else set()
        return {secret for file in self.files for secret in file.secrets} - alone


# Automation's own bundle: read by root, mounted by nobody.
AUTOMATION = Service(HOST, 0, 0, "restart")


@dataclass(frozen=True)
class Catalogue:
    """The secrets, and the services in the order in which they come up."""

    secrets: dict[str, Secret]
    services: dict[str, Service]
    file: compose_file.File = field(default_factory=lambda: compose_file.File({}, {}), repr=False)
    # What a bundle has that is no secret, such as the proxy's configuration: by service, text by name of the file.
    plain: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    def consumed(self, service: str) -> list[str]:
        """The names of the secrets that a service, or `host`, may read."""
        return sorted(name for name, secret in self.secrets.items() if service in secret.consumers)

    def verified_by(self, service: str) -> list[Secret]:
        """The secrets that a service checks, in the order of the catalogue."""
        return [each for each in self.secrets.values() if each.verifier == service]

    def certified(self, authority: str) -> list[str]:
        """The names of the secrets whose certificates an authority of the catalogue signs."""
        return [name for name, each in self.secrets.items() if each.generate and each.generate.authority == authority]

    def receivers(self) -> list[Service]:
        """The services that have a bundle; `host` is one where it consumes anything."""
        found = (*self.services.values(), AUTOMATION)
        return [service for service in found if self.consumed(service.name) or service.name in self.plain]

    def files(self, service: Service) -> dict[str, list[str]]:
        """A bundle's files: by name, the secrets inside."""
        alone = {name: [name] for name in self.consumed(service.name) if name not in service.composed}
        plain: dict[str, list[str]] = {name: [] for name in self.plain.get(service.name, ())}
        return alone | {file.name: file.secrets for file in service.files} | plain


class Declared(Protocol):
    """What a strategy says of itself: the settings that it must and may have, whether automation needs the value."""

    @property
    def required(self) -> frozenset[str]: ...
    @property
    def optional(self) -> frozenset[str]: ...
    @property
    def host(self) -> bool: ...
    def problems(self, where: str, settings: Mapping[str, Any], /) -> list[str]:
        """What is wrong with the values of settings that are all there, a clause each."""


Strategies = Mapping[str, Declared]


class _Problems(list[str]):
    """Collects what is wrong with one entry after the other."""

    def entry(self, where: str, data: Any, required: set[str], optional: set[str]) -> bool:
        """Whether data is a mapping with the required keys and no unknown ones."""
        if not isinstance(data, Mapping):
            self.append(f"{where} is not a mapping")
            return False
        keys = {str(key) for key in data}
        self.extend(f"{where} lacks `{key}`" for key in sorted(required - keys))
        self.extend(f"{where} has an unknown key `{key}`" for key in sorted(keys - required - optional))
        return required <= keys

    def number(self, where: str, value: Any, low: int, high: int) -> bool:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.append(f"{where} must be a whole number from {low} to {high}")
            return False
        return True

    def choice(self, where: str, value: Any, choices: tuple[object, ...]) -> bool:
        if value in choices:
            return True
        self.append(f"{where} is {value!r}: use one of {', '.join(map(str, choices))}")
        return False

    def names(self, where: str, value: Any, fits: Callable[[str], object], what: str) -> tuple[str, ...]:
        """The entries of a list of distinct well-formed names; the others become problems."""
        if not isinstance(value, list) or not value:
            self.append(f"{where} must be a list of {what}")
            return ()
        good = [name for name in value if isinstance(name, str) and fits(name)]
        self.extend(f"{where} has an ill-formed entry {name!r}" for name in value if name not in good)
        self.extend(f"{where} names {name} twice" for name in sorted({name for name in good if good.count(name) > 1}))
        return tuple(dict.fromkeys(good))


def reachable(name: str) -> bool:
    """Whether a text is an address, or a DNS name in lower case."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return bool(DNS.fullmatch(name)) and not name.rpartition(".")[2].isdigit()
    return True


def _generate(where: str, data: Any, problems: _Problems) -> Generate | None:
    if not problems.entry(where, data, {"type"}, {"bytes", "names", "days", "authority"}):
        return None
    kind = data["type"]
    if not isinstance(kind, str) or kind not in GENERATORS:
        problems.append(f"{where} has the unknown type {kind!r}: use one of {', '.join(GENERATORS)}")
        return None
    given = set(data) - {"type"}
    problems.extend(f"{where} ({kind}) lacks `{key}`" for key in sorted(GENERATORS[kind] - given))
    problems.extend(f"{where} ({kind}) has no use for `{key}`" for key in sorted(given - GENERATORS[kind]))
    if given != GENERATORS[kind]:
        return None
    if kind == "random":
        return (
            Generate(kind, bytes=data["bytes"]) if problems.number(f"{where}.bytes", data["bytes"], 16, 1024) else None
        )
    names = problems.names(f"{where}.names", data["names"], reachable, "host names and addresses")
    if not problems.number(f"{where}.days", data["days"], 1, 7300) or not names:
        return None
    return Generate(kind, names=names, days=data["days"], authority=str(data.get("authority", "")))


def _secret(data: Any, position: int, declared: Strategies, problems: _Problems) -> Secret | None:
    where = f"secret {data['name']}" if isinstance(data, Mapping) and "name" in data else f"secret number {position}"
    optional = {"kind", "generate", "max_age_days", "settings", "attributes", "keyvault", "host"}
    if not problems.entry(where, data, {"name", "strategy"}, optional):
        return None
    name = data["name"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        problems.append(f"the secret name {name!r} is ill-formed: use up to 63 of a-z, 0-9 and -, a letter first")
        return None
    kind = data.get("kind", "text")
    problems.choice(f"{where}: kind", kind, KINDS)
    known = problems.choice(f"{where}: strategy", data["strategy"], tuple(declared))
    problems.choice(f"{where}: host", data.get("host", False), (True, False))
    age = data.get("max_age_days")
    if age is not None:
        problems.number(f"{where}: max_age_days", age, 1, 36500)
    generate = _generate(f"{where}: generate", data["generate"], problems) if data.get("generate") is not None else None
    if generate and generate.type != "random" and kind == "bytes":
        problems.append(f"{where}: a {generate.type} is text, not bytes")
    attributes, settings = data.get("attributes") or {}, data.get("settings") or {}
    if not isinstance(settings, Mapping):
        problems.append(f"{where}: settings must be a mapping")
        settings = {}
    if not isinstance(attributes, Mapping) or not all(
        isinstance(key, str) and ATTRIBUTE.fullmatch(key) and isinstance(value, str)
        for key, value in attributes.items()
    ):
        problems.append(f"{where}: attributes must map names of a-z, 0-9 and _ to texts")
        attributes = {}
    problems.extend(f"{where}: the attribute {each} is there already" for each in OF_VERSION if each in attributes)
    strategy = declared.get(data["strategy"]) if known else None
    if strategy:
        lacks = problems.entry(f"{where}: settings", settings, set(strategy.required), set(strategy.optional))
        problems.extend(strategy.problems(f"{where}: settings", settings) if lacks else [])
    host = (HOST,) if data.get("host") is True or (strategy and strategy.host) else ()
    vault = _vault(f"{where}: keyvault", data.get("keyvault") or {}, problems)
    return Secret(name, host, data["strategy"], kind, generate, age, dict(settings), dict(attributes), *vault)


def _vault(where: str, data: Any, problems: _Problems) -> tuple[str, str | None]:
    """(name, version) that a secret has in the vault, where the catalogue says so."""
    problems.entry(where, data, set(), {"name", "version"})
    name, version = (data.get("name"), data.get("version")) if isinstance(data, Mapping) else (None, None)
    if name is not None and not (isinstance(name, str) and VAULT_NAME.fullmatch(name)):
        problems.append(f"{where}: the name {name!r} is ill-formed: use up to 127 of A-Z, a-z, 0-9 and -")
        name = None
    if version is not None and not (isinstance(version, str) and VAULT_VERSION.fullmatch(version)):
        problems.append(f"{where}: the version {version!r} is ill-formed: use the 32 hex digits that the vault shows")
        version = None
    return name or "", version


def _file(where: str, data: Any, problems: _Problems) -> FileTemplate | None:
    if not problems.entry(where, data, {"name", "alphabet", "template"}, set()):
        return None
    name, alphabet, template = data["name"], data["alphabet"], data["template"]
    if not isinstance(name, str) or not FILE.fullmatch(name) or name == LINK:
        problems.append(
            f"{where}: the file name {name!r} is ill-formed: use up to 63 of a-z, 0-9, . and -, a letter first"
        )
        return None
    if not isinstance(alphabet, str) or not re.fullmatch(r"[^\[\]\\^]+", alphabet) or not _compiles(f"[{alphabet}]"):
        problems.append(
            f"{where}: the alphabet of {name} is ill-formed: list characters and ranges, such as A-Za-z0-9_.~-"
        )
        return None
    if not isinstance(template, str) or not REFERENCE.search(template):
        problems.append(f"{where}: the template of {name} refers to no secret: write @{{secret-name}}")
        return None
    if "@{" in REFERENCE.sub("", template):
        problems.append(f"{where}: the template of {name} has an ill-formed reference after @{{")
        return None
    return FileTemplate(name, template, alphabet)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _service(
    entry: compose_file.Entry, secrets: set[str], files: Mapping[str, FileTemplate], problems: _Problems
) -> Service:
    """A service with the files that it lists, whose owner must be told if it has any."""
    where = f"service {entry.name}"
    names = [source for source, _ in entry.listed]
    problems.extend(f"{where} lists {name} twice" for name in _twice(names))
    problems.extend(
        f"{where} lists {name} under secrets, which the catalogue has neither as a secret nor as a file"
        for name in names
        if name not in secrets and name not in files
    )
    if names and entry.user is None:
        problems.append(f'{where} has secrets, so say whose their files are, in numbers: user: "UID:GID"')
    uid, gid = entry.user or (0, 0)
    if uid in NOBODY:
        problems.append(f"{where}: uid {uid} is nobody's: give the service one of its own")
    return Service(entry.name, uid, gid, entry.adopt, tuple(files[name] for name in names if name in files), entry)


def _twice(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _named(entries: list[Any]) -> list[str]:
    """The names that a list of raw entries gives, of whatever else is wrong with them."""
    return [str(entry["name"]) for entry in entries if isinstance(entry, Mapping) and "name" in entry]


def _list(data: Mapping[str, Any], key: str, problems: _Problems) -> list[Any]:
    value = data.get(key)
    if isinstance(value, list):
        return value
    problems.append(f"`{key}` must be a list")
    return []


def parse(data: Any, compose: Any, declared: Strategies) -> Catalogue:
    """Check a catalogue with its Compose file, both as YAML has them, and return it.

    `declared` is what each strategy says of itself. Raises CatalogueError with one sentence that has every problem.
    """
    problems = _Problems()
    if not problems.entry("it", data, {"secrets"}, {"files"}):
        raise CatalogueError(f"The catalogue is wrong: {'; '.join(problems)}.")
    raw_secrets, raw_files = _list(data, "secrets", problems), _list(data, "files", problems) if "files" in data else []
    for kind, entries in (("secret", raw_secrets), ("file", raw_files)):
        problems.extend(f"the {kind} {name} is there twice" for name in _twice(_named(entries)))
    parsed = [s for s in (_secret(entry, n, declared, problems) for n, entry in enumerate(raw_secrets, 1)) if s]
    files = {f.name: f for f in (_file(f"file number {n}", each, problems) for n, each in enumerate(raw_files, 1)) if f}
    known = {*_named(raw_secrets)}
    found: list[str] = []
    file = compose_file.parse(compose, found)
    services = {entry.name: _service(entry, known, files, problems) for entry in file.services.values()}
    secrets = {each.name: _consumed(each, services) for each in parsed}
    for secret in secrets.values():
        problems.extend(_homeless(secret, services))
        if secret.generate and secret.generate.type == "certificate":
            problems.extend(_authority(secret, secret.generate, secrets))
    for template in files.values():
        problems.extend(_references(template, secrets, known))
    problems.extend(
        f"the vault's name {name} is that of two secrets" for name in _twice([secret.vault_name for secret in parsed])
    )
    told = [f"The catalogue is wrong: {'; '.join(problems)}."] if problems else []
    told += [f"The Compose file cannot be honoured: {'; '.join(found)}."] if found else []
    if told:
        raise CatalogueError(" ".join(told))
    return Catalogue(secrets, services, file)


def _consumed(secret: Secret, services: Mapping[str, Service]) -> Secret:
    """A secret with the services that list it, alone or in a file, before the host."""
    consumers = [
        service.name
        for service in services.values()
        if service.entry
        and (secret.name in service.composed or secret.name in (source for source, _ in service.entry.listed))
    ]
    return replace(secret, consumers=(*consumers, *secret.consumers))


def _homeless(secret: Secret, services: Mapping[str, Service]) -> list[str]:
    """What is wrong with whom a secret is for and by whom it is checked."""
    problems = []
    if not secret.consumers:
        problems.append(f"secret {secret.name} is nobody's: list it under secrets of a service, or say host: true")
    named = [secret.verifier, *(secret.settings.get("signers") or [])]
    problems += [
        f"secret {secret.name}: its settings name the service {name}, which the Compose file does not have"
        for name in named
        if name and name not in services
    ]
    return problems


def _authority(secret: Secret, generate: Generate, secrets: dict[str, Secret]) -> list[str]:
    authority = secrets.get(generate.authority)
    if authority is None or authority.generate is None or authority.generate.type != "certificate_authority":
        return [f"secret {secret.name}: {generate.authority!r} is no certificate_authority of the catalogue"]
    missing = [name for name in generate.names if not _covered(name, authority.generate.names)]
    return [f"secret {secret.name}: its authority {authority.name} is not for {name}" for name in missing]


def _covered(name: str, names: tuple[str, ...]) -> bool:
    """Whether a certificate authority constrained to names may sign a name: itself or, for DNS, a name below one."""
    return any(name == permitted or name.endswith(f".{permitted}") for permitted in names)


def _references(file: FileTemplate, secrets: dict[str, Secret], known: set[str]) -> list[str]:
    """What is wrong with the references of a template, and with its name."""
    problems = [f"a secret and a file are both called {file.name}"] if file.name in known else []
    for name, attribute in dict.fromkeys(file.references):
        where = f"the template of {file.name}"
        secret = secrets.get(name)
        if secret is None:
            if name not in known:
                problems.append(f"{where} names the unknown secret {name}")
        elif attribute in OF_VERSION:
            continue
        elif secret.kind != "text":
            problems.append(f"{where} names {name}, which is bytes, not text")
        elif attribute and attribute not in secret.attributes:
            problems.append(f"{where} names the attribute {attribute}, which {name} does not have")
    return problems
