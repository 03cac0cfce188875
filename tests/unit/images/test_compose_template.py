"""docker-compose.yml.j2, as it is run: every container is held to the same, and sees its own secrets only."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.rollout import proxies
from tests.unit.images.render import BUNDLES, rendered, run

SERVICES = ("postgres", "keycloak", "proxy", "app")  # in the order in which they come up
UIDS = {"postgres": 60613, "keycloak": 60612, "app": 60611, "proxy": 60614}


def bytes_of(size: str) -> int:
    return int(size[:-1]) * {"k": 2**10, "m": 2**20, "g": 2**30}[size[-1]]


def test_the_services_are_the_four() -> None:
    assert tuple(run()["services"]) == SERVICES


class TestEveryService:
    @pytest.fixture(params=SERVICES)
    def name(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found

    @pytest.fixture
    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = run()["services"][name]
        return found

    def test_is_nobody_with_no_rights(self, name: str, service: dict[str, Any]) -> None:
        assert service["user"] == f"{UIDS[name]}:{UIDS[name]}"
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]

    def test_writes_only_to_sized_tmpfs_and_named_volumes(self, service: dict[str, Any]) -> None:
        assert service["read_only"] is True
        assert all(":size=" in mount for mount in service["tmpfs"])
        binds = [each for each in service.get("volumes", []) if not isinstance(each, str)]
        assert all(each["read_only"] and not each["bind"]["create_host_path"] for each in binds)
        names = {each.split(":")[0] for each in service.get("volumes", []) if isinstance(each, str)}
        assert names <= set(run()["volumes"])

    def test_is_bounded(self, service: dict[str, Any]) -> None:
        assert bytes_of(service["mem_limit"]) == bytes_of(service["memswap_limit"]) > 0
        assert 0 < service["pids_limit"] <= 1000
        assert service["ulimits"] == {"core": 0}
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}

    def test_starts_again_by_itself_and_stops_in_its_time(self, service: dict[str, Any]) -> None:
        assert service["restart"] == "unless-stopped"
        assert service["stop_grace_period"] in {"5s", "20s", "30s", "40s"}

    def test_says_how_it_is(self, service: dict[str, Any]) -> None:
        check = service["healthcheck"]
        assert check["test"][0] == "CMD"
        assert "start_interval" not in check  # engines before 25 refuse it

    def test_can_be_scaled_and_ordered_by_a_rollout(self, service: dict[str, Any]) -> None:
        assert not {"container_name", "depends_on", "hostname"} & set(service)

    def test_is_run_from_its_image_and_bears_no_key_that_compose_does_not_know(self, service: dict[str, Any]) -> None:
        assert service["image"].endswith(":dev")
        assert not {"build", "deploy", "x-coffre"} & set(service)

    def test_says_how_it_adopts_a_bundle(self, name: str, service: dict[str, Any]) -> None:
        expected = {"keycloak": "start_first", "app": "start_first", "proxy": "reload", "postgres": "restart"}
        assert service["labels"]["coffre.adopt"] == expected[name]
        assert ("coffre.ready" in service["labels"]) == (name == "app")

    def test_carries_its_bundle_as_a_label(self, name: str, service: dict[str, Any]) -> None:
        expected = {"keycloak": "b2", "app": "a1"}.get(name)  # the proxy reloads, postgres has no secret
        assert service["labels"].get("coffre.bundle") == expected

    def test_has_a_limit_that_inventory_can_set(self, name: str, service: dict[str, Any]) -> None:
        changed = run(stack_limits={name: {"memory": "1g"}})["services"][name]
        assert changed["mem_limit"] == changed["memswap_limit"] == "1g"
        assert changed["pids_limit"] == service["pids_limit"]

    def test_has_a_bound_of_processors_where_inventory_says_so(self, name: str) -> None:
        assert "cpus" not in run()["services"][name]
        changed = run(stack_limits={name: {"cpus": 1.5, "cpu_shares": 99}})["services"][name]
        assert (changed["cpus"], changed["cpu_shares"]) == (1.5, 99)

    def test_logs_as_inventory_says(self, name: str) -> None:
        journal = {"driver": "journald", "options": {"tag": "a: b"}}
        assert run(stack_logging=journal)["services"][name]["logging"] == journal


def test_what_hashes_passwords_yields_to_what_serves() -> None:
    shares = {name: service.get("cpu_shares") for name, service in run()["services"].items()}
    # The engine's default is 1024, of which no version makes more of the kernel's weight than it has without a word.
    assert shares == {"postgres": None, "keycloak": None, "app": None, "proxy": 8192}


@pytest.mark.parametrize(
    ("addresses", "ports"),
    [
        ([], ["8443:8443", "8080:8080"]),  # every address, IPv4 and IPv6
        (["127.0.0.1"], ["127.0.0.1:8443:8443", "127.0.0.1:8080:8080"]),
        ("127.0.0.1", ["127.0.0.1:8443:8443", "127.0.0.1:8080:8080"]),
        (
            ["10.0.0.1", "::1"],
            ["10.0.0.1:8443:8443", "10.0.0.1:8080:8080", "[::1]:8443:8443", "[::1]:8080:8080"],
        ),
    ],
)
def test_the_proxy_listens_where_inventory_says(addresses: list[str] | str, ports: list[str]) -> None:
    assert run(stack_bind_address=addresses)["services"]["proxy"]["ports"] == ports


def test_without_a_word_the_proxy_listens_everywhere() -> None:
    assert run()["services"]["proxy"]["ports"] == ["8443:8443", "8080:8080"]


def test_only_the_proxy_is_on_a_network_that_leads_out() -> None:
    stack = run()
    outside = {name for name, network in stack["networks"].items() if not network.get("internal")}
    assert outside == {"edge"}
    assert {name for name in SERVICES if outside & set(stack["services"][name]["networks"])} == {"proxy"}
    assert {name for name in SERVICES if "ports" in stack["services"][name]} == {"proxy"}


def test_only_those_share_a_network_that_must_talk() -> None:
    networks = {name: set(service["networks"]) for name, service in run()["services"].items()}
    together = {
        frozenset(pair) for pair in itertools.combinations(SERVICES, 2) if networks[pair[0]] & networks[pair[1]]
    }
    assert together == {
        frozenset({"proxy", "app"}),
        frozenset({"proxy", "keycloak"}),
        frozenset({"keycloak", "postgres"}),
    }
    members = [{name for name in SERVICES if network in networks[name]} for network in run()["networks"]]
    assert all(len(each) <= 2 for each in members)


def test_each_service_sees_its_own_secrets_only() -> None:
    stack = run()
    seen = {
        name: {each["target"]: stack["secrets"][each["source"]]["file"] for each in service.get("secrets", [])}
        for name, service in stack["services"].items()
    }
    assert seen == {
        "postgres": {},
        "keycloak": {"keycloak.conf": "/run/coffre/demo/keycloak/b2/keycloak.conf"},
        "app": {
            "audit-log-signing-key": "/run/coffre/demo/app/a1/audit-log-signing-key",
            "flask-secret-key": "/run/coffre/demo/app/a1/flask-secret-key",
        },
        "proxy": {},
    }
    (mount,) = stack["services"]["proxy"]["volumes"]
    assert (mount["source"], mount["target"], mount["read_only"]) == ("/run/coffre/demo/proxy", "/run/secrets", True)
    assert all(source["file"].startswith("/run/coffre/demo/") for source in stack["secrets"].values())


def test_the_earlier_values_of_a_ring_lie_beside_the_current_one() -> None:
    earlier = f"flask-secret-key.{'0a' * 16}"
    app = {**BUNDLES["app"], "files": [*BUNDLES["app"]["files"], earlier]}
    stack = run({**BUNDLES, "app": app})
    sources = {each["target"]: each["source"] for each in stack["services"]["app"]["secrets"]}
    assert stack["secrets"][sources[earlier]]["file"] == f"/run/coffre/demo/app/a1/{earlier}"
    assert "secrets" not in stack["services"]["postgres"]


def test_what_is_the_hosts_own_stays_there() -> None:
    text = json.dumps(run())
    assert "/host/" not in text
    assert "keycloak-admin-password" not in text


def test_no_environment_names_a_secret() -> None:
    words = re.compile(r"password|passwd|secret|token|credential|private|_key\b", re.IGNORECASE)
    for service in run()["services"].values():
        suspects = {name for name in service.get("environment", {}) if words.search(name)} - {"SECRETS_DIR"}
        assert not suspects
        assert not words.search(" ".join(service.get("command", [])).replace("/run/secrets/keycloak.conf", ""))


def test_a_trace_that_anybody_can_cause_fills_no_log() -> None:
    (form,) = [word for word in run()["services"]["keycloak"]["command"] if "log-console-format" in word]
    assert re.search(r"%\.(\d{3,4})e%n$", form)


def test_a_changed_bundle_changes_exactly_its_service() -> None:
    new = {**BUNDLES["app"], "bundle": "z9", "path": "/run/coffre/demo/app/z9"}
    before, after = run(), run({**BUNDLES, "app": new})
    assert [name for name in SERVICES if before["services"][name] != after["services"][name]] == ["app"]


def configuration(**changes: Any) -> str:
    """The proxy's configuration, which follows from the routes of the file."""
    return proxies.files(rendered(**changes)["services"])["haproxy.cfg"]


