"""A stack of one's own, by README's commands as they stand there: a new one, and one that runs already and moves in."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from checkout import CHECKOUT, run
from machines import ROOT, list_containers

testinfra_hosts = ["ansible://bare"]

HERE = "/srv/shop"
# Of the images that are at hand. The values stay on the machine.
PLAIN = r"""
cp -r /home/ops/coffre/molecule/shop/plain /srv/shop
running() { docker ps --format '{{.Image}}' --filter name="^shop-example-$1-" | head -n 1; }
for service in postgres web; do docker tag "$(running $service)" at-hand/$service; done
value() { od -An -tx1 -N16 /dev/urandom | tr -d ' \n'; }
umask 077
printf 'DB_PASSWORD=%s\nAPI_TOKEN=%s\n' "$(value)" "$(value)" >/srv/shop/.env
chown -R ops: /srv/shop
install -m 0600 /srv/shop/.env /root/client.env
"""
# Asks the app with the token that its clients have had all the time; prints the status and the number of notes.
ASK = r"""
import pathlib, sys, urllib.request
token = dict(line.split("=") for line in pathlib.Path("/root/client.env").read_text().split())["API_TOKEN"]
request = urllib.request.Request("http://127.0.0.1:8700/", headers={"Authorization": token}, method=sys.argv[1])
with urllib.request.urlopen(request, timeout=20) as answer:
    print(answer.status, answer.read().decode())
"""


def commands() -> list[list[str]]:
    """README's two blocks of the section, line by line, without the comments."""
    section = (ROOT / "README.md").read_text().partition("## Your own stack\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return [[line.partition("#")[0].strip() for line in block.splitlines()] for block in blocks]


def ask(host: Any, method: str = "GET") -> str:
    answer: str = host.check_output("python3 -c %s %s", ASK, method)
    return answer


@pytest.fixture
def gone(host: Any) -> None:
    """Neither stack was ever here."""
    for name in ("hello", "shop"):
        if host.file(f"{CHECKOUT}/inventory/{name}").exists:
            run(host, f"make teardown ENV={name} ARGS='-e teardown_destroy={name}'")
        host.check_output(f"rm -rf {CHECKOUT}/inventory/{name} {CHECKOUT}/.coffre/{name}")
    host.check_output(f"test ! -e {HERE}/.env || docker compose --project-directory {HERE} down; rm -rf {HERE}")
    host.check_output("docker volume rm --force shop_data")


@pytest.mark.usefixtures("gone")
def test_a_new_one_deploys_as_it_stands(host: Any) -> None:
    for line in commands()[0]:
        said = run(host, line)
    assert "FAIL" not in said


@pytest.mark.usefixtures("gone")
def test_one_that_runs_moves_in_with_its_values_and_its_data(host: Any) -> None:
    host.check_output("sh -ec %s", PLAIN)
    host.check_output(f"docker compose --project-directory {HERE} up --detach --wait --build")
    assert ask(host, "POST") == "200 1"

    write, *then = commands()[1]
    run(host, write)
    decide(host)
    said = [run(host, line) for line in then]
    (moved,) = (each for each in said if "taken and sealed" in each)
    assert "taken and sealed: api-token, db-first-password, db-password" in moved
    # The first password is the same value.
    assert f"{HERE}/.env still holds api-token, db-password" in moved
    assert ask(host) == "200 1"
    here = {each.service: each for each in list_containers(host, "shop")}
    assert here.keys() == {"db", "web"}
    variables = " ".join(text for each in here.values() for text in each.inspect["Config"]["Env"])
    assert "TOKEN=" not in variables and "PASSWORD=" not in variables


def decide(host: Any) -> None:
    """What docs/operations.md has a person do: its volume and its port are those that it had."""
    path = f"{CHECKOUT}/inventory/shop/compose.yaml"
    compose = yaml.safe_load(host.check_output(f"cat {path}"))
    compose["volumes"] = {"data": {"name": "shop_data", "external": True}}
    compose["services"]["web"]["ports"] = ["127.0.0.1:8700:8000"]
    host.check_output("printf %s %s >%s", "%s", yaml.safe_dump(compose), path)
