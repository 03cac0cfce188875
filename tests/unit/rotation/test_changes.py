"""Which secrets a run takes: those named or due, and with an authority what it signs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.rotation import plan as rotation_plan
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from tests.unit import described

LONG_AGO, NOW = "2026-01-01T00:00:00Z", datetime(2026, 11, 1, tzinfo=UTC)
RANDOM = {"type": "random", "bytes": 16}
NAMES = ["example.org"]
CERTIFICATE = {"type": "certificate", "authority": "ca", "names": NAMES, "days": 90}
DATA: dict[str, Any] = {
    "secrets": [
        {"name": "tls", "consumers": ["host"], "strategy": "replace", "max_age_days": 90, "generate": CERTIFICATE},
        {
            "name": "ca",
            "consumers": ["host"],
            "strategy": "replace",
            "generate": {"type": "certificate_authority", "names": NAMES, "days": 900},
        },
        {
            "name": "supplied",
            "consumers": ["host"],
            "strategy": "replace",
            "max_age_days": 90,
            "settings": {"names": NAMES},
        },
        {"name": "key", "consumers": ["host"], "strategy": "key_ring", "generate": RANDOM},
        {"name": "key-2", "consumers": ["host"], "strategy": "key_ring", "generate": RANDOM},
    ],
    "services": [],
}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ((), {"tls": "due", "key-2": "an old version retires"}),
        (("ca",), {"ca": "named", "tls": "signed by ca"}),
        (("tls",), {"tls": "named"}),
        (("supplied", "key"), {"supplied": "named", "key": "named"}),
    ],
)
def test_chosen(names: tuple[str, ...], chosen: dict[str, str]) -> None:
    catalogue = described.parse(DATA)
    st = state.State("demo", {name: state.Version("1" * 32, LONG_AGO) for name in catalogue.secrets})
    st.secrets["key-2"].ring = [state.Previous("2" * 32, LONG_AGO, LONG_AGO)]
    asked = rotation_plan.RotationRequest(names=names, before_days=14)
    found = rotation_plan.changes(catalogue, st, asked, Demo("demo"), NOW)
    assert {name: why for name, (_, why) in found.items()} == chosen
    assert list(found) == list(chosen)
    assert {name for name, (each, _) in found.items() if each.old.version == each.new.version} == {"key-2"} & set(found)
