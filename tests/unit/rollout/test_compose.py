"""How what Docker prints is read."""

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container, DesiredService
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError

# Cut from `docker container inspect` of Engine 20.10.
INSPECTED: dict[str, Any] = {
    "Id": "3025b4db95ac",
    "Created": "2026-11-24T10:16:02.1Z",
    "Name": "/demo-app-1",
    "Image": "sha256:7212",
    "RestartCount": 2,
    "State": {"Status": "running", "Pid": 77, "ExitCode": 0, "OOMKilled": False, "Health": {"Status": "starting"}},
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
    "Mounts": [
        {"Type": "bind", "Source": "/run/coffre/demo/app/b1/key", "Destination": "/run/secrets/key"},
        {"Type": "volume", "Source": "/var/lib/docker/volumes/x/_data", "Destination": "/var/lib/x"},
    ],
    "Config": {
        "Image": "coffre/app:1",
        "StopTimeout": 20,
        "Healthcheck": {"Test": ["CMD", "probe", "/health"]},
        "Labels": {
            "com.docker.compose.service": "app",
            "com.docker.compose.config-hash": "h1",
            "coffre.bundle": "b1",
            "coffre.ready": "probe '/ready now'",
        },
    },
    "NetworkSettings": {"Networks": {"demo_web": {"IPAddress": "172.18.0.3"}, "demo_data": {"IPAddress": ""}}},
}


def test_a_container_is_read_whole() -> None:
    found = compose.parse(INSPECTED)
    assert found == Container(
        id="3025b4db95ac",
        name="demo-app-1",
        service="app",
        config_hash="h1",
        image="coffre/app:1",
        image_id="sha256:7212",
        bundle="b1",
        state="running",
        health="starting",
        exit_code=0,
        out_of_memory=False,
        restarts=2,
        created="2026-11-24T10:16:02.1Z",
        pid=77,
        stop_seconds=20,
        restart="unless-stopped",
        health_check=("CMD", "probe", "/health"),
        ready=("probe", "/ready now"),
        addresses=frozenset({"172.18.0.3"}),
        networks=frozenset({"demo_data", "demo_web"}),
        mounts=(("/run/coffre/demo/app/b1/key", "/run/secrets/key"),),
    )


def test_the_ports_and_the_proxies_of_a_container_are_read() -> None:
    bindings = {
        "8443/tcp": [{"HostIp": "::", "HostPort": "443"}, {"HostIp": "", "HostPort": "444"}],
        "53/udp": [{"HostPort": ""}, {"HostIp": "::", "HostPort": "53"}],
        "80/tcp": None,
    }
    data = {
        **INSPECTED,
        "HostConfig": {**INSPECTED["HostConfig"], "PortBindings": bindings},
        "Config": {**INSPECTED["Config"], "Env": ["PATH=/bin", "http_proxy=x", "NO_PROXY=", "PROXY_URL=y", "odd"]},
    }
    assert compose.parse(data).published == {"443/tcp", "444/tcp", "53/udp"}
    assert compose.parse(data).places == {("::", 443), ("", 444)}
    assert compose.parse(data).proxies == {"http_proxy", "NO_PROXY"}


def test_docker_is_called_without_the_proxies_of_roots_own_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "docker").write_text('#!/bin/sh\necho "$DOCKER_CONFIG"\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert compose.call(["docker", "compose"]) == f"{compose.CLIENT}\n"


def test_a_container_without_labels_health_or_networks_is_read_too() -> None:
    bare = {
        **INSPECTED,
        "State": {"Status": "created", "Pid": 0, "ExitCode": 0},
        "Config": {"Image": "x", "Labels": None},
        "NetworkSettings": {"Networks": None},
        "Mounts": [],
    }
    found = compose.parse(bare)
    assert (found.health, found.bundle, found.ready, found.stop_seconds) == ("", None, (), 10)


def answers(monkeypatch: pytest.MonkeyPatch, services: dict[str, Any], images: dict[str, str]) -> None:
    def call(command: list[str], _: str = "") -> str:
        if "--hash" in command:
            return "".join(f"{name} hash-of-{name}\n" for name in services)
        return json.dumps({"services": services})

    class Engine:
        def inspect_image(self, name: str) -> dict[str, str]:
            if name not in images:
                raise CoffreError(f"no such image: {name}")
            return {"Id": images[name]}

    monkeypatch.setattr(compose, "call", call)
    monkeypatch.setattr(compose, "engine", lambda _: nullcontext(Engine()))


def test_services_are_read_with_their_hash_image_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    services = {
        "app": {
            "image": "coffre/app:1",
            "labels": {"coffre.bundle": "b1", "coffre.adopt": "start_first"},
            "restart": "on-failure:3",
            "environment": {"NO_PROXY": "x"},
        },
        "other": {"image": "gone:1"},
    }
    answers(monkeypatch, services, {"coffre/app:1": "sha256:7212"})
    assert compose.desired(Path("compose.yml")) == {
        "app": DesiredService(
            "app",
            "hash-of-app",
            "coffre/app:1",
            "sha256:7212",
            "b1",
            "start_first",
            "on-failure",
            frozenset({"NO_PROXY"}),
        ),
        "other": DesiredService("other", "hash-of-other", "gone:1", None, None, "restart", "no"),
    }


def test_depends_on_is_refused_because_its_hash_would_never_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"app": {"image": "x", "depends_on": {"db": {}}}, "db": {"image": "x"}}, {"x": "i"})
    with pytest.raises(CoffreError, match="app must not say depends_on"):
        compose.desired(Path("compose.yml"))


