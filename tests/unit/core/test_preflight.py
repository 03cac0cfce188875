from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import preflight
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from tests.unit import described

CANARY = "canary-2d44"
MEMINFO = "MemTotal:  4096000 kB\nMemAvailable:  1024000 kB\n"


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What docker answers, by its first argument; nothing where there is no engine."""
    answers: dict[str, str] = {}
    monkeypatch.setattr(preflight, "_docker", lambda *arguments: answers.get(arguments[0]))
    return answers


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, docker: dict[str, str]) -> None:  # noqa: ARG001
    """A host that is fit, with no stack on it."""
    monkeypatch.setattr(preflight, "distribution", list)
    monkeypatch.setattr(preflight, "engine", list)
    monkeypatch.setattr(tmpfs, "exposure", lambda _: None)
    monkeypatch.setattr(
        preflight, "StackPaths", partial(StackPaths, run_root=tmp_path / "run", lib_root=tmp_path / "lib")
    )


def request(data: Any, **changes: Any) -> preflight.Request:
    catalogue, compose = described.split(data)
    for name, keys in changes.pop("services", {}).items():
        compose["services"][name].update(keys)
    given = {"stack": "demo", "catalogue": catalogue, "compose_file": compose, "source": "demo", "host": "here"}
    return preflight.Request(**given | changes)


def at(addresses: list[str], *numbers: int) -> list[tuple[str, int]]:
    """These ports at each of these addresses; without one, at all."""
    return [(address, number) for address in addresses or [""] for number in numbers]


@pytest.mark.usefixtures("host")
def test_a_fit_host(data: dict[str, Any]) -> None:
    assert preflight.check(request(data)) == []


@pytest.mark.usefixtures("host")
def test_every_problem_at_once(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data["services"][0]["uid"] = os.getuid() or 1
    monkeypatch.setattr(preflight, "distribution", lambda: ["The host runs X: use Debian 12 or Debian 13."])
    monkeypatch.setattr(tmpfs, "exposure", lambda _: "The secrets could be swapped")
    wrong = request(
        data,
        source="file",
        directory=tmp_path / "none",
        services={"app": {"mem_limit": "1024g", "deploy": {"replicas": 64}}, "db-client": {"ports": ["70000:80"]}},
        stack="Bad Name",
        require_noswap=True,
        images={"problems": ["The service app has no Dockerfile: restore it.", "The service web has build.ssh."]},
    )
    with pytest.raises(CoffreError) as caught:
        preflight.check(wrong)
    text = str(caught.value)
    for sentence in (
        "The stack name 'Bad Name' is ill-formed",
        "belongs to the login",
        f"The operator's directory {tmp_path / 'none'} is missing",
        "The host runs X",
        "the stack needs 67108864 MiB",
        "70000 is no port",
        "The secrets could be swapped: switch it off",
        "The service app has no Dockerfile: restore it. The service web has build.ssh.",
    ):
        assert sentence in text
    assert text.endswith("Nothing was changed on here.")


@pytest.mark.usefixtures("host")
def test_a_wrong_catalogue_is_told_beside_the_host(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    data["secrets"][0]["consumers"] = []
    monkeypatch.setattr(preflight, "distribution", lambda: ["The host runs X: use Debian 12 or Debian 13."])
    with pytest.raises(CoffreError, match=r"api-key is nobody's.*The host runs X.*Nothing was changed on here\.$"):
        preflight.check(request(data))


@pytest.mark.usefixtures("host")
def test_faults_of_a_stack_of_every_kind_are_told_at_once(
    data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data["secrets"][3]["settings"] = {"service": "nobody"}
    data["services"][1]["files"][0]["template"] = "password=@{db-passwort}"
    published = ("other", "other-web-1", "0.0.0.0", 8000, 8003)  # noqa: S104
    monkeypatch.setattr(preflight, "_publishing", lambda: iter([published]))
    wrong = request(
        data,
        services={"app": {"ports": ["8003-8005:83-85"], "environment": ["MODE"]}, "proxy": {"mem_limit": "1024g"}},
        images={"problems": ["The service app has no Dockerfile: restore it."]},
    )
    del wrong.compose_file["services"]["nobody"]
    with pytest.raises(CoffreError) as caught:
        preflight.check(wrong)
    for sentence in (
        "nobody",
        "db-passwort",
        "service app: environment gives MODE no value",
        "Port 8003 is in use by the container other-web-1",
        "the stack needs 1048576 MiB",
        "The service app has no Dockerfile: restore it.",
    ):
        assert str(caught.value).count(sentence) == 1


@pytest.mark.usefixtures("host")
def test_a_compose_file_that_cannot_be_honoured_is_told(data: dict[str, Any]) -> None:
    with pytest.raises(CoffreError, match=r"^The Compose file cannot be honoured: service app says container_name: "):
        preflight.check(request(data, services={"app": {"container_name": "app"}}))


@pytest.mark.usefixtures("host")
def test_what_compose_would_ignore_is_a_warning(data: dict[str, Any]) -> None:
    ignored = {"deploy": {"placement": {"constraints": ["node.role==manager"]}}}
    assert preflight.check(request(data, services={"app": ignored})) == [
        "service app: Compose ignores deploy.placement."
    ]


@pytest.mark.usefixtures("host")
def test_swap_is_a_warning_unless_forbidden(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmpfs, "exposure", lambda _: "The secrets could be swapped")
    assert preflight.check(request(data)) == [
        "The secrets could be swapped: switch it off, encrypt it, or use Linux 6.4 or later."
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.usefixtures("host")
def test_the_operators_values_are_checked_and_not_told(data: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "operator"
    folder.mkdir(mode=0o700)
    for secret in data["secrets"]:
        (folder / secret["name"]).write_text(CANARY)
        (folder / secret["name"]).chmod(0o600)
    (folder / "extra").write_text(CANARY)
    (found,) = preflight.check(request(data, source="file", directory=folder))
    assert "extra" in found
    (folder / "db-password").write_text(f"{CANARY} $")
    with pytest.raises(CoffreError) as caught:
        preflight.check(request(data, source="file", directory=folder))
    assert "db-password has characters that client.conf of db-client cannot take" in str(caught.value)
    assert CANARY not in found + str(caught.value)
    with pytest.raises(CoffreError, match="needs stack_secrets_keyvault with the vault's `url`"):
        preflight.check(request(data, source="keyvault"))
    vault = {"url": "https://coffre.vault.azure.net", "ca": str(folder / "none")}
    with pytest.raises(CoffreError, match="none, which stack_secrets_keyvault names as `ca`, is no file"):
        preflight.check(request(data, source="keyvault", keyvault=vault))
    with pytest.raises(CoffreError, match="needs the operator's directory"):
        preflight.check(request(data, source="file"))
    assert preflight.check(request(data, source="file", acts=False)) == []  # of a swarm another host looks


@pytest.mark.usefixtures("host")
def test_a_lost_state_is_told(data: dict[str, Any], tmp_path: Path) -> None:
    sealed = tmp_path / "lib/demo/sealed"
    sealed.mkdir(parents=True)
    (sealed / "app.0123456789ab.cred").touch()
    with pytest.raises(CoffreError, match="is missing while sealed bundles are there"):
        preflight.check(request(data))


@pytest.mark.usefixtures("host")
def test_the_demo_needs_to_know_how_to_generate(data: dict[str, Any]) -> None:
    del data["secrets"][0]["generate"]
    with pytest.raises(CoffreError, match="secret api-key has no `generate`"):
        preflight.check(request(data))


def test_a_uid_that_somebody_has(data: dict[str, Any]) -> None:
    def lookup(uid: int) -> Any:
        if uid == 60611:
            return SimpleNamespace(pw_name="alice")
        raise KeyError(uid)

    assert preflight.logins(described.parse(data), lookup) == [
        "The uid 60611 of service app belongs to the login alice: choose a free one"
    ]


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ('ID=debian\nVERSION_ID="13"\n', True),
        ('ID=debian\nVERSION_ID="12"\n', True),
        ('PRETTY_NAME="Debian GNU/Linux 11"\nID=debian\nVERSION_ID="11"\n', False),
        ('PRETTY_NAME="Debian GNU/Linux forky/sid"\nID=debian\n', False),
        ('PRETTY_NAME="Ubuntu 12"\nID=ubuntu\nVERSION_ID="12"\n', False),
        ("", False),
    ],
)
def test_distributions(tmp_path: Path, text: str, fit: bool) -> None:
    release = tmp_path / "os-release"
    release.write_text(text)
    problems = preflight.distribution(release)
    assert (problems == []) == fit
    assert fit or "use Debian 12 or Debian 13" in problems[0]
    assert preflight.distribution(tmp_path / "none") != []


@pytest.mark.parametrize(
    ("told", "configured", "word"),
    [
        ('["name=seccomp,profile=default","name=cgroupns"]', "{}", None),
        ('["name=rootless"]', "{}", "rootless"),
        ('["name=userns"]', "{}", "remaps users"),
        (None, '{"userns-remap": "default"}', "remaps users"),
        (None, "no json", None),
    ],
)
def test_engines(docker: dict[str, str], tmp_path: Path, told: str | None, configured: str, word: str | None) -> None:
    if told:
        docker["info"] = told
    (tmp_path / "daemon.json").write_text(configured)
    problems = preflight.engine(tmp_path / "daemon.json")
    assert (problems == []) == (word is None)
    assert word is None or word in problems[0]


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_in_use_names_who_uses_it(docker: dict[str, str], family: int, address: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        (problem,) = preflight.ports(at([], port), "demo")
        assert f"Port {port} is in use by " in problem
        assert f"(pid {os.getpid()})" in problem
        published = f"0.0.0.0:{port}->8443/tcp, [::]:{port}->8443/tcp"
        docker["ps"] = f"demo\tdemo-proxy-1\t{published}\n"
        assert preflight.ports(at([], port), "demo") == []
        docker["ps"] = f"other\tother-proxy-1\t{published}\n"
        assert "by the container other-proxy-1" in preflight.ports(at([], port), "demo")[0]
    docker.clear()
    assert preflight.ports(at([], port), "demo") == []


def test_a_range_is_told_by_who_is_in_its_way(docker: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    docker["ps"] = "other\tother-web-1\t0.0.0.0:8001-8003->80-82/tcp\ndemo\tdemo-web-1\t0.0.0.0:8004->80/tcp\n"
    monkeypatch.setattr(preflight, "_free", lambda port, _: port != 8006)
    monkeypatch.setattr(preflight, "_listener", lambda _: "nginx (pid 7)")
    assert preflight.ports(at([], *range(8000, 8008)), "demo") == [
        "Ports 8001, 8002, 8003 are in use by the container other-web-1: stop it, or choose other ports.",
        "Port 8006 is in use by nginx (pid 7): stop it, or choose another port.",
    ]
    docker["ps"] = "other\tother-web-1\t0.0.0.0:8000-8090->80-170/tcp\n"
    (problem,) = preflight.ports(at([], *range(8000, 8050)), "demo")
    assert problem.startswith(
        "Ports 8000, 8001, 8002, 8003, 8004 and 45 more are in use by the container other-web-1: "
    )


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [([70000], "70000 is no port: choose"), ([0], "0 is no port"), ([8443, 8443], "Port 8443 is wanted twice")],
)
def test_ports_that_are_none(numbers: list[int], problem: str) -> None:
    assert [each for each in preflight.ports(at([], *numbers), "demo") if each.startswith(problem)]


@pytest.mark.parametrize(
    ("published", "stopped"),
    [
        ("0.0.0.0:{port}->8443/tcp", True),
        ("0.0.0.0:1-{port}->1-{port}/tcp", True),
        ("0.0.0.0:9443->{port}/tcp", False),  # the port of a container's own, as a second stack's proxy has it
        ("{port}/tcp", False),
        ("0.0.0.0:{port}->{port}/udp", False),
        (":::{port}->8443/tcp", True),  # as engines before 23 write it
        ("[fe80::1]:{port}->8443/tcp", True),
    ],
)
def test_only_a_port_of_the_host_is_taken_by_a_container(docker: dict[str, str], published: str, stopped: bool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    docker["ps"] = f"demo\tdemo-app-1\t\nother\tother-proxy-1\t{published.format(port=port)}\n"
    assert bool(preflight.ports(at([], port), "demo")) == stopped


@pytest.mark.parametrize(
    ("published", "addresses", "stopped"),
    [
        ("0.0.0.0:{port}->8443/tcp, [::]:{port}->8443/tcp", ["127.0.0.1"], True),
        ("127.0.0.1:{port}->8443/tcp", ["127.0.0.1"], True),
        ("127.0.0.1:{port}->8443/tcp", ["0.0.0.0"], True),  # noqa: S104
        ("127.0.0.1:{port}->8443/tcp", ["127.0.0.2"], False),  # two stacks with a loopback address each
        ("[::]:{port}->8443/tcp", ["127.0.0.2"], False),
        (":::{port}->8443/tcp", ["::1"], True),
    ],
)
def test_a_port_is_taken_where_it_is_wanted(
    docker: dict[str, str], published: str, addresses: list[str], stopped: bool
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    docker["ps"] = f"other\tother-proxy-1\t{published.format(port=port)}\n"
    assert bool(preflight.ports(at(addresses, port), "demo")) == stopped


def test_a_listener_elsewhere_is_none_here(docker: dict[str, str]) -> None:  # noqa: ARG001
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert preflight.ports(at(["127.0.0.1"], port), "demo") == []
        assert preflight.ports(at(["127.0.0.1", "127.0.0.2"], port), "demo") != []


@pytest.mark.parametrize(
    ("address", "problem"),
    [("localhost", "is no address"), ("127.0.0.1:80", "is no address"), ("192.0.2.7", "is none of this host's")],
)
def test_addresses_that_are_none(docker: dict[str, str], address: str, problem: str) -> None:  # noqa: ARG001
    assert problem in preflight.ports(at([address], 8443), "demo")[0]


@pytest.mark.parametrize(
    ("needed", "running", "fit"), [(1000, "", True), (1001, "", False), (1001, "0a1b2c\n", True), (0, "", True)]
)
def test_memory(docker: dict[str, str], tmp_path: Path, needed: int, running: str, fit: bool) -> None:
    docker["ps"] = running
    (tmp_path / "meminfo").write_text(MEMINFO)
    problems = preflight.memory(needed, "demo", tmp_path / "meminfo")
    assert (problems == []) == fit
    assert fit or "has 1000 MiB of memory left and the stack needs 1001 MiB" in problems[0]


@pytest.mark.usefixtures("host")
def test_a_ca_that_is_not_there(data: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(CoffreError, match=r"which stack_services_ca_path names, is no file: put the CA's certificate"):
        preflight.check(request(data, ca_path=path))
    path.touch()
    for fit in (path, None, Path("/var/lib/coffre/demo/ca.crt")):
        assert preflight.check(request(data, ca_path=fit)) == []


def test_docker_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ask: Callable[..., str | None] = preflight._docker
    assert ask("info") is None
    failing = tmp_path / "docker"
    failing.write_text("#!/bin/sh\nexit 1\n")
    failing.chmod(0o755)
    assert ask("info") is None


@pytest.mark.parametrize("source", ["demo", "file", "keyvault"])
def test_an_older_python_gets_as_far_as_its_refusal(tmp_path: Path, source: str, data: dict[str, Any]) -> None:
    core = Path(preflight.__file__).parent
    (tmp_path / "coffre").symlink_to(core)
    # Without what came after Python 3.9, the oldest that Ansible manages.
    catalogue, compose_file = described.split(data)
    given = ("demo", catalogue, compose_file, source, "one", None, {"url": "https://example.vault.azure.net"})
    script = f"""
import datetime, sys
del datetime.UTC
sys.version_info = (3, 9)
from coffre import errors, preflight
preflight.RELEASES.clear()
try:
    preflight.check(preflight.Request(*{given!r}))
except errors.CoffreError as error:
    assert "use Debian 12" in str(error)
    print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    used = [name.partition(".")[2] for name in done.stdout.split() if name.startswith("coffre.")]
    assert "host.state" in used
    for name in used:
        path = core / name.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
