"""What the scenarios' tests share: the stack as a test host's engine and kernel see it, and runs of our playbooks."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import environments

ROOT = Path(__file__).parents[2]
STACK = "coffre-demo"
MACHINE = "coffre-test-debian13"  # the container that is the test host debian13
INVENTORY = ROOT / "molecule" / "shared" / "inventory"
KEYS = Path.home() / ".cache" / "coffre" / "test-hosts"


@dataclass(frozen=True)
class Container:
    """A running container of the stack: its service, what the engine says of it, and its first process."""

    service: str
    inspect: dict[str, Any]

    @property
    def pid(self) -> int:
        return int(self.inspect["State"]["Pid"])


@dataclass(frozen=True)
class Play:
    """A finished run of ansible-playbook: its exit status, all it printed, and the recap's figures by host."""

    status: int
    output: str

    @property
    def end(self) -> list[str]:
        """The lines after the recap."""
        return [
            line for line in self.output.rpartition("PLAY RECAP")[2].splitlines()[1:] if line and " : ok=" not in line
        ]

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        lines = re.findall(r"^(\S+)\s+: (ok=.*)$", self.output, re.MULTILINE)
        return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)} for host, line in lines}


def list_containers(host: Any, stack: str = STACK) -> list[Container]:
    """The stack's running containers, by service."""
    ids = host.check_output(f"docker ps --quiet --filter label=com.docker.compose.project={stack}").split()
    inspected = json.loads(host.check_output(f"docker inspect {' '.join(ids)}")) if ids else []
    found = [Container(entry["Config"]["Labels"]["com.docker.compose.service"], entry) for entry in inspected]
    return sorted(found, key=lambda container: container.service)


def run_playbook(
    *arguments: str,
    playbook: str = "site",
    timeout: int = 900,
    inventory: Path = INVENTORY,
    environment: Mapping[str, str] | None = None,
) -> Play:
    """Run one of our playbooks on the test hosts, as an operator would."""
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", **(environment or {})}
    done = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), f"playbooks/{playbook}.yml", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Play(done.returncode, done.stdout + done.stderr)


