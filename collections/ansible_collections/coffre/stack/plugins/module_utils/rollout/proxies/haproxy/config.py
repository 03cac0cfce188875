"""haproxy.cfg, rendered from a stack's routes and from the settings of its proxy, `x-coffre.proxy.haproxy`.

It lies beside the certificates in the proxy's bundle, and names them relative to itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....settings import URL, Rule, number
from .. import routes
from ..routes import Route, Services

NAME = "haproxy.cfg"
WHERE = "x-coffre.proxy.haproxy"
TLS, CLEAR, PROBE = 8443, 8080, 8404  # where it listens in its container
MOST_CONNECTIONS = 2500  # of outsiders over TLS
YEAR = 31536000  # in seconds
CIPHERS = [
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
]
# Of these sections a name that could be a service's has a low line, which no service's has.
GENERAL = (
    r"""global
    log stdout format raw local0 info
    # Other files are named relative to this one, which is checked before its folder becomes the current one.
    default-path config
    # More than the frontends that outsiders reach take together: what is left is the stack's own, and the probe.
    # A connection takes 40 KiB before it has said anything, and a request under way 50: all of them fit into 256 MiB.
    maxconn 3000
    # Each reload runs a second worker beside the first, and both must fit into the container's limit of processes.
    thread-hard-limit 4
    # A reload lets the old worker finish its streams, but not for ever.
    hard-stop-after 30m
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers """
    + ":".join(CIPHERS)
    + r"""
    # The cookies and authorization requests of identity providers are long.
    tune.bufsize 32768

defaults common
    mode http
    log global
    option dontlognull
    # The query is left out: it carries authorization codes.
    log-format "%ci %HM %[var(txn.path)] %ST %B %TR/%Tw/%Tc/%Tr/%Ta %s %rc %tsc"
    timeout connect 2s
    # Until the TLS handshake is over nobody has said anything that deserves patience.
    timeout client-hs 5s
    timeout client 60s
    timeout server 60s
    timeout check 5s
    timeout queue 5s
    timeout http-request 10s
    timeout http-keep-alive 30s
    retries 3
    retry-on conn-failure empty-response response-timeout
    option redispatch 1
    # A connection that a service kept could be closed by it just as the next request comes, and a POST is sent once.
    option http-server-close
    option idle-close-on-response
    # One slow answer of a busy machine is no outage; who leaves answers 503 until it was turned away.
    default-server check inter 250ms fastinter 100ms fall 3 rise 1 resolvers docker init-addr none

