"""What each setting of an inventory may be: the borders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.coffre.stack.plugins.module_utils.settings import RULES, problems

ROOT = Path(__file__).resolve().parents[3]
URLS = ["stack_public_url", "stack_services_url"]
PORTS = ["stack_https_port", "stack_http_port"]

FIT: dict[str, list[Any]] = {
    "stack_name": ["a", "coffre-demo", "a" * 40, "a1-"],
    "stack_engine": ["compose", "swarm"],
    "stack_public_url": [
        "https://localhost",
        "https://localhost:8443",
        "https://a.example.org",
        "https://10.0.0.1:1",
        "https://[::1]:65535",
        "https://xn--bcher-kva.example",
        "https://1a.example",
    ],
    "stack_https_port": [1, 443, 65535, "8443"],
    "stack_bind_address": [[], "127.0.0.1", ["127.0.0.1", "::1"]],
    "stack_admin_console": [True, False, "true", "False", "no"],
    "stack_replicas": [{}, {"app": 2}, {"app": "100"}],
    "stack_limits": [
        {},
        {"app": {}},
        {"app": {"memory": "6m", "pids": 1, "cpus": 0.5, "cpu_shares": 2}},
        {"keycloak": {"memory": "1g", "heap": "1023m"}, "postgres": {"cpus": "1.5", "memory": "512MB"}},
        {"any-other": {"memory": "1g"}},
    ],
    "stack_logging": [{"driver": "journald"}, {"driver": "json-file", "options": {"max-size": "10m", "max-file": 3}}],
    "stack_environment": [{}, {"HTTPS_PROXY": "http://proxy:3128", "N": 1}],
    "stack_services_timeout": [1, 600, "180"],
    "stack_services_ca_path": ["", None, "/etc/ssl/ca.pem"],
    "stack_secrets_source": ["demo", "file", "keyvault"],
    "stack_secrets_directory": ["", "/root/secrets"],
    "stack_secrets_trailing_newline": ["refuse", "strip"],
    "stack_secrets_require_noswap": [True, "false"],
    "stack_secrets_seal_key": ["auto", "host", "tpm2"],
    "stack_services_endpoints": [[], ["/health", "/ready", "/", "/iam/x?y=z"]],
    "secret_rotation_before_days": [0, 14, "3650"],
    "secret_rotation_lease_seconds": [1, 120],
    "secret_rotation_take_over": ["", "20260101T000000Z-0a1b2c"],
    "container_images_base": ["", "registry.example.com/debian:13", "debian@sha256:0a"],
    "container_images_references": [{}, {"keycloak": "registry.example.com:5000/keycloak:26.7.3", "any-other": "a"}],
    "container_images_archive": ["auto", "always"],
    "container_images_cache": ["/root/.cache/coffre/images"],
    "docker_host_blocked_addresses": [[], ["169.254.0.0/16", "fe80::/10", "168.63.129.16"]],
    "docker_host_container_interfaces": [["docker*", "br-*", "eth0.1"]],
    "swarm_cluster_address": ["", "192.0.2.1"],
    "swarm_cluster_address_pool": ["10.255.0.0/16", "172.20.0.0/22"],
}
UNFIT: dict[str, list[Any]] = {
    "stack_name": ["", None, "..", "a/b", "A", "1a", "a b", "a\n", "a" * 41, 1, True, ["a"]],
    "stack_public_url": [
        "",
        None,
        1,
        True,
        ["https://a"],
        "localhost",
        "http://localhost",
        "ftp://localhost",
        "https://",
        "https:///",
        "https://localhost/",
        "https://localhost:8443/",
        "https://localhost/app",
        "https://localhost?a=b",
        "https://localhost#a",
        "https://user@localhost",
        "https://user:word@localhost",
        " https://localhost",
        "https://localhost ",
        "https://local host",
        "https://localhost\n",
        "HTTPS://localhost",
        "https://Localhost",
        "https://localhost:",
        "https://localhost:0",
        "https://localhost:08443",
        "https://localhost:65536",
        "https://localhost:port",
        "https://a..b",
        "https://-a",
        "https://a-",
        "https://a_b",
        "https://a.",
        f"https://{'a' * 64}",
        "https://bücher.example",
        "https://256.0.0.1",
        "https://1.2.3",
        "https://::1",
        "https://[::1",
        "https://[::g]",
        "https://[fe80::1%eth0]",
        "https://[]",
    ],
    "stack_https_port": [0, 65536, -1, "", None, "08443", "127.0.0.1:8443", "8443/tcp", "8443-8445", 8443.0, True, [1]],
    "stack_bind_address": ["", "localhost", None, [""], ["localhost"], ["127.0.0.1/8"], [1], ["127.0.0.1:8443"]],
    "stack_admin_console": ["", None, "open", 2, [], "flase"],
    "stack_replicas": [None, 2, ["app"], {"app": 0}, {"app": 101}, {"app": True}, {"App": 1}],
    "stack_limits": [
        "",
        None,
        [],
        {"app": "1g"},
        {"We b": {"memory": "1g"}},
        {1: {"memory": "1g"}},
        {"app": {"memory": "1t"}},
        {"app": {"memory": 1024}},
        {"app": {"memory": "1.5g"}},
        {"app": {"memory": "5m"}},
        {"app": {"memory": "0m"}},
        {"app": {"memory": "1 g"}},
        {"app": {"memory": None}},
        {"app": {"mem": "1g"}},
        {"app": {"pids": 0}},
        {"app": {"pids": -1}},
        {"app": {"pids": "many"}},
        {"app": {"heap": "1t"}},
        {"app": {"cpus": 0}},
        {"app": {"cpus": "1,5"}},
        {"app": {"cpus": True}},
        {"app": {"cpu_shares": 1}},
        {"keycloak": {"heap": "256"}},
        {"keycloak": {"heap": "256mb"}},
        {"keycloak": {"memory": "512m", "heap": "512m"}},
    ],
    "stack_logging": ["journald", None, {}, {"driver": ""}, {"driver": "a", "b": 1}, {"driver": "a", "options": ["b"]}],
    "stack_environment": ["", None, ["A=b"], {"A B": "c"}, {"A": None}, {"A": ["b"]}, {1: "a"}],
    "stack_services_timeout": [0, -1, "", "3m", 86401, 1.5, True],
    "stack_services_ca_path": ["ca.pem", "~/ca.pem", "/", 1],
    "stack_engine": ["", None, "podman", True],
    "stack_secrets_source": ["", None, "vault", "Demo"],
    "stack_secrets_directory": ["secrets", "./secrets", "~/secrets", "/"],
    "stack_secrets_trailing_newline": ["", "keep", True],
    "stack_secrets_require_noswap": ["", "maybe"],
    "stack_secrets_seal_key": ["", "tpm", None],
    "stack_services_endpoints": ["/health", None, ["health"], [""], [1], ["https://a/health"], ["/a b"], ["/a\n"]],
    "secret_rotation_before_days": [-1, "", "2w"],
    "secret_rotation_lease_seconds": [0, "", None],
    "secret_rotation_take_over": [None, "a b", "a" * 41, "../a"],
    "container_images_base": [None, " ", "https://registry.example.com/debian", "-a"],
    "container_images_references": ["", None, {"App": "a"}, {1: "a"}, {"app": ""}, {"app": None}, {"app": "a b"}],
    "container_images_archive": ["", "never"],
    "container_images_cache": ["", None, "images", "~/images", "/"],
    "docker_host_blocked_addresses": ["169.254.0.0/16", None, ["metadata"], [""], [1], ["1.2.3.4/33"]],
    "docker_host_container_interfaces": ["docker*", None, [""], ['a"'], ["a b"], ["br-*x"], ["a" * 16]],
    "swarm_cluster_address": [None, "eth0", "192.0.2.1:2377", "::1", 1],
    "swarm_cluster_address_pool": ["", None, "10.255.0.0", "10.255.0.1/16", "10.255.0.0/24", "fd00::/16", 10],
}
SAME = {
    "docker_host_live_restore": "stack_secrets_require_noswap",
    "docker_host_swarm": "stack_secrets_require_noswap",
    "stack_plain_networks": "stack_secrets_require_noswap",
    "stack_services_url": "stack_public_url",
    "stack_http_port": "stack_https_port",
    "stack_services_health_seconds": "stack_services_timeout",
    "secret_rotation_timeout": "secret_rotation_lease_seconds",
}


def cases(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name in RULES for value in table[SAME.get(name, name)]]


@pytest.mark.parametrize(("name", "value"), cases(FIT))
def test_what_will_do(name: str, value: Any) -> None:
    assert problems({name: value}) == []


@pytest.mark.parametrize(("name", "value"), cases(UNFIT))
def test_what_will_not(name: str, value: Any) -> None:
    (sentence,) = problems({name: value})
    assert sentence.startswith(f"{name} is ") and ": make it " in sentence and sentence.endswith(".")


@pytest.mark.parametrize(
    ("value", "better"),
    [
        ("https://localhost:8443/", "https://localhost:8443"),
        (" https://Localhost ", "https://localhost"),
        ("https://localhost/app", "https://NAME or https://NAME:PORT, in lower case and with nothing behind it"),
    ],
)
def test_it_says_what_to_write(value: str, better: str) -> None:
    assert problems({"stack_public_url": value}) == [f"stack_public_url is {value!r}: make it {better}."]


def test_all_that_is_wrong_is_told_at_once_and_what_is_unknown_is_left_alone() -> None:
    found = problems({"stack_name": "", "stack_http_port": 0, "stack_environment": {"A": ["b"]}, "else": None})
    assert [sentence.partition(":")[0] for sentence in found] == [
        "stack_name is ''",
        "stack_http_port is 0",
        "stack_environment is wrong",
    ]


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_the_roles_defaults_will_do(role: str) -> None:
    path = ROOT / "roles" / role / "defaults/main.yml"
    defaults = yaml.safe_load(path.read_text()) if path.exists() else {}
    assert problems({name: value for name, value in defaults.items() if "{{" not in str(value)}) == []


def test_what_each_may_be_is_written_down() -> None:
    text = (ROOT / "docs/operations.md").read_text().partition("## What each setting may be")[2].partition("\n## ")[0]
    named = set(re.findall("`([a-z_]+)`", "".join(line.split("|")[1] for line in text.splitlines() if "|" in line)))
    assert named - set(RULES) == {
        "stack_secrets_keyvault",
        "stack_vault",
        "secret_rotation_report",
        "teardown_destroy",
    }
    assert set(RULES) <= named
