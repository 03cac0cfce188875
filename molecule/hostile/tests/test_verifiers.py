"""PostgreSQL and Keycloak are made to refuse what is deployed; doctor tells why, and the next site.yml mends it."""

from __future__ import annotations

import json
import shlex
from typing import Any

from machines import STACK, core, fetch, list_containers, run_playbook

testinfra_hosts = ["ansible://debian13"]

# Run on the host, as the modules are: the values stay where they are.
SCRIPT = r"""
import json, subprocess, sys
from coffre import paths
from coffre.engines import containers
from coffre.host import bundles, state
from coffre.strategies.keycloak import session as keycloak

stack = sys.argv[1]
where = paths.StackPaths(stack)
known = state.load(where)
database, server = (containers.healthy(where, service) for service in ("postgres", "keycloak"))
url = keycloak.Instance(server).url
password, secret = (
    bundles.value(where, known, "host", name).decode()
    for name in ("keycloak-admin-password", "keycloak-service-client-secret")
)

def sql(statement):
    command = ["docker", "exec", "-i", database.id, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1"]
    return subprocess.run(command, input=statement, capture_output=True, text=True, check=True).stdout.strip()

def policies(admin, kind):
    return admin.connection.raw_get(f"admin/realms/iam/client-policies/{kind}").json()[kind]

def client(admin):
    admin.change_current_realm("iam")
    return admin.get_client(admin.get_client_id("automation-cli"))

def plant():
    # The other role as a rotation leaves it, whatever was rotated here before.
    sql("ALTER ROLE keycloak_b PASSWORD NULL; REVOKE keycloak FROM keycloak_b")
    sql("ALTER ROLE keycloak_a PASSWORD 'by-hand'")
    with keycloak.session(url, "admin", password) as admin:
        foreign = {"name": "foreign", "enabled": False, "conditions": [], "profiles": []}
        body = json.dumps({"policies": [foreign]})
        assert admin.connection.raw_put("admin/realms/iam/client-policies/policies", data=body).ok
        admin.create_user({"username": "coffre-bootstrap-of-a-dead-run", "enabled": True})
        found = admin.get_users({"username": "admin", "exact": True})[0]["id"]
        ours = client(admin)
        admin.update_client(ours["id"], ours | {"description": "Kept.", "secret": "by-hand"})
        admin.change_current_realm("master")
        admin.set_user_password(found, "by-hand", temporary=False)
    with keycloak.session(url, "admin", password) as admin:
        assert admin is None
    assert not keycloak.granted(url, "iam", "automation-cli", secret)

def look():
    with keycloak.session(url, "admin", password) as admin:
        users = sorted(user["username"] for user in admin.get_users({}))
        names = [sorted(entry["name"] for entry in policies(admin, kind)) for kind in ("profiles", "policies")]
        ours = client(admin)
    print(json.dumps({
        "users": users,
        "policies": names,
        "description": ours.get("description"),
        "granted": keycloak.granted(url, "iam", "automation-cli", secret),
        "current": ours["secret"] == secret and "client.secret.rotated" not in ours["attributes"],
        "logins": sql("SELECT rolname FROM pg_authid WHERE rolname ~ '^keycloak' AND rolpassword IS NOT NULL"),
        "members": sql("SELECT count(*) FROM pg_auth_members WHERE roleid = 'keycloak'::regrole"),
    }))

def helper():
    return keycloak.session(url, "by-hand", "by-hand")

def hinder():
    sql("ALTER ROLE keycloak_a VALID UNTIL '2026-01-01'")
    with keycloak.session(url, "admin", password) as admin:
        theirs = [{"type": "password", "value": "by-hand", "temporary": False}]
        made = admin.create_user({"username": "by-hand", "enabled": True, "credentials": theirs})
        admin.assign_realm_roles(made, [admin.get_realm_role("admin")])
    with helper() as admin:
        found = admin.get_users({"username": "admin", "exact": True})[0]
        data = {"subType": "totp", "digits": 6, "period": 30, "algorithm": "HmacSHA1", "counter": 0}
        phone = {"type": "otp", "secretData": json.dumps({"value": "x" * 20}), "credentialData": json.dumps(data)}
        admin.update_user(found["id"], found | {"credentials": [phone]})
        ours = client(admin)
        admin.generate_client_secrets(ours["id"])
        user = admin.get_client_service_account_user(ours["id"])
        admin.update_user(user["id"], user | {"enabled": False})

def lose_phone():
    with helper() as admin:
        found = admin.get_user_id("admin")
        for each in admin.get_credentials(found):
            if each["type"] == "otp":
                admin.delete_credential(found, each["id"])
        admin.delete_user(admin.get_user_id("by-hand"))

{"plant": plant, "look": look, "hinder": hinder, "lose-phone": lose_phone}[sys.argv[2]]()
"""


def run(host: Any, verb: str) -> str:
    said: str = host.check_output(f"{core()} -c {shlex.quote(SCRIPT)} {STACK} {verb}")
    return said


def test_what_no_longer_authenticates_is_mended_and_nothing_else(host: Any) -> None:
    before = [container.inspect["Id"] for container in list_containers(host)]
    run(host, "plant")
    play = run_playbook("--limit", "debian13", "-v")
    assert play.status == 0, play.output
    for repaired in ("roles", "verifier", "admin", "secret", "policies"):
        assert f"- {repaired}\n" in play.output
    assert json.loads(run(host, "look")) == {
        "users": ["admin"],
        "policies": [["secret-rotation"], ["foreign", "secret-rotation"]],
        "description": "Kept.",
        "granted": True,
        "current": True,
        "logins": "keycloak_a",
        "members": "2",
    }
    assert fetch(host, "/ready")[0] == 200
    assert [container.inspect["Id"] for container in list_containers(host)] == before
    assert run_playbook("--limit", "debian13").recap["debian13"]["changed"] == 0


def test_why_a_login_is_refused_is_told_and_no_service_is_touched(host: Any) -> None:
    run(host, "hinder")
    before = [container.inspect["Id"] for container in list_containers(host)]
    examined = run_playbook("--limit", "debian13", playbook="doctor")
    for said in (
        "keycloak-admin-password: Keycloak's admin admin has a second factor",
        "the password of keycloak_a counts until 2026-01-01",
        "Keycloak refuses the deployed secret of the client automation-cli",
    ):
        assert said in " ".join(examined.output.split()), examined.output
    stopped = run_playbook("--limit", "debian13")
    assert stopped.status != 0
    assert "has a second factor, which automation cannot give" in " ".join(stopped.output.split())
    assert [container.inspect["Id"] for container in list_containers(host)] == before
    run(host, "lose-phone")
    play = run_playbook("--limit", "debian13")
    assert play.status == 0, play.output
    told = " ".join(play.output.split())
    assert "Repaired: the service account of the client automation-cli is disabled." in told
    assert "Somebody gave the client automation-cli of realm iam another secret" in told
    found = json.loads(run(host, "look"))
    assert (found["users"], found["granted"], found["current"]) == (["admin"], True, True)
    assert fetch(host, "/ready")[0] == 200
