"""Routes as data: what they may say, what is told of those that may not be, and the haproxy.cfg that says them."""

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from demo import services as demo

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.rollout import proxies
from ansible_collections.coffre.stack.plugins.module_utils.rollout.proxies.haproxy.proxy import HAProxy
from ansible_collections.coffre.stack.plugins.module_utils.rollout.proxies.none import NoProxy

URL = "https://shop.test:8443"
SETTINGS = {"public_url": URL, "certificate": "shop-tls"}


def shop(web: Any = None, files: Any = None, settings: Any = SETTINGS, **more: Any) -> dict[str, dict[str, Any]]:
    """A stack of two services and a proxy, with these routes."""
    routes = {"web": {"port": 8000} if web is None else web, "files": files}
    services: dict[str, dict[str, Any]] = {
        name: {"x-coffre": {"route": route}} for name, route in routes.items() if route is not None
    }
    services["proxy"] = {"secrets": ["shop-tls"], "x-coffre": {"proxy": {"haproxy": settings}}}
    return deepcopy(services) | more


def lines(services: Mapping[str, Any]) -> dict[str, list[str]]:
    """The lines of the haproxy.cfg, by section (`frontend public_`), without comments."""
    assert proxies.problems(services) == []
    sections: dict[str, list[str]] = {}
    for line in proxies.files(services)["haproxy.cfg"].splitlines():
        if re.match(r"[a-z]", line):
            current = sections.setdefault(" ".join(line.split()[:2]), [])
        elif line.strip() and not line.strip().startswith("#"):
            current.append(line.strip())
    return sections


def chosen(section: list[str]) -> list[str]:
    """Which routes are chosen, when."""
    start = "http-request set-var(txn.route) "
    return [line.removeprefix(start) for line in section if line.startswith(start)]


def test_a_stack_without_a_proxy_has_nothing_of_one() -> None:
    services: dict[str, Any] = {"web": {}, "db": {"x-coffre": {"ready": "true"}}, "odd": {"x-coffre": None}}
    assert proxies.service(services) == ""
    assert proxies.files(services) == {}
    assert proxies.problems(services) == []


def test_none_waits_for_nobody() -> None:
    none = proxies.of(None)
    assert isinstance(none, NoProxy)
    none.hold(frozenset({"10.0.0.1"}), frozenset())
    none.drain(frozenset({"10.0.0.1"}))
    none.release(frozenset())
    assert none.switch(frozenset(), frozenset(), 9.0) == none.reload() == ""


