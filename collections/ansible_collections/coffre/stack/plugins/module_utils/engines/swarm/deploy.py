"""Bringing one service of a stack to what its file says, and back where its tasks do not come up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import CoffreError
from ...host.api import ask
from .. import compose
from . import SPEC, services, tasks
from .file import of_one

POLL_SECONDS = 0.25
STABLE_SECONDS = 0.5  # between two looks: what comes up and goes again does not count
FAILURES = 3  # tasks of a new service that ended, after which it is not waited for any longer
GOING = ("updating", "rollback_started")
PAUSED = ("paused", "rollback_paused")


@dataclass(frozen=True)
class Standing:
    """How far a service is: `wanted` and `right` are tasks, `update` is what Swarm says of its last change."""

    exists: bool
    spec: str = ""
    wanted: int = 0
    right: int = 0
    others: Sequence[str] = ()  # the nodes of those that are to go
    update: str = ""
    ended: Mapping[str, str] = field(default_factory=dict)  # by id of the tasks of the wanted kind that did, why
    pending: str = ""  # why one of them does not start

    @property
    def settled(self) -> bool:
        """Whether all tasks are as they are wanted, and run."""
        return self.exists and self.right == self.wanted and not self.others and self.update not in GOING

    @property
    def last(self) -> str:
        """Why the last one ended that did, "" without any."""
        return [*self.ended.values()][-1] if self.ended else ""


def standing(service: Mapping[str, Any] | None, its_tasks: Sequence[Mapping[str, Any]], spec: str) -> Standing:
    """What the managers' answers say of a service beside the hash that it is to have.

    Of one that has a task on each node that will do, the managers have said which those are by making the tasks.
    """
    if service is None:
        return Standing(False)
    mine = [each for each in its_tasks if each["ServiceID"] == service["ID"]]
    kind = [each for each in mine if (each["Spec"]["ContainerSpec"].get("Labels") or {}).get(SPEC) == spec]
    live = [each for each in mine if each["DesiredState"] in ("running", "ready")]
    mode = service["Spec"]["Mode"]
    nodes = {each.get("NodeID") for each in live}
    wanted = mode["Replicated"]["Replicas"] if "Replicated" in mode else max(len(nodes), 1)
    running = [each for each in live if each in kind and each["Status"]["State"] == "running"]
    waiting = [each["Status"].get("Err") for each in live if each in kind and each["Status"]["State"] == "pending"]
    return Standing(
        True,
        (service["Spec"].get("Labels") or {}).get(SPEC, ""),
        wanted,
        len(running),
        [str(each.get("NodeID")) for each in live if each not in kind],
        (service.get("UpdateStatus") or {}).get("State", ""),
        {each["ID"]: _why(each) for each in kind if each["Status"]["State"] in ("failed", "rejected", "complete")},
        next((str(each) for each in waiting if each), ""),
    )


def _why(task: Mapping[str, Any]) -> str:
    status = task["Status"]
    code = (status.get("ContainerStatus") or {}).get("ExitCode")
    return str(status.get("Err") or (f"it exited with code {code}" if code is not None else status["State"]))[:300]


def look(stack: str, name: str, spec: str) -> Standing:
    """How far a service is now. Raises CoffreError."""
    return standing(services(stack).get(name), tasks(stack), spec)


def spec_of(whole: Mapping[str, Any], name: str) -> str:
    """The hash of a service in the rendered file."""
    return str(whole["services"][name]["deploy"]["labels"][SPEC])


def deploy(stack: str, whole: Mapping[str, Any], name: str, seconds: float, log: Path, hold: Callable[[], None]) -> str:
    """Bring a service to the rendered file and wait for its tasks: "", or why it was taken back.

    Swarm itself puts back the tasks of before where new ones end; where they never run, that is done here in the end.
    The last log lines of a service that was taken back are put into `log`. `hold` is asked before each change, and
    raises where another run has taken over meanwhile.
    Raises CoffreError where Swarm does not take the file: then nothing was changed.
    """
    spec = spec_of(whole, name)
    before = look(stack, name, spec)
    text = json.dumps(of_one(whole, name))
    hold()
    compose.call(["docker", "stack", "deploy", "--resolve-image", "never", "--detach=true", "-c", "-", stack], text)
    if not (problem := wait(stack, name, spec, seconds, before.ended)):
        return ""
    hold()
    if compose.save_logs(f"{stack}_{name}", log, of=("service", "logs", "--raw")):
        problem += f", the last log lines are in {log}"
    if before.exists:
        return f"{problem}; {_rolled_back(stack, name, seconds)}"
    compose.call(["docker", "service", "rm", f"{stack}_{name}"])
    return f"{problem}; it was removed, for there is no older one to go back to"


def wait(stack: str, name: str, spec: str, seconds: float, ended: Collection[str] | None = None) -> str:
    """Wait until all tasks of a service are of this hash, run and stay so for a moment: "", or why not.

    Each task has so many seconds to come up. Those that had `ended` before (ids; by now, if not given) do not count.
    """
    began = last = time.monotonic()
    since, most = None, 0
    while True:
        now = look(stack, name, spec)
        ended = now.ended if ended is None else ended
        if problem := _failed(now, spec, [each for each in now.ended if each not in ended]):
            return problem
        if now.right > most:
            last, most = time.monotonic(), now.right
        if not now.settled:
            since = None
        elif since is None:
            since = time.monotonic()
        elif time.monotonic() - since >= STABLE_SECONDS:
            return ""
        if time.monotonic() > last + seconds:
            why = now.pending or _paused(now.others) or now.last or "they are starting"
            return f"{now.right} of {now.wanted} tasks run after {time.monotonic() - began:.0f} s: {why}"
        time.sleep(POLL_SECONDS)


def _paused(nodes: Collection[str]) -> str:
    """Those of some nodes that are paused, on which Swarm begins and ends nothing, as a clause; "" without any."""
    found = [
        each["Description"]["Hostname"]
        for each in (ask("GET", "/nodes") if nodes else [])
        if each["ID"] in nodes and each["Spec"]["Availability"] == "pause"
    ]
    return f"{', '.join(sorted(found))} paused: activate or drain what is (make swarm-node)" if found else ""


def _failed(now: Standing, spec: str, ended: Sequence[str]) -> str:
    """Why a service is not to be waited for any longer, "" if it is."""
    if not now.exists:
        return "it is gone"
    last = now.last or "nobody says why"
    if now.spec != spec:
        return f"Swarm went back to what was there before: {last}"
    if now.update in PAUSED and not now.settled:
        return f"Swarm has paused its update: {last}"
    if not now.update and len(ended) >= FAILURES and not now.settled:
        return f"its tasks end again and again: {last}"
    return ""


def _rolled_back(stack: str, name: str, seconds: float) -> str:
    """Have Swarm put back what a service was before its last change; what became of it."""
    service = services(stack)[name]
    state = (service.get("UpdateStatus") or {}).get("State", "")
    before = service.get("PreviousSpec")
    if before and before.get("Labels") == service["Spec"].get("Labels"):
        return "and Swarm knows nothing else that was there before"
    if not state.startswith("rollback"):
        try:
            version = service["Version"]["Index"]
            ask("POST", f"/services/{service['ID']}/update", service["Spec"], version=version, rollback="previous")
        except CoffreError as error:
            return f"and what was there before could not be put back: {error}"
    deadline = time.monotonic() + seconds
    while True:
        service = services(stack)[name]
        now = standing(service, tasks(stack), (service["Spec"].get("Labels") or {}).get(SPEC, ""))
        if now.settled:
            return "what was there before serves again"
        if time.monotonic() > deadline:
            return "what was there before was to serve again, and does not yet"
        time.sleep(POLL_SECONDS)