def on_machine(command: str, text: str = "") -> str:
    """Run a shell command as root of the test host debian13, not by SSH, with a text on its standard input."""
    done = subprocess.run(
        ["docker", "exec", "--interactive", MACHINE, "sh", "-ec", command],
        input=text,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command[:200]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()


@cache
def core(machine: str = MACHINE) -> str:
    """The command of the modules' Python on a test host that has a stack, which then finds the whole core as `coffre`.

    Of itself a host has no more of the core than its boot unit runs.
    """
    source = ROOT / "collections/ansible_collections/coffre/stack/plugins/module_utils"
    for command in (
        ["exec", machine, "mkdir", "-p", "/root/core/coffre"],
        ["cp", f"{source}/.", f"{machine}:/root/core/coffre"],
    ):
        subprocess.run(["docker", *command], check=True, capture_output=True, timeout=60)
    return "PYTHONPATH=/root/core /usr/local/lib/coffre/venv/bin/python"


def adding(secrets: Sequence[dict[str, Any]] = (), **services: dict[str, Any]) -> tuple[str, ...]:
    """Arguments of a run with more secrets in its catalogue, and more said of services in its Compose file.

    Lists of a service grow at their end, so that {"secrets": ["blob"]} is what it consumes besides.
    """
    more = {
        "stack_catalogue_secrets": [*environments.variables("demo")["stack_catalogue_secrets"], *secrets],
        "compose_more": {"services": services},
    }
    return ("-e", f"@{Path(__file__).parent}/vars/adding.yml", "-e", json.dumps(more))


def described(inventory: Path = INVENTORY, *arguments: str) -> dict[str, Any]:
    """{catalogue, compose_file} as a run with these arguments takes them on debian13."""
    file = ROOT / "docker-compose.yml.j2"
    compose = "stack_compose | default(lookup('coffre.stack.compose_file', coffre_compose_file))"
    told = json.dumps({"msg": f"{{{{ {{'catalogue': stack_catalogue, 'compose_file': {compose}}} }}}}"})
    words = ["-i", str(inventory), "-m", "debug", "-a", told, "-e", f"coffre_compose_file={file}", *arguments]
    done = subprocess.run(
        ["ansible", "debian13", *words],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.partition("=>")[2])["msg"]
    return found


def read_state(host: Any, stack: str = STACK) -> dict[str, Any]:
    """The state of the stack: names, versions and bundles, no values."""
    state: dict[str, Any] = json.loads(host.check_output(f"cat /var/lib/coffre/{stack}/state.json"))
    return state


def fetch(
    host: Any,
    path: str,
    *,
    ca: str = f"/var/lib/coffre/{STACK}/ca.crt",
    url: str = "https://localhost:8443",
    cookie: str = "",
) -> tuple[int, str]:
    """Ask the stack as a user of the host would; trusting a CA, or what the host does. Status 0: no answer."""
    script = (
        "import ssl, sys, urllib.request, urllib.error\n"
        "class Stay(urllib.request.HTTPRedirectHandler):\n"
        "    def redirect_request(self, *_): return None\n"
        "context = ssl.create_default_context(cafile=sys.argv[2] or None)\n"
        "handler = urllib.request.HTTPSHandler(context=context)\n"
        "opener = urllib.request.build_opener(handler, urllib.request.ProxyHandler({}), Stay)\n"
        "try:\n"
        "    asked = urllib.request.Request(sys.argv[1], headers={'Cookie': sys.argv[3]} if sys.argv[3] else {})\n"
        "    answer = opener.open(asked, timeout=10)\n"
        "except urllib.error.HTTPError as error:\n"
        "    answer = error\n"
        "except OSError as error:\n"
        "    print(0, error); sys.exit()\n"
        "print(answer.status, answer.headers.get('Location') or answer.read().decode())"
    )
    output = host.check_output(f"python3 -c {shlex.join([script, url + path, ca, cookie])}")
    status, _, body = output.partition(" ")
    return int(status), body


def power_off(host: Any, *, network: bool = True) -> None:
    """Cut a test host's power, and give it back; `network` is whether the machine then has one."""
    machine = f"coffre-test-{host.check_output('hostname')}"
    _docker("kill", machine)
    if not network:
        _docker("network", "disconnect", "bridge", machine)
    boot(machine)


def boot(machine: str) -> None:
    """Let a test host's container start, and wait until it is up."""
    _docker("start", machine)
    # SSH comes up with the rest; a unit that is allowed to fail may leave the system degraded.
    up = "until test -S /run/dbus/system_bus_socket; do sleep 0.2; done"
    _docker("exec", machine, "timeout", "60", "sh", "-c", up)
    _docker("exec", machine, "timeout", "120", "systemctl", "is-system-running", "--wait", check=False)


def plug_in(host: Any) -> None:
    """Give a test host its network back."""
    _docker("network", "connect", "bridge", f"coffre-test-{host.check_output('hostname')}")


def _docker(*arguments: str, check: bool = True) -> None:
    subprocess.run(["docker", *arguments], check=check, capture_output=True, timeout=200)


def wait_ready(host: Any, seconds: int = 240) -> None:
    """Wait until the stack answers with a token from Keycloak."""
    deadline = time.monotonic() + seconds
    while (answer := fetch(host, "/ready"))[0] != 200:
        assert time.monotonic() < deadline, f"/ready gave {answer} for {seconds} s"
        time.sleep(1)


def note_files(host: Any, folder: str, note: str) -> None:
    """Remember the content of every file in a folder, in a note of root's on the host itself."""
    host.check_output(f"cd {folder} && find . -type f -exec sha256sum {{}} + >{note}")


def same_files(host: Any, folder: str, note: str) -> bool:
    """Whether the folder has the files noted, no other, and all of them unchanged."""
    command = (
        f'cd {folder} && sha256sum --check --status {note} && test "$(find . -type f | wc -l)" = "$(wc -l <{note})"'
    )
    return bool(host.run(command).succeeded)
