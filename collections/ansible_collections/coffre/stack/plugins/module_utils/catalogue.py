"""The catalogue: what secrets and services a stack has. Data from inventory, checked here and nowhere else."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import CatalogueError
from .paths import LINK

HOST = "host"
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
FILE = re.compile(r"[a-z][a-z0-9.-]{0,62}")
ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,62}")
REFERENCE = re.compile(r"@\{([a-z][a-z0-9-]*)(?:\.([a-z][a-z0-9_]*))?\}")
DNS = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
VAULT_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
VAULT_VERSION = re.compile(r"[0-9a-f]{32}")
KINDS = ("text", "bytes")
# By strategy, the settings that it knows.
STRATEGIES = {
    "key_ring": {"keep_days", "mount_previous", "probe", "trail"},
    "keycloak_client": {"realm", "client"},
    "keycloak_user": {"realm", "user"},
    "postgres_role": {"owner", "roles", "database"},
    "replace": {"names", "port"},
}
# Somebody else checks these, so a value that appears by other hands would not be accepted.
VERIFIED = ("keycloak_client", "keycloak_user", "postgres_role")
ADOPTS = ("start_first", "restart", "reload")
GENERATORS = {
    "random": {"bytes"},
    "certificate_authority": {"names", "days"},
    "certificate": {"authority", "names", "days"},
}
NOBODY = (65534, 65535)


@dataclass(frozen=True)
class Generate:
    """How a demo value is made: `bytes` of randomness, or a certificate for `names`, valid for `days`."""

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
    def verified(self) -> bool:
        return self.strategy in VERIFIED


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
    name: str
    uid: int
    gid: int
    adopt: str
    files: tuple[FileTemplate, ...] = ()

    @property
    def composed(self) -> set[str]:
        """The secrets that reach this service inside a composed file only."""
        return {secret for file in self.files for secret in file.secrets}


# Automation's own bundle: read by root, mounted by nobody.
AUTOMATION = Service(HOST, 0, 0, "restart")


@dataclass(frozen=True)
class Catalogue:
    secrets: dict[str, Secret]
    services: dict[str, Service]

    def consumed(self, service: str) -> list[str]:
        """The names of the secrets that a service, or `host`, may read."""
        return sorted(name for name, secret in self.secrets.items() if service in secret.consumers)

    def certified(self, authority: str) -> list[str]:
        """The names of the secrets whose certificates an authority of the catalogue signs."""
        return [name for name, each in self.secrets.items() if each.generate and each.generate.authority == authority]

    def receivers(self) -> list[Service]:
        """The services that have a bundle; `host` is one where it consumes anything."""
        return [service for service in (*self.services.values(), AUTOMATION) if self.consumed(service.name)]

    def files(self, service: Service) -> dict[str, list[str]]:
        """A bundle's files: by name, the secrets inside."""
        alone = {name: [name] for name in self.consumed(service.name) if name not in service.composed}
        return alone | {file.name: file.secrets for file in service.files}


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


def _host(name: str) -> bool:
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
    names = problems.names(f"{where}.names", data["names"], _host, "host names and addresses")
    if not problems.number(f"{where}.days", data["days"], 1, 7300) or not names:
        return None
    return Generate(kind, names=names, days=data["days"], authority=str(data.get("authority", "")))


