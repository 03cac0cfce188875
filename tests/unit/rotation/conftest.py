"""A stack in a temporary folder whose secrets are checked by a verifier in memory; seals are plain files, and the
rollout adopts what is staged.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError, SealError, VaultUnavailable
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, files, seals, state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import guard
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import settings as keyvault_settings
from ansible_collections.coffre.stack.plugins.module_utils.keyvault.client import Answer, Properties, Value
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import apply as rollout
from ansible_collections.coffre.stack.plugins.module_utils.rotation import drive
from ansible_collections.coffre.stack.plugins.module_utils.rotation import plan as rotation_plan
from ansible_collections.coffre.stack.plugins.module_utils.rotation import run as rotation
from ansible_collections.coffre.stack.plugins.module_utils.sources import publish, seed
from ansible_collections.coffre.stack.plugins.module_utils.sources.base import Source
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.sources.directory import Directory
from ansible_collections.coffre.stack.plugins.module_utils.sources.keyvault import KeyVault
from ansible_collections.coffre.stack.plugins.module_utils.staging import stage as staging
from ansible_collections.coffre.stack.plugins.module_utils.strategies import loading
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Context, Which
from tests.unit import described

RANDOM = {"type": "random", "bytes": 16}
CATALOGUE: dict[str, Any] = {
    "secrets": [
        {"name": "client", "consumers": ["app", "host"], "generate": RANDOM, "strategy": "keycloak_client"},
        {"name": "admin", "consumers": ["host"], "generate": RANDOM, "strategy": "keycloak_user"},
        {
            "name": "database",
            "consumers": ["keycloak"],
            "generate": RANDOM,
            "strategy": "postgres_role",
            "attributes": {"role": "a"},
        },
        {"name": "client-2", "consumers": ["app"], "generate": RANDOM, "strategy": "keycloak_client"},
        {"name": "deployment-audit-key", "consumers": ["host"], "generate": RANDOM, "strategy": "key_ring"},
    ],
    "services": [
        {"name": "app", "uid": 60611, "gid": 60611, "adopt": "start_first"},
        {"name": "keycloak", "uid": 60612, "gid": 60612, "adopt": "start_first"},
    ],
}


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Verifier:
    """Who checks the secrets: by name, the values that are accepted. `down` are the acts that get no answer."""

    accepted: dict[str, set[bytes]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    fails_once: str = ""
    told: list[str] = field(default_factory=list)  # what a look finds

    def ask(self, act: str, name: str) -> set[bytes]:
        if act == self.fails_once:
            self.fails_once = ""
            raise CoffreError("no answer")
        if act in self.down:
            raise CoffreError(f"The verifier gives no answer to {act}.")
        return self.accepted[name]


@dataclass
class Both:
    """A strategy whose verifier accepts two values at once; or, with `single`, one at a time."""

    verifier: Verifier
    single: bool = False
    makes: bool = False  # the verifier makes the value, and has it from then on
    UNKNOWN: str = ""

    def successor(self, secret: catalogues.Secret, old: state.Version, new: state.Version) -> state.Version:  # noqa: ARG002
        if "role" in new.attributes:
            new.attributes = {"role": "b" if old.attributes["role"] == "a" else "a"}
        return new

    def deployed(self, context: Context) -> list[str]:
        known = self.verifier.ask("deployed", context.secret.name)
        return [*self.verifier.told] + ([] if context.value("old") in known else ["not accepted"])

    def blockers(self, context: Context) -> list[str]:
        known = self.verifier.ask("blockers", context.secret.name)
        if self.verifier.told:
            return [*self.verifier.told]
        return [] if known == {context.value("old")} else [f"{context.secret.name} has an open overlap"]

    def make(self, context: Context) -> bytes:
        known = self.verifier.ask("make", context.secret.name)
        if self.makes and (extra := known - {context.value("old")}):
            return extra.pop()
        value = f"new-{context.secret.name}-{next(NUMBERS)}".encode()
        if self.makes:
            known.add(value)
        return value

    def teach(self, context: Context) -> None:
        known = self.verifier.ask("teach", context.secret.name)
        if self.single:
            known.clear()
        known.add(context.value("new"))

    def prove(self, context: Context, which: Which) -> None:
        if context.value(which) not in self.verifier.ask("prove", context.secret.name):
            raise CoffreError(f"The {which} value of {context.secret.name} is not accepted.")

    def confirm(self, context: Context, which: Which) -> None:
        self.verifier.ask("confirm", context.secret.name)
        for service in context.secret.consumers:
            entry = context.state.services[service]
            found = bundles.value(context.paths, context.state, service, context.secret.name, entry.current)
            if found != context.value(which):
                raise CoffreError(f"{service} does not have the {which} value of {context.secret.name}.")
        self.prove(context, which)

    def withdraw(self, context: Context, keep: Which, drop: Which) -> None:  # noqa: ARG002
        known = self.verifier.ask("withdraw", context.secret.name)
        known.clear()
        known.add(context.value(keep))

    def refused(self, context: Context, drop: Which) -> None:
        if context.value(drop) in self.verifier.ask("refused", context.secret.name):
            raise CoffreError(f"The {drop} value of {context.secret.name} is still accepted.")


NUMBERS = itertools.count()


@dataclass
class Ring(Both):
    """Nobody else checks it, and nothing is withdrawn."""

    def confirm(self, context: Context, which: Which) -> None:
        if context.has(which):  # what only loses an earlier version has no value of its own
            super().confirm(context, which)

    def withdraw(self, context: Context, keep: Which, drop: Which) -> None:  # noqa: ARG002
        self.verifier.accepted[context.secret.name].add(context.value(keep))

    def refused(self, context: Context, drop: Which) -> None:
        pass

    def blockers(self, context: Context) -> list[str]:  # noqa: ARG002
        return []


@dataclass
class Shelf:
    """A vault in memory: by name the properties and values of all versions, the latest last. `down` gets no answer."""

    kept: dict[str, list[tuple[Properties, str]]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)

    def _asked(self, what: str) -> None:
        if what in self.down:
            raise VaultUnavailable("The vault gives no answer.")

    def versions(self, name: str) -> list[Properties]:
        self._asked("versions")
        return [properties for properties, _ in self.kept.get(name, [])]

    def read(self, wanted: Mapping[str, str | None]) -> dict[str, Answer]:
        self._asked("read")
        return {name: Value(*self.kept[name][-1], 0) for name in wanted}

    def put(
        self, name: str, value: str, *, tags: Mapping[str, str], content_type: str, expires: int | None
    ) -> Properties:
        self._asked("put")
        number = next(NUMBERS)
        made = Properties(name, f"{number:032x}", True, number, number, expires, None, content_type, dict(tags), "")
        self.kept.setdefault(name, []).append((made, value))
        return made

    def disable(self, name: str, version: str) -> None:
        self._asked("disable")
        self.kept[name] = [
            (replace(about, enabled=about.enabled and about.version != version), value)
            for about, value in self.kept[name]
        ]


@dataclass
class House:
    """A stack, its verifier, and plays that rotate it. `fails` are the services that do not become ready."""

    paths: StackPaths
    verifier: Verifier
    shelf: Shelf | None = None
    directory: Path | None = None  # the operator's, if the values come from there
    data: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(CATALOGUE))
    fails: set[str] = field(default_factory=set)
    images: dict[str, str] = field(default_factory=dict)  # that the play made
    rolled: list[tuple[set[str] | None, Mapping[str, str]]] = field(default_factory=list)  # services, and all images
    lines: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def catalogue(self) -> catalogues.Catalogue:
        return described.parse(self.data)

    @property
    def state(self) -> state.State:
        return state.load(self.paths)

    def stage(self, holder: str) -> None:
        state.admit(self.state, holder)
        resolve = partial((self.source if self.directory else Demo("demo")).resolve, self.catalogue)
        self.told = staging.stage(self.paths, self.catalogue, resolve, staging.StagingOptions("host"))

    def roll(self, holder: str, services: Iterable[str] | None = None) -> None:
        """Adopt what is staged, one of the services (all) after the other, and collect the rest."""
        st = self.state
        state.admit(st, holder)
        for service in st.services if services is None else services:
            if service in self.fails and st.services[service].next:
                bundles.discard_next(self.paths, st, service)
                raise CoffreError(f"{service} could not adopt.")
            bundles.promote(self.paths, st, service)
        bundles.collect(self.paths, st, set())

    @property
    def source(self) -> Source:
        if self.directory:
            return Directory(self.directory)
        vault = keyvault_settings.settings({"url": "https://kept.vault.azure.net"})
        return KeyVault("demo", vault) if self.shelf else Demo("demo")

    def settings(self, holder: str) -> rotation.RotationSettings:
        return rotation.RotationSettings(holder, "kim", self.source, patience=0.0)

    def drive(self, holder: str, deploys: bool = False) -> drive.Drive:
        how = staging.StagingOptions("host", deploys=deploys)
        return drive.Drive(self.paths, self.catalogue, self.settings(holder), how, self.images, 60.0)

    def play(self, holder: str, *names: str, take_over: str = "", only_open: bool = False) -> str:
        """What rotate.yml does, and site.yml with `only_open`: the outcome. Raises CoffreError where it fails.

        `told` is all that it says, and `lines` has what was done.
        """
        driving, self.told = self.drive(holder, only_open), {}
        request = rotation_plan.RotationRequest(names, 14, take_over, only_open=only_open)
        try:
            self.told = drive.rotate(driving, request, check=False)
        finally:
            self.lines += driving.lines
        if self.told.get("failed"):
            raise CoffreError(str(self.told["msg"]))
        return str(self.told["outcome"])

    def agreed(self) -> dict[str, bytes]:
        """The one value of each secret that every consumer has, state names and the verifier accepts; nothing is left
        over. Fails otherwise.
        """
        st, found = self.state, {}
        assert st.run is None
        sealed = {f"{service}.{name}.cred" for service, entry in st.services.items() for name in entry.bundles}
        assert {path.name for path in self.paths.sealed.iterdir()} == sealed
        for service, entry in st.services.items():
            assert list(entry.bundles) == [entry.current]
            present = {path.name for path in self.paths.service(service).iterdir()}
            assert present == {entry.current}
        for name, secret in self.catalogue.secrets.items():
            values = {bundles.value(self.paths, st, service, name) for service in secret.consumers}
            assert len(values) == 1
            for service in secret.consumers:
                entry = st.services[service]
                assert entry.bundles[entry.current or ""].versions[name] == st.secrets[name].version
            found[name] = values.pop()
            accepted = self.verifier.accepted[name]
            assert found[name] in accepted
            assert secret.strategy == "key_ring" or accepted == {found[name]}
            if self.shelf:
                enabled = [each for each in self.shelf.kept[name] if each[0].enabled]
                disabled = [value.encode() for about, value in self.shelf.kept[name] if not about.enabled]
                assert (enabled[-1][0].version, enabled[-1][1].encode()) == (st.secrets[name].version, found[name])
                assert found[name] not in disabled
        return found


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seals in plain, a tmpfs that is none, containers that are always well."""

    def seal(path: Path, name: str, data: bytes, choice: str = "auto") -> None:  # noqa: ARG001
        files.write(path, name.encode() + b"\n" + data, 0o600)

    def unseal(path: Path, name: str) -> bytes:
        if not path.is_file():
            raise SealError(f"The sealed copy {path} is missing.")
        bound, _, data = path.read_bytes().partition(b"\n")
        if bound.decode() != name:
            raise SealError(f"The sealed copy {path} is damaged.")
        return data

    def mortal(work: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any] | None, str | None]:
        """A process that ends has nobody left who turns its end into a sentence."""
        ends: list[Crash] = []

        def watched() -> dict[str, Any]:
            try:
                return work()
            except Crash as crash:
                ends.append(crash)
                raise

        found = guard(watched)
        if ends:
            raise ends[0]
        return found

    def ensure(root: Path) -> bool:
        root.mkdir(mode=0o700, exist_ok=True)
        return False

    monkeypatch.setattr(seals, "seal", seal)
    monkeypatch.setattr(seals, "unseal", unseal)
    monkeypatch.setattr(drive, "guard", mortal)
    monkeypatch.setattr(tmpfs, "ensure", ensure)
    monkeypatch.setattr(tmpfs, "options", lambda _: {"noswap"})
    monkeypatch.setattr(tmpfs, "exposure", lambda _: "")
    monkeypatch.setattr(rotation_plan, "_stack", lambda *_: ([], set()))
    monkeypatch.setattr(rotation_plan, "images", lambda _: {})
    monkeypatch.setattr(rollout, "steady", lambda *_: "")


