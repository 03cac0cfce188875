"""What the doctor's checks share: the stack on this host, and how a check says what it found."""

from __future__ import annotations

import functools
import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..catalogue import Catalogue
from ..engines import compose, swarm
from ..errors import CoffreError, SealError
from ..host import bundles
from ..host import state as states
from ..host.outcome import guard
from ..keyvault.client import Properties, Vault, VaultSettings
from ..paths import StackPaths
from ..rollout.endpoints import trusting
from ..scan import leaks
from ..sources.base import Source
from ..sources.demo import Demo

SOON = timedelta(days=30)
MOST = 8  # findings that a check tells one by one
# What a host is to the stack: it runs all of it, is the manager of a swarm that acts for it, or another node of that.
HOST, ACTING, NODE = "host", "acting", "node"
UNNAMED = "what is mounted in"  # so a value is called that has no name on a node, with its service and object


@dataclass(frozen=True)
class Check:
    """The outcome of one check: `ok` where it passes, and `warn` where it does with something to be seen to.

    `skipped` is one that was not made, because another failed without which it makes no sense; it is not `ok` either.
    `findings` are what failed or is to be seen to, one by one, of which the message has the first; `remedy` is what to
    do about a failure.
    """

    check: str
    ok: bool
    warn: bool
    message: str
    skipped: bool = False
    findings: tuple[str, ...] = ()
    remedy: str = ""


class Caution(str):
    """The note of a check that passes, with something in it that a person should see to: `findings`, one by one."""

    findings: tuple[str, ...] = ()


class Wrong(CoffreError):
    """What makes a check fail: `findings`, one by one."""

    findings: tuple[str, ...] = ()


def judge(name: str, remedy: str, look: Callable[[], str]) -> Check:
    """The outcome of a check, by what its look returns or raises."""
    result, problem = guard(lambda: _seen(look))
    note = (result or {}).get("note")
    if note is not None:
        found = (note.findings or (str(note),)) if isinstance(note, Caution) else ()
        return Check(name, True, isinstance(note, Caution), str(note), findings=found)
    wrong = str(result["wrong"] if result else problem).removesuffix(".")
    found = (result["wrong"].findings if result else ()) or (wrong,)
    return Check(name, False, False, f"{wrong}. What to do: {remedy}.", findings=found, remedy=f"{remedy}.")


def _seen(look: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"note": look()}
    except Wrong as error:
        return {"wrong": error}
    except OSError as error:
        raise CoffreError(f"{error.filename or 'something'} cannot be read ({error.strerror})") from None


@dataclass(frozen=True)
class History:
    """What the controller found in its checkout: the words of its history, as a file on this host, private keys, what
    to say if all is well, and what it could not search.
    """

    words: Path | None
    private_keys: tuple[str, ...]
    note: str
    unsearched: tuple[str, ...] = ()


@dataclass
class Target:
    """The stack on this host. What several checks ask for is fetched once."""

    paths: StackPaths
    catalogue: Catalogue
    endpoints: tuple[str, ...]
    ca_path: Path | None
    history: History
    proc: Path = Path("/proc")
    source: Source = field(default_factory=lambda: Demo(""))
    sys: Path = Path("/sys")
    acts: bool = True  # of a swarm's nodes one does, and is asked about the stack; each is about what lies on it

    @property
    def place(self) -> str:
        return HOST if not self.paths.on_swarm else ACTING if self.acts else NODE

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
        """All values that the sealed copies hold, `secret` and `secret (version)` for those no longer in force.

        Of a node of a swarm that does not act: those that its containers mount.
        """
        if self.place == NODE:
            return self.mounted()
        found = {}
        for (service, name), bundle in self.known():
            content = self.contents[service, name]
            staged = self.state.services[service].staged == name
            for secret, now in bundle.versions.items():
                for version, value in content.versions(secret, bundle).items() if content else []:
                    found[secret if staged and version == now else f"{secret} ({version})"] = value
        return found

    def mounted(self) -> dict[str, bytes]:
        """The values that a swarm's containers have here, where the engine put them in memory, as UNNAMED ones."""
        found = {}
        for data in self.inspected:
            for id, value in swarm.mounted(data).items():
                found[f"{UNNAMED} {self.service_of(data)} ({id})"] = value
        return found

    @functools.cached_property
    def finder(self) -> leaks.ValueFinder:
        return leaks.ValueFinder(self.values)

    @functools.cached_property
    def inspected(self) -> list[dict[str, Any]]:
        """What `docker inspect` says of every container of the stack."""
        ids = compose.call(["docker", "ps", "-aq", "--no-trunc", "--filter", f"label={self.label}"]).split()
        return self.ask("container", ids)

    @property
    def vault(self) -> VaultSettings:
        """The settings of the vault, for its own checks."""
        assert self.source.vault
        return self.source.vault

    @functools.cached_property
    def vaulted(self) -> dict[str, list[Properties]]:
        """By secret, every version that the vault has, the latest last; no values. Raises SourceError."""
        names = [secret.vault_name for secret in self.catalogue.secrets.values()]
        try:
            with Vault(self.vault) as vault:
                return dict(zip(self.catalogue.secrets, vault.each(vault.versions, names), strict=True))
        except ModuleNotFoundError:
            raise CoffreError("the modules' Python is not on this host: playbooks/site.yml makes it") from None

    def trusting(self) -> ssl.SSLContext:
        """How a client of the stack checks its certificate."""
        return trusting(str(self.ca_path or ""))

    def networks(self) -> set[str]:
        """The networks of the stack's containers. A node of a swarm has none of one whose task has ended there."""
        return {name for data in self.inspected if self.held(data) for name in networks_of(data)}

    def held(self, data: Mapping[str, Any]) -> bool:
        """Whether a container is to be held to anything: a swarm keeps those of before for a while."""
        return not self.paths.on_swarm or bool(data["State"].get("Running"))

    @property
    def label(self) -> str:
        return f"{swarm.NAMESPACE if self.paths.on_swarm else 'com.docker.compose.project'}={self.paths.stack}"

    def service_of(self, data: Mapping[str, Any]) -> str:
        """The service of a container, by what `docker inspect` says of it."""
        labels: Mapping[str, str] = data["Config"].get("Labels") or {}
        if self.paths.on_swarm:
            return labels.get(swarm.SERVICE, "").removeprefix(f"{self.paths.stack}_")
        return labels.get("com.docker.compose.service", "")

    @staticmethod
    def ask(kind: str, names: Iterable[str]) -> list[dict[str, Any]]:
        """`docker <kind> inspect` of some objects."""
        wanted = sorted(set(names))
        found: list[dict[str, Any]] = json.loads(compose.call(["docker", kind, "inspect", *wanted])) if wanted else []
        return found


def networks_of(container: dict[str, Any]) -> list[str]:
    return sorted(container["NetworkSettings"].get("Networks") or {})


def verdict(problems: Iterable[str], note: str, warnings: Iterable[str] = ()) -> str:
    """Raise problems, with the warnings, as one Wrong; without any return the warnings, or else the note."""
    failed, warned = list(dict.fromkeys(problems)), list(dict.fromkeys(warnings))
    found = failed + warned
    text = "; ".join(found if len(found) <= MOST else [*found[:MOST], f"and {len(found) - MOST} more"])
    told = Wrong(text) if failed else Caution(text)
    told.findings = tuple(found)
    if isinstance(told, Wrong):
        raise told
    return told if warned else note