# What outsiders and the stack send is judged by what its path means once it is decoded, as who gets it will read it.
defaults judged from common
    # A body arrives here, whole or as much as a buffer takes, before anybody behind spends a thread on it.
    option http-buffer-request
    http-request set-var(txn.path) path
    http-request set-var(txn.decoded) path,url_dec
    # What cannot be decoded, means another path, is encoded twice, or has control characters.
    http-request deny status 400 unless { var(txn.decoded) -m beg / }
    http-request deny status 400 if { var(txn.decoded) -m reg (^|/)\.\.?([/;]|$)|//|;|\\\\ }
    http-request deny status 400 if { var(txn.decoded) -m reg %[0-9A-Fa-f][0-9A-Fa-f]|[[:cntrl:]] }

resolvers docker
    nameserver engine 127.0.0.11:53
    accepted_payload_size 8192
    resolve_retries 3
    timeout resolve 500ms
    timeout retry 500ms
    hold valid 500ms
    hold nx 500ms
    hold obsolete 0s

# Over IPv6 all clients have one address, the bridge's: a limit per source must let many people through.
backend requests_of_source from common
    stick-table type ipv6 size 20k expire 2m store conn_cur

frontend probe_ from common
    bind 127.0.0.1:8404
    http-request set-log-level silent
    http-request return status 200
"""
)
REDIRECT = """\
frontend redirect_ from common
    bind :8080
    maxconn 300
    stick-table type ipv6 size 20k expire 2m store conn_cur
    tcp-request connection track-sc0 src
    tcp-request connection reject if { sc0_conn_cur gt 100 }
    http-request set-var(txn.path) path"""
CLAIMS = """\
    http-request del-header x-forwarded- -m beg
    http-request del-header forwarded"""
RETRIES = """\
    # Only what may safely happen twice is ever sent twice.
    http-request disable-l7-retry unless { method GET HEAD }"""


@dataclass(frozen=True)
class ProxySettings:
    """What `x-coffre.proxy.haproxy` says."""

    public_url: str
    certificates: tuple[str, ...]  # names of files of the bundle, each with a key
    connections: int  # of one source at a time
    requests: int  # of one source at a time

    @property
    def authority(self) -> str:
        return self.public_url.removeprefix("https://")

    @property
    def port(self) -> int:
        """Where outsiders reach it."""
        return int(self._url[2] or 443)

    @property
    def hsts_seconds(self) -> int:
        """A browser keeps HSTS for a name whatever the port: on localhost it would shut out other servers."""
        return 0 if self._url[1] == "localhost" else YEAR

    @property
    def _url(self) -> re.Match[str]:
        found = URL.fullmatch(self.public_url)
        assert found
        return found

    def of(self, host: str) -> str:
        """The authority of another host at the same port."""
        return host if self.port == 443 else f"{host}:{self.port}"


def _url(value: Any) -> str:
    fits = isinstance(value, str) and (found := URL.fullmatch(value)) and int(found[2] or 1) <= 65535
    return "" if fits else "https://NAME or https://NAME:PORT, in lower case and with nothing behind it,"


RULES: dict[str, Rule] = {
    "public_url": _url,
    "certificate": routes.texts(re.compile(r"[a-z][a-z0-9.-]{0,62}"), "the name of a secret or file of this service"),
    "connections": number(1, MOST_CONNECTIONS),
    "requests": number(1, MOST_CONNECTIONS),
}


def problems(services: Services, proxy: str, given: Any) -> list[str]:
    """What is wrong with the proxy's settings and the routes, in sentences."""
    found = [f"{proxy} {wrong}" for wrong in routes.wrongs(given, RULES, {"public_url", "certificate"}, WHERE)]
    if not found:
        has = routes.secrets(services[proxy])
        lacking = [name for name in routes.listed(given["certificate"]) if name not in has]
        found += [f"{proxy} should have {name}, its certificate, under `secrets`" for name in lacking]
        found += [f"{proxy} has a secret {NAME}, which is the name of its configuration"] * (NAME in has)
    return found + routes.problems(services, proxy, (TLS, CLEAR, PROBE))


def render(services: Services, given: Mapping[str, Any]) -> str:
    """The text of haproxy.cfg, for services and settings whose problems are none."""
    ways = routes.of(services)
    settings = ProxySettings(
        given["public_url"],
        tuple(routes.listed(given["certificate"])),
        int(given.get("connections", 600)),
        int(given.get("requests", 400)),
    )
    ports = sorted({port for way in ways for port in way.inside})
    sections = [
        GENERAL.rstrip(),
        *(table for way in ways for table in _table(way)),
        "\n".join([REDIRECT, *_redirects(settings, ways)]),
        "\n".join(_public(settings, [way for way in ways if way.paths])),
        *("\n".join(_inside(port, [way for way in ways if port in way.inside])) for port in ports),
        *("\n".join(_backend(way)) for way in ways),
    ]
    return "\n\n".join(sections) + "\n"


def _table(way: Route) -> Iterator[str]:
    if way.limit.errors or way.limit.posts:
        kept = "http_err_rate(30s),gpc0_rate(30s),gpc1_rate(30s)"
        yield f"backend limits_{way.name} from common\n    stick-table type ipv6 size 20k expire 2m store {kept}"


def _hosts(ways: Sequence[Route]) -> list[str]:
    return sorted({host for way in ways for host in way.hosts})


def _redirects(settings: ProxySettings, ways: Sequence[Route]) -> Iterator[str]:
    for host in _hosts(ways):
        named = f"{{ req.hdr(host),host_only,lower -m str {host} }}"
        yield f'    http-request redirect prefix "https://{settings.of(host)}" code 301 if {named}'
    yield f'    http-request redirect prefix "{settings.public_url}" code 301'


def _public(settings: ProxySettings, ways: Sequence[Route]) -> Iterator[str]:
    """What outsiders reach."""
    crt = " ".join(f"crt {name}" for name in settings.certificates)
    yield "frontend public_ from judged"
    yield f"    bind :{TLS} ssl {crt} alpn h2,http/1.1"
    yield f"    maxconn {MOST_CONNECTIONS}"
    yield "    # A connection of HTTP/2 has up to a hundred requests."
    yield "    stick-table type ipv6 size 20k expire 2m store conn_cur"
    yield "    tcp-request connection track-sc0 src"
    yield f"    tcp-request connection reject if {{ sc0_conn_cur gt {settings.connections} }}"
    yield "    tcp-request content track-sc2 src table requests_of_source if { method -m found }"
    yield f"    tcp-request content reject if {{ sc2_conn_cur gt {settings.requests} }}"
    yield from _forwarded(settings, _hosts(ways))
    yield RETRIES
    yield f'    http-after-response set-header Strict-Transport-Security "max-age={settings.hsts_seconds}"'
    yield "    http-after-response del-header server"
    for way in ways:
        yield from _denied(way)
    yield from _chosen([(_named(way), path, way) for way in ways for path in way.paths])
    for way in ways:
        yield from _limited(way)
    if any(way.limit.errors for way in ways):
        yield "    http-response sc-inc-gpc0(1) if { status 500 }"
    yield from _used(ways)


def _forwarded(settings: ProxySettings, hosts: Sequence[str]) -> Iterator[str]:
    yield "    # What the client claims of itself is dropped; the name is a public one, whatever the Host header says."
    yield CLAIMS
    yield "    http-request del-header x-real-ip"
    yield "    http-request set-header X-Forwarded-For %[src]"
    yield "    http-request set-header X-Forwarded-Proto https"
    yield f'    http-request set-header X-Forwarded-Host "{settings.authority}"'
    if hosts:
        yield "    http-request set-var(txn.host) req.hdr(host),host_only,lower"
    for host in hosts:
        named = f"{{ var(txn.host) -m str {host} }}"
        yield f'    http-request set-header X-Forwarded-Host "{settings.of(host)}" if {named}'
    yield f'    http-request set-header X-Forwarded-Port "{settings.port}"'


def _paths(name: str, paths: Sequence[str], flags: str = "") -> Iterator[str]:
    """An ACL, by this name, of what lies at these paths and beneath them; only beneath those that end with a slash."""
    plain = [path for path in paths if "*" not in path]
    beneath = [path if path.endswith("/") else f"{path}/" for path in plain]
    found = {
        "str": [path for path in plain if not path.endswith("/")],
        "beg": beneath,
        "reg": [_expression(path) for path in paths if "*" in path],
    }
    for way, values in found.items():
        if values:
            yield f"    acl {name} var(txn.decoded) -m {way}{flags} {' '.join(values)}"


def _expression(path: str) -> str:
    """Of a path with `*`, each a segment."""
    return "^" + path.replace(".", r"\.").replace("*", "[^/]+") + ("" if path.endswith("/") else "(/|$)")


def _named(way: Route) -> str:
    return f"{{ var(txn.host) -m str {' '.join(way.hosts)} }} " if way.hosts else ""


def _denied(way: Route) -> Iterator[str]:
    if way.deny:
        yield from _paths(f"{way.name}:denied", way.deny, " -i")
        yield f"    http-request deny status 404 if {_named(way)}{way.name}:denied"


def _chosen(claims: Sequence[tuple[str, str, Route]]) -> Iterator[str]:
    """Which route a request takes, of claims of (its hosts as a condition, path, route): of a route for its host before
    those for every host, and then that with the longest path."""
    yield "    # The last that fits."
    for named, path, way in sorted(claims, key=lambda claim: (bool(claim[0]), len(claim[1].rstrip("/")))):
        for fits in (f"{named}{each}".strip() for each in _fits(path)):
            yield f"    http-request set-var(txn.route) str({way.name})" + (f" if {fits}" if fits else "")
    if ("", "/") not in [claim[:2] for claim in claims]:
        yield "    http-request deny status 404 unless { var(txn.route) -m found }"


def _fits(path: str) -> list[str]:
    """Conditions, of which one is that a request's path lies there."""
    if path == "/":
        return [""]
    exact = [] if path.endswith("/") else [f"{{ var(txn.decoded) -m str {path} }}"]
    return [*exact, f"{{ var(txn.decoded) -m beg {path.rstrip('/')}/ }}"]


def _limited(way: Route) -> Iterator[str]:
    """What a source may cost: a wrong secret takes a row or half a second of a processor, a fault a page of a log."""
    here, limit = f"{{ var(txn.route) -m str {way.name} }}", way.limit
    if limit.errors or limit.posts:
        yield f"    http-request track-sc1 src table limits_{way.name} if {here}"
    if limit.errors:
        rates = [f"{here} {{ {rate} gt {limit.errors} }}" for rate in ("sc1_http_err_rate", "sc1_gpc0_rate")]
        yield f"    http-request deny status 429 if {' or '.join(rates)}"
    if limit.posts:
        yield from _paths(f"{way.name}:posts", limit.to)
        counts = f"METH_POST {here} {way.name}:posts"
        yield f"    http-request sc-inc-gpc1(1) if {counts}"
        yield f"    http-request deny status 429 if {counts} {{ sc1_gpc1_rate gt {limit.posts} }}"


def _used(ways: Sequence[Route]) -> Iterator[str]:
    yield from (f"    use_backend {way.name} if {{ var(txn.route) -m str {way.name} }}" for way in ways)


def _inside(port: int, ways: Sequence[Route]) -> Iterator[str]:
    """For the stack's own: they reach a container that is ready, where the name would give them one that starts."""
    yield f"frontend inside_{port} from judged"
    yield f"    bind :{port}"
    yield CLAIMS
    yield RETRIES
    yield from _chosen([("", path, way) for way in ways for path in way.inside[port]])
    yield from _used(ways)


def _backend(way: Route) -> Iterator[str]:
    yield f"backend {way.name} from common"
    if way.deny_text:
        found = " or ".join(f"{{ {where} -m sub {' '.join(way.deny_text)} }}" for where in ("query", "req.body"))
        yield f"    http-request deny status 400 if {found}"
    if way.websockets:
        yield "    # Once a connection is a websocket it may be silent for long."
        yield "    timeout tunnel 1h"
    if way.health:
        yield "    option httpchk"
        yield f"    http-check send meth GET uri {way.health} ver HTTP/1.1 hdr Host {way.service}"
        yield "    http-check expect status 200"
    port = f" port {way.health_port}" if way.health_port != way.port else ""
    most = f" maxconn {way.connections}" if way.connections else ""
    yield f"    server-template {way.name} {way.containers} {way.service}:{way.port}{port}{most}"
