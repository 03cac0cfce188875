"""Traffic through a stack's proxy, from its host, and an honest count of what was lost meanwhile."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from machines import ROOT, STACK

WORK = "/root/traffic"
# Until it is told to end (SIGTERM), and then until the least number of requests is reached; at most an hour.
MAIN = r"""
import json, pathlib, signal, sys, time
from load import Load

url, ca, least = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
loads = {
    name: Load(url + path, ca, seconds=3600, pause=float(sys.argv[5]), body=body and body.encode(), **how)
    for name, (path, body, how) in json.loads(sys.argv[4]).items()
}
for load in loads.values():
    load.start()
signal.sigwait({signal.SIGTERM})
while sum(load.result.requests for load in loads.values()) < least:
    time.sleep(0.1)
results = {name: load.stop() for name, load in loads.items()}
print(json.dumps({name: [r.requests, r.failed, r.failures, r.statuses, r.line()] for name, r in results.items()}))
"""


# By name: a path, what is posted there, and what else benchmarks/load.py is told.
Clients = dict[str, tuple[str, str | None, dict[str, Any]]]
DEMO: Clients = {
    "ready": ("/ready", None, {"clients": 4}),
    "sessions": ("/session", None, {"clients": 3, "session": True}),
    "posts": ("/session", '{"value": 1}', {"clients": 3}),
}


@contextmanager
def traffic(
    host: Any,
    least: int,
    clients: Clients = DEMO,
    stack: str = STACK,
    url: str = "https://localhost:8443",
    pause: float = 0.05,
) -> Iterator[dict[str, int]]:
    """Clients meanwhile, all of whose requests succeed: at its end, how many those were by name.

    Each waits `pause` seconds between two of them.
    """
    ca = f"/var/lib/coffre/{stack}/ca.crt"
    counted: dict[str, int] = {}
    host.check_output(f"install -d -m 0700 {WORK}")
    host.check_output(f"printf %s {shlex.quote((ROOT / 'benchmarks/load.py').read_text())} >{WORK}/load.py")
    words = shlex.join([MAIN, url, ca, str(least), json.dumps(clients), str(pause)])
    host.check_output(
        f"systemd-run --quiet --collect --unit=traffic --property=TimeoutStopSec=600 --working-directory={WORK} "
        f"--property=StandardOutput=truncate:{WORK}/result python3 -c {words}"
    )
    try:
        yield counted
    finally:
        # It returns when the load has ended.
        host.check_output("systemctl stop traffic.service")
        text = host.check_output(f"cat {WORK}/result; rm -r {WORK}")
    results = json.loads(text)
    # pytest shows it with -s, or when it fails.
    print("\n".join(f"{name}: {line} {failures}" for name, (*_, failures, _, line) in results.items()))
    for name, (requests, failed, failures, statuses, _) in results.items():
        assert (failed, failures) == (0, {}) and statuses in ({"200": requests}, {"202": requests})
        counted[name] = requests
    assert sum(counted.values()) >= least