def test_who_runs_is_asked() -> None:
    container: Any = object()
    assert proxies.of(container) == HAProxy(container)
    assert proxies.service(shop()) == "proxy"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no mapping": (shop("/"), "web should have a mapping as x-coffre.route"),
    "no port": (shop({"path": "/"}), "web lacks `port` in x-coffre.route"),
    "a port that is none": (
        shop({"port": 70000}),
        "web should have a whole number from 1 to 65535 as x-coffre.route.port",
    ),
    "a port that is a service": (shop({"port": "http"}), "whole number from 1 to 65535 as x-coffre.route.port"),
    "unknown": (
        shop({"port": 1, "hosts": "a.test"}),
        "web has an unknown key `hosts` in x-coffre.route: use some of host",
    ),
    "a path that climbs": (shop({"port": 1, "path": "/a/../b"}), "a path such as /shop or /shop/"),
    "a path that is encoded": (shop({"port": 1, "path": "/a%2f"}), "a path such as /shop or /shop/"),
    "a path of two lines": (shop({"port": 1, "path": "/a\n"}), "a path such as /shop or /shop/"),
    "a path with a word more": (shop({"port": 1, "path": "/a /b"}), "a path such as /shop or /shop/"),
    "a path with a star": (shop({"port": 1, "path": "/a/*/b"}), "a path such as /shop or /shop/"),
    "a path twice": (shop({"port": 1, "path": ["/a", "/a"]}), "a path such as /shop or /shop/"),
    "too many paths": (shop({"port": 1, "path": [f"/{each}" for each in range(21)]}), "a list of up to 20"),
    "a host with a port": (shop({"port": 1, "host": "a.test:1"}), "should have a DNS name in lower case"),
    "a host in capitals": (shop({"port": 1, "host": "A.test"}), "should have a DNS name in lower case"),
    "health without a path": (shop({"port": 1, "health": {"port": 1}}), "a mapping of path, port, each well-formed"),
    "health of a path": (shop({"port": 1, "health": "/health"}), "a mapping of path, port, each well-formed"),
    "connections": (shop({"port": 1, "connections": 0}), "as x-coffre.route.connections"),
    "websockets": (shop({"port": 1, "websockets": "yes"}), "should have true or false as x-coffre.route.websockets"),
    "deny": (shop({"port": 1, "deny": "admin"}), "as x-coffre.route.deny"),
    "a text": (shop({"port": 1, "deny_text": "a }"}), "as x-coffre.route.deny_text"),
    "limit": (shop({"port": 1, "limit": {"error": 1}}), "a mapping of errors, posts, to, each well-formed"),
    "inside": (shop({"port": 1, "inside": {80: "/"}}), "paths by port, the ports from 1024 to 65535"),
    "inside without paths": (shop({"port": 1, "inside": {8081: []}}), "paths by port"),
    "inside where it listens": (
        shop({"port": 1, "inside": {8443: "/"}}),
        "web has a route inside at port 8443, where the proxy has something else: use another",
    ),
    "no way": (shop({"port": 1, "path": []}), "web has a route without a path, outside and inside"),
    "a host, but no path": (
        shop({"port": 1, "path": [], "host": "a.test", "inside": {8081: "/"}}),
        "web has a route for a.test without a path",
    ),
    "a limit for nobody": (
        shop({"port": 1, "path": [], "limit": {"errors": 1}, "inside": {8081: "/"}}),
        "web has a limit for a route that nobody outside has",
    ),
    "overlap": (shop({"port": 1}, {"port": 2}), "files has the route / for every name, which web has already"),
    "overlap but for the slash": (
        shop({"port": 1, "path": "/a"}, {"port": 2, "path": "/a/"}),
        "files has the route /a/ for every name, which web has already",
    ),
    "overlap at a host": (
        shop({"port": 1, "host": ["a.test", "b.test"]}, {"port": 2, "host": "b.test"}),
        "files has the route / for b.test, which web has already",
    ),
    "overlap inside": (
        shop({"port": 1, "inside": {8081: "/a"}}, {"port": 2, "path": "/b", "inside": {8081: "/a"}}),
        "files has the route /a at port 8081, which web has already",
    ),
    "overlap of one service": (shop([{"port": 1}, {"port": 2}]), "web has the route / for every name, which web has"),
    "no route": (shop([]), "no service has an x-coffre.route, so that proxy has nowhere to send requests"),
    "no network in common": (
        shop(proxy={"networks": ["edge"], "secrets": ["shop-tls"], "x-coffre": {"proxy": {"haproxy": SETTINGS}}}),
        "web has a route, but no network in common with proxy: give it one under `networks`",
    ),
    "no proxy": (shop(proxy={}), "web has an x-coffre.route, but no service has an x-coffre.proxy"),
    "two": (shop(other={"x-coffre": {"proxy": {"haproxy": SETTINGS}}}), "proxy and other have an x-coffre.proxy each"),
    "another": (shop(proxy={"x-coffre": {"proxy": {"nginx": {}}}}), "proxy should have a mapping of haproxy"),
    "no settings": (shop(proxy={"x-coffre": {"proxy": "haproxy"}}), "proxy should have a mapping of haproxy"),
    "settings that lack": (shop(settings={}), "proxy lacks `certificate` in x-coffre.proxy.haproxy"),
    "settings of none": (shop(settings=None), "proxy should have a mapping as x-coffre.proxy.haproxy"),
    "a setting": (shop(settings=SETTINGS | {"hsts": 1}), "proxy has an unknown key `hsts` in x-coffre.proxy.haproxy"),
    "an address": (shop(settings=SETTINGS | {"public_url": "http://a"}), "as x-coffre.proxy.haproxy.public_url"),
    "an address's port": (shop(settings=SETTINGS | {"public_url": "https://a:70000"}), "haproxy.public_url"),
    "no certificate": (
        shop(settings=SETTINGS | {"certificate": ["shop-tls", "other"]}),
        "proxy should have other, its certificate, under `secrets`",
    ),
    "its own name": (
        shop(proxy={"secrets": ["shop-tls", {"source": "haproxy.cfg"}], "x-coffre": {"proxy": {"haproxy": SETTINGS}}}),
        "proxy has a secret haproxy.cfg, which is the name of its configuration",
    ),
}


