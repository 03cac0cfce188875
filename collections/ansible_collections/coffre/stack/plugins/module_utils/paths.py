"""Where a stack keeps its things on a host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import CatalogueError

STACK = re.compile(r"[a-z][a-z0-9-]{0,39}")
SWARM = "swarm"
LONGEST_ON_SWARM = 31  # of a stack's name: what Swarm keeps of it is called STACK.VERSION, in 64 characters
BUNDLE = re.compile(r"[0-9a-f]{12}")
RUN = re.compile(r"[0-9A-Za-z-]{1,40}")
VALUE = re.compile(rf"[a-z][a-z0-9-]*\.(?P<run>{RUN.pattern})\.(old|new)\.cred")  # the sealed value of a run
RUN_ROOT = Path("/run/coffre")
LIB_ROOT = Path("/var/lib/coffre")
SOCKET = "/var/run/docker.sock"  # of the engine that the role docker_host sets up
LINK = "current"  # names the bundle in force of a service that reloads


@dataclass(frozen=True)
class StackPaths:
    """The folders and files of one stack; raises CatalogueError for a name that is none."""

    stack: str
    run_root: Path = RUN_ROOT
    lib_root: Path = LIB_ROOT
    engine: str = "compose"  # or swarm

    def __post_init__(self) -> None:
        if not isinstance(self.stack, str) or not STACK.fullmatch(self.stack):
            raise CatalogueError(
                f"The stack name {self.stack!r} is ill-formed: use up to 40 of a-z, 0-9 and -, a letter first."
            )
        if self.on_swarm and len(self.stack) > LONGEST_ON_SWARM:
            raise CatalogueError(
                f"The stack name {self.stack} is too long for Swarm: use up to {LONGEST_ON_SWARM} characters."
            )

    @property
    def on_swarm(self) -> bool:
        """Whether its state and values are the swarm's, not this host's."""
        return self.engine == SWARM

    @property
    def run(self) -> Path:
        return self.run_root / self.stack

    @property
    def people(self) -> Path:
        """The passwords of users that were made for somebody to try the stack with, until the host is off."""
        return self.run_root / f"{self.stack}.people"

    @property
    def lib(self) -> Path:
        return self.lib_root / self.stack

    @property
    def state(self) -> Path:
        return self.lib / "state.json"

    @property
    def sealed(self) -> Path:
        return self.lib / "sealed"

    @property
    def lock(self) -> Path:
        return self.lib / "lock"

    @property
    def audit(self) -> Path:
        return self.lib / "audit.jsonl"

    @property
    def compose(self) -> Path:
        """The file that is run. A swarm's is called otherwise, for at a boot there is nothing to be raised for it."""
        return self.lib / ("stack.yml" if self.on_swarm else "compose.yml")

    @property
    def progress(self) -> Path:
        """What a module of the stack is at, while it runs."""
        return self.run_root.with_name(f"{self.run_root.name}-{self.stack}.progress")

    def failed_log(self, service: str) -> Path:
        """The last log lines of a container that was taken back or rolled back, for root."""
        return self.lib / f"{service}.failed.log"

    @property
    def firewall(self) -> Path:
        """The stack's own rules of the packet filter, by its networks."""
        return self.lib / "firewall.nft"

    @property
    def authority(self) -> Path:
        """The certificate of the demo CA, which clients may trust."""
        return self.lib / "ca.crt"

    def service(self, service: str) -> Path:
        return self.run / service

    def bundle(self, service: str, bundle: str) -> Path:
        return self.run / service / bundle

    def seal(self, service: str, bundle: str) -> Path:
        return self.sealed / f"{service}.{bundle}.cred"

    def sealed_value(self, run: str, secret: str, which: str) -> Path:
        """A value of a rotation under way: `which` is old or new."""
        return self.sealed / f"{secret}.{run}.{which}.cred"