@pytest.mark.parametrize(("wanted", "opened"), [(True, True), (False, False), ("true", True), ("false", False)])
def test_the_admin_console_is_open_only_where_an_environment_says_so(wanted: bool | str, opened: bool) -> None:
    lines = configuration(stack_admin_console=wanted)
    assert ("beg /admin/ }" in lines) == opened
    assert ("acl keycloak:denied var(txn.decoded) -m beg -i /admin/ /realms/master/" in lines) != opened


@pytest.mark.parametrize(
    ("url", "authority", "port", "hsts"),
    [
        ("https://localhost:8443", "localhost:8443", "8443", "0"),
        ("https://iam.example.com", "iam.example.com", "443", "31536000"),
        ("https://iam.example.com:444", "iam.example.com:444", "444", "31536000"),
    ],
)
def test_the_public_name_reaches_proxy_app_and_keycloak(url: str, authority: str, port: str, hsts: str) -> None:
    services = run(stack_public_url=url)["services"]
    assert services["app"]["environment"]["PUBLIC_URL"] == url
    assert f"--hostname={url}" in services["keycloak"]["command"]
    lines = configuration(stack_public_url=url)
    assert f'redirect prefix "{url}" code 301' in lines
    assert f'set-header X-Forwarded-Host "{authority}"' in lines
    assert f'set-header X-Forwarded-Port "{port}"' in lines
    assert f'set-header Strict-Transport-Security "max-age={hsts}"' in lines


@pytest.mark.skipif(shutil.which("docker") is None, reason="Compose is not installed here")
@pytest.mark.parametrize("file", [rendered, run])
def test_compose_takes_it(file: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    data = file()
    # The file as a user has it gets its secrets from the catalogue.
    listed = {each for service in data["services"].values() for each in service.get("secrets", []) if type(each) is str}
    path = tmp_path / "compose.yml"
    path.write_text(json.dumps({"secrets": {name: {"external": True} for name in listed}} | data))
    done = subprocess.run(
        ["docker", "compose", "-f", path, "config", "-q"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
