"""A stack to begin with: one service of one secret, which deploys as it stands."""

from __future__ import annotations

from typing import Any

from .propose import Proposal

# Tells how many bytes its secret has, so that one sees it arrive, and never which.
SERVER = """\
import http.server
import pathlib


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        length = len(pathlib.Path("/run/secrets/web-key").read_bytes())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"web-key has {length} bytes\\n".encode())


http.server.ThreadingHTTPServer(("", 8000), Page).serve_forever()
"""
PROBE = "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/', timeout=3)"
DOCKERFILE = """# The base is Debian, made from packages. With an image of a registry say FROM image, without ARG.
ARG BASE
FROM ${BASE}
RUN --mount=type=secret,id=ca \\
    apt-get -o Acquire::https::CAInfo=/run/secrets/ca update --quiet=2 && \\
    DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::https::CAInfo=/run/secrets/ca \\
      install --quiet=2 --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
COPY server.py /opt/web/
CMD ["python3", "-u", "/opt/web/server.py"]
"""


def begin(uid: int, port: int) -> Proposal:
    service: dict[str, Any] = {
        "build": {"context": "images/web", "additional_contexts": {"base": "../../images/base"}},
        "user": f"{uid}:{uid}",
        "secrets": ["web-key"],
        "ports": [f"127.0.0.1:{port}:8000"],
        "healthcheck": {"test": ["CMD", "python3", "-c", PROBE], "interval": "5s", "timeout": "8s", "retries": 3},
        "mem_limit": "128m",
    }
    secret = {
        "name": "web-key",
        "strategy": "replace",
        "generate": {"type": "random", "bytes": 32},
        "max_age_days": 90,
    }
    compose = {"x-coffre": {"harden": True}, "services": {"web": service}}
    return Proposal(
        compose, [secret], [], {}, [], {"images/web/Dockerfile": DOCKERFILE, "images/web/server.py": SERVER}
    )
