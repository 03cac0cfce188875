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
bounds = {"seconds": 3600, "pause": 0.05}
loads = {
    "ready": Load(f"{url}/ready", ca, clients=4, **bounds),
    "sessions": Load(f"{url}/session", ca, clients=3, session=True, **bounds),
    "posts": Load(f"{url}/session", ca, clients=3, body=b'{"value": 1}', **bounds),
}
for load in loads.values():
    load.start()
signal.sigwait({signal.SIGTERM})
while sum(load.result.requests for load in loads.values()) < least:
    time.sleep(0.1)
results = {name: load.stop() for name, load in loads.items()}
print(json.dumps({name: [r.requests, r.failed, r.failures, r.statuses, r.line()] for name, r in results.items()}))
"""


@contextmanager
def traffic(host: Any, least: int) -> Iterator[None]:
    """Ten clients meanwhile: some ask for readiness, some hold a session, some post. All requests succeed."""
    url, ca = "https://localhost:8443", f"/var/lib/coffre/{STACK}/ca.crt"
    host.check_output(f"install -d -m 0700 {WORK}")
    host.check_output(f"printf %s {shlex.quote((ROOT / 'benchmarks/load.py').read_text())} >{WORK}/load.py")
    host.check_output(
        f"systemd-run --quiet --collect --unit=traffic --property=TimeoutStopSec=600 --working-directory={WORK} "
        f"--property=StandardOutput=truncate:{WORK}/result python3 -c {shlex.quote(MAIN)} {url} {ca} {least}"
    )
    try:
        yield
    finally:
        # It returns when the load has ended.
        host.check_output("systemctl stop traffic.service")
        text = host.check_output(f"cat {WORK}/result; rm -r {WORK}")
    results = json.loads(text)
    # pytest shows it with -s, or when it fails.
    print("\n".join(f"{name}: {line}" for name, (*_, line) in results.items()))
    for requests, failed, failures, statuses, _ in results.values():
        assert (failed, failures, statuses) == (0, {}, {"200": requests})
    assert sum(requests for requests, *_ in results.values()) >= least
