"""What a monitoring system should know of a stack and its secrets, in Prometheus' text format: names and times."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from datetime import datetime

from ..audit import trail as audit
from ..host import state
from ..values import lifetimes
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
    now = lifetimes.parsed(state.now()).timestamp()
    return {"coffre_doctor_timestamp_seconds": [({}, now)], "coffre_check_outcome": outcomes}


def of_secrets(target: Target, before_days: int) -> Samples:
    """The lives of a stack's secrets, and its open rotation. Raises CoffreError if its audit trail cannot be read."""
    found: Samples = {name: [] for name in METRICS if name.startswith(("coffre_secret_", "coffre_rotation_"))}
    rotated, now, st = audit.rotations(target.paths), lifetimes.parsed(state.now()).timestamp(), target.state
    for name, record in sorted(st.secrets.items()):
        if (secret := target.catalogue.secrets.get(name)) is None:
            continue
        labels = {"secret": name, "strategy": secret.strategy}
        created = lifetimes.parsed(record.created).timestamp()
        ends = (lifetimes.end(secret, record), _certificate_end(target.values.get(name, b"")))
        end = min((each for each in ends if each), default=None)
        found["coffre_secret_created_timestamp_seconds"].append((labels, created))
        found["coffre_secret_age_seconds"].append((labels, now - created))
        if end:
            due = end - lifetimes.margin(record, end, before_days)
            found["coffre_secret_due_timestamp_seconds"].append((labels, due.timestamp()))
            found["coffre_secret_expiry_timestamp_seconds"].append((labels, end.timestamp()))
        if name in rotated:
            found["coffre_secret_last_rotation_timestamp_seconds"].append((labels, rotated[name]))
    found["coffre_rotation_open"].append(({}, float(st.run is not None)))
    if st.run:
        since = lifetimes.parsed(st.run.started).timestamp()
        found["coffre_rotation_open_since_timestamp_seconds"].append(({}, since))
    return found


def _certificate_end(value: bytes) -> datetime | None:
    """When the certificate in a value ends, None where there is none. Its owner may give one of any length."""
    if b"-----BEGIN CERTIFICATE-----" not in value:
        return None
    from ..values import certificates

    try:
        return certificates.end(value)
    except ValueError:  # which the check of certificates tells
        return None


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
