"""Every playbook refuses, before it does anything, what leaves it no host or no stack to act on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

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


def tasks(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every task of plays or blocks, those inside them too."""
    for entry in entries:
        yield entry
        for part in ("tasks", "block", "rescue", "always"):
            yield from tasks(entry.get(part, []))


def taking(playbook: str, file: str) -> list[dict[str, Any]]:
    """The tasks of a playbook that take in a file of tasks."""
    read = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text())
    return [each for each in tasks(read) if f"tasks/{file}.yml" in each.values()]


@pytest.mark.parametrize("playbook", [name for name in PLAYBOOKS if taking(name, "unprepared")])
def test_only_a_check_leaves_a_host_that_is_not_prepared(playbook: str) -> None:
    for task in taking(playbook, "unprepared"):
        assert "ansible_check_mode" in str(task.get("when"))


@pytest.mark.parametrize(("opened", "comes"), [("none", False), ("one", True), ("two", True)])
def test_a_rotation_left_open_on_one_host_has_all_bring_the_images(opened: str, comes: bool) -> None:
    (deploy,) = (each for each in yaml.safe_load((ROOT / "playbooks/site.yml").read_text()) if "Deploy" in each["name"])
    (task,) = taking("site", "rotation_left_open")
    there = {"none": (False, False), "one": (False, True), "two": (True, True)}[opened]
    known: dict[str, Any] = {
        "ansible_play_hosts": ["a", "b"],
        "ansible_check_mode": False,
        "hostvars": {
            name: {"stack_secrets_preflight": {"rotation_open": each}} for name, each in zip("ab", there, strict=True)
        },
        "stack_secrets_preflight": {"rotation_open": there[0]},
    }
    known |= {name: trust_as_template(text) for name, text in deploy["vars"].items()}
    assert Templar(loader=DataLoader(), variables=known).evaluate_conditional(trust_as_template(task["when"])) is comes


@pytest.mark.parametrize(
    ("swarm", "move_from", "moves"),
    [
        (True, ["old"], True),
        (False, ["old"], False),
        (True, None, False),
        (True, [], False),
        (True, ["old", "older"], False),
        (True, ["m"], False),
        (True, ["old", "m"], False),
    ],
)
def test_a_stack_moves_from_one_machine_that_is_none_of_the_swarms(
    swarm: bool, move_from: list[str] | None, moves: bool
) -> None:
    read = yaml.safe_load((ROOT / "playbooks/move_to_swarm.yml").read_text())
    (task,) = (each for each in tasks(read) if each["name"] == "Refuse a stack that cannot move")
    groups = {"stack_hosts": ["m"], "swarm_managers": ["m"]} | ({} if move_from is None else {"move_from": move_from})
    templar = Templar(loader=DataLoader(), variables={"coffre_on_swarm": swarm, "groups": groups})
    that = task["ansible.builtin.assert"]["that"]
    assert all(templar.evaluate_conditional(trust_as_template(each)) for each in that) is moves


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


def test_a_rotation_that_asks_for_nothing(tmp_path: Path) -> None:
    nothing = "secrets is given and names no secret; nothing was changed"
    asked: dict[str, tuple[dict[str, object], str]] = {
        "empty": ({"secrets": ""}, nothing),
        "commas": ({"secrets": " , "}, nothing),
        "null": ({"secrets": None}, nothing),
        "report": (
            {"secret_rotation_report": "/nowhere"},
            "secret_rotation_report is /nowhere, which is no folder on this machine",
        ),
    }
    hosts = {name: variables for name, (variables, _) in asked.items()}
    (tmp_path / "all.yml").write_text(json.dumps({"stack_hosts": {"hosts": hosts, "vars": LOCAL}}))
    status, said = play("rotate", "-i", tmp_path, "-e", "stack_name=demo")
    assert status == 2
    for name, (_, sentence) in asked.items():
        assert sentence in said[said.index(f"fatal: [{name}]: FAILED!") :].split("fatal: [", 2)[1]
    assert said.count(" changed=0 unreachable=0 failed=1 ") == len(asked)


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


def test_a_limit_may_leave_a_host_out(tmp_path: Path) -> None:
    """The others are refused for their own reasons."""
    (tmp_path / "hosts.yml").write_text("stack_hosts: {hosts: {FILL-IN: , b: }}")
    _, said = play("doctor", "-i", tmp_path, "--limit", "!b")
    assert "No host is" not in said
    assert "FILL-IN still stands for" in said
