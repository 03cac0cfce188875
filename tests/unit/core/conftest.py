"""A stack in a temporary folder, with real sealed copies; only the mount of the tmpfs is left out."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import catalogue as catalogues
from ansible_collections.coffre.stack.plugins.module_utils.audit import trail as audit
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.sources import base as sources
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.sources.directory import taken
from ansible_collections.coffre.stack.plugins.module_utils.staging import stage as staging
from tests.unit import described

RANDOM = {"type": "random", "bytes": 16}
CATALOGUE: dict[str, Any] = {
    "secrets": [
        {"name": "api-key", "consumers": ["app"], "generate": RANDOM, "strategy": "key_ring"},
        {"name": "api-key-2", "consumers": ["app", "host"], "generate": RANDOM, "strategy": "keycloak_client"},
        {"name": "blob", "consumers": ["app"], "kind": "bytes", "generate": RANDOM, "strategy": "replace"},
        {
            "name": "db-password",
            "consumers": ["db-client"],
            "generate": RANDOM,
            "strategy": "postgres_role",
            "attributes": {"role": "role_a"},
        },
        {"name": "tls", "consumers": ["proxy"], "generate": RANDOM, "strategy": "replace"},
    ],
    "services": [
        {"name": "app", "uid": 60611, "gid": 60611, "adopt": "start_first"},
        {
            "name": "db-client",
            "uid": 60612,
            "gid": 60612,
            "adopt": "restart",
            "files": [
                {
                    "name": "client.conf",
                    "alphabet": "A-Za-z0-9_-",
                    "template": "user=@{db-password.role}\npassword=@{db-password}\nmail=a@b\n",
                }
            ],
        },
        {"name": "proxy", "uid": 60614, "gid": 60614, "adopt": "reload"},
    ],
}


@pytest.fixture
def data() -> dict[str, Any]:
    """A catalogue that a test may change."""
    return copy.deepcopy(CATALOGUE)


@dataclass
class Stack:
    """What a test does with a stack: stage it, adopt what is staged, look at it, break it."""

    paths: StackPaths
    data: dict[str, Any]
    supplied: dict[str, bytes] | None = None  # the operator's values, for the source `file`
    vault: Callable[[catalogues.Catalogue, sources.Holdings, Mapping[str, Any]], sources.Resolved] | None = None
    outputs: list[str] = field(default_factory=list)

    def stage(self, *, check: bool = False, require_noswap: bool = False) -> dict[str, Any]:
        catalogue = described.parse(self.data)

        def resolve(held: sources.Holdings, seen: Mapping[str, Any]) -> sources.Resolved:
            if self.vault is not None:
                return self.vault(catalogue, held, seen)
            if self.supplied is None:
                return Demo(self.paths.stack).resolve(catalogue, held, seen)
            return sources.Resolved(*taken(catalogue, held, self.supplied))

        with state.locked(self.paths):
            result = staging.stage(
                self.paths, catalogue, resolve, staging.StagingOptions("host", require_noswap, check)
            )
        self.outputs.append(json.dumps(result))
        return result

    def deliver(self) -> dict[str, Any]:
        """Stage as the playbook secrets.yml does."""
        catalogue = described.parse(self.data)

        demo = partial(Demo(self.paths.stack).resolve, catalogue)
        with state.locked(self.paths):
            run = audit.Author("run-1", "kim")
            return staging.deliver(self.paths, catalogue, demo, staging.StagingOptions("host"), run)

    def adopt(self) -> None:
        """As if a rollout had succeeded and collected what is left."""
        st = self.state
        for service in list(st.services):
            bundles.promote(self.paths, st, service)
        bundles.collect(self.paths, st, set())

    @property
    def state(self) -> state.State:
        return state.load(self.paths)

    def folder(self, service: str) -> Path:
        """The directory of the bundle in force."""
        name = self.state.services[service].staged
        assert name
        return self.paths.bundle(service, name)

    def value(self, service: str, secret: str) -> bytes:
        return bundles.value(self.paths, self.state, service, secret)

    def tree(self) -> dict[str, tuple[int, int, int, bytes | str]]:
        """Everything on tmpfs and disk: by path, (uid, gid, mode, content); for refusals that change nothing."""
        found: dict[str, tuple[int, int, int, bytes | str]] = {}
        for root in (self.paths.run_root, self.paths.lib_root):
            for path in sorted(root.rglob("*")):
                about = path.lstat()
                content: bytes | str = b""
                if path.is_symlink():
                    content = str(path.readlink())
                elif path.is_file():
                    content = path.read_bytes()
                found[str(path)] = (about.st_uid, about.st_gid, about.st_mode, content)
        return found


@pytest.fixture
def unmounted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Pretend that the run folder is a tmpfs without swap; call it to pretend that it no longer is."""
    mounted = [True]

    def ensure(run_root: Path) -> bool:
        run_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return False

    monkeypatch.setattr(tmpfs, "ensure", ensure)
    monkeypatch.setattr(tmpfs, "options", lambda _: {"noswap"} if mounted[0] else None)
    return lambda: mounted.__setitem__(0, False)


@pytest.fixture(scope="session")
def roots() -> Iterator[Path]:
    """A folder in memory, because every write is followed by fsync."""
    if os.geteuid() != 0 or not shutil.which("systemd-creds"):
        pytest.skip("needs root and systemd-creds")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def root(roots: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=roots) as folder:
        yield Path(folder)


@pytest.fixture
def stack(root: Path, data: dict[str, Any], unmounted: Callable[[], None]) -> Stack:  # noqa: ARG001
    return Stack(StackPaths("demo", root / "run", root / "lib"), data)


@pytest.fixture
def staged(stack: Stack, roots: Path) -> Stack:
    """A stack whose bundles are staged and adopted: made once, then copied."""
    origin = roots / "origin"
    if not origin.exists():
        first = Stack(StackPaths("demo", origin / "run", origin / "lib"), copy.deepcopy(CATALOGUE))
        first.stage()
        first.adopt()
        first.paths.compose.touch(0o600)
    subprocess.run(["cp", "-a", f"{origin}/.", str(stack.paths.run_root.parent)], check=True)
    return stack
