"""The service file of a swarm, made from the user's Compose file."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import compose_file
from ansible_collections.coffre.stack.plugins.module_utils.compose_file import LABEL_BUNDLE
from ansible_collections.coffre.stack.plugins.module_utils.engines import swarm
from ansible_collections.coffre.stack.plugins.module_utils.engines.swarm import file
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from tests.unit import described

BUNDLE = state.Bundle({"key": ["key"], "app.conf": ["key"]}, {"key": "1" * 32}, "", 60611, 60612)
STATE = state.State("demo", services={"app": state.ServiceState(next="0a1b2c3d4e5f", bundles={"0a1b2c3d4e5f": BUNDLE})})


def render(service: dict[str, Any], plain: bool = False, **top: Any) -> dict[str, Any]:
    problems: list[str] = []
    data = {"services": {"app": {"image": "i", "user": "60611:60612", **service}}, **top}
    parsed = compose_file.parse(data, problems)
    assert problems == []
    return file.rendered("demo", parsed, STATE, {}, plain)


def one(service: dict[str, Any], **top: Any) -> dict[str, Any]:
    found: dict[str, Any] = render(service, **top)["services"]["app"]
    return found


def test_secrets_are_references_with_the_services_own_rights() -> None:
    whole = render({"secrets": [{"source": "key", "target": "other"}, "app.conf"]})
    own = {"uid": "60611", "gid": "60612", "mode": 0o400}
    assert whole["services"]["app"]["secrets"] == [
        {"source": "0a1b2c3d4e5f.0", "target": "app.conf", **own},
        {"source": "1" * 32, "target": "other", **own},
    ]
    assert whole["secrets"]["1" * 32] == {"external": True, "name": f"demo.{'1' * 32}"}
    assert whole["services"]["app"]["labels"][LABEL_BUNDLE] == "0a1b2c3d4e5f"


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ({"mem_limit": "64m", "pids_limit": 9, "cpus": 0.5}, {"memory": "64m", "pids": 9, "cpus": "0.5"}),
        ({"deploy": {"resources": {"limits": {"memory": "1g"}}}}, {"memory": "1g"}),
        ({}, None),
    ],
)
def test_limits_are_said_where_swarm_has_them(said: dict[str, Any], limits: dict[str, Any] | None) -> None:
    service = one(said)
    assert service["deploy"]["resources"].get("limits") == limits
    assert not {"mem_limit", "pids_limit", "cpus"} & set(service)


def test_what_swarm_takes_no_notice_of_is_told() -> None:
    said = {"cpu_shares": 9, "mem_limit": "9m", "memswap_limit": "9m"}
    parsed = compose_file.parse({"services": {"app": {"image": "i", **said}}}, [])
    assert file.passed_over(parsed) == [
        "service app: Swarm takes no notice of cpu_shares",
        "service app: Swarm takes no notice of memswap_limit",
    ]


@pytest.mark.parametrize(
    ("said", "mounts"),
    [
        ({"tmpfs": ["/t:size=16m,mode=1777"]}, [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": 16 << 20}}]),
        ({"tmpfs": "/run"}, [{"type": "tmpfs", "target": "/run"}]),
        ({"volumes": ["data:/var/lib"]}, [{"type": "volume", "source": "data", "target": "/var/lib"}]),
        ({"volumes": ["/etc/x:/x:ro"]}, [{"type": "bind", "source": "/etc/x", "target": "/x", "read_only": True}]),
    ],
)
def test_mounts_are_in_the_long_syntax(said: dict[str, Any], mounts: list[dict[str, Any]]) -> None:
    assert one(said, volumes={"data": {}})["volumes"] == mounts


@pytest.mark.parametrize(
    ("said", "test"),
    [
        ({}, None),
        ({"healthcheck": {"test": ["CMD", "true"]}}, ["CMD", "true"]),
        (
            {"healthcheck": {"test": ["CMD", "up", "a b"]}, "x-coffre": {"ready": ["may", "I"]}},
            ["CMD", "/bin/sh", "-c", f"if [ -e {file.READY} ]; then up 'a b'; else may I && : >{file.READY}; fi"],
        ),
        (
            {"healthcheck": {"test": "up | down"}, "x-coffre": {"ready": "may I"}},
            ["CMD", "/bin/sh", "-c", f"if [ -e {file.READY} ]; then up | down; else may I && : >{file.READY}; fi"],
        ),
        (
            {"x-coffre": {"ready": ["may"]}},
            ["CMD", "/bin/sh", "-c", f"if [ -e {file.READY} ]; then :; else may && : >{file.READY}; fi"],
        ),
    ],
)
def test_a_task_is_well_once_it_was_ready_and_as_long_as_it_is_healthy(said: dict[str, Any], test: Any) -> None:
    assert one(said).get("healthcheck", {}).get("test") == test


def test_a_task_that_starts_is_looked_at_more_often() -> None:
    said = {"test": ["CMD", "true"], "start_period": "9s"}
    assert one({"healthcheck": said})["healthcheck"] == {**said, "start_interval": "1s"}
    assert one({"healthcheck": {**said, "start_interval": "2s"}})["healthcheck"]["start_interval"] == "2s"
    assert "start_interval" not in one({"healthcheck": {"test": ["CMD", "true"]}})["healthcheck"]


@pytest.mark.parametrize(
    ("said", "port"),
    [
        ("8443:443", {"target": 443, "published": 8443, "protocol": "tcp", "mode": "host"}),
        ("53:53/udp", {"target": 53, "published": 53, "protocol": "udp", "mode": "host"}),
        ({"target": 80, "published": "8080"}, {"target": 80, "published": 8080, "protocol": "tcp", "mode": "host"}),
    ],
)
def test_ports_are_the_nodes_own(said: Any, port: dict[str, Any]) -> None:
    assert one({"ports": [said]})["ports"] == [port]


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({}, ["node.labels.coffre.demo==true"]),
        ({"volumes": ["data:/d"]}, ["node.labels.coffre.demo==true", "node.labels.coffre.demo.data==true"]),
        (
            {"volumes": ["data:/d"], "x-coffre": {"audit": {"volume": "data", "file": "f", "secret": "key"}}},
            ["node.labels.coffre.demo==true"],
        ),
        (
            {"deploy": {"placement": {"constraints": ["node.labels.zone==a"]}}},
            ["node.labels.zone==a", "node.labels.coffre.demo==true"],
        ),
    ],
)
def test_tasks_go_to_labelled_nodes_and_data_to_their_own(said: dict[str, Any], where: list[str]) -> None:
    assert one(said, volumes={"data": {}})["deploy"]["placement"]["constraints"] == where


PROXY: dict[str, Any] = {
    "secrets": ["key"],
    "networks": ["edge", "web"],
    "tmpfs": ["/run/haproxy:size=1m", "/tmp:size=1m"],  # noqa: S108
    "ports": ["8443:8443"],
    "x-coffre": {"proxy": {"haproxy": {}}},
}
NETWORKS: dict[str, Any] = {"edge": {}, "web": {"internal": True}}


def test_a_proxy_is_on_every_node_and_has_nothing_that_a_new_bundle_changes() -> None:
    whole = render(PROXY, networks=NETWORKS)
    proxy, courier = whole["services"]["app"], whole["services"]["app-courier"]
    assert proxy["deploy"]["mode"] == courier["deploy"]["mode"] == "global"
    assert "replicas" not in proxy["deploy"]
    assert not {"secrets"} & set(proxy)
    assert (proxy["labels"].get(LABEL_BUNDLE), courier["labels"][LABEL_BUNDLE]) == (None, "0a1b2c3d4e5f")
    assert file.parts(whole, "app") == ["app-courier", "app"]


def test_a_proxy_and_its_courier_share_memory_of_their_user() -> None:
    whole = render(PROXY, networks=NETWORKS)
    shared = [
        [each["target"] for each in whole["services"][name]["volumes"] if each.get("source") == "app-courier"]
        for name in ("app", "app-courier")
    ]
    assert shared == [["/run/secrets", "/run/haproxy"], ["/run/haproxy"]]
    assert [each["target"] for each in whole["services"]["app"]["volumes"] if each["type"] == "tmpfs"] == ["/tmp"]  # noqa: S108
    options = whole["volumes"]["app-courier"]["driver_opts"]
    assert options["type"] == "tmpfs"
    assert {"uid=60611", "gid=60612", "mode=0700"} <= set(options["o"].split(","))


def test_a_courier_has_the_files_of_the_bundle_and_reaches_nobody_outside() -> None:
    whole = render(PROXY, networks=NETWORKS)
    courier = whole["services"]["app-courier"]
    assert [each["target"] for each in courier["secrets"]] == ["app.conf", "key"]
    assert set(courier["networks"]) == {"web"}
    assert courier["deploy"]["placement"] == whole["services"]["app"]["deploy"]["placement"]
    way = courier["deploy"]["update_config"]
    # One that stays beside its successor would not bring its bundle again when that is taken back.
    assert (way["failure_action"], way["order"], way["parallelism"]) == ("rollback", "stop-first", 1)
    assert "$" not in courier["entrypoint"][2].replace("$$", "")  # of which docker would make variables


def test_networks_are_encrypted_overlays_unless_plain_ones_are_accepted() -> None:
    said: dict[str, Any] = {"networks": {"web": {"internal": True}}}
    encrypted = {"driver": "overlay", "driver_opts": {"encrypted": ""}}
    assert render({"networks": ["web"]}, **said)["networks"] == {"web": {"internal": True, **encrypted}}
    plain = render({"networks": ["web"]}, True, **said)
    assert plain["networks"] == {"web": {"internal": True, "driver": "overlay"}}
    assert render({})["networks"] == {"default": encrypted}


def test_a_service_is_updated_as_it_says_and_put_back_by_swarm() -> None:
    deploy = one({"deploy": {"replicas": 2, "update_config": {"order": "start-first", "delay": "3s"}}})["deploy"]
    way = {"order": "start-first", "parallelism": 1, "monitor": file.MONITOR}
    assert (deploy["replicas"], deploy["endpoint_mode"]) == (2, "dnsrr")
    assert deploy["update_config"] == {**way, "delay": "3s", "failure_action": "rollback"}
    assert deploy["rollback_config"] == way


def test_the_hash_is_of_all_that_a_service_is_given_and_stands_on_service_and_tasks() -> None:
    first, again, other = one({}), one({}), one({"environment": {"A": "1"}})
    assert first == again
    hashes = {each["deploy"]["labels"][swarm.SPEC] for each in (first, other)}
    assert len(hashes) == 2
    assert first["labels"][swarm.SPEC] in hashes


def test_the_file_of_one_service_takes_no_more_than_that_needs() -> None:
    parsed = compose_file.parse(
        {
            "services": {
                "app": {"image": "i", "user": "1:1", "networks": ["a"], "volumes": ["v:/v"]},
                "b": {"image": "i", "user": "1:1", "networks": ["b"]},
            },
            "networks": {"a": {}, "b": {}},
            "volumes": {"v": {}},
        },
        [],
    )
    found = file.of_one(file.rendered("demo", parsed, state.State("demo"), {}, True), "b")
    assert (set(found["services"]), set(found["networks"]), "volumes" in found) == ({"b"}, {"b"}, False)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"privileged": True}, "says privileged, which Swarm has no way to do"),
        ({"security_opt": ["seccomp=unconfined"]}, "says security_opt"),
        ({"ports": ["127.0.0.1:80:80"]}, "publishes port 80 on 127.0.0.1"),
        ({"x-coffre": {"proxy": {"haproxy": {}}}}, ""),
        ({"x-coffre": {"adopt": "reload"}}, "reloads on a signal, which nobody sends to another node"),
        ({"security_opt": ["no-new-privileges:true"]}, ""),
        ({"ports": ["80:80"], "tmpfs": ["/x"], "restart": "always"}, ""),
    ],
)
def test_what_swarm_has_no_way_to_do_is_refused(said: dict[str, Any], sentence: str) -> None:
    data = {"secrets": [], "services": [{"name": "app", "uid": 1, "gid": 1, "adopt": "restart", "compose": said}]}
    found = file.problems(described.parse(data))
    assert [sentence in each for each in found] == ([True] if sentence else [])


USER = {
    "name": "admin",
    "consumers": ["host"],
    "strategy": "postgres_user",
    "settings": {"service": "postgres", "user": "u"},
}
COMMANDS = {"service": "app", "teach": ["t"], "prove": ["p"], "withdraw": ["w"]}


@pytest.mark.parametrize(
    ("different", "more", "sentence"),
    [
        ({"strategy": "command", "settings": COMMANDS}, [], "db has commands for the container of app"),
        ({"strategy": "command", "settings": COMMANDS | {"beside": True}}, [], ""),
        ({}, [], "db needs psql in the container of postgres"),
        (
            {},
            [{**USER, "settings": {"service": "app", "user": "u"}}],
            "db needs psql in the container of postgres",
        ),
        ({}, [USER], ""),
    ],
)
def test_a_strategy_that_needs_a_command_in_another_container_is_refused(
    different: dict[str, Any], more: list[dict[str, Any]], sentence: str
) -> None:
    secret = {"name": "db", "consumers": ["app"], "strategy": "postgres_role", "attributes": {"role": "role_a"}}
    service = {"name": "app", "uid": 1, "gid": 1, "adopt": "restart"}
    found = file.problems(described.parse({"secrets": [{**secret, **different}, *more], "services": [service]}))
    assert [each.startswith(sentence) for each in found] == ([True] if sentence else [])