def _secret(data: Any, position: int, problems: _Problems) -> Secret | None:
    where = f"secret {data['name']}" if isinstance(data, Mapping) and "name" in data else f"secret number {position}"
    optional = {"kind", "generate", "max_age_days", "settings", "attributes", "keyvault"}
    if not problems.entry(where, data, {"name", "consumers", "strategy"}, optional):
        return None
    name = data["name"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        problems.append(f"the secret name {name!r} is ill-formed: use up to 63 of a-z, 0-9 and -, a letter first")
        return None
    kind = data.get("kind", "text")
    problems.choice(f"{where}: kind", kind, KINDS)
    known = problems.choice(f"{where}: strategy", data["strategy"], tuple(STRATEGIES))
    consumers = problems.names(f"{where}: consumers", data["consumers"], NAME.fullmatch, "services")
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
    if known:
        _settings(f"{where}: settings", data["strategy"], settings, problems)
    vault = _vault(f"{where}: keyvault", data.get("keyvault") or {}, problems)
    return Secret(name, consumers, data["strategy"], kind, generate, age, dict(settings), dict(attributes), *vault)


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


def _settings(where: str, strategy: str, settings: Mapping[str, Any], problems: _Problems) -> None:
    """What is unknown to a strategy, and what is wrong with the settings of one that can do without them."""
    problems.entry(where, settings, set(), STRATEGIES[strategy])
    if strategy == "key_ring":
        if settings.get("keep_days") is not None:
            problems.number(f"{where}.keep_days", settings["keep_days"], 0, 36500)
        problems.choice(f"{where}.mount_previous", settings.get("mount_previous", True), (True, False))
        if "probe" in settings:
            problems.names(f"{where}.probe", settings["probe"], bool, "words of a command")
        if "trail" in settings and problems.entry(f"{where}.trail", settings["trail"], {"volume", "file"}, set()):
            problems.names(f"{where}.trail", [*settings["trail"].values()], bool, "a volume and a file")
    if strategy == "replace":
        if "names" in settings:
            problems.names(f"{where}.names", settings["names"], _host, "host names and addresses")
        if "port" in settings:
            problems.number(f"{where}.port", settings["port"], 1, 65535)


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


def _service(data: Any, position: int, problems: _Problems) -> Service | None:
    where = f"service {data['name']}" if isinstance(data, Mapping) and "name" in data else f"service number {position}"
    if not problems.entry(where, data, {"name", "uid", "gid", "adopt"}, {"files"}):
        return None
    name = data["name"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        problems.append(f"the service name {name!r} is ill-formed: use up to 63 of a-z, 0-9 and -, a letter first")
        return None
    if name == HOST:
        problems.append("the service name host is reserved: it is the consumer that automation itself is")
        return None
    sound = all([problems.number(f"{where}: {key}", data[key], 1, 2**31) for key in ("uid", "gid")])
    if data["uid"] in NOBODY:
        problems.append(f"{where}: uid {data['uid']} is nobody's: give the service one of its own")
    problems.choice(f"{where}: adopt", data["adopt"], ADOPTS)
    files = data.get("files") or []
    if not isinstance(files, list):
        problems.append(f"{where}: files must be a list")
        files = []
    parsed = [file for file in (_file(where, entry, problems) for entry in files) if file]
    return Service(name, data["uid"], data["gid"], data["adopt"], tuple(parsed)) if sound else None


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


def parse(data: Any) -> Catalogue:
    """Check the catalogue and return it. Raises CatalogueError with one sentence that has every problem."""
    problems = _Problems()
    if not problems.entry("it", data, {"secrets", "services"}, set()):
        raise CatalogueError(f"The catalogue is wrong: {'; '.join(problems)}.")
    raw_secrets, raw_services = (_list(data, key, problems) for key in ("secrets", "services"))
    problems.extend(f"the secret {name} is there twice" for name in _twice(_named(raw_secrets)))
    problems.extend(f"the service {name} is there twice" for name in _twice(_named(raw_services)))
    parsed = [s for s in (_secret(entry, n, problems) for n, entry in enumerate(raw_secrets, 1)) if s]
    secrets = {secret.name: secret for secret in parsed}
    services = {s.name: s for s in (_service(entry, n, problems) for n, entry in enumerate(raw_services, 1)) if s}
    known, consumers = {*_named(raw_secrets)}, {*_named(raw_services), HOST}
    for secret in parsed:
        problems.extend(
            f"secret {secret.name}: its consumer {name} is no service of the catalogue"
            for name in secret.consumers
            if name not in consumers
        )
        if secret.generate and secret.generate.type == "certificate":
            problems.extend(_authority(secret, secret.generate, secrets))
    for service in services.values():
        problems.extend(_files(service, secrets, known))
    problems.extend(
        f"the services {' and '.join(sharing)} share uid {uid}: give each its own"
        for uid in sorted({service.uid for service in services.values()})
        if len(sharing := [service.name for service in services.values() if service.uid == uid]) > 1
    )
    problems.extend(
        f"the vault's name {name} is that of two secrets" for name in _twice([secret.vault_name for secret in parsed])
    )
    if problems:
        raise CatalogueError(f"The catalogue is wrong: {'; '.join(problems)}.")
    return Catalogue(secrets, services)


def _authority(secret: Secret, generate: Generate, secrets: dict[str, Secret]) -> list[str]:
    authority = secrets.get(generate.authority)
    if authority is None or authority.generate is None or authority.generate.type != "certificate_authority":
        return [f"secret {secret.name}: {generate.authority!r} is no certificate_authority of the catalogue"]
    missing = [name for name in generate.names if not _covered(name, authority.generate.names)]
    return [f"secret {secret.name}: its authority {authority.name} is not for {name}" for name in missing]


def _covered(name: str, names: tuple[str, ...]) -> bool:
    """Whether a certificate authority constrained to names may sign a name: itself or, for DNS, a name below one."""
    return any(name == permitted or name.endswith(f".{permitted}") for permitted in names)


def _files(service: Service, secrets: dict[str, Secret], known: set[str]) -> list[str]:
    """What is wrong with the references of a service's templates, and with the names in its bundle."""
    problems = []
    for file in service.files:
        where = f"service {service.name}: the template of {file.name}"
        for name, attribute in dict.fromkeys(file.references):
            secret = secrets.get(name)
            if secret is None:
                if name not in known:
                    problems.append(f"{where} names the unknown secret {name}")
            elif service.name not in secret.consumers:
                problems.append(f"{where} names {name}, which the service does not consume")
            elif secret.kind != "text":
                problems.append(f"{where} names {name}, which is bytes, not text")
            elif attribute and attribute not in secret.attributes:
                problems.append(f"{where} names the attribute {attribute}, which {name} does not have")
    alone = [s.name for s in secrets.values() if service.name in s.consumers and s.name not in service.composed]
    problems.extend(
        f"service {service.name}: two files of its bundle are called {name}"
        for name in _twice([*alone, *(file.name for file in service.files)])
    )
    return problems
