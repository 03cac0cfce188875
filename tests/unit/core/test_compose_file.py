"""The user's Compose file: every refusal by its name, what is taken from it, and the file that is run."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import compose_file
from ansible_collections.coffre.stack.plugins.module_utils.compose_file import Bundle, File

FILE: dict[str, Any] = {
    "x-coffre": {"harden": True},
    "services": {
        "web": {
            "image": "shop/web",
            "build": {"context": "web"},
            "user": "60611:60612",
            "depends_on": ["db"],
            "secrets": ["api-key", {"source": "db.conf", "target": "settings.conf"}],
            "labels": {"team": "shop"},
            "deploy": {"update_config": {"order": "start-first"}, "replicas": 2},
            "mem_limit": "128m",
            "x-coffre": {"ready": "probe --url '/a b'"},
            "networks": ["inside"],
        },
        "db": {"image": "postgres:18", "read_only": False, "cap_add": ["CHOWN"], "volumes": ["data:/var/lib"]},
        "proxy": {
            "image": "haproxy:3",
            "user": "60614:60614",
            "secrets": ["tls"],
            "ports": ["127.0.0.1:8443:8443"],
            "x-coffre": {"adopt": "reload"},
            "volumes": ["data:/srv:ro"],
        },
    },
    "networks": {"inside": {"internal": True}},
    "volumes": {"data": {}},
}
EARLIER = f"api-key.{'0a' * 16}"
BUNDLES: dict[str, Bundle] = {
    "web": {"bundle": "a1", "path": "/run/coffre/shop/web/a1", "files": ["api-key", EARLIER, "db.conf"]},
    "proxy": {"bundle": "b2", "path": "/run/coffre/shop/proxy/b2", "files": ["tls"]},
    "host": {"bundle": "c3", "path": "/run/coffre/shop/host/c3", "files": ["admin-password"]},
}


@pytest.fixture
def data() -> dict[str, Any]:
    return copy.deepcopy(FILE)


def read(data: Any) -> File:
    """A file in which nothing is wrong."""
    problems: list[str] = []
    file = compose_file.parse(data, problems)
    assert problems == []
    return file


def refused(data: Any) -> list[str]:
    problems: list[str] = []
    compose_file.parse(data, problems)
    return problems


def run(data: Any, bundles: dict[str, Bundle] = BUNDLES, **images: str) -> dict[str, Any]:
    return compose_file.run_file("shop", read(data), bundles, images)


def one(**keys: Any) -> dict[str, Any]:
    """A file of one service with these keys beside its image; `x_coffre` is x-coffre."""
    if "x_coffre" in keys:
        keys["x-coffre"] = keys.pop("x_coffre")
    return {"services": {"a": {"image": "a:1"} | keys, "b": {"image": "b:1"}}}


def entry(**keys: Any) -> compose_file.Entry:
    return read(one(**keys)).services["a"]


def top(**keys: Any) -> dict[str, Any]:
    return one() | {key.replace("_", "-"): value for key, value in keys.items()}


START_FIRST = {"update_config": {"order": "start-first"}}
REFUSED: list[tuple[dict[str, Any], str]] = [
    (one(extends={"service": "b"}), "service a says extends: write what it extends into the service"),
    (one(env_file=".env"), "service a says env_file: write the variables under environment"),
    (one(container_name="a"), "service a says container_name: leave it out, for two containers"),
    (one(links=["b"]), "service a says links: let both share a network"),
    (one(external_links=["b"]), "service a says external_links: let both share a network"),
    (one(profiles=["debug"]), "service a says profiles: leave the service out of the file"),
    (one(scale=2), "service a says scale: say deploy.replicas"),
    (one(scale=0), "service a says scale: say deploy.replicas"),
    (one(volumes_from=["b"]), "service a says volumes_from: name the volumes"),
    (one(label_file="labels"), "service a says label_file: write the labels"),
    (one(provider={"type": "x"}), "service a says provider: run it outside of the stack"),
    (one(pull_policy="always"), "service a says pull_policy: leave it out"),
    (one(network_mode="service:b"), "service a shares another container's network"),
    (one(network_mode="container:b"), "service a shares another container's network"),
    (one(image=None), "service a has neither image nor build"),
    (one(image=""), "service a has neither image nor build"),
    (one(volumes=["./data:/data"]), "service a mounts ./data, which is relative"),
    (one(volumes=["~/data:/data"]), "service a mounts ~/data, which is relative"),
    (one(volumes=[{"type": "bind", "source": "../data", "target": "/data"}]), "service a mounts ../data, which is"),
    (one(deploy={"replicas": 0}), "service a: deploy.replicas must be a whole number from 1 to 100"),
    (one(deploy={"replicas": 101}), "service a: deploy.replicas must be a whole number from 1 to 100"),
    (one(deploy={"replicas": "2"}), "service a: deploy.replicas must be a whole number from 1 to 100"),
    (one(deploy={"replicas": True}), "service a: deploy.replicas must be a whole number from 1 to 100"),
    (one(deploy={"update_config": {"order": "later"}}), "service a: deploy.update_config.order is start-first or"),
    (one(ports=["80:80"], deploy=START_FIRST), "service a publishes ports, which two containers at once cannot"),
    (one(ports=["80:80"], deploy={"replicas": 2}), "service a publishes ports, which two containers at once cannot"),
    (one(x_coffre={"adopt": "reload"}, deploy={"replicas": 2}), "service a reloads, so it has one container"),
    (one(x_coffre="reload"), "service a: x-coffre is not a mapping"),
    (one(x_coffre={"harden": True}), "service a: x-coffre has an unknown key `harden`"),
    (one(x_coffre={"adopt": "restart"}), "service a: x-coffre.adopt is reload, or reload with a signal"),
    (one(x_coffre={"adopt": {"reload": "HUP"}}), "service a: x-coffre.adopt is reload, or reload with a signal"),
    (one(x_coffre={"adopt": {"signal": "SIGHUP"}}), "service a: x-coffre.adopt is reload, or reload with a signal"),
    (one(x_coffre={"proxy": "haproxy", "adopt": "reload"}), "service a is the proxy, which reloads: say no x-coffre"),
    (one(x_coffre={"audit": ["volume", "file", "secret"]}), "service a: x-coffre.audit must say volume, file and"),
    (one(x_coffre={"audit": 7}), "service a: x-coffre.audit must say volume, file and"),
    (one(x_coffre={"ready": "sh -c 'x"}), "service a: x-coffre.ready must be a command, as a text or a list"),
    (one(x_coffre={"ready": 7}), "service a: x-coffre.ready must be a command, as a text or a list"),
    (one(x_coffre={"audit": {"volume": "v", "file": "f"}}), "service a: x-coffre.audit must say volume, file and"),
    (one(secrets={"key": {}}), "service a: secrets must be a list of names, or of mappings"),
    (one(secrets=[7]), "service a: secrets must be a list of names, or of mappings"),
    (one(secrets=[{"target": "key"}]), "service a: secrets must be a list of names, or of mappings"),
    (one(secrets=[{"source": "key", "mode": 0o444, "uid": "7"}]), "service a: its secret key says mode, uid: the file"),
    (one(depends_on="b"), "service a: depends_on must be a list or a mapping"),
    (one(depends_on=["c"]), "service a depends on c, which is none"),
    (one(depends_on=["a"]), "the services a depend on each other in a circle"),
    (one(depends_on={"b": {"condition": "service_completed_successfully"}}), "service a waits for the end of b: run"),
    (one(deploy="x"), "service a: deploy is not a mapping"),
    (one(ports="80:80"), "service a: ports is not a list"),
    (one(volumes={"data": "/data"}), "service a: volumes is not a list"),
    (one(labels="x"), "service a: labels is neither a list nor a mapping"),
    (one(environment="A=1"), "service a: environment is neither a list nor a mapping"),
    (one(networks="x"), "service a: networks is neither a list nor a mapping"),
    (one(configs={"c": {}}), "service a: configs is not a list"),
    (one(environment={"A": None}), 'service a: environment gives A no value: write one, which may be "", or leave it'),
    (one(environment=["B=", "A"]), "service a: environment gives A no value"),
    (one(enviroment={"A": "b"}), "service a has the unknown key `enviroment`: Compose 2.26 has none of that name"),
    (one(models=["m"]), "service a has the unknown key `models`"),
    (one(volumes=["data/sub:/data"]), "service a takes data/sub from the file's volumes, which have none of that name"),
    (
        one(volumes=["data:/data"]),
        "service a takes data from the file's volumes, which have none of that name: list it",
    ),
    (
        one(volumes=[{"type": "volume", "source": "data", "target": "/data"}]),
        "service a takes data from the file's vol",
    ),
    (one(volumes=[{"type": "bind", "source": "data", "target": "/data"}]), "service a mounts data, which is relative"),
    (one(networks=["inside"]), "service a takes inside from the file's networks, which have none of that name"),
    (one(networks={"inside": {"aliases": ["a"]}}), "service a takes inside from the file's networks"),
    (one(configs=["c"]), "service a takes c from the file's configs, which have none of that name"),
    (one(configs=[{"source": "c", "target": "/c"}]), "service a takes c from the file's configs"),
    (one(ports=["80:abc"]), "service a publishes 80:abc, which is neither a port nor two ranges of one length: write"),
    (one(ports=["8000-8005:80-82"]), "service a publishes 8000-8005:80-82, which is neither a port nor two ranges of"),
    (one(ports=["8005-8000:8005-8000"]), "service a publishes 8005-8000:8005-8000, which is neither"),
    (one(ports=["::1:80:80"]), "service a publishes ::1:80:80, which is neither"),
    (one(ports=["80:80/x"]), "service a publishes 80:80/x, which is neither"),
    (one(ports=[""]), "service a publishes , which is neither"),
    (one(ports=[{"published": 80}]), "service a publishes {'published': 80}, which is neither"),
    (one(ports=[{"target": 80, "published": "x"}]), "which is neither a port nor two ranges"),
    (one(environment={"WORD": "${WORD}"}), "a.environment.WORD takes $WORD from nowhere: write its value, or $$"),
    (one(environment=["WORD=$WORD"]), "a.environment takes $WORD from nowhere"),
    (one(environment={"WORD": "${WORD:-some}"}), "takes $WORD from nowhere"),
    (one(command="echo $$$HOME"), "a.command takes $HOME from nowhere"),
    (top(networks={"n": {"name": "${NAME?}"}}), "networks.n.name takes $NAME from nowhere"),
    (one(build={"context": ".", "args": {"BASE": "FILL-IN"}}), "a.build.args.BASE says FILL-IN: write what it stands"),
    ({"services": {"a": "b"}}, "service a is not a mapping"),
    ({"services": {"A": {"image": "a"}}}, "the service name 'A' is ill-formed"),
    ({"services": {"a.b": {"image": "a"}}}, "the service name 'a.b' is ill-formed"),
    ({"services": {"host": {"image": "a"}}}, "the service name 'host' is ill-formed"),
    ({"services": {1: {"image": "a"}}}, "the service name 1 is ill-formed"),
    ({"services": {"a" * 64: {"image": "a"}}}, "is ill-formed: use up to 63 of a-z, 0-9 and -"),
    (top(name="shop"), "the file says `name`: leave it to stack_name"),
    (top(include=["other.yml"]), "the file says `include`: write what it includes into it"),
    (top(models={}), "the file has the unknown key `models`"),
    (top(secrets={"key": {"file": "key"}}), "the top-level secret key has a source of its own: leave it out"),
    (top(secrets={"key": {"environment": "KEY"}}), "the top-level secret key has a source of its own"),
    (top(secrets=["key"]), "the file's secrets is not a mapping"),
    (top(configs={"c": {"file": "c.conf"}}), "the config c is no text of the file's own: give it as `content`"),
    (top(x_coffre={"harden": "yes"}), "x-coffre of the file can say harden: true, and no more"),
    (top(x_coffre={"soften": True}), "x-coffre of the file can say harden: true, and no more"),
    (top(x_coffre=["harden"]), "x-coffre of the file can say harden: true, and no more"),
    ({}, "the Compose file has no services"),
    ({"services": {}}, "the Compose file has no services"),
    ({"services": ["a"]}, "the Compose file has no services"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_says_what_cannot_be_honoured(data: Any, sentence: str) -> None:
    assert [each for each in refused(data) if sentence in each]


@pytest.mark.parametrize("data", [None, "text", [], 7])
def test_what_is_no_compose_file(data: Any) -> None:
    assert refused(data) == ["the Compose file has no services"]


TAKEN: list[dict[str, Any]] = [
    one(env_file=None, profiles=[], container_name=""),
    one(volumes=["/srv:/srv:ro", "/only", {"type": "volume", "target": "/a"}, {"type": "tmpfs", "target": "/b"}]),
    one(volumes=["data:/data", {"type": "volume", "source": "data", "target": "/data"}]) | {"volumes": {"data": None}},
    one(networks=["default", "inside"]) | {"networks": {"inside": {}}},
    one(configs=["c", {"source": "c", "target": "/c"}]) | {"configs": {"c": {"content": "text"}}},
    one(environment=["A=", "B=c=d"], labels=["a", "b=c=d"]),
    one(environment={"A": ""}, labels={"a": None}),
    one(expose=["8000", "8001-8005/tcp"], extra_hosts=["a=192.0.2.1", "b:192.0.2.2"]),
    one(extra_hosts={"a": "192.0.2.1"}, gpus="all", post_start=[{"command": "true"}]),
    one(build={"context": "."}, image=None),
    one(environment={"PRICE": "5$$", "SHELL": "$$HOME and $${NAME}", "N": 1, "EMPTY": "", "ON": True}),
    one(healthcheck={"test": "test $$(id -u) = 0"}),
    one(depends_on={"b": {"condition": "service_healthy"}}),
    one(secrets=None, depends_on=None, deploy=None, ports=None, volumes=None, labels=None),
    one(x_coffre={"adopt": {"reload": "SIGUSR1"}}),
    one(x_coffre=None),
    top(secrets={"key": None, "other": {"external": True}, "third": {}}),
    top(configs={"c": {"content": "text"}}),
    top(x_note={"any": "thing"}, version="3.9", networks=None),
]


@pytest.mark.parametrize("data", TAKEN, ids=[f"{number}" for number in range(len(TAKEN))])
def test_takes_what_is_right(data: Any) -> None:
    read(data)


def test_says_everything_at_once(data: dict[str, Any]) -> None:
    data["name"] = "shop"
    data["services"]["web"].update(container_name="web", env_file=".env")
    data["services"]["db"]["depends_on"] = ["gone"]
    assert len(refused(data)) == 4


@pytest.mark.parametrize(
    ("after", "order"),
    [
        ({}, ["a", "b", "c", "d"]),
        ({"a": ["d"]}, ["b", "c", "d", "a"]),
        ({"a": ["b"], "b": ["c"], "c": ["d"]}, ["d", "c", "b", "a"]),
        ({"a": {"c": {"condition": "service_started"}}, "b": ["a"]}, ["c", "a", "b", "d"]),
    ],
)
def test_services_come_up_behind_what_they_depend_on_else_as_in_the_file(after: Any, order: list[str]) -> None:
    services = {name: {"image": "x", "depends_on": after.get(name)} for name in "abcd"}
    assert list(read({"services": services}).services) == order


def test_a_circle_is_told_with_its_services() -> None:
    services = {name: {"image": "x", "depends_on": after} for name, after in (("a", ["b"]), ("b", ["a"]), ("c", []))}
    problems: list[str] = []
    file = compose_file.parse({"services": services}, problems)
    assert problems == ["the services a, b depend on each other in a circle"]
    assert set(file.services) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("keys", "adopt", "signal"),
    [
        ({}, "restart", ""),
        ({"deploy": {"update_config": {"order": "stop-first"}}}, "restart", ""),
        ({"deploy": START_FIRST}, "start_first", ""),
        ({"x_coffre": {"adopt": "reload"}}, "reload", "SIGHUP"),
        ({"x_coffre": {"adopt": {"reload": "SIGUSR2"}}}, "reload", "SIGUSR2"),
        ({"x_coffre": {"proxy": "haproxy"}}, "reload", ""),
        ({"x_coffre": {"proxy": {"haproxy": {}}}}, "reload", ""),
        ({"x_coffre": {"adopt": "reload"}, "deploy": START_FIRST}, "reload", "SIGHUP"),
    ],
)
def test_how_a_service_adopts(keys: dict[str, Any], adopt: str, signal: str) -> None:
    found = entry(**keys)
    assert (found.adopt, found.signal) == (adopt, signal)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("60611:60612", (60611, 60612)),
        ("0:0", (0, 0)),
        ("app", None),
        ("60611", None),
        (60611, None),
        ("60611:app", None),
        (None, None),
    ],
)
def test_whose_the_files_are_is_said_in_numbers(user: Any, expected: tuple[int, int] | None) -> None:
    assert entry(user=user).user == expected


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ("8443:443", [("", 8443)]),
        ("8443:443/tcp", [("", 8443)]),
        ("127.0.0.1:8443:443", [("127.0.0.1", 8443)]),
        ("[::1]:8443:443", [("::1", 8443)]),
        ({"target": 443, "published": "8443"}, [("", 8443)]),
        ({"target": 443, "published": 8443, "host_ip": "::1", "protocol": "tcp"}, [("::1", 8443)]),
        ({"target": 53, "published": 53, "protocol": "udp"}, []),
        ("53:53/udp", []),
        ("443", []),
        (443, []),
        ("127.0.0.1::443", []),
        ("440-442:443", []),  # from a range for one port the engine chooses
        ({"target": 443, "published": "440-442"}, []),
        ("440-442", []),
        ("440-442:540-542", [("", 440), ("", 441), ("", 442)]),
        ("127.0.0.1:440-441:440-441/tcp", [("127.0.0.1", 440), ("127.0.0.1", 441)]),
        ("440-441:440-441/udp", []),
        ({"target": 443}, []),
    ],
)
def test_which_ports_of_the_host_it_wants(port: Any, expected: list[tuple[str, int]]) -> None:
    file = read(one(ports=[port]))
    assert file.services["a"].published == compose_file.published(file) == expected


@pytest.mark.parametrize(
    ("keys", "mib"),
    [
        ({}, 0),
        ({"mem_limit": "128m"}, 128),
        ({"mem_limit": "1G"}, 1024),
        ({"mem_limit": "512MB"}, 512),
        ({"mem_limit": "0.5g"}, 512),
        ({"mem_limit": 1 << 20}, 1),
        ({"deploy": {"resources": {"limits": {"memory": "64M"}}}}, 64),
        ({"mem_limit": "128m", "deploy": {"replicas": 3}}, 384),
    ],
)
def test_how_much_memory_it_wants(keys: dict[str, Any], mib: int) -> None:
    assert compose_file.memory(read(one(**keys))) == mib << 20


@pytest.mark.parametrize(
    ("ready", "words"),
    [
        ("probe --url '/a b'", ("probe", "--url", "/a b")),
        (["probe", "/a b", 7], ("probe", "/a b", "7")),
        (None, ()),
        ("", ()),
    ],
)
def test_a_readiness_command_is_a_text_or_a_list(ready: Any, words: tuple[str, ...]) -> None:
    assert entry(x_coffre={"ready": ready}).ready == words


def test_a_service_lists_its_secrets_in_the_short_and_the_long_syntax() -> None:
    listed = ["a", {"source": "b"}, {"source": "c", "target": "d"}, {"source": "e", "target": "/run/secrets/f"}]
    assert entry(secrets=listed).listed == (("a", "a"), ("b", "b"), ("c", "d"), ("e", "f"))


def test_what_compose_ignores_is_a_warning() -> None:
    deploy = {
        "mode": "global",
        "placement": {},
        "update_config": {"order": "start-first", "parallelism": 2},
        "replicas": 2,
    }
    assert read(one(deploy=deploy)).warnings == (
        "service a: Compose ignores deploy.mode",
        "service a: Compose ignores deploy.placement",
        "service a: Compose ignores deploy.update_config.parallelism",
    )


class TestWhatIsRun:
    def test_each_service_sees_its_own_secrets_only(self, data: dict[str, Any]) -> None:
        stack = run(data)
        seen = {
            name: {each["target"]: stack["secrets"][each["source"]]["file"] for each in service.get("secrets", [])}
            for name, service in stack["services"].items()
        }
        folder = "/run/coffre/shop/web/a1"
        assert seen == {
            "db": {},
            "web": {
                "api-key": f"{folder}/api-key",
                EARLIER: f"{folder}/{EARLIER}",
                "settings.conf": f"{folder}/db.conf",
            },
            "proxy": {},
        }
        assert "host" not in json.dumps(stack["secrets"])
        assert "admin-password" not in json.dumps(stack)

    def test_one_that_reloads_sees_the_folder_of_its_bundles(self, data: dict[str, Any]) -> None:
        proxy = run(data)["services"]["proxy"]
        assert proxy["volumes"] == [
            "data:/srv:ro",
            {
                "type": "bind",
                "source": "/run/coffre/shop/proxy",
                "target": "/run/secrets",
                "read_only": True,
                "bind": {"create_host_path": False},
            },
        ]
        assert "secrets" not in proxy
        assert "coffre.bundle" not in proxy["labels"]  # a new one is no reason for a new container

    def test_labels_say_what_a_rollout_has_to_know_beside_the_services_own(self, data: dict[str, Any]) -> None:
        services = run(data)["services"]
        assert services["web"]["labels"] == {
            "team": "shop",
            "coffre.adopt": "start_first",
            "coffre.ready": "probe --url '/a b'",
            "coffre.bundle": "a1",
        }
        assert services["db"]["labels"] == {"coffre.adopt": "restart"}
        data["services"]["db"]["labels"] = ["team=shop", "flag"]
        assert run(data)["services"]["db"]["labels"] == {"team": "shop", "flag": "", "coffre.adopt": "restart"}

    def test_names_that_begin_alike_are_kept_apart(self, data: dict[str, Any]) -> None:
        data["services"]["web-api"] = {"image": "x", "user": "1:1", "secrets": ["key"]}
        other: Bundle = {"bundle": "d4", "path": "/run/coffre/shop/web-api/d4", "files": ["key"]}
        stack = run(data, BUNDLES | {"web-api": other})
        sources = {each["target"]: each["source"] for each in stack["services"]["web"]["secrets"]}
        assert stack["secrets"][sources["api-key"]]["file"] == "/run/coffre/shop/web/a1/api-key"
        (source,) = (each["source"] for each in stack["services"]["web-api"]["secrets"])
        assert stack["secrets"][source]["file"] == "/run/coffre/shop/web-api/d4/key"

    def test_a_changed_bundle_changes_exactly_its_service(self, data: dict[str, Any]) -> None:
        new = {**BUNDLES["web"], "bundle": "z9", "path": "/run/coffre/shop/web/z9"}
        before, after = run(data)["services"], run(data, BUNDLES | {"web": new})["services"]
        assert [name for name in before if before[name] != after[name]] == ["web"]

    def test_the_order_of_the_file_the_build_and_coffres_own_keys_are_left_out(self, data: dict[str, Any]) -> None:
        data["x-note"] = {"any": "thing"}
        data["secrets"] = {"api-key": {"external": True}}
        stack = run(data)
        assert set(stack) == {"name", "services", "networks", "volumes", "secrets"}
        assert stack["name"] == "shop"
        for service in stack["services"].values():
            assert not {"build", "depends_on", "x-coffre", "deploy"} & set(service)
        assert "api-key" not in stack["secrets"]

    def test_an_image_of_the_stacks_own_stands_over_the_files(self, data: dict[str, Any]) -> None:
        services = run(data, web="shop/web:0a1b")["services"]
        assert {name: service["image"] for name, service in services.items()} == {
            "web": "shop/web:0a1b",
            "db": "postgres:18",
            "proxy": "haproxy:3",
        }

    def test_what_a_shim_gives_stands_over_a_services_own_keys(self, data: dict[str, Any]) -> None:
        def shim(entry: compose_file.Entry) -> dict[str, Any]:
            return {"entrypoint": ["shim"]} if entry.name == "web" else {}

        data["services"]["web"]["entrypoint"] = ["own"]
        services = compose_file.run_file("shop", read(data), BUNDLES, {}, shim)["services"]
        assert services["web"]["entrypoint"] == ["shim"]
        assert "entrypoint" not in services["db"]

    def test_a_dollar_stays_escaped(self, data: dict[str, Any]) -> None:
        data["services"]["db"]["command"] = "echo $$HOME"
        assert run(data)["services"]["db"]["command"] == "echo $$HOME"

    def test_the_users_file_is_left_as_it_was(self, data: dict[str, Any]) -> None:
        run(data)["services"]["db"]["cap_drop"].append("more")
        assert data == FILE
        assert compose_file.HARDENED["cap_drop"] == ["ALL"]


class TestHardening:
    def test_fills_in_what_a_service_does_not_say(self, data: dict[str, Any]) -> None:
        web = run(data)["services"]["web"]
        assert compose_file.HARDENED.items() <= web.items()
        assert web["memswap_limit"] == web["mem_limit"] == "128m"

    def test_is_only_for_those_who_ask(self, data: dict[str, Any]) -> None:
        for said in (None, {}, {"harden": False}):
            data["x-coffre"] = said
            for service in run(data)["services"].values():
                assert not (set(compose_file.HARDENED) | {"memswap_limit"}) & set(service) - {"read_only"}

    TAKEN_BACK: tuple[tuple[str, Any], ...] = (
        ("read_only", False),
        ("cap_drop", []),
        ("security_opt", []),
        ("ulimits", {"core": -1}),
        ("pids_limit", 4096),
        ("restart", "no"),
        ("logging", {"driver": "journald"}),
        ("memswap_limit", "1g"),
    )

    @pytest.mark.parametrize(("key", "value"), TAKEN_BACK, ids=[key for key, _ in TAKEN_BACK])
    def test_is_taken_back_by_the_standard_key(self, data: dict[str, Any], key: str, value: Any) -> None:
        data["services"]["web"][key] = value
        services = run(data)["services"]
        assert services["web"][key] == value
        untouched = set(compose_file.HARDENED) - {key}
        assert all(services["web"][each] == compose_file.HARDENED[each] for each in untouched)
        assert services["proxy"].get(key) == compose_file.HARDENED.get(key)

    def test_a_capability_that_an_image_needs_stands_beside(self, data: dict[str, Any]) -> None:
        db = run(data)["services"]["db"]
        assert (db["cap_drop"], db["cap_add"], db["read_only"]) == (["ALL"], ["CHOWN"], False)

    def test_no_limit_of_memory_means_none_of_swap(self, data: dict[str, Any]) -> None:
        assert "memswap_limit" not in run(data)["services"]["db"]

    def test_limits_may_stand_under_deploy(self, data: dict[str, Any]) -> None:
        limits = {"memory": "64M", "pids": 99}
        data["services"]["db"]["deploy"] = {"resources": {"limits": limits}, "restart_policy": {"condition": "any"}}
        db = run(data)["services"]["db"]
        assert db["deploy"] == data["services"]["db"]["deploy"]
        assert db["memswap_limit"] == "64M"
        assert "pids_limit" not in db  # Compose takes two limits of processes only where they are equal


@pytest.mark.skipif(shutil.which("docker") is None, reason="Compose is not installed here")
@pytest.mark.parametrize("harden", [True, False])
def test_compose_takes_what_is_run(data: dict[str, Any], harden: bool, tmp_path: Path) -> None:
    data["x-coffre"]["harden"] = harden
    data["services"]["db"].update(
        command="echo $$HOME",
        deploy={"resources": {"limits": {"memory": "64M", "pids": 99}}, "restart_policy": {"condition": "any"}},
        ports=["8000-8002:8000-8002", "127.0.0.1::80", "9000-9005:90"],
        labels=["a", "b=c=d"],
        environment=["A=", "B=c=d"],
        expose=["8000", "8001-8005/tcp"],
        extra_hosts=["a=192.0.2.1", "b:192.0.2.2"],
    )
    path = tmp_path / "compose.yml"
    path.write_text(json.dumps(run(data)))
    done = subprocess.run(
        ["docker", "compose", "-f", path, "config", "--format=json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["services"]
    assert found["db"]["command"] == ["echo", "$$HOME"]
    assert [each["target"] for each in found["web"]["secrets"]] == ["api-key", EARLIER, "settings.conf"]
    assert found["db"].get("memswap_limit") == (str(64 << 20) if harden else None)


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda service: service.update(read_only=False, cap_drop=[], security_opt=[], ulimits={}, restart="no"),
    lambda service: service.update(pids_limit=-1, logging={"driver": "none"}, memswap_limit=-1),
    lambda service: service.update(deploy={"resources": {"limits": {"pids": 5}}}),
]


@pytest.mark.skipif(shutil.which("docker") is None, reason="Compose is not installed here")
@pytest.mark.parametrize("change", CHANGES, ids=["rights", "limits", "deploy"])
def test_compose_takes_what_was_taken_back(
    data: dict[str, Any], change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    change(data["services"]["db"])
    path = tmp_path / "compose.yml"
    path.write_text(json.dumps(run(data)))
    done = subprocess.run(
        ["docker", "compose", "-f", path, "config", "-q"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
