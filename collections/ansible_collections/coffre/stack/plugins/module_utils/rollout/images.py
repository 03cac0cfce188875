"""The images that a Compose file builds: tagged by what they are made from, so that equal content is built once."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import CoffreError

DIGITS = 16
ARCHIVE = re.compile(r"(?P<stem>.+-[0-9a-f]{16})\.(?P<id>[0-9a-f]{64})\.tar\.gz")
IGNORED = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache"})
BAKE = "docker-bake.yml"
# A folder with this script is a base: the script makes rootfs.tar, which the Dockerfile beside it adds.
ROOTFS = "rootfs.sh"
# Not of one stack: all stacks of a host start from the same base.
BASES = "coffre"
REMOTE = re.compile(r"(docker-image|https?)://")
NOWHERE = re.compile(r"[a-z-]+:(?!/(?!/))|git@")
SHA256 = re.compile(r"[0-9a-f]{64}")
# Keys of `build` that bake takes as they are, and those that are read here.
PASSED = ("target", "network", "shm_size")
READ = ("context", "dockerfile", "dockerfile_inline", "args", "labels", "additional_contexts")
ARGUMENT = re.compile(r"\$(?:\{(\w+)\}|(\w+))")  # of a Dockerfile
PARTS = (3, 4)  # of a Maven artifact: group:artifact:version[:extension]


@dataclass(frozen=True)
class Artifact:
    """A Maven artifact, `group:artifact:version[:extension]`, laid into a context as `dest` before the build."""

    maven: str
    sha256: str
    dest: str

    def told(self, context: str) -> dict[str, str]:
        """What fetches it, {group, artifact, version, extension}; how it is kept, and where it is laid."""
        group, artifact, version, extension = (*self.maven.split(":"), "jar")[:4]
        wanted = {"group": group, "artifact": artifact, "version": version, "extension": extension}
        kept = f"{artifact}-{version}-{self.sha256[:DIGITS]}.{extension}"
        return wanted | {"sha256": self.sha256, "file": kept, "dest": f"{context}/{self.dest}"}


@dataclass(frozen=True)
class BuildContext:
    """A folder that a build reads: its files by their name in it, and the name under which it is packed."""

    files: Mapping[str, Path]
    artifacts: tuple[Artifact, ...] = ()

    @cached_property
    def name(self) -> str:
        """Hexadecimal digits of a SHA-256 over names, kinds and contents; owners, times and order do not count."""
        found = hashlib.sha256(json.dumps([vars(each) for each in self.artifacts]).encode())
        for name, path in self.files.items():
            found.update(json.dumps([name, *_content(path)]).encode())
        return found.hexdigest()[:DIGITS]


@dataclass(frozen=True)
class BuiltImage:
    """One image to build: its target's name, the text of its Dockerfile, the contexts beside the main one, folders and
    others, and the rest of its `build`. `bases` are the references of the bases that it starts from, `start` that of an
    image which nothing here makes.
    """

    name: str
    reference: str
    dockerfile: str
    context: BuildContext
    build: Mapping[str, Any] = field(default_factory=dict)
    local: Mapping[str, BuildContext] = field(default_factory=dict)
    remote: Mapping[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    start: str = ""

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]

    @property
    def stem(self) -> str:
        """What the name of its archive begins with: the reference, in characters that every file system takes."""
        return self.reference.replace("/", "+").replace(":", "-")

    @property
    def told(self) -> dict[str, Any]:
        """What a role needs to build it: {reference, stem, bases, start, artifacts}."""
        artifacts = [each.told(self.context.name) for each in self.context.artifacts]
        made = {"reference": self.reference, "stem": self.stem, "bases": list(self.bases)}
        return made | {"start": self.start, "artifacts": artifacts}


@dataclass(frozen=True)
class BuildPlan:
    """What a stack needs: images to build by target, bases by reference, references by service, and what is pulled.

    `problems` has a sentence for each service whose image cannot be built as it is written.
    """

    images: dict[str, BuiltImage] = field(default_factory=dict)
    bases: dict[str, BuildContext] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    pulled: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildRequest:
    """What a plan is made for: the folder of the Compose file, what references begin with (the stack's name), a base in
    a registry instead of those of folders, and a text that has all images built anew."""

    folder: Path
    repository: str
    base: str = ""
    packages_of: str = ""


def _content(path: Path) -> tuple[str, str]:
    if path.is_symlink():
        return "link", str(path.readlink())
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ("executable" if path.stat().st_mode & 0o100 else "file"), digest


# .dockerignore, read as github.com/moby/patternmatcher does: the last pattern that matches a path or a folder above it
# decides.


def _expression(pattern: str) -> str:
    parts = {"*": "[^/]*", "?": "[^/]"}
    text = ""
    for part in re.findall(r"\*\*/?|\[\^?[^\]]+\]|\\.|.", pattern):
        if part.startswith("**"):
            text += "(?:.*/)?"
        elif part.startswith("[") and len(part) > 1:
            text += part
        else:
            text += parts.get(part) or re.escape(part[-1])
    return text.removesuffix("(?:.*/)?") + ".*" if pattern.endswith("**") else text


@dataclass(frozen=True)
class Ignore:
    """What a .dockerignore leaves out: (pattern, whether it takes back, its own text) in the file's order."""

    rules: tuple[tuple[re.Pattern[str], bool, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Ignore:
        rules = []
        for line in text.removeprefix("\ufeff").splitlines():
            keeps, pattern = line.strip().startswith("!"), line.strip().removeprefix("!").strip()
            if pattern and not line.startswith("#"):
                clean = posixpath.normpath(pattern).lstrip("/")
                rules.append((re.compile(f"{_expression(clean)}(?:/.*)?", re.DOTALL), keeps, clean))
        return cls(tuple(rules))

    def leaves_out(self, name: str) -> bool:
        result = False
        for pattern, keeps, _ in self.rules:
            if pattern.fullmatch(name):
                result = not keeps
        return result

    def prunes(self, folder: str) -> bool:
        """Whether nothing below a folder can be taken back, so that nobody need look into it."""
        below = (text.startswith(f"{folder}/") or text[:1] in "*?[" for _, keeps, text in self.rules if keeps)
        return self.leaves_out(folder) and not any(below)


def files(folder: Path, ignore: Ignore) -> dict[str, Path]:
    """Every file and link of a context by its name in it, in the order of the names.

    What tools leave behind is passed over. CoffreError for anything but files, folders and links.
    """
    found: dict[str, Path] = {}
    for here, folders, names in os.walk(folder):
        base = Path(here).relative_to(folder)
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        folders[:] = [
            name
            for name in folders
            if name not in links and name not in IGNORED and not ignore.prunes((base / name).as_posix())
        ]
        for name in (*names, *links):
            if not ignore.leaves_out((base / name).as_posix()) and not name.endswith(".pyc"):
                found[(base / name).as_posix()] = Path(here) / name
    # Its patterns are applied here, once; on the host they would leave out what is laid beside the files.
    found.pop(".dockerignore", None)
    for path in found.values():
        if not (path.is_file() or path.is_symlink()):
            raise CoffreError(f"{path} is neither a file nor a link: remove it.")
    return dict(sorted(found.items()))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _mapping(where: str, value: Any) -> dict[str, str]:
    """A mapping of Compose, or its list of NAME=VALUE, as texts; $$ is a dollar."""
    if isinstance(value, list):
        value = {name: text if said else None for name, said, text in (str(each).partition("=") for each in value)}
    if not isinstance(value, Mapping | None):
        raise CoffreError(f"{where} is neither a mapping nor a list of NAME=VALUE: write one.")
    for name, each in (value or {}).items():
        if not isinstance(each, str | int | float):
            raise CoffreError(f"{where} gives {name} no value: write one, or leave it out.")
    return {str(name): _text(each) for name, each in (value or {}).items()}


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("$$", "$")


def _folder(where: str, folder: Path, value: Any) -> Path:
    if not isinstance(value, str) or REMOTE.match(value) or NOWHERE.match(value):
        raise CoffreError(f"{where} should be a folder's path: copy what it needs into one.")
    path = Path(os.path.normpath(folder / Path(value).expanduser()))
    if not path.is_dir():
        raise CoffreError(f"{where} is {path}, which is no folder: restore it, or correct the path.")
    return path


def _artifacts(where: str, value: Any) -> tuple[Artifact, ...]:
    found = []
    if not isinstance(value, list | None) or not all(isinstance(each, Mapping) for each in value or []):
        raise CoffreError(f"{where} should be a list of mappings with maven, sha256 and dest: correct it.")
    for each in value or []:
        maven, sha256, dest = (str(each.get(key) or "") for key in ("maven", "sha256", "dest"))
        path = posixpath.normpath(dest)
        inside = dest and not path.startswith(("/", "..")) and path != "."
        if (
            set(each) != {"maven", "sha256", "dest"}
            or len(maven.split(":")) not in PARTS
            or not SHA256.fullmatch(sha256)
        ):
            raise CoffreError(
                f"{where} should have maven, group:artifact:version:extension, sha256 and dest: correct it."
            )
        if not inside:
            raise CoffreError(f"{where} has a dest outside of its context: name a file in it.")
        found.append(Artifact(maven, sha256, path))
    return tuple(found)


def _dockerfile(where: str, folder: Path, build: Mapping[str, Any]) -> tuple[str, Ignore]:
    """The Dockerfile's text, and what the context leaves out: `DOCKERFILE.dockerignore` goes before `.dockerignore`."""
    common = folder / ".dockerignore"
    if "dockerfile_inline" in build:
        return str(build["dockerfile_inline"]).replace("$$", "$"), Ignore.parse(_read(common))
    path = folder / str(build.get("dockerfile") or "Dockerfile")
    if not path.is_file():
        raise CoffreError(f"{where} has no {path}: restore it, or name another as build.dockerfile.")
    own = path.with_name(f"{path.name}.dockerignore")
    return _read(path), Ignore.parse(_read(own if own.is_file() else common))


def _start(text: str, args: Mapping[str, str], target: str) -> str:
    """The image that a Dockerfile's last stage, or the one that is its target, goes back to; "" where none can be told.

    Of what else its stages take, only a build knows what it needs.
    """
    known: dict[str, str] = {}
    stages: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        kind, *words = [word for word in line.split() if not word.startswith("--")] or [""]
        if kind.upper() == "ARG" and words and not last:
            name, _, default = words[0].partition("=")
            known[name] = args.get(name, default.strip("\"'"))
        elif kind.upper() == "FROM" and words:
            named = ARGUMENT.sub(lambda found: known.get(found[1] or found[2]) or found[0], words[0])
            last = stages.get(named.lower(), named)
            stages[words[-1].lower()] = last
    found = stages.get(target.lower(), "") if target else last
    return "" if found == "scratch" or "$" in found else found


def repository(image: str) -> str:
    """An image's name without tag and digest.

    >>> repository("registry.example:5000/shop/web:1.2")
    'registry.example:5000/shop/web'
    """
    path, slash, last = image.partition("@")[0].rpartition("/")
    return path + slash + last.partition(":")[0]


def _by_digest(image: str) -> str:
    """A reference as the engine lists it: where there is a digest, a tag says nothing."""
    return f"{repository(image)}@{image.partition('@')[2]}" if "@" in image else image


def _tag(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _base(name: str, context: BuildContext, request: BuildRequest) -> str:
    return f"{BASES}/{name.lower()}:{_tag(context.name, request.packages_of)}"


def _long(where: str, build: Any) -> Mapping[str, Any]:
    """The long form of `build`; what cannot be honoured is refused by its name."""
    build = {"context": build} if isinstance(build, str) else build
    if not isinstance(build, Mapping):
        raise CoffreError(f"{where} has a build that is neither a path nor a mapping: correct it.")
    unknown = [f"build.{key}" for key in build if key not in (*READ, *PASSED) and not str(key).startswith("x-")]
    if unknown:
        raise CoffreError(f"{where} has {', '.join(unknown)}, which Coffre does not honour: leave that out.")
    return build


def _contexts(where: str, folder: Path, build: Mapping[str, Any]) -> tuple[dict[str, BuildContext], dict[str, str]]:
    """The folders among the additional contexts, and those that bake fetches itself."""
    local, remote = {}, {}
    for name, value in _mapping(f"{where}: build.additional_contexts", build.get("additional_contexts")).items():
        if REMOTE.match(value):
            remote[name] = value
        else:
            path = _folder(f"{where}: build.additional_contexts.{name}", folder, value)
            local[name] = BuildContext(files(path, Ignore.parse(_read(path / ".dockerignore"))))
    return local, remote


def _keys(where: str, build: Mapping[str, Any], started: Mapping[str, str]) -> dict[str, Any]:
    """The keys of `build` that bake is given as they are, with the bases among the arguments."""
    return {
        "args": _mapping(f"{where}: build.args", build.get("args")) | dict(started),
        "labels": _mapping(f"{where}: build.labels", build.get("labels")),
        **{key: build[key] for key in PASSED if key in build},
    }


def _named(name: str, service: Mapping[str, Any], request: BuildRequest) -> str:
    return repository(str(service["image"])) if service.get("image") else f"{request.repository}/{name.lower()}"


def _build(name: str, service: Mapping[str, Any], request: BuildRequest) -> tuple[BuiltImage, dict[str, BuildContext]]:
    """The image of one service, and the bases that it starts from by reference."""
    where = f"The service {name}"
    build = _long(where, service["build"])
    folder = _folder(f"{where}: build.context", request.folder, build.get("context", "."))
    dockerfile, ignore = _dockerfile(where, folder, build)
    said = service.get("x-coffre")
    artifacts = _artifacts(f"{where}: x-coffre.artifacts", said.get("artifacts") if isinstance(said, Mapping) else None)
    context = BuildContext(files(folder, ignore), artifacts)
    local, remote = _contexts(where, request.folder, build)
    made = {other: each for other, each in local.items() if ROOTFS in each.files}
    bases = {} if request.base else {_base(other, each, request): each for other, each in made.items()}
    others = {other: each for other, each in local.items() if other not in made}
    # A base is an argument, because engines before 23 take no contexts beside the main one.
    started = {other.upper(): request.base or _base(other, each, request) for other, each in made.items()}
    keys = _keys(where, build, started)
    packed = {other: each.name for other, each in others.items()}
    tag = _tag(dockerfile, context.name, packed, remote, keys, request.packages_of)
    reference = f"{_named(name, service, request)}:{tag}"
    # What starts from a base of ours has new packages by the new base.
    fresh = {"x-bake": {"no-cache": True, "pull": True}} if request.packages_of and not bases else {}
    start = _start(dockerfile, keys["args"], str(build.get("target") or ""))
    start = "" if start in {*bases, *others, *remote} else start
    return BuiltImage(name, reference, dockerfile, context, keys | fresh, others, remote, tuple(bases), start), bases


def plan(compose: Mapping[str, Any], replaced: Mapping[str, str], request: BuildRequest) -> BuildPlan:
    """What the services of a Compose file need; those of `replaced` take that image from a registry instead.

    What cannot be built as it is written is among its problems, and a name in `replaced` that is no service's.
    """
    services = {name: each for name, each in _services(compose).items() if isinstance(each, Mapping)}
    problems = []
    if unknown := sorted(set(replaced) - set(services)):
        problems.append(
            f"container_images_references names {', '.join(unknown)}, which is no service of the Compose file: name "
            f"some of {', '.join(services)}."
        )
    bases: dict[str, BuildContext] = {}
    by_tag: dict[str, BuiltImage] = {}
    built: dict[str, str] = {}
    for name, service in services.items():
        if name in replaced or service.get("build") is None:
            continue
        try:
            image, started = _build(name, service, request)
        except CoffreError as error:
            problems.append(str(error))
            continue
        bases |= started
        built[name] = by_tag.setdefault(image.tag, image).reference
    ready = {name: each for name, each in services.items() if each.get("image") and each.get("build") is None}
    named = {name: str(each["image"]) for name, each in ready.items()}
    pulled = tuple(dict.fromkeys(map(_by_digest, (named | dict(replaced)).values())))
    images = {image.name: image for image in by_tag.values()}
    return BuildPlan(images, bases, built | dict(replaced), pulled, tuple(problems))


def _services(compose: Mapping[str, Any]) -> Mapping[str, Any]:
    """The services of a file of which nobody knows yet whether it is one."""
    services = compose.get("services")
    return services if isinstance(services, Mapping) else {}


def bake(images: Iterable[BuiltImage]) -> dict[str, Any]:
    """The Compose file for `docker buildx bake`, a service for each image; its paths are those of `pack`."""
    return {
        "services": {
            image.name: {
                "image": image.reference,
                "build": _literal(image.build)
                | {"context": image.context.name, "dockerfile": f"../{image.name}.Dockerfile"}
                | {"additional_contexts": dict(image.remote) | {name: each.name for name, each in image.local.items()}},
            }
            for image in images
        }
    }


def _literal(value: Any) -> Any:
    """Bake puts variables into a Compose file's texts: no dollar is one."""
    if isinstance(value, Mapping):
        return {key: _literal(each) for key, each in value.items()}
    return value.replace("$", "$$") if isinstance(value, str) else value


def archives(folder: Path, images: Iterable[BuiltImage]) -> dict[str, dict[str, str]]:
    """By image, its archive in a folder, {file, id}: `STEM.ID.tar.gz`, where the id says what is in it.

    Of two for one tag, which plays at once have built, it is the same one for all.
    """
    found: dict[str, dict[str, str]] = {}
    names = {image.stem: image.name for image in images}
    for path in sorted(folder.glob("*.tar.gz")):
        if (named := ARCHIVE.fullmatch(path.name)) and (name := names.get(named["stem"])):
            found.setdefault(name, {"file": path.name, "id": f"sha256:{named['id']}"})
    return found


def told(plan: BuildPlan, kept: str | None) -> dict[str, Any]:
    """A plan as plain data: {references, images, bases, pulled, problems, archives}; `kept` has archives, if any."""
    return {
        "references": plan.references,
        "images": {name: image.told for name, image in plan.images.items()},
        "bases": {reference: context.name for reference, context in plan.bases.items()},
        "pulled": list(plan.pulled),
        "problems": list(plan.problems),
        "archives": archives(Path(kept), plan.images.values()) if kept else {},
    }


def _packed(plan: BuildPlan) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Entries without what differs between checkouts: owner, time, and all of the mode but executable."""
    images = plan.images.values()
    contexts = [each for image in images for each in (image.context, *image.local.values())]
    for name, context in sorted({each.name: each for each in (*contexts, *plan.bases.values())}.items()):
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        yield folder, None
        for file, path in context.files.items():
            entry = tarfile.TarInfo(f"{name}/{file}")
            kind, link = _content(path) if path.is_symlink() else ("", "")
            if kind:
                entry.type, entry.linkname = tarfile.SYMTYPE, link
            else:
                entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            yield entry, None if kind else path.read_bytes()
    texts = {f"{image.name}.Dockerfile": image.dockerfile for image in images}
    for name, text in (texts | {BAKE: json.dumps(bake(images), indent=2)}).items():
        yield tarfile.TarInfo(name), text.encode()


def pack(plan: BuildPlan, target: Path) -> None:
    """Write all that the images are made from into one tar.gz at target, which appears only when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    part = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for entry, content in _packed(plan):
                entry.size = len(content or b"")
                archive.addfile(entry, None if content is None else io.BytesIO(content))
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