@pytest.mark.parametrize(("services", "sentence"), WRONG.values(), ids=list(WRONG))
def test_what_cannot_be_is_told(services: dict[str, Any], sentence: str) -> None:
    assert [each for each in proxies.problems(services) if sentence in each]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(proxies.problems(shop({"path": "b", "deny": "c"}, {"port": 0}, settings={}))) == 6


def test_the_most_particular_route_is_chosen_last() -> None:
    web = {"host": ["shop.test", "www.shop.test"], "port": 8000}
    files = [
        {"host": "shop.test", "path": "/files/", "port": 9000},
        {"path": ["/api", "/api/v2/old"], "port": 9001},
        {"path": "/api/v2", "port": 9002},
    ]
    public = lines(shop(web, files))["frontend public_"]
    decoded, host = "{ var(txn.decoded) -m", "{ var(txn.host) -m str"
    assert chosen(public) == [
        f"str(files_2) if {decoded} str /api }}",
        f"str(files_2) if {decoded} beg /api/ }}",
        f"str(files_3) if {decoded} str /api/v2 }}",
        f"str(files_3) if {decoded} beg /api/v2/ }}",
        f"str(files_2) if {decoded} str /api/v2/old }}",
        f"str(files_2) if {decoded} beg /api/v2/old/ }}",
        f"str(web) if {host} shop.test www.shop.test }}",
        f"str(files) if {host} shop.test }} {decoded} beg /files/ }}",
    ]
    assert "http-request deny status 404 unless { var(txn.route) -m found }" in public


def test_a_route_for_everything_leaves_nothing_to_refuse() -> None:
    public = lines(shop())["frontend public_"]
    assert chosen(public) == ["str(web)"]
    assert not [line for line in public if " 404 " in line]


def test_each_host_keeps_its_name() -> None:
    config = lines(shop({"host": "www.shop.test", "port": 8000, "deny": "/internal"}))
    public, redirect = config["frontend public_"], config["frontend redirect_"]
    named = "{ var(txn.host) -m str www.shop.test }"
    assert f'http-request set-header X-Forwarded-Host "www.shop.test:8443" if {named}' in public
    assert f"http-request deny status 404 if {named} web:denied" in public
    assert redirect[-2:] == [
        'http-request redirect prefix "https://www.shop.test:8443" code 301 '
        "if { req.hdr(host),host_only,lower -m str www.shop.test }",
        f'http-request redirect prefix "{URL}" code 301',
    ]


def test_a_backend_says_what_its_route_says() -> None:
    web = {"port": 8000, "websockets": True, "health": {"path": "/h", "port": 9}, "connections": 7, "deny_text": "%00"}
    services = shop(web, {"path": "/files/", "port": 9000})
    services["web"]["deploy"] = {"replicas": 3}
    config = lines(services)
    assert config["backend web"] == [
        "http-request deny status 400 if { query -m sub %00 } or { req.body -m sub %00 }",
        "timeout tunnel 1h",
        "option httpchk",
        "http-check send meth GET uri /h ver HTTP/1.1 hdr Host web",
        "http-check expect status 200",
        "server-template web 6 web:8000 port 9 maxconn 7",
    ]
    assert config["backend files"] == ["server-template files 4 files:9000"]


def test_stars_are_segments_and_dots_are_dots() -> None:
    public = lines(shop({"port": 8000, "deny": ["/a.b/*/c", "/*/", "/d"]}))["frontend public_"]
    assert [line for line in public if line.startswith("acl")] == [
        "acl web:denied var(txn.decoded) -m str -i /d",
        "acl web:denied var(txn.decoded) -m beg -i /d/",
        r"acl web:denied var(txn.decoded) -m reg -i ^/a\.b/[^/]+/c(/|$) ^/[^/]+/",
    ]


@pytest.mark.parametrize(
    ("url", "authority", "port", "hsts"),
    [
        ("https://localhost:8443", "localhost:8443", 8443, 0),
        ("https://iam.example.com", "iam.example.com", 443, 31536000),
        ("https://[::1]:444", "[::1]:444", 444, 31536000),
    ],
)
def test_the_public_name_is_told_behind(url: str, authority: str, port: int, hsts: int) -> None:
    config = lines(demo(url=url))
    public = config["frontend public_"]
    assert f'http-request set-header X-Forwarded-Host "{authority}"' in public
    assert f'http-request set-header X-Forwarded-Port "{port}"' in public
    assert f'http-after-response set-header Strict-Transport-Security "max-age={hsts}"' in public
    assert config["frontend redirect_"][-1] == f'http-request redirect prefix "{url}" code 301'


