"""The cells of the demo on a swarm: whatever becomes of the manager that acts, another one finishes or undoes its run.

A run that is harmed acts on the host ACTS, and the ordinary one after it on another, which has nothing of the first
one's disk.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from machines import ROOT, Play, run_playbook
from rotations import Run, Site
from swarms import HOSTS, INVENTORY, MANAGERS, STACK, on, play, state, wait_for_control

from tests.faults.cells import HEADLESS, Cell, kills
from tests.faults.chosen import ADMIN, CLIENT, DATABASE
from tests.faults.kinds import Fault

ACTS, NEXT = "swarm1", "swarm2"  # as the inventory's order has it
OTHERS = f"!{ACTS}"
SUPERUSER, RING, CERTIFICATE = "postgres-admin-password", "flask-secret-key", "proxy-tls"
SETTLE = 240.0  # seconds that Swarm may take to have all tasks again after a host came back
TAKEN = "Another run has taken over"


@dataclass(frozen=True)
class Swarm(Site):
    """The demo on the four test hosts; `before` is what the state had when the cell began."""

    stack: str = STACK
    inventory: Any = INVENTORY
    url: str = ""
    ca: str = ""
    machine: str = f"coffre-test-{ACTS}"
    limit: str = "all"
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def watched(self) -> str:
        return self.stack

    def play(self, playbook: str, *arguments: str, timeout: int = 900) -> Play:
        """Run a playbook by another manager than the one that was harmed."""
        return run_playbook("--limit", OTHERS, *arguments, playbook=playbook, inventory=self.inventory, timeout=timeout)

    def power_off(self) -> None:
        """It stays off until the judge comes."""
        kill(ACTS)

    def remember(self) -> None:
        """No interface gives a value back, so the doctor tries those in force, and the runs saw the others refused."""

    def forget(self) -> None:
        self.before.clear()
        self.before.update(state(NEXT)["secrets"])

    def judge(self) -> tuple[list[str], dict[str, Any]]:
        """Once all hosts are there: the state is what the trail says, and the doctor finds nothing on any of them."""
        raise_hosts(self)
        problems = [*stored(state(NEXT), outcomes(), self.before)]
        deadline = time.monotonic() + SETTLE
        while (found := doctor()) and time.monotonic() < deadline:
            pass
        return [*problems, *found], facts()


def stored(now: dict[str, Any], last: dict[str, dict[str, str]], before: dict[str, Any]) -> Iterator[str]:
    """No run is open, each service has one bundle, and each version is the one that the trail ends with."""
    if now["run"]:
        yield f"the run {now['run']['id']} of {', '.join(now['run']['secrets'])} is open"
    for service, entry in now["services"].items():
        if entry["next"] or set(entry["bundles"]) != {entry["current"]}:
            yield f"{service} has the bundles {sorted(entry['bundles'])}, not {entry['current']} alone"
    for name, entry in now["secrets"].items():
        said = last.get(name, {"outcome": "undone", "old": before[name]["version"]})
        if said["outcome"] not in ("rotated", "undone"):
            yield f"the trail leaves {name} {said['outcome']}"
        elif entry["version"] != said["new" if said["outcome"] == "rotated" else "old"]:
            yield f"{name} is {said['outcome']}, and has the version {entry['version']}"
        elif said["outcome"] == "undone" and entry != before[name]:
            yield f"{name} is undone, and not as before"


def outcomes() -> dict[str, dict[str, str]]:
    """By secret, the trail's last word on its rotation as a whole, as another manager has it."""
    found = {}
    for line in on(NEXT, f"cat /var/lib/coffre/{STACK}/audit.jsonl").splitlines():
        record = json.loads(line)
        if record["event"] == "rotation" and record["outcome"] not in ("done", "failed"):
            found[record["secret"]] = record
    return found


