"""The courier's script: what it leaves of a bundle that HAProxy takes, and of one that it does not."""

from __future__ import annotations

import os
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines.swarm import courier

OLD, NEW = "0a1b2c3d4e5f", "1a1b2c3d4e5f"
TAKEN, REFUSED = "Success=1\n--\n", "Success=0\n--\n[ALERT] no\n"
PROGRAMS = {"haproxy": '! grep -q bad "$3"', "sleep": "exit 0"}


@dataclass
class Node:
    """A node's shared memory with what a courier has in its container; `heard` is what HAProxy was asked."""

    folder: Path
    heard: list[str] = field(default_factory=list)

    def carry(self, bundle: str, text: str = "good") -> int:
        """The exit code of a courier with a bundle."""
        secrets = self.folder / "secrets"
        secrets.mkdir(exist_ok=True)
        (secrets / "haproxy.cfg").write_text(text)
        served = self.folder / "served"
        served.unlink(missing_ok=True)
        words = [str(self.shared), bundle, "haproxy.cfg", str(served), str(secrets)]
        path = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(["/bin/sh", "-c", courier.SCRIPT, "courier", *words], env=path, check=False).returncode

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def served(self) -> bool:
        return (self.folder / "served").exists()

    @property
    def left(self) -> tuple[str, set[str]]:
        """What the link names, and all bundles that are there."""
        link = self.shared / "current"
        return (str(link.readlink()) if link.is_symlink() else ""), {
            each.name for each in self.shared.iterdir() if each.is_dir() and not each.is_symlink()
        }

    @contextmanager
    def haproxy(self, answer: str) -> Iterator[None]:
        """HAProxy's master, which answers a reload so."""
        heard = self.heard

        class Master(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                heard.append(self.rfile.read().decode())
                self.wfile.write(answer.encode())

        path = self.shared / "master.sock"
        path.unlink(missing_ok=True)
        with socketserver.UnixStreamServer(str(path), Master) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
            yield
            server.shutdown()


@pytest.fixture
def node() -> Iterator[Node]:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path: a socket's path must be short
        made = Node(Path(name))
        made.shared.mkdir()
        (made.folder / "bin").mkdir()
        for called, text in PROGRAMS.items():
            program = made.folder / "bin" / called
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        yield made


def test_a_proxy_that_does_not_run_yet_finds_its_files_when_it_starts(node: Node) -> None:
    assert (node.carry(OLD), node.served, node.left) == (0, True, (OLD, {OLD}))
    assert (node.shared / "current" / "haproxy.cfg").read_text() == "good"
    assert (node.shared / OLD / "haproxy.cfg").stat().st_mode & 0o077 == 0


def test_what_is_taken_is_all_that_stays(node: Node) -> None:
    node.carry(OLD)
    with node.haproxy(TAKEN):
        assert (node.carry(NEW), node.served, node.left) == (0, True, (NEW, {NEW}))
    assert node.heard == ["reload\n"]


@pytest.mark.parametrize("answer", [REFUSED, ""], ids=["it says so", "it says nothing"])
def test_what_a_reload_refuses_leaves_no_trace(node: Node, answer: str) -> None:
    node.carry(OLD)
    with node.haproxy(answer):
        assert (node.carry(NEW), node.served, node.left) == (1, False, (OLD, {OLD}))


def test_what_haproxy_would_refuse_is_not_even_asked_of_the_one_that_runs(node: Node) -> None:
    node.carry(OLD)
    with node.haproxy(TAKEN):
        assert (node.carry(NEW, "bad"), node.served, node.left) == (1, False, (OLD, {OLD}))
    assert node.heard == []


def test_what_is_refused_at_first_leaves_nothing_to_start_with(node: Node) -> None:
    with node.haproxy(REFUSED):
        assert (node.carry(OLD), node.left) == (1, ("", set()))


def test_the_courier_of_before_brings_its_bundle_again(node: Node) -> None:
    node.carry(OLD)
    with node.haproxy(TAKEN):
        node.carry(NEW)
        assert (node.carry(OLD), node.left) == (0, (OLD, {OLD}))
    with node.haproxy(REFUSED):
        assert (node.carry(OLD), node.left) == (1, (OLD, {OLD}))


def test_files_that_were_cut_short_count_for_nothing(node: Node) -> None:
    (node.shared / ".new").mkdir()
    (node.shared / ".new" / "half").touch()
    assert node.carry(OLD) == 0
    assert {each.name for each in (node.shared / OLD).iterdir()} == {"haproxy.cfg"}
