"""Every strategy rotates under load, by name and again when all is due: nothing is lost, nothing is left over.

Meanwhile somebody is signed in to the app, in a browser, with a form that they have begun.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import browser
import environments
import pytest
from browser import Person
from machines import Play, adding, fetch, list_containers, on_machine, read_state
from rotations import Site, demo
from traffic import traffic

testinfra_hosts = ["ansible://debian13"]

KEY = {"generate": {"type": "random", "bytes": 32}, "strategy": "replace"}
# The name of the one extends the other's.
NEIGHBOURS = [{"name": "api-key", **KEY}, {"name": "api-key-2", **KEY}]
ALL = [
    "flask-secret-key",
    "keycloak-service-client-secret",
    "keycloak-admin-password",
    "keycloak-db-password",
    "audit-log-signing-key",
    "deployment-audit-key",
    "proxy-tls",
]
WHO = "Demo Operator"
# The others keep what was before them for a month.
KEPT_FOR_GOOD = {"audit-log-signing-key", "deployment-audit-key"}
# Somebody who logs in to Keycloak in a browser, through the proxy: `login`, and later `refresh`. Prints the status.
VISITOR = r"""
import json, pathlib, ssl, sys, urllib.error, urllib.parse, urllib.request

state = json.loads(pathlib.Path("/var/lib/coffre/coffre-demo/state.json").read_text())
bundle = pathlib.Path("/run/coffre/coffre-demo/host") / state["services"]["host"]["current"]
kept = pathlib.Path("/run/visitor")
form = {"client_id": "admin-cli", "username": "admin", "grant_type": "password"}
if sys.argv[1] == "login":
    kept.touch(mode=0o600)
    form["password"] = (bundle / "keycloak-admin-password").read_text()
else:
    form |= {"grant_type": "refresh_token", "refresh_token": kept.read_text()}
context = ssl.create_default_context(cafile="/var/lib/coffre/coffre-demo/ca.crt")
url = "https://localhost:8443/realms/master/protocol/openid-connect/token"
try:
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), context=context, timeout=15) as answer:
        kept.write_text(json.load(answer)["refresh_token"])
        print(answer.status)
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)["error"])
"""
# As if all of it had been made long ago.
AGE = r"""
import datetime, json, pathlib

path = pathlib.Path("/var/lib/coffre/coffre-demo/state.json")
state = json.loads(path.read_text())

def earlier(text):
    return (datetime.datetime.fromisoformat(text) - datetime.timedelta(days=400)).strftime("%Y-%m-%dT%H:%M:%SZ")

for secret in state["secrets"].values():
    for record in (secret, *secret["ring"]):
        record |= {key: earlier(record[key]) for key in ("created", "retires") if record.get(key)}
path.write_text(json.dumps(state))
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where a browser keeps all it has."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture(scope="module")
def site() -> Site:
    return demo(*adding(NEIGHBOURS, app={"secrets": [each["name"] for each in NEIGHBOURS]}))


def versions(host: Any) -> dict[str, str]:
    return {name: entry["version"] for name, entry in read_state(host)["secrets"].items()}


def rings(host: Any) -> dict[str, list[str]]:
    """By secret that keeps any, the version in force and those before it, newest first."""
    secrets = read_state(host)["secrets"]
    return {
        name: [entry["version"], *(each["version"] for each in entry["ring"])]
        for name, entry in secrets.items()
        if entry["ring"]
    }


def containers(host: Any) -> dict[str, str]:
    return {each.service: each.inspect["Id"] for each in list_containers(host)}


def visitor(what: str) -> str:
    return on_machine(f"python3 - {what}", VISITOR)


def taken_for_them(host: Any, cookie: str) -> bool:
    """Whether the app takes whoever has this cookie for the person who is signed in."""
    status, page = fetch(host, "/", cookie=f"__Host-session={cookie}")
    assert status == 200
    return WHO in page


def throwing_out(secret: str) -> str:
    """As variables of a run, the catalogue with which no earlier version of a key counts."""
    secrets = environments.variables("demo")["stack_catalogue_secrets"]
    (entry,) = (each for each in secrets if each["name"] == secret)
    entry["settings"]["keep_days"] = 0
    return json.dumps({"stack_catalogue_secrets": [*secrets, *NEIGHBOURS]})


def sign_in(host: Any, somebody: Person) -> str:
    """As the operator of the demo, who begins to write a note; the cookie of then."""
    somebody.sign_in("demo", host.check_output("cat /run/coffre/coffre-demo.people/demo"))
    somebody.write("half a ")
    return somebody.cookie


@contextmanager
def staying(somebody: Person | None) -> Iterator[None]:
    """Whoever is signed in stays so, page by page."""
    with somebody.staying() if somebody else nullcontext([WHO]) as said:
        yield
    assert set(said) == {WHO}


