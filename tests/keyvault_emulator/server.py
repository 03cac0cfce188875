"""The two servers of the emulator: HTTPS for the vaults, plain HTTP beside them."""

from __future__ import annotations

import io
import os
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from unittest import mock

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

from . import certificates, login, outside, surface
from .arm import surface as arm
from .control import Control
from .outside import IDENTITY_HEADER
from .world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DOMAIN = "vault.azure.net"
OTHERS = (login.HOST, arm.HOST)


class Handler(WSGIRequestHandler):
    """Answers on a connection that stays open, in one write; cuts it where a fault says so."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def run_wsgi(self) -> None:
        """Werkzeug's own closes every connection."""
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0)))
        cuts: list[str] = []
        environ["emulator.cuts"] = cuts
        chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        body = b"".join(chunks)
        if "reset" in cuts:
            # Lingering for no time at all makes the kernel send a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            raise ConnectionResetError
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if "half" in cuts else body)
        if "half" in cuts:
            self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:
        """Stay silent: the counters tell what was asked."""


class Server(ThreadedWSGIServer):
    """One thread for each connection, in which the TLS handshake happens too."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: str, port: int, app: WSGIApplication, tls: ssl.SSLContext | None, opened: Callable[[], None]
    ):
        super().__init__(address, port, app, handler=Handler)
        self.ssl_context = tls
        self.opened = opened

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection that was accepted; its handshake must not hold up the others."""
        connection, peer = super().get_request()
        self.opened()
        if isinstance(self.ssl_context, ssl.SSLContext):
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, peer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away, or does not trust the certificate, is no error of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@dataclass(frozen=True)
class Emulator:
    """A running emulator. `ca`: the certificate to trust; `port`: the vaults'; `outside`: the URL of what stands
    beside them, for instance the control API, whose client is `control`."""

    ca: Path
    address: str
    port: int
    outside: str
    control: Control
    world: World

    def url(self, vault: str) -> str:
        """The URL of a vault, for a process to which its name resolves by a hosts entry."""
        return f"https://{vault}.{DOMAIN}" + ("" if self.port == 443 else f":{self.port}")

    def environment(self) -> dict[str, str]:
        """The variables that make azure-identity find the managed identity here, as in App Service."""
        return {"IDENTITY_ENDPOINT": f"{self.outside}/msi/token", "IDENTITY_HEADER": IDENTITY_HEADER}

    @contextmanager
    def resolving(self) -> Iterator[None]:
        """Let https://NAME.vault.azure.net, the login and Resource Manager lead to the emulator in this process,
        whatever its port.

        Only vaults that there are resolve, as in Azure.
        """
        real = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            if not isinstance(name, str) or not (name in OTHERS or name.endswith(f".{DOMAIN}")):
                return real(host, port, *args, **kwargs)
            if name not in OTHERS and name.removesuffix(f".{DOMAIN}") not in self.world.vaults:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return real(self.address, self.port if port == 443 else port, *args, **kwargs)

        with mock.patch("socket.getaddrinfo", getaddrinfo):
            yield


@contextmanager
def start(
    folder: Path, vaults: Sequence[str] = ("coffre",), address: str = "127.0.0.1", port: int = 0, outside_port: int = 0
) -> Iterator[Emulator]:
    """An emulator in threads of this process until the context ends; ports 0 are chosen by the system.

    `folder` gets the certificates; values of secrets are kept in memory only.
    """
    world = World()
    world.populate(vaults)
    ca, certificate = certificates.ensure(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    def opened() -> None:
        world.transient_errors.count("connections")

    vault, others = surface.create(world), {login.HOST: login.create(world), arm.HOST: arm.create(world)}

    def by_host(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = others.get(environ.get("HTTP_HOST", "").partition(":")[0], vault)
        return app(environ, start_response)

    servers = [
        Server(address, port, by_host, tls, opened),
        Server(address, outside_port, outside.create(world), None, lambda: None),
    ]
    for server in servers:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    near = "127.0.0.1" if ip_address(address).is_unspecified else address
    beside = f"http://{near}:{servers[1].server_port}"
    try:
        yield Emulator(ca, near, servers[0].server_port, beside, Control(beside), world)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
