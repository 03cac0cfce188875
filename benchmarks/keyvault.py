#!/usr/bin/env python3
"""Times the source keyvault against the lookup of azure.azcollection, both as ansible-playbook on this machine.

The vaults are the tests' emulator at 30 ms latency. All of it runs in namespaces of its own (network, hosts file, stack
folders), so nothing on the machine changes and nothing stays. Both sides ask as the machine's managed identity, where
Azure has its endpoint. What an empty playbook takes in the same environment and rounds is deducted from the medians.
Ours begins without a stack each time and also writes and seals the bundles; the lookup just returns the values.

The lookup is timed in two environments: with the packages that its collection asks for and imports (`net_ratio_*`), and
with the library requests alone (`bare_ratio_*`), where it knows no other way to sign in than a managed identity.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.keyvault_emulator.server import Emulator, start

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path.home() / ".cache/coffre/bench-keyvault"
RUN, LIB = Path("/run/coffre"), Path("/var/lib/coffre")
STACK = "coffre-bench"
INSIDE = "--inside"
IDENTITY_ADDRESS = "169.254.169.254"
LATENCY_MS, ROUNDS, DAY = 30, 5, 86400
COMPARED, SIZES = (4, 50), (4, 50, 200)
SERVICES = ("app", "keycloak", "postgres", "proxy")
# Of the collection's requirements, what its lookup imports, directly or for all of its modules.
IMPORTED = re.compile(
    r"azure-(?:cli-core|common|core|identity|keyvault|storage-blob|storage-file-share|mgmt-.*)|msgraph-sdk|requests"
)


def run(*command: str | Path, **options: Any) -> None:
    """Run a command to its end. Stops the benchmark where it fails."""
    done = subprocess.run([*map(str, command)], text=True, capture_output=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def lookup_environment() -> None:
    """Make the lookup's environment once: this Python, the same ansible, and beside it what the collection imports."""
    if (CACHE / "complete").exists():
        return
    print(f"Making the lookup's environment in {CACHE} (a few minutes, 1 GB).", flush=True)
    shutil.rmtree(CACHE, ignore_errors=True)
    run(sys.executable, "-m", "venv", CACHE / "venv")
    pip = (CACHE / "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "requests", *_lines(ROOT / "requirements/controller.in", re.compile("ansible")))
    (collection,) = CACHE.glob("venv/lib/python3*/site-packages/ansible_collections/azure/azcollection")
    run(*pip, "--target", CACHE / "azure", *_lines(collection / "requirements.txt", IMPORTED))
    (CACHE / "complete").touch()


def _lines(requirements: Path, wanted: re.Pattern[str]) -> list[str]:
    """The lines of a requirements file whose package is wanted."""
    lines = [line.strip() for line in requirements.read_text().splitlines()]
    return [line for line in lines if wanted.fullmatch(re.split(r"[=<>;\s]", line)[0])]


def separate(folder: Path) -> None:
    """In fresh namespaces: a network that knows the vaults and the identity's address, and no stack."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{IDENTITY_ADDRESS}/32", "dev", "lo")
    names = " ".join(f"{vault(size)}.vault.azure.net" for size in SIZES)
    hosts = folder / "hosts"
    hosts.write_text(f"{Path('/etc/hosts').read_text()}\n127.0.0.1 {names}\n")
    run("mount", "--bind", hosts, "/etc/hosts")
    if RUN.is_mount():
        run("umount", "--lazy", RUN)
    (folder / "lib").mkdir()
    LIB.mkdir(mode=0o700, exist_ok=True)
    run("mount", "--bind", folder / "lib", LIB)


def vault(size: int) -> str:
    return f"{STACK}-{size}"


def names(size: int) -> list[str]:
    return [f"secret-{number:03}" for number in range(size)]


def stack(size: int) -> dict[str, Any]:
    """A catalogue of so many secrets and the Compose file that shares them out, as arguments of a module."""
    return {
        "catalogue": {"secrets": [{"name": name, "strategy": "replace"} for name in names(size)]},
        "compose_file": {
            "services": {
                name: {
                    "image": name,
                    "user": f"{60611 + number}:{60611 + number}",
                    "secrets": names(size)[number :: len(SERVICES)],
                }
                for number, name in enumerate(SERVICES)
            }
        },
    }


def fill(emulator: Emulator) -> None:
    """A vault of each size, with secrets that were put in yesterday."""
    for size in SIZES:
        for name in names(size):
            emulator.control.put(vault(size), name, secrets.token_urlsafe(32), created=int(time.time()) - DAY)
    emulator.control.set(latency_ms=LATENCY_MS)


def write_playbooks(folder: Path, emulator: Emulator) -> None:
    """empty.yml, ping.yml (what any module takes that does nothing), and by size ours-SIZE.yml and lookup-SIZE.yml."""

    def write(name: str, **play: Any) -> None:
        whole = {"hosts": "localhost", "connection": "local", "gather_facts": False, **play}
        (folder / f"{name}.yml").write_text(json.dumps([whole]))

    python = {"ansible_python_interpreter": sys.executable}
    write("empty", tasks=[])
    write("ping", vars=python, tasks=[{"name": "Ping", "ansible.builtin.ping": {}}])
    for size in SIZES:
        url = emulator.url(vault(size))
        settings = {"url": url, "ca": str(emulator.ca), "credential": {"type": "managed_identity"}}
        who = {"run": "benchmark", "operator": "benchmark"}
        stage = {"stack": STACK, **stack(size), "source": "keyvault", "keyvault": settings, **who}
        write(
            f"ours-{size}",
            vars=python,
            tasks=[{"name": "Stage", "coffre.stack.secret_bundles": stage}],
        )
        look = f"lookup('azure.azcollection.azure_keyvault_secret', *names, vault_url='{url}', wantlist=true) | length"
        write(
            f"lookup-{size}",
            vars={"names": names(size)},
            tasks=[{"name": "Look", "ansible.builtin.debug": {"msg": f"{{{{ {look} }}}}"}}],
        )


class Bench:
    """Times playbooks in a folder; the samples of a name in `seconds`, one per round."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder, self.control = folder, emulator.control
        self.seconds: dict[str, list[float]] = {}
        self.calls: dict[str, dict[str, int]] = {}
        # Bytecode is kept on both sides, as it is wherever one of them runs more than once.
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        self.ours = kept | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        self.bare = kept | {"REQUESTS_CA_BUNDLE": str(emulator.ca)}
        self.full = self.bare | {"PYTHONPATH": str(CACHE / "azure")}

    def play(self, sample: str, playbook: str, program: Path, environment: dict[str, str]) -> None:
        self.control.count(reset=True)
        began = time.monotonic()
        run(program, self.folder / f"{playbook}.yml", cwd=self.folder, env=environment)
        self.seconds.setdefault(sample, []).append(time.monotonic() - began)
        self.calls[sample] = self.control.count()

    def round(self) -> None:
        """Each playbook once in each environment."""
        program = Path(sys.executable).with_name("ansible-playbook")
        for name in ("empty", "ping"):
            self.play(f"ours: {name}", name, program, self.ours)
        for size in SIZES:
            for folder in (RUN / STACK, LIB / STACK):
                shutil.rmtree(folder, ignore_errors=True)
            self.play(f"ours: {size}", f"ours-{size}", program, self.ours)
            self.play(f"ours: {size}, unchanged", f"ours-{size}", program, self.ours)
        for kind, environment in (("lookup", self.full), ("lookup, bare", self.bare)):
            self.play(f"{kind}: empty", "empty", CACHE / "venv/bin/ansible-playbook", environment)
            for size in COMPARED:
                self.play(f"{kind}: {size}", f"lookup-{size}", CACHE / "venv/bin/ansible-playbook", environment)

    def net(self, sample: str) -> float:
        """What a playbook takes beyond the empty one of its environment, in seconds."""
        return median(self.seconds[sample]) - median(self.seconds[f"{sample.partition(':')[0]}: empty"])


def report(bench: Bench) -> None:
    """Print a table, and a line of figures."""
    print(f"{'what':<22}{'seconds':>8}{'fastest':>9}{'slowest':>9}{'net':>7}  calls")
    for sample, seconds in bench.seconds.items():
        calls = " ".join(f"{key}={count}" for key, count in sorted(bench.calls[sample].items()))
        times = f"{median(seconds):>8.2f}{min(seconds):>9.2f}{max(seconds):>9.2f}{bench.net(sample):>7.2f}"
        print(f"{sample:<22}{times}  {calls}")
    figures = {
        f"{name}_ratio_{size}": bench.net(f"{kind}: {size}") / bench.net(f"ours: {size}")
        for name, kind in (("net", "lookup"), ("bare", "lookup, bare"))
        for size in COMPARED
    }
    figures |= {f"seconds_{size}": bench.net(f"ours: {size}") for size in SIZES}
    parts = [f"{key}={value:.2f}" for key, value in figures.items()]
    for size in SIZES:
        asked = bench.calls[f"ours: {size}, unchanged"]
        parts.append(f"unchanged_calls_{size}={asked.get('get', 0) + asked.get('list', 0)}")
    print(" ".join([*parts, f"rounds={ROUNDS}", f"latency_ms={LATENCY_MS}"]))


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("This benchmark stages secrets as a host does, in namespaces of its own: run it as root.")
    if INSIDE not in sys.argv:
        lookup_environment()
        command = ["unshare", "--net", "--mount", sys.executable, "-m", "benchmarks.keyvault", INSIDE]
        os.execvp(command[0], command)  # noqa: S606
    with tempfile.TemporaryDirectory(prefix="coffre-bench-", dir="/var/tmp") as place:
        folder = Path(place)
        separate(folder)
        with start(folder / "emulator", [vault(size) for size in SIZES], "0.0.0.0", 443, 80) as emulator:  # noqa: S104
            fill(emulator)
            write_playbooks(folder, emulator)
            bench = Bench(folder, emulator)
            bench.round()
            bench.seconds.clear()  # it was for the bytecode
            for number in range(ROUNDS):
                print(f"round {number + 1} of {ROUNDS}, load {os.getloadavg()[0]:.1f}", flush=True)
                bench.round()
        report(bench)


if __name__ == "__main__":
    main()
