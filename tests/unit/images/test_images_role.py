"""What the role container_images finds that hosts lack, by its own expressions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROLE = ROOT / "roles" / "container_images"
NAMES = ("worker", "app", "db", "proxy")
PULLED = ["redis:8"]
Images = dict[str, str]  # id by name


def found(images: Images) -> dict[str, Any]:
    """As the preflight tells of them, in the order of its request."""
    known = {name: f"coffre/{name}:t" for name in NAMES} | {each: each for each in PULLED}
    listed = [(images[name], tag) for name, tag in known.items() if name in images]
    return {"images": [{"Id": f"sha256:{each}", "RepoTags": [tag]} for each, tag in listed]}


def played(folder: Path, cases: dict[str, tuple[list[Images], Images]]) -> dict[str, list[list[str] | None]]:
    """By case, what each host is brought, or None where nobody is asked; one play evaluates them all."""
    (brings,) = (
        task for task in yaml.safe_load((ROLE / "tasks/main.yml").read_text()) if "missing" in str(task.values())
    )
    plays = []
    for case, (hosts, archived) in cases.items():
        names = [f"{case.replace(' ', '-')}-{number}" for number in range(len(hosts))]
        tagged = {
            "images": {name: {"reference": f"coffre/{name}:t"} for name in NAMES},
            "pulled": PULLED,
            "archives": {name: {"file": f"{name}.tar.gz", "id": f"sha256:{each}"} for name, each in archived.items()},
        }
        told = {"msg": {"host": "{{ inventory_hostname }}", "lacks": "{{ __container_images_missing }}"}}
        plays.append(
            {
                "hosts": names,
                "gather_facts": False,
                "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
                "vars": {"container_images_tagged": tagged},
                "tasks": [{"ansible.builtin.debug": told, "when": brings["when"], "vars": brings["vars"]}],
            }
        )
    inventory = {
        f"{case.replace(' ', '-')}-{number}": {"stack_secrets_preflight": found(images)}
        for case, (each, _) in cases.items()
        for number, images in enumerate(each)
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": inventory}}))
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "play.yml"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    lacks: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        event = json.loads(line)
        for result in event.get("hosts", {}).values() if event["_event"] == "v2_runner_on_ok" else []:
            lacks[result["msg"]["host"]] = sorted(result["msg"]["lacks"])
    return {
        case: [lacks.get(f"{case.replace(' ', '-')}-{number}") for number in range(len(each))]
        for case, (each, _) in cases.items()
    }


ONE = {name: f"{name}-1" for name in (*NAMES, *PULLED)}
TWO = ONE | {"app": "app-2"}
LESS = {name: each for name, each in ONE.items() if name != "proxy"}
UNPULLED = {name: each for name, each in ONE.items() if name not in PULLED}
KEPT = {name: each for name, each in ONE.items() if name in NAMES}
CASES: dict[str, tuple[list[Images], Images, list[list[str] | None]]] = {
    "alone": ([ONE], {}, [None]),
    "as archived": ([ONE], KEPT, [None]),
    "lacks one": ([LESS], {}, [["proxy"]]),
    "lacks all": ([{}], KEPT, [sorted(NAMES)]),
    "of another content than its archive": ([TWO], KEPT, [["app"]]),
    "only one is archived": ([TWO], {"proxy": "proxy-1"}, [None]),
    "two alike": ([ONE, ONE], {}, [None, None]),
    "one of two lacks one": ([ONE, LESS], {}, [[], ["proxy"]]),
    "two of two contents": ([ONE, TWO], {}, [[], []]),
    "two of two contents and an archive": ([ONE, TWO], KEPT, [[], ["app"]]),
    "lacks one that is pulled": ([UNPULLED], {}, [[]]),
    "two lack all": ([{}, {}], {}, [sorted(NAMES), sorted(NAMES)]),
    "two of two contents of what is pulled": ([ONE, ONE | {"redis:8": "redis-2"}], KEPT, [None, None]),
    "two of another content than the archive": ([TWO, TWO], KEPT, [["app"], ["app"]]),
}


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str] | None]]:
    return played(tmp_path_factory.mktemp("role"), {case: (hosts, kept) for case, (hosts, kept, _) in CASES.items()})


@pytest.mark.parametrize("case", CASES)
def test_one_tag_is_one_content(case: str, brought: dict[str, list[list[str] | None]]) -> None:
    assert brought[case] == CASES[case][2]