def finish_the_form(somebody: Person) -> None:
    """It is as they left it, and counts."""
    assert somebody.written == "half a "
    somebody.write("note")
    assert somebody.send()[0] == "half a note"


def throw_out_and_come_back(host: Any, site: Site, somebody: Person) -> None:
    """With its key a cookie ends, whoever has it; who is signed in to Keycloak needs no password for another."""
    cookie = somebody.cookie
    assert taken_for_them(host, cookie)
    thrown_out = site.rotate("flask-secret-key", arguments=["-e", throwing_out("flask-secret-key")])
    assert thrown_out.status == 0, thrown_out.output
    assert not taken_for_them(host, cookie)
    somebody.sign_in_again()
    somebody.sign_out()


def look(host: Any) -> str:
    """Every file of the stack with its content's digest, and its containers."""
    where = "/run/coffre/coffre-demo /var/lib/coffre/coffre-demo"
    told = f"find {where} -printf '%p %m %U %T@\\n' | sort; find {where} -type f -exec sha256sum {{}} + | sort"
    seen: str = host.check_output(f"{told}; docker ps --all --quiet")
    return seen


class Story:
    """Rotations one after the other, and what each may change."""

    def __init__(self, host: Any, site: Site) -> None:
        self.host, self.site = host, site
        self.facts = site.judge()[1]

    def rotate(self, *secrets: str, changed: set[str], rolled: set[str]) -> Play:
        """Rotate secrets, or all that are due; these versions and these containers change, and no other."""
        before, there = versions(self.host), containers(self.host)
        self.site.remember()
        play = self.site.rotate(*secrets)
        assert play.status == 0, play.output
        after, here = versions(self.host), containers(self.host)
        assert {name for name in after if after[name] != before[name]} == changed
        assert {service for service in here if here[service] != there[service]} == rolled
        problems, facts = self.site.judge()
        assert problems == []
        assert facts == self.facts
        said = " ".join(play.output.split())
        for name in changed:
            assert f"{name} {before[name][:8]} -> {after[name][:8]}: rotated" in said, play.output
            assert play.output.index(f"\n  {name}: makes the new value\n") < play.output.index("changed: [debian13]")
        assert play.end[0].startswith("Rotated "), play.output
        return play


def test_rotations_under_load(host: Any, site: Site, tmp_path: Path, folder: Path) -> None:
    try:
        assert (play := site.play("site")).status == 0, play.output
        assert (play := site.play("demo_user")).status == 0, play.output
        with browser.person(host, folder) as somebody:
            with traffic(host, 5000):
                story = Story(host, site)
                cookie = sign_in(host, somebody) if somebody else ""

                before = look(host)
                planned = site.rotate("keycloak-db-password", arguments=["--check"])
                assert planned.status == 0, planned.output
                assert look(host) == before

                neighbour = digest(host, "api-key-2")
                assert visitor("login") == "200"
                some = {"api-key", *ALL} - {"keycloak-admin-password"}
                with staying(somebody):
                    story.rotate(*some, changed=some, rolled={"app", "keycloak"})
                assert not cookie or taken_for_them(host, cookie)
                assert digest(host, "api-key-2") == neighbour
                assert visitor("refresh") == "200"
                once = rings(host)

                before = look(host)
                nothing = site.rotate(arguments=["-e", f"secret_rotation_report={tmp_path}"])
                assert nothing.status == 0, nothing.output
                assert json.loads((tmp_path / "debian13.coffre-demo.json").read_text())["outcome"] == "nothing"
                assert look(host) == before
                on_machine("python3 -", AGE)
                # Once more: what was in force is kept, and what was before it only where it is kept for good.
                with staying(somebody):
                    story.rotate(changed={*ALL}, rolled={"app", "keycloak"})
                assert visitor("refresh") == "400 invalid_grant"
                assert {name: ring[1:] for name, ring in rings(host).items()} == {
                    name: ring if name in KEPT_FOR_GOOD else ring[:1] for name, ring in once.items()
                }
                assert digest(host, "api-key-2") == neighbour
                if somebody:
                    finish_the_form(somebody)
                    assert not taken_for_them(host, cookie)
            if somebody:  # it ends the sessions of the traffic, too
                throw_out_and_come_back(host, site, somebody)
        verified = site.play("verify_audit")
        assert verified.status == 0, verified.output
    finally:
        site.forget()
        if read_state(host)["run"]:
            site.play("site", "-e", f"secret_rotation_take_over={read_state(host)['run']['id']}")
        assert demo().play("site").status == 0


def digest(host: Any, secret: str) -> str:
    """Of a secret as the app's container has it."""
    (app,) = (each for each in list_containers(host) if each.service == "app")
    found: str = host.check_output(f"sha256sum <{shlex.quote(f'/proc/{app.pid}/root/run/secrets/{secret}')}")
    return found