def test_content_that_is_to_be_the_file_is_what_compose_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], str]] = []

    def call(command: list[str], stdin: str = "") -> str:
        calls.append((command, stdin))
        return '{"services": {}}' if "json" in command else ""

    monkeypatch.setattr(compose, "call", call)
    compose.desired(Path("/lib/compose.yml"), "the content")
    compose.desired(Path("/lib/compose.yml"))
    source = ["docker", "compose", "--ansi", "never", "--project-directory", "/lib", "-f", "-"]
    assert [(command[:8], stdin) for command, stdin in calls if stdin] == [(source, "the content")] * 2
    assert [command[4:6] for command, stdin in calls if not stdin and "config" in command] == [
        ["-f", "/lib/compose.yml"]
    ] * 2


@pytest.fixture
def mounted(tmp_path: Path) -> tuple[Container, Path]:
    """A stopped container that mounts one file of a bundle, and that file."""
    file = tmp_path / "run" / "demo" / "app" / "b1" / "key"
    file.parent.mkdir(parents=True)
    file.write_text("x")
    return replace(compose.parse(INSPECTED), pid=0, mounts=((str(file), "/run/secrets/key"),)), file


def test_a_sound_mount(mounted: tuple[Container, Path], tmp_path: Path) -> None:
    assert compose.broken_mount(mounted[0], tmp_path / "run") is None


def test_a_mount_whose_file_is_gone(mounted: tuple[Container, Path], tmp_path: Path) -> None:
    mounted[1].unlink()
    assert compose.broken_mount(mounted[0], tmp_path / "run") == "/run/secrets/key"


def test_a_mount_whose_file_docker_has_made_a_directory(mounted: tuple[Container, Path], tmp_path: Path) -> None:
    mounted[1].unlink()
    mounted[1].mkdir()
    assert compose.broken_mount(mounted[0], tmp_path / "run") == "/run/secrets/key"


def test_a_mount_that_is_a_file_again_but_not_in_the_container(
    mounted: tuple[Container, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {str(mounted[1]): (0o100000,), "/proc/77/root/run/secrets/key": (0o040000, 1, 2)}
    monkeypatch.setattr(compose, "_identity", kinds.get)
    assert compose.broken_mount(replace(mounted[0], pid=77), tmp_path / "run") == "/run/secrets/key"


def test_a_mounted_directory_that_another_took_the_place_of(
    mounted: tuple[Container, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mounted[1].parent
    proxy = replace(mounted[0], pid=os.getpid(), mounts=((str(folder), str(folder)),))
    assert compose.broken_mount(proxy, tmp_path / "run") is None
    kept = compose._identity(str(folder))
    folder.rename(tmp_path / "gone")
    folder.mkdir()
    mounted[1].write_text("x")
    seen = {str(folder): compose._identity(str(folder)), f"/proc/{os.getpid()}/root{folder}": kept}
    monkeypatch.setattr(compose, "_identity", seen.get)
    assert compose.broken_mount(proxy, tmp_path / "run") == str(folder)


def test_mounts_from_elsewhere_are_not_ours(mounted: tuple[Container, Path], tmp_path: Path) -> None:
    mounted[1].unlink()
    assert compose.broken_mount(mounted[0], tmp_path / "another") is None


def test_logs_that_cannot_be_kept_stop_nothing(tmp_path: Path) -> None:
    assert compose.save_logs("none", tmp_path) is False  # a directory: as little a file as one on a full disk


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("first\nsecond\n", "second"),
        ("Error response from daemon: no such file\nError: failed to start containers: x\n", "no such file"),
        ("", "it said nothing"),
    ],
)
def test_a_command_that_fails_tells_the_line_that_says_why(said: str, told: str) -> None:
    with pytest.raises(CoffreError, match=rf"^`sh -c` failed with exit code 3: .*{told}$"):
        compose.call(["sh", "-c", 'printf %s "$1" >&2; exit 3', "sh", said])


def test_what_a_command_says_that_was_given_values_is_withheld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text('#!/bin/sh\nread -r line\necho "Error response from daemon: $line" >&2; exit 6\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(CoffreError) as caught:
        compose.ask("app", "probe", stdin="canary-key\n")
    assert str(caught.value) == (
        "`docker exec` failed with exit code 6: what it said is withheld, because it was given values"
    )


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(CoffreError, match="did not end within"):
        compose.call(["sleep", "5"], timeout=0.1)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CoffreError, match="is not installed"):
        compose.call(["no-such-program"])