@pytest.fixture
def verifier(monkeypatch: pytest.MonkeyPatch) -> Verifier:
    verifier = Verifier()
    by_name = {
        "keycloak_client": Both(verifier, makes=True),
        "keycloak_user": Both(verifier, single=True),
        "postgres_role": Both(verifier),
        "key_ring": Ring(verifier),
    }
    monkeypatch.setattr(loading, "load", by_name.__getitem__)
    return verifier


@pytest.fixture
def shelf(house: House, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A vault that has what the house has in force."""
    shelf, st, values = Shelf(), house.state, house.agreed()
    for name, value in values.items():
        secret = house.catalogue.secrets[name]
        made = shelf.put(name, value.decode(), tags=seed.tags("demo", secret), content_type="", expires=None)
        for entry in st.services.values():
            for bundle in entry.bundles.values():
                if name in bundle.versions:
                    bundle.versions[name] = made.version or ""
        st.secrets[name].version = made.version or ""
    state.save(house.paths, st)
    monkeypatch.setattr(publish, "connected", lambda _: nullcontext(shelf))
    house.shelf = shelf
    return shelf


@pytest.fixture
def house(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A stack that is deployed and in agreement with its verifier."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        made = House(StackPaths("demo", Path(folder) / "run", Path(folder) / "lib"), verifier)

        def adopt(*given: Any, names: set[str] | None, rotating: bool) -> dict[str, Any]:
            catalogue, author = given[1], given[5]
            made.rolled.append((names, given[3]))
            assert rotating and len(given) == 6  # so nobody is asked to agree: the acts of the rotation see to it
            services = [name for name in catalogue.services if names is None or name in names]
            services = [name for name in services if name in made.state.services]
            made.roll(author.name, services)
            told = {"action": "start_first", "why": "bundle", "seconds": 4.2}
            return {"services": [{"name": name, **told} for name in services]}

        monkeypatch.setattr(rollout, "roll", adopt)
        made.stage("")
        made.roll("")
        st = made.state
        for name, secret in made.catalogue.secrets.items():
            verifier.accepted[name] = {bundles.value(made.paths, st, secret.consumers[0], name)}
        yield made
