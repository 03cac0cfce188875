"""Every playbook refuses, before it does anything, what leaves it no host or no stack to act on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
LOCAL = {"ansible_connection": "local", "ansible_become": False}
# By name of a host: what its stack_name is; None is null.
NAMES: dict[str, object] = {
    "empty": "",
    "nothing": None,
    "number": 12,
    "truth": True,
    "list": ["demo"],
    "up": "..",
    "below": "demo/..",
    "blank": "a b",
    "upper": "Demo",
    "line": "demo\n",
    "long": "a" * 41,
}


def play(playbook: str, *arguments: str | Path) -> tuple[int, str]:
    """Run a playbook of ours; its exit code, and what it said in one line."""
    command = [Path(sys.executable).with_name("ansible-playbook"), ROOT / f"playbooks/{playbook}.yml", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def write(path: Path, names: dict[str, object]) -> Path:
    """An inventory whose hosts have each one of these for a name of their stack; one more has none."""
    hosts = {name: {"stack_name": value} for name, value in names.items()} | {"unset": {}}
    common = {**LOCAL, "stack_secrets_source": "demo", "stack_catalogue": {"secrets": []}}
    (path / "hosts.yml").write_text(yaml.safe_dump({"stack_hosts": {"hosts": hosts, "vars": common}}))
    return path


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_no_stack_has_such_a_name(playbook: str, tmp_path: Path) -> None:
    names = NAMES if playbook == "teardown" else {"empty": NAMES["empty"]}
    status, said = play(playbook, "-i", write(tmp_path, names))
    assert status == 2
    recap = re.findall(r"(\w+) : ok=\d changed=0 unreachable=0 failed=1 ", said[said.index("PLAY RECAP") :])
    assert sorted(recap) == sorted([*names, "unset"])
    # The name of the run, the types of the role's variables, and the two looks.
    assert said.count("TASK [") <= 4
    assert "make it up to 40 of a-z, 0-9 and -, a letter first. Nothing was changed" in said


@pytest.mark.parametrize("playbook", ["site", "rotate"])
def test_a_setting_that_cannot_work(playbook: str, tmp_path: Path) -> None:
    (tmp_path / "all.yml").write_text(f"stack_hosts: {{hosts: {{a: }}, vars: {json.dumps(LOCAL)}}}")
    wrong = {
        "stack_name": "demo",
        "stack_public_url": "https://localhost:{{ stack_https_port }}/",
        "stack_https_port": 8443,
        "stack_services_timeout": "3m",
        "stack_catalogue": {},
        "stack_secrets_source": "demo",
    }
    status, said = play(playbook, "-i", tmp_path, "-e", json.dumps(wrong))
    assert status == 2
    assert (
        "stack_public_url is 'https://localhost:8443/': make it https://localhost:8443. stack_services_timeout is"
        in said
    )
    assert f"Nothing was changed: look at {tmp_path}, and at what follows -e." in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("secrets=", "secrets is given and names no secret; nothing was changed"),
        ('secrets=" , "', "secrets is given and names no secret; nothing was changed"),
        ('{"secrets": null}', "secrets is given and names no secret; nothing was changed"),
        ("secret_rotation_report=/nowhere", "secret_rotation_report is /nowhere, which is no folder on this machine"),
    ],
)
def test_a_rotation_that_asks_for_nothing(words: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "all.yml").write_text(f"stack_hosts: {{hosts: {{a: }}, vars: {json.dumps(LOCAL)}}}")
    status, said = play("rotate", "-i", tmp_path, "-e", "stack_name=demo", "-e", words)
    assert status == 2
    assert sentence in said


@pytest.mark.parametrize(
    ("hosts", "limit", "sentence"),
    [
        (None, (), "Completely failed to parse inventory source"),
        ("stack_hosts: [", (), "failed to parse inventory source"),
        ("all: {hosts: {a: }}", (), "No host of stack_hosts is in {mine}; nothing was done"),
        ("stack_hosts: {hosts: {}}", (), "No host of stack_hosts is in"),
        (
            "others: {hosts: {b: }}\nstack_hosts: {hosts: {a: }}",
            ("--limit", "b"),
            "is in {mine} within --limit b; nothing",
        ),
        ("stack_hosts: {hosts: {a: }}", ("--limit", "a,b"), "No host is b, which --limit names; nothing was done"),
        ("stack_hosts: {hosts: {a: }}", ("--limit=",), "The --limit is empty, which would be every host"),
    ],
    ids=["no folder", "broken", "no group", "empty group", "another group's", "no such host", "empty limit"],
)
def test_an_inventory_without_a_host(tmp_path: Path, hosts: str | None, limit: tuple[str, ...], sentence: str) -> None:
    if hosts is not None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/hosts.yml").write_text(hosts)
    status, said = play("doctor", "-i", tmp_path / "mine", *limit)
    assert status == 1
    assert sentence.format(mine=tmp_path / "mine") in said
