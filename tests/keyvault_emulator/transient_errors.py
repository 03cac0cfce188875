"""What goes wrong with calls, and how many there were."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

KINDS = ("status", "reset", "lost", "half", "slow", "failed")


@dataclass
class Fault:
    """What goes wrong with some calls.

    `operation`: a name of OPERATIONS, `challenge` (a call without a token), `token`, or `*` (any call of a vault), a
    verb and a type of Resource Manager's (`PUT vaults`), or `arm` (any call of it);
    `name`: a secret's, or `*`; of the calls that match, `skip` go well first, then `count` are hit (0: all) with
    probability `share`. `kind`: `status` (answer `status`, with `retry_after` seconds where it is not None), `reset`
    (nothing was done), `lost` (it was done, the answer is lost by a reset), `half` (the answer breaks off), `slow`
    (`seconds` late), `failed` (what Resource Manager began to make does not come to be).
    """

    kind: str
    operation: str = "*"
    name: str = "*"
    skip: int = 0
    count: int = 1
    share: float = 1.0
    status: int = 503
    retry_after: int | None = None
    seconds: float = 0.0

    def meets(self, operation: str, name: str) -> bool:
        """Whether a call is one of those meant; it uses up `skip`."""
        arm = " " in operation
        wide = arm if self.operation == "arm" else self.operation == "*" and operation != "token" and not arm
        if not (wide or self.operation.lower() == operation.lower()) or self.name.lower() not in ("*", name.lower()):
            return False
        if self.skip:
            self.skip -= 1
            return False
        return True


@dataclass
class TransientErrors:
    """What calls meet, and how many there were. `latency_ms` is added to every call."""

    latency_ms: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock, repr=False)
    _dice: random.Random = field(default_factory=lambda: random.Random(4), repr=False)  # noqa: S311

    def add(self, fault: Fault) -> None:
        """A fault, after those that are there already."""
        with self._lock:
            self.faults.append(fault)

    def clear(self) -> None:
        """No faults."""
        with self._lock:
            self.faults.clear()

    def count(self, what: str) -> None:
        """One more."""
        with self._lock:
            self.counters[what] += 1

    def counted(self, reset: bool) -> dict[str, int]:
        """How many of each there were since the last reset."""
        with self._lock:
            counted = dict(self.counters)
            if reset:
                self.counters.clear()
        return counted

    def meet(self, operation: str, name: str) -> Fault | None:
        """Count a call, let its latency pass, and say which fault it meets."""
        self.count(operation)
        with self._lock:
            met = next((fault for fault in self.faults if fault.meets(operation, name)), None)
            if met and self._dice.random() >= met.share:
                met = None
            if met and met.count:
                met.count -= 1
                if not met.count:
                    self.faults.remove(met)
        time.sleep(self.latency_ms / 1000 + (met.seconds if met and met.kind == "slow" else 0.0))
        return met