def doctor() -> list[str]:
    """What it finds amiss on the hosts, a sentence each; a value that is left over, too."""
    said = play("doctor")
    try:
        hosts = json.loads((ROOT / ".coffre" / INVENTORY.name / "doctor.json").read_text())["hosts"]
    except OSError:
        return [said.output[-1500:]]
    found = [
        f"{name}: {each['check']}: {each['message']}"
        for name, checks in hosts.items()
        for each in checks
        if not each["ok"] or "nothing needs" in each["message"]
    ]
    return found or ([] if said.status == 0 else [said.output[-1500:]])


def facts() -> dict[str, Any]:
    """What no rotation may change: the nodes, and the services, which are the stack's own alone."""
    nodes = "{{.Description.Hostname}} {{.Spec.Role}} {{.Spec.Availability}} {{.Status.State}} {{.Spec.Labels}}"
    services = "{{.Spec.Name}} {{.Spec.TaskTemplate.ContainerSpec.Image}} {{json .Spec.Mode}}"
    return {
        what: sorted(on(NEXT, f"docker {what} inspect --format '{each}' $(docker {what} ls -q)").splitlines())
        for what, each in (("node", nodes), ("service", services))
    }


def docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, capture_output=True, timeout=60)


def kill(name: str) -> None:
    """Cut a host's power."""
    docker("kill", f"coffre-test-{name}")


def raise_hosts(_: Site) -> None:
    """Give power to those hosts that have none, and wait until the swarm has all of them."""
    for name in HOSTS:
        docker("start", f"coffre-test-{name}")  # nothing, where it is up
    for name in MANAGERS:
        wait_for_control(name)
    deadline = time.monotonic() + SETTLE
    while set(on(NEXT, "docker node ls --format '{{.Status}}'").split()) != {"Ready"}:
        assert time.monotonic() < deadline, "a node is not ready again"
        time.sleep(1)


def leader() -> str:
    found = on(NEXT, "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}' | grep Leader")
    return found.split()[0]


def lead_elsewhere(_: Site) -> None:
    """Let a manager that does not act lead: who comes back from a restart does not."""
    while leader() == ACTS:
        on(ACTS, "systemctl restart docker")
        wait_for_control(ACTS)


def bystander() -> str:
    """A manager that neither acts nor leads."""
    return next(name for name in MANAGERS if name not in (ACTS, leader()))


def node(setting: str, names: Callable[[], list[str]]) -> Callable[[Site], None]:
    """Change nodes, as a manager that does not act."""

    def run(_: Site) -> None:
        for name in names():
            on(NEXT, f"docker node update {setting} {name}")

    return run


def everyone(command: str) -> Callable[[Site], None]:
    """A command on every host that can run the app."""

    def run(_: Site) -> None:
        image = f"$(docker service inspect --format '{{{{.Spec.TaskTemplate.ContainerSpec.Image}}}}' {STACK}_app)"
        told = on(NEXT, f"echo {image}")
        for name in MANAGERS:
            on(name, command.replace("IMAGE", told).replace("KEPT", "coffre-test/kept:1"))

    return run


class Rival:
    """Another run of the same secret, by another manager; None while there is none."""

    def __init__(self) -> None:
        self._run: Run | None = None

    def begin(self, secret: str) -> Callable[[Site], None]:
        def do(_: Site) -> None:
            other = Swarm(limit=OTHERS)
            self._run = Run(other, "rotate", "-e", f"secrets={secret}", "-e", "secret_rotation_lease_seconds=1")

        return do

    def end(self, _: Site) -> None:
        if self._run:
            self._run.end()
        self._run = None

    def whole(self, secret: str) -> Callable[[Site], None]:
        """It comes to its end while the first run is held up."""

        def do(site: Site) -> None:
            self.begin(secret)(site)
            self.end(site)

        return do


rival = Rival()


def fenced(secret: str) -> Fault:
    return Fault("held up until another manager took over", rival.whole(secret), says=TAKEN)


