"""Our alerts and dashboard, and a real Prometheus over a real node_exporter that has loaded the alerts."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "monitoring" / "alerts.yml"
DASHBOARD = ROOT / "monitoring" / "dashboard.json"
SECONDS = 30.0  # that both have to start, read and judge
CONFIGURATION = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [alerts.yml]
scrape_configs: [{job_name: node, static_configs: [{targets: ["127.0.0.1:%d"]}]}]
"""


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a test where Debian's packages are not installed; in CI they are, or it fails."""
    missing = [each for each in programs if not shutil.which(each)]
    reason = f"{', '.join(missing)} not installed: see Debian's packages prometheus and prometheus-node-exporter"
    return pytest.mark.skipif(bool(missing) and not os.environ.get("CI"), reason=reason)


def expressions() -> list[str]:
    """What the dashboard asks Prometheus, for every environment, host and stack, over the last hour."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [each["expr"] for each in board["annotations"]["list"]]
    return [re.sub(r"\$(env|host|stack)\b", ".*", each).replace("$__range", "1h") for each in asked]


class Prometheus:
    """A Prometheus that listens on a port of the loopback address."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **words: str) -> Any:
        """The data of an answer of its API. Raises OSError where there is none."""
        asking = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with asking.open(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=5) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        """The samples that an expression has now."""
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def firing(self) -> set[tuple[str, str, str]]:
        """(alert, host, secret or check) of each alert that fires."""
        alerts = [each["labels"] for each in self.ask("alerts")["alerts"] if each["state"] == "firing"]
        return {(each["alertname"], each.get("host", ""), each.get("secret", each.get("check", ""))) for each in alerts}

    def until_firing(self, wanted: set[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        """What fires as soon as it is what is wanted, or what fires in the end."""
        deadline = time.monotonic() + SECONDS
        while True:
            with suppress(OSError):
                if (found := self.firing()) == wanted or time.monotonic() > deadline:
                    return found
            assert time.monotonic() < deadline, f"Prometheus at {self.url} gives no answer"
            time.sleep(0.2)


@contextmanager
def watching(folder: Path, metrics: Mapping[str, str]) -> Iterator[Prometheus]:
    """Both programs over some files of metrics, in a folder of their own. No alert waits, as `for` says it should."""
    (read := folder / "read").mkdir()
    for name, text in metrics.items():
        (read / name).write_text(text, encoding="utf-8")
    exporter, port = _free_port(), _free_port()
    hasty = re.sub(r"^( +for: ).*$", r"\g<1>0s", ALERTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (folder / "alerts.yml").write_text(hasty, encoding="utf-8")
    (folder / "prometheus.yml").write_text(CONFIGURATION % exporter, encoding="utf-8")
    with ExitStack() as stack:
        for name, *arguments in (
            [
                "prometheus-node-exporter",
                f"--web.listen-address=127.0.0.1:{exporter}",
                "--collector.disable-defaults",
                "--collector.textfile",
                f"--collector.textfile.directory={read}",
            ],
            [
                "prometheus",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
            ],
        ):
            stack.enter_context(_running(folder / f"{name}.log", name, *arguments))
        yield Prometheus(port)


@contextmanager
def _running(log: Path, *command: str) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
