"""The doctor finds a fresh stack sound, tells what is wrong with a spoilt one, and changes neither."""

from __future__ import annotations

import json
from typing import Any

from machines import ROOT, STACK, note_files, read_state, run_playbook, same_files

from ansible_collections.coffre.stack.plugins.module_utils.doctor.checks import EXAMINATIONS

testinfra_hosts = ["ansible://debian13"]

REPORT = ROOT / ".coffre" / "inventory" / "doctor.json"


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


def test_each_failure_is_told_by_its_check_and_left_alone(host: Any) -> None:
    current = read_state(host)["services"]["app"]["current"]
    path = f"/run/coffre/{STACK}/app/{current}/flask-secret-key"
    host.check_output(f"chmod 0644 {path} && touch /run/coffre/{STACK}/app/{current}/foreign")
    host.check_output(
        f"printf 'KEY=%s\\n' \"$(cat {path})\" >/root/planted && systemctl disable --quiet docker.service"
    )
    host.check_output("nft flush chain inet coffre closed")
    host.check_output("systemd-run --quiet --unit=planted --property=EnvironmentFile=/root/planted sleep 300")
    try:
        play = run_playbook("--limit", "debian13", "--check", playbook="doctor")
        report = json.loads(REPORT.read_text(encoding="utf-8"))
        assert host.check_output(f"stat -c %a {path}") == "644"
    finally:
        host.check_output(f"chmod 0400 {path} && rm /run/coffre/{STACK}/app/{current}/foreign /root/planted")
        host.check_output("nft --file /usr/local/lib/coffre/firewall.nft")
        host.check_output("systemctl stop planted && systemctl enable --quiet docker.service")
    assert play.status != 0
    failed = {check["check"]: check["message"] for check in report["hosts"]["debian13"] if not check["ok"]}
    assert failed.keys() == {"boot unit", "permissions", "bundles", "environment", "packet filter"}
    assert f"{path} is 60611:60611 0644 where 60611:60611 0400 is due" in failed["permissions"]
    assert f"/app/{current}/foreign is foreign" in failed["bundles"]
    assert "the value of flask-secret-key stands in /proc/" in failed["environment"]
    assert "docker.service is disabled" in failed["boot unit"]
    assert "the loaded table inet coffre is not that of" in failed["packet filter"]
    assert f"5 of {len(report['hosts']['debian13'])} checks failed" in " ".join(play.output.split())