def test_the_demos_console_is_a_matter_of_its_routes() -> None:
    here, decoded = "{ var(txn.route) -m str keycloak }", "var(txn.decoded) -m"
    closed, opened = (lines(demo(console=console))["frontend public_"] for console in (False, True))
    assert chosen(closed) == ["str(app)", *(f"str(keycloak) if {{ {decoded} beg {path} }}" for path in KEYCLOAKS)]
    assert set(chosen(opened)) - set(chosen(closed)) == {
        f"str(keycloak) if {{ {decoded} str /admin }}",
        f"str(keycloak) if {{ {decoded} beg /admin/ }}",
    }
    assert "http-request deny status 404 if keycloak:denied" in closed
    assert f"acl keycloak:denied {decoded} str -i /admin /realms/master" in closed
    assert f"acl keycloak:denied {decoded} beg -i /admin/ /realms/master/" in closed
    assert not [line for line in opened if "denied" in line]
    # What is denied is decided before the route is.
    assert closed.index("http-request deny status 404 if keycloak:denied") < closed.index(
        "http-request set-var(txn.route) str(app)"
    )
    assert f"http-request track-sc1 src table limits_keycloak if {here}" in closed
    assert f"acl keycloak:posts {decoded} reg ^/realms/[^/]+/login-actions/" in closed


KEYCLOAKS = ["/realms/", "/resources/"]


def test_the_demos_app_finds_its_realm_alone_inside() -> None:
    inside = lines(demo())["frontend inside_8081"]
    assert chosen(inside) == ["str(keycloak) if { var(txn.decoded) -m beg /realms/iam/ }"]
    assert inside[-2:] == [
        "http-request deny status 404 unless { var(txn.route) -m found }",
        "use_backend keycloak if { var(txn.route) -m str keycloak }",
    ]


def test_outsiders_cannot_take_the_connections_of_those_inside() -> None:
    most = {
        name: int(line.split()[1]) for name, all_ in lines(demo()).items() for line in all_ if "maxconn" in line[:7]
    }
    assert most.keys() == {"global", "frontend redirect_", "frontend public_"}
    assert most["frontend redirect_"] + most["frontend public_"] <= most["global"] - 100


@pytest.mark.parametrize("services", [demo(), demo(True), shop()], ids=["demo", "console", "shop"])
def test_nothing_is_longer_than_haproxy_reads(services: dict[str, Any]) -> None:
    """Its limits: MAX_LINE_ARGS 64 words and LINESIZE 2048 bytes, include/haproxy/defaults.h."""
    for section in lines(services).values():
        assert all(len(line.split()) < 64 and len(line) < 2048 for line in section)


def test_as_much_as_may_be_said_is_not_longer_than_haproxy_reads() -> None:
    many = [f"n{each}.shop.test" for each in range(20)]
    paths = [f"/p{each}" for each in range(20)]
    texts = [f"%{each}" for each in range(10, 30)]
    limit = {"errors": 1, "posts": 1, "to": paths}
    web = {"host": many, "path": paths, "port": 1, "deny": paths, "deny_text": texts, "limit": limit}
    test_nothing_is_longer_than_haproxy_reads(shop(web))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("0\n", ""),
        (
            "[NOTICE]   (1) : version\n[ALERT]    (1) : config : [f:9] : bad arg.\n[ALERT]    (1) : config : Fatal\n1",
            "bad arg",
        ),
        ("sh: haproxy: not found\n127\n", "haproxy: not found"),
        ("1\n", "it said nothing"),
    ],
)
def test_a_configuration_is_tried_before_it_is_run(monkeypatch: pytest.MonkeyPatch, said: str, sentence: str) -> None:
    asked: list[str] = []

    def call(command: list[str]) -> str:
        asked.extend(command)
        return said

    monkeypatch.setattr(compose, "call", call)
    found = proxies.refused("proxy:1", "60614:60614", Path("/run/coffre/demo/proxy/a1"))
    assert (
        (found == "") if not sentence else found.startswith("HAProxy refuses its configuration: ") and sentence in found
    )
    assert {"--network=none", "--user=60614:60614", "/run/coffre/demo/proxy/a1:/run/secrets/current:ro"} < set(asked)
