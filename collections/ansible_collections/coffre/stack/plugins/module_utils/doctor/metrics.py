"""What a monitoring system should know of a stack's secrets, in Prometheus' text format: names and times."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

from ..audit import trail as audit
from ..catalogue import Catalogue
from ..host import state
from ..paths import StackPaths
from ..values import lifetimes

# By name: what it tells. All are gauges; times in s since 1970.
METRICS = {
    "coffre_secret_created_timestamp_seconds": "When the version in force was made.",
    "coffre_secret_age_seconds": "How old the version in force is.",
    "coffre_secret_expiry_timestamp_seconds": "When the version in force ends, by its age or its source's date.",
    "coffre_secret_last_rotation_timestamp_seconds": "When the secret was last rotated.",
    "coffre_rotation_open": "Whether a rotation is open.",
    "coffre_rotation_open_since_timestamp_seconds": "Since when it is open.",
}
Samples = dict[str, list[tuple[dict[str, str], float]]]


def exposition(paths: StackPaths, st: state.State, catalogue: Catalogue) -> str:
    """The metrics of a stack on this host. Raises CoffreError if its audit trail cannot be read."""
    found: Samples = {name: [] for name in METRICS}
    here = {"host": socket.gethostname(), "stack": paths.stack}
    rotated, now = audit.rotations(paths), lifetimes.parsed(state.now()).timestamp()
    for name, record in sorted(st.secrets.items()):
        if (secret := catalogue.secrets.get(name)) is None:
            continue
        labels = here | {"secret": name, "strategy": secret.strategy}
        created, end = lifetimes.parsed(record.created).timestamp(), lifetimes.end(secret, record)
        found["coffre_secret_created_timestamp_seconds"].append((labels, created))
        found["coffre_secret_age_seconds"].append((labels, now - created))
        if end:
            found["coffre_secret_expiry_timestamp_seconds"].append((labels, end.timestamp()))
        if name in rotated:
            found["coffre_secret_last_rotation_timestamp_seconds"].append((labels, rotated[name]))
    found["coffre_rotation_open"].append((here, float(st.run is not None)))
    if st.run:
        since = lifetimes.parsed(st.run.started).timestamp()
        found["coffre_rotation_open_since_timestamp_seconds"].append((here, since))
    return "".join(_lines(found))


def _lines(found: Samples) -> Iterable[str]:
    for name, samples in found.items():
        if samples:
            yield f"# HELP {name} {METRICS[name]}\n# TYPE {name} gauge\n"
        for labels, value in samples:
            yield f"{name}{{{_labels(labels)}}} {value:.0f}\n"


def _labels(labels: Mapping[str, str]) -> str:
    # No name of ours has a character that would have to be escaped.
    return ",".join(f'{key}="{value}"' for key, value in labels.items())
