"""What a monitoring system should know of a stack and its secrets, in Prometheus' text format: names and times."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

from ..host import state
from ..values import lifetimes
from .lives import Life
from .target import Check, Target

# By name: what it tells. All are gauges; times in s since 1970. Of a metric that two files tell of in different words,
# node_exporter drops what the second has, and only logs it: so these words stay as they are.
METRICS = {
    "coffre_doctor_timestamp_seconds": "When the doctor looked.",
    "coffre_check_outcome": "What a check found that was made: 0 in order, 1 to be seen to, 2 failed.",
    "coffre_secret_created_timestamp_seconds": "When the version in force was made.",
    "coffre_secret_age_seconds": "How old the version in force is.",
    "coffre_secret_due_timestamp_seconds": "When the version in force is to be replaced, before its end.",
    "coffre_secret_expiry_timestamp_seconds": "When the version in force ends, by age, source or certificate.",
    "coffre_secret_last_rotation_timestamp_seconds": "When the secret was last rotated.",
    "coffre_rotation_open": "Whether a rotation is open.",
    "coffre_rotation_open_since_timestamp_seconds": "Since when it is open.",
}
Samples = dict[str, list[tuple[dict[str, str], float]]]


def of_checks(checks: Iterable[Check]) -> Samples:
    """What the doctor found, and when. Of a check that was not made there is no sample: what it needs has failed."""
    outcomes = [({"check": each.check}, 2.0 - 2 * each.ok + each.warn) for each in checks if not each.skipped]
    now = _seconds(state.now())
    return {"coffre_doctor_timestamp_seconds": [({}, now)], "coffre_check_outcome": outcomes}


def of_secrets(target: Target, lives: Iterable[Life]) -> Samples:
    """The lives of a stack's secrets, and its open rotation. Raises CoffreError if its state cannot be read."""
    found: Samples = {name: [] for name in METRICS if name.startswith(("coffre_secret_", "coffre_rotation_"))}
    now, run = _seconds(state.now()), target.state.run
    for life in lives:
        labels = {"secret": life.secret, "strategy": target.catalogue.secrets[life.secret].strategy}
        found["coffre_secret_age_seconds"].append((labels, now - _seconds(life.created)))
        for what, moment in (
            ("created", life.created),
            ("due", life.due),
            ("expiry", life.ends),
            ("last_rotation", life.rotated),
        ):
            if moment:
                found[f"coffre_secret_{what}_timestamp_seconds"].append((labels, _seconds(moment)))
    found["coffre_rotation_open"].append(({}, float(run is not None)))
    if run:
        found["coffre_rotation_open_since_timestamp_seconds"].append(({}, _seconds(run.started)))
    return found


def _seconds(moment: str) -> float:
    return lifetimes.parsed(moment).timestamp()


def exposition(env: str, stack: str, samples: Samples) -> str:
    """Samples of a stack on this host, each with the name of the environment, the host and the stack."""
    return "".join(_lines({"env": env, "host": socket.gethostname(), "stack": stack}, samples))


def _lines(here: Mapping[str, str], found: Samples) -> Iterable[str]:
    for name, samples in found.items():
        if samples:
            yield f"# HELP {name} {METRICS[name]}\n# TYPE {name} gauge\n"
        for labels, value in samples:
            yield f"{name}{{{_labels({**here, **labels})}}} {value:.0f}\n"


def _labels(labels: Mapping[str, str]) -> str:
    # A folder of inventory may be called anything; no other name of ours has a character that has to be escaped.
    escaped = {key: value.replace("\\", r"\\").replace('"', r"\"") for key, value in labels.items()}
    return ",".join(f'{key}="{value}"' for key, value in escaped.items())
