"""The doctor finds a fresh stack sound, tells what is wrong with a spoilt one, and changes neither."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any, NamedTuple

import alerting
import pytest
from machines import ROOT, STACK, Play, note_files, read_state, run_playbook, same_files

from ansible_collections.coffre.stack.plugins.module_utils.doctor.checks import EXAMINATIONS

testinfra_hosts = ["ansible://debian13"]

REPORT = ROOT / ".coffre" / "inventory" / "doctor.json"
# A key of which half the time is over that was left to replace it, and a rotation that nobody drives.
OLD_AND_OPEN = """
import json, sys, time
ago = lambda days: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86400))
state = json.load(open(sys.argv[1]))
state["secrets"]["flask-secret-key"]["created"] = ago(85)
begun = {"id": "r1", "holder": "r1", "operator": "kim", "started": ago(1), "lease_until": ago(1), "secrets": {}}
json.dump(state | {"run": begun}, open(sys.argv[1], "w"))
"""


class Spoilt(NamedTuple):
    """A run of the doctor, its checks of debian13 and the metrics it wrote of it; the file that others may read."""

    play: Play
    checks: list[dict[str, Any]]
    metrics: str
    path: str


def test_a_sound_stack_passes_every_check(host: Any) -> None:
    note_files(host, f"/var/lib/coffre/{STACK}", "/root/before")
    play = run_playbook(playbook="doctor")
    assert play.status == 0, play.output
    assert "FAIL" not in play.output
    assert all(figures["changed"] == 0 for figures in play.recap.values())
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    assert report["ok"] is True
    assert report["hosts"].keys() == {"debian12", "debian13"}
    names = [each.name for each in EXAMINATIONS]
    for checks in report["hosts"].values():
        assert [check["check"] for check in checks if check["ok"]] == names
    assert same_files(host, f"/var/lib/coffre/{STACK}", "/root/before")
    assert host.check_output("find /run -maxdepth 1 -name 'coffre-*'") == ""


@pytest.fixture(scope="module")
def spoilt(host: Any) -> Spoilt:
    """A look at a stack in which something is wrong everywhere; all of it is put right before the tests see it."""
    current = read_state(host)["services"]["app"]["current"]
    path = f"/run/coffre/{STACK}/app/{current}/flask-secret-key"
    state = f"/var/lib/coffre/{STACK}/state.json"
    host.check_output(f"chmod 0644 {path} && touch /run/coffre/{STACK}/app/{current}/foreign")
    host.check_output(
        f"printf 'KEY=%s\\n' \"$(cat {path})\" >/root/planted && systemctl disable --quiet docker.service"
    )
    host.check_output("nft flush chain inet coffre closed")
    host.check_output("systemd-run --quiet --unit=planted --property=EnvironmentFile=/root/planted sleep 300")
    host.check_output(f"cp --preserve {state} /root/state.json && python3 -c {shlex.quote(OLD_AND_OPEN)} {state}")
    try:
        play = run_playbook("--limit", "debian13", "--check", playbook="doctor")
        report = json.loads(REPORT.read_text(encoding="utf-8"))
        assert host.check_output(f"stat -c %a {path}") == "644"
    finally:
        host.check_output(f"chmod 0400 {path} && rm /run/coffre/{STACK}/app/{current}/foreign /root/planted")
        host.check_output(f"mv /root/state.json {state}")
        host.check_output("nft --file /usr/local/lib/coffre/firewall.nft")
        host.check_output("systemctl stop planted && systemctl enable --quiet docker.service")
    metrics = REPORT.with_name(f"debian13.{STACK}.prom").read_text(encoding="utf-8")
    return Spoilt(play, report["hosts"]["debian13"], metrics, path)


def test_each_failure_is_told_by_its_check_and_left_alone(spoilt: Spoilt) -> None:
    assert spoilt.play.status != 0
    failed = {check["check"]: check["message"] for check in spoilt.checks if not check["ok"]}
    assert failed.keys() == {"state", "boot unit", "permissions", "bundles", "environment", "packet filter"}
    assert "by kim is open since" in failed["state"]
    assert f"{spoilt.path} is 60611:60611 0644 where 60611:60611 0400 is due" in failed["permissions"]
    assert f"{spoilt.path.rpartition('/')[0]}/foreign is foreign" in failed["bundles"]
    assert "the value of flask-secret-key stands in /proc/" in failed["environment"]
    assert "docker.service is disabled" in failed["boot unit"]
    assert "the loaded table inet coffre is not that of" in failed["packet filter"]
    assert f"6 of {len(spoilt.checks)} checks failed" in " ".join(spoilt.play.output.split())


@alerting.needs("prometheus", "prometheus-node-exporter")
def test_a_real_prometheus_raises_an_alert_for_each_of_them(spoilt: Spoilt, tmp_path: Path) -> None:
    looked = [line for line in spoilt.metrics.splitlines(keepends=True) if "coffre_doctor_timestamp_seconds" in line]
    earlier = rf'host="gone"\g<1> {time.time() - 2 * 86400:.0f}'
    left = re.sub(r'host="debian13"(.*) \d+', earlier, "".join(looked))
    files = {"one.prom": spoilt.metrics, "two.prom": left}
    expected = {
        ("CoffreSecretExpiring", "debian13", "flask-secret-key"),
        ("CoffreRotationOpen", "debian13", ""),
        ("CoffreDoctorStale", "gone", ""),
    }
    expected |= {("CoffreCheckFailed", "debian13", check["check"]) for check in spoilt.checks if not check["ok"]}
    expected |= {("CoffreCheckWarns", "debian13", check["check"]) for check in spoilt.checks if check["warn"]}
    assert ("CoffreCheckWarns", "debian13", "ages") in expected
    with alerting.watching(tmp_path, files) as prometheus:
        assert prometheus.until_firing(expected) == expected
        for expression in alerting.expressions():
            written = all(name in spoilt.metrics for name in re.findall(r"coffre_\w+", expression))
            assert bool(prometheus.query(expression)) == written, expression