def raced(secret: str) -> Fault:
    return Fault("another manager rotates, too", rival.begin(secret), rival.end)


# What goes between the engines is dropped, and what Ansible needs is not.
PARTITION = """
table inet minority {
  chain input {
    type filter hook input priority -10
    iif != lo meta l4proto { tcp, udp } th dport { 2377, 4789, 7946 } drop
    iif != lo meta l4proto { tcp, udp } th sport { 2377, 4789, 7946 } drop
  }
  chain output {
    type filter hook output priority -10
    oif != lo meta l4proto { tcp, udp } th dport { 2377, 4789, 7946 } drop
    oif != lo meta l4proto { tcp, udp } th sport { 2377, 4789, 7946 } drop
  }
}
"""
CUT_OFF = Fault(
    "the manager that acts is in the minority",
    lambda _: on(ACTS, f"printf '%s' '{PARTITION}' | nft --file -"),
    prepare=lead_elsewhere,
    restore=lambda _: on(ACTS, "nft delete table inet minority || true"),
)
ENGINE = Fault(
    "its engine is killed",
    lambda _: on(ACTS, "systemctl kill --signal=KILL docker.service"),
    lambda _: wait_for_control(ACTS),
)
LEADER = Fault("the manager that leads dies", lambda _: kill(leader()), raise_hosts, lead_elsewhere)
MANAGER = Fault("a manager that neither acts nor leads dies", lambda _: kill(bystander()), raise_hosts)
WORKER = Fault("the worker dies, with the database", lambda _: kill("swarm4"), raise_hosts)
DRAINED = Fault(
    "a node is drained",
    node("--availability drain", lambda: ["swarm3"]),
    node("--availability active", lambda: ["swarm3"]),
)
NO_PLACE = Fault(
    "no task can be placed",
    node("--availability pause", lambda: list(HOSTS)),
    node("--availability active", lambda: list(HOSTS)),
)
NO_IMAGE = Fault(
    "the image of the app is gone from every node",
    everyone("docker tag IMAGE KEPT && docker rmi --force IMAGE"),
    everyone("docker tag KEPT IMAGE && docker rmi KEPT"),
)


def cells(site: Swarm) -> Iterator[Cell]:
    """All of them; before those of each strategy an undisturbed rotation tells which records it writes."""
    yield from HARMS
    for secret in (CLIENT, DATABASE, RING, CERTIFICATE, SUPERUSER, ADMIN):
        yield from kills(site, secret)


HARMS = [
    Cell(CLIENT, "taught", fenced(CLIENT), why="who was thought dead must not write over who took its place"),
    Cell(CLIENT, "taught", CUT_OFF, why="it must change nothing more, and the majority undoes the run"),
    Cell(CLIENT, "made", raced(CLIENT), why="one of two rotates, or takes over, and the other says so"),
    Cell(CLIENT, "app exposed", NO_PLACE, patience=25, why="the old tasks serve on, and all goes back"),
    Cell(CLIENT, "proved", NO_IMAGE, patience=60, why="Swarm takes the rollout back, and the run all else"),
    Cell(CLIENT, "app exposed", DRAINED, why="its tasks go elsewhere in the middle of the rollout"),
    Cell(CLIENT, "taught", MANAGER, why="two of three managers are enough"),
    Cell(CLIENT, "taught", LEADER, why="the managers elect another, and the run goes on or back"),
    Cell(CLIENT, "app exposed", ENGINE, why="Swarm goes on with the rollout that nobody watches"),
    Cell(CLIENT, "taught", WORKER, patience=60, why="Keycloak has no database, so undo cannot be done"),
    Cell(DATABASE, "withdrawn", fenced(DATABASE), why="both go forward, and one of them alone does"),
    Cell(DATABASE, "keycloak exposed", CUT_OFF, why="Swarm rolls on in the majority, without its driver"),
    Cell(CLIENT, "withdrawn", HEADLESS, why="finished by the dead run's module or by the next"),
]
