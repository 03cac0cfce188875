"""The doctor: each bad state is planted, told by the one check that is for it, and left as it was."""

from __future__ import annotations

import copy
import gzip
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils import compose_file
from ansible_collections.coffre.stack.plugins.module_utils.doctor import answers as doctor_answers
from ansible_collections.coffre.stack.plugins.module_utils.doctor import checks as doctor
from ansible_collections.coffre.stack.plugins.module_utils.doctor import containers as doctor_containers
from ansible_collections.coffre.stack.plugins.module_utils.doctor import files as doctor_files
from ansible_collections.coffre.stack.plugins.module_utils.doctor import host as doctor_host
from ansible_collections.coffre.stack.plugins.module_utils.doctor import leaks as doctor_leaks
from ansible_collections.coffre.stack.plugins.module_utils.doctor import lives, metrics
from ansible_collections.coffre.stack.plugins.module_utils.doctor import target as examined
from ansible_collections.coffre.stack.plugins.module_utils.doctor import times as doctor_times
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container, DesiredService
from ansible_collections.coffre.stack.plugins.module_utils.errors import Aside, CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import bundles, seals, state, tmpfs
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.rollout import endpoints, firewall
from ansible_collections.coffre.stack.plugins.module_utils.scan import git_history as history
from ansible_collections.coffre.stack.plugins.module_utils.sources.demo import Demo
from ansible_collections.coffre.stack.plugins.module_utils.staging import stage as staging
from ansible_collections.coffre.stack.plugins.module_utils.strategies import agree
from tests.unit import described

RANDOM = {"type": "random", "bytes": 32}
CATALOGUE: dict[str, Any] = {
    "secrets": [
        {
            "name": "api-key",
            "consumers": ["app", "host"],
            "generate": RANDOM,
            "strategy": "key_ring",
            "max_age_days": 90,
        },
        {"name": "db-password", "consumers": ["db"], "generate": RANDOM, "strategy": "replace"},
        {
            "name": "ca",
            "consumers": ["host"],
            "generate": {"type": "certificate_authority", "names": ["localhost"], "days": 400},
            "strategy": "replace",
        },
        {
            "name": "tls",
            "consumers": ["proxy"],
            "generate": {"type": "certificate", "authority": "ca", "names": ["localhost"], "days": 90},
            "strategy": "replace",
        },
    ],
    "services": [
        {
            "name": "app",
            "uid": 60611,
            "gid": 60611,
            "adopt": "start_first",
            "compose": {"mem_limit": "1g", "networks": ["web"]},
        },
        {
            "name": "db",
            "uid": 60612,
            "gid": 60612,
            "adopt": "restart",
            "files": [{"name": "db.conf", "alphabet": "A-Za-z0-9_-", "template": "password=@{db-password}\n"}],
        },
        {
            "name": "proxy",
            "uid": 60614,
            "gid": 60614,
            "adopt": "reload",
            "compose": {"mem_limit": "1g", "cpu_shares": 8192, "networks": ["web", "edge"]},
        },
    ],
    "compose": {"x-coffre": {"harden": True}, "networks": {"web": {"internal": True}, "edge": None}},
}
ENDPOINTS = ("https://localhost:8443/health", "https://localhost:8443/ready")

HARDENED: dict[str, Any] = {
    "Id": "1" * 64,
    "Name": "/demo-app-1",
    "Image": "sha256:abc",
    "LogPath": "",
    "AppArmorProfile": "docker-default",
    "State": {"Running": True},
    "Config": {
        "User": "60611:60611",
        "Env": ["PATH=/usr/bin", "SECRETS_DIR=/run/secrets"],
        "Labels": {"com.docker.compose.service": "app"},
    },
    "HostConfig": {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "CapAdd": None,
        "Privileged": False,
        "SecurityOpt": ["no-new-privileges:true"],
        "Memory": 1000,
        "MemorySwap": 1000,
        "PidsLimit": 64,
        "Ulimits": [{"Name": "core", "Hard": 0, "Soft": 0}],
        "PidMode": "",
        "IpcMode": "private",
        "PortBindings": {},
    },
    "NetworkSettings": {"Networks": {"demo_web": {"IPAddress": "172.18.0.2"}}},
    "Mounts": [],
}
RUNNING: dict[str, Any] = HARDENED | {
    "Created": "2026-01-01T00:00:00Z",
    "State": {"Status": "running", "ExitCode": 0, "Pid": 1},
    "Config": HARDENED["Config"]
    | {"Image": "app", "Labels": HARDENED["Config"]["Labels"] | {"coffre.ready": "probe /ready"}},
    "HostConfig": HARDENED["HostConfig"] | {"RestartPolicy": {"Name": "no"}},
}


class Plantation:
    """A staged and adopted stack, in which a test plants what is wrong."""

    def __init__(self, root: Path) -> None:
        self.paths = StackPaths("demo", root / "run", root / "lib")
        self.catalogue = described.parse(CATALOGUE)
        self.history = examined.History(None, (), "nothing to look at")
        self.containers: list[dict[str, Any]] = [json.loads(json.dumps(HARDENED))]
        self.processes = root / "proc"
        self.sys = root / "sys"
        self.canary = ""

    def stage(self) -> None:
        settings = staging.StagingOptions("host", False, False)
        with state.locked(self.paths):
            staging.stage(
                self.paths,
                self.catalogue,
                partial(Demo("demo").resolve, self.catalogue),
                settings,
            )
            st = state.load(self.paths)
            for service in list(st.services):
                bundles.promote(self.paths, st, service)

    def folder(self, service: str) -> Path:
        current = state.load(self.paths).services[service].current
        assert current
        return self.paths.bundle(service, current)

    def value(self, service: str, secret: str) -> bytes:
        return bundles.value(self.paths, state.load(self.paths), service, secret)

    def target(self) -> examined.Target:
        target = examined.Target(
            self.paths,
            self.catalogue,
            ENDPOINTS,
            self.paths.authority,
            self.history,
            self.processes,
            sys=self.sys,
        )
        target.__dict__["inspected"] = self.containers
        return target

    def alter(self, change: Callable[[state.State], None]) -> None:
        st = state.load(self.paths)
        change(st)
        state.save(self.paths, st)


def told(check: Callable[[examined.Target], str], plantation: Plantation) -> str:
    """What a failing check says; that it neither changes anything nor tells a value is checked on the way."""
    before = snapshot(plantation)
    with pytest.raises(CoffreError) as failure:
        check(plantation.target())
    assert snapshot(plantation) == before
    text = str(failure.value)
    assert plantation.canary and plantation.canary not in text
    return text


def snapshot(plantation: Plantation) -> list[tuple[str, int, int]]:
    """All paths of the stack with the times of their last changes."""
    roots = (plantation.paths.run_root, plantation.paths.lib_root)
    found = [(path, path.lstat()) for root in roots for path in sorted(root.rglob("*"))]
    return [(str(path), about.st_mtime_ns, about.st_ctime_ns) for path, about in found]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack, staged once; tests work on copies."""
    if os.geteuid() != 0 or not shutil.which("systemd-creds"):
        pytest.skip("needs root and systemd-creds")
    root = tmp_path_factory.mktemp("host")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tmpfs, "ensure", lambda folder: folder.mkdir(mode=0o700, parents=True, exist_ok=True))
        patch.setattr(tmpfs, "exposure", lambda _: None)
        Plantation(root).stage()
    return root


@pytest.fixture
def plantation(staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plantation:
    subprocess.run(["cp", "--archive", f"{staged}/run", f"{staged}/lib", str(tmp_path)], check=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/module/apparmor/parameters").mkdir(parents=True)
    (tmp_path / "sys/module/apparmor/parameters/enabled").write_text("Y\n")
    options = {"nosuid", "nodev", "noexec", "noswap"}
    monkeypatch.setattr(tmpfs, "options", lambda _: options)
    monkeypatch.setattr(tmpfs, "exposure", lambda _: None)
    monkeypatch.setattr(
        examined.Target,
        "ask",
        staticmethod(
            lambda kind, names: [{"Name": name, "Internal": name != "demo_edge", "Kind": kind} for name in names]
        ),
    )
    monkeypatch.setattr(compose, "call", lambda *_, **__: "/bin/sh -c something")
    planted = Plantation(tmp_path)
    planted.canary = planted.value("app", "api-key").decode()
    return planted


FILES = (doctor_files.staged, doctor_files.memory, doctor_files.permissions, doctor_files.content, doctor_files.sealed)
TIMES = (doctor_times.ages, doctor_times.certificates)
LEAKS = (doctor_leaks.metadata, doctor_leaks.environment, doctor_leaks.logs, doctor_leaks.git_history)


@pytest.mark.parametrize(
    "check",
    [*FILES, *TIMES, doctor_containers.hardening, doctor_host.packages, *LEAKS],
    ids=lambda check: check.__name__,
)
def test_a_sound_stack_passes(check: Callable[[examined.Target], str], plantation: Plantation) -> None:
    assert check(plantation.target())


def open_wide(plantation: Plantation) -> None:
    (plantation.folder("app") / "api-key").chmod(0o444)


def give_away(plantation: Plantation) -> None:
    os.chown(plantation.folder("db") / "db.conf", 1000, 1000)


def shared_folder(plantation: Plantation) -> None:
    plantation.paths.run.chmod(0o755)


def readable_seal(plantation: Plantation) -> None:
    next(plantation.paths.sealed.iterdir()).chmod(0o644)


def altered(plantation: Plantation) -> None:
    path = plantation.folder("app") / "api-key"
    path.write_bytes(path.read_bytes()[::-1])


def gone(plantation: Plantation) -> None:
    (plantation.folder("app") / "api-key").unlink()


def directory_instead(plantation: Plantation) -> None:
    gone(plantation)
    (plantation.folder("app") / "api-key").mkdir()


def foreign_file(plantation: Plantation) -> None:
    (plantation.folder("app") / "note").touch()


def foreign_folder(plantation: Plantation) -> None:
    (plantation.paths.run / "app" / "0123456789ab").mkdir()


def foreign_service(plantation: Plantation) -> None:
    (plantation.paths.run / "visitor").mkdir()


def lost_bundle(plantation: Plantation) -> None:
    shutil.rmtree(plantation.folder("host"))


def stray_link(plantation: Plantation) -> None:
    link = plantation.paths.service("proxy") / "current"
    link.unlink()
    link.symlink_to("0123456789ab")


def damaged_seal(plantation: Plantation) -> None:
    seal = next(plantation.paths.sealed.glob("app.*"))
    seal.write_bytes(seal.read_bytes()[:-40])


def lost_seal(plantation: Plantation) -> None:
    next(plantation.paths.sealed.glob("app.*")).unlink()


def foreign_seal(plantation: Plantation) -> None:
    seals.seal(plantation.paths.sealed / "app.0123456789ab.cred", "x", b"y", "host")


def open_run(plantation: Plantation) -> None:
    day, old, new = "2026-01-01T00:00:00Z", state.Version("1" * 32, ""), state.Version("2" * 32, "")
    run = state.Run("r1", "r1", "kim", day, day, {"api-key": state.Change("key_ring", old, new, "proved")})
    plantation.alter(lambda st: setattr(st, "run", run))


def waiting(plantation: Plantation) -> None:
    def change(st: state.State) -> None:
        entry = st.services["app"]
        entry.current, entry.next = None, entry.current

    plantation.alter(change)


def forgotten(plantation: Plantation) -> None:
    plantation.alter(lambda st: st.services.update(db=state.ServiceState()))


def other_files(plantation: Plantation) -> None:
    plantation.alter(lambda st: next(iter(st.services["db"].bundles.values())).files.update(more=["api-key"]))


def left_behind(plantation: Plantation) -> None:
    """The catalogue no longer gives it to the app, whose container still runs."""
    secrets = plantation.catalogue.secrets
    secrets["api-key"] = replace(secrets["api-key"], consumers=("db",))


PLANTED = [
    (left_behind, doctor_files.staged, "app still has api-key, which the catalogue no longer gives it"),
    (open_wide, doctor_files.permissions, "60611:60611 0444 where 60611:60611 0400"),
    (give_away, doctor_files.permissions, "1000:1000 0400 where 60612:60612 0400"),
    (shared_folder, doctor_files.permissions, "0:0 0755 where 0:0 0700"),
    (readable_seal, doctor_files.permissions, "0:0 0644 where 0:0 0600"),
    (altered, doctor_files.content, "api-key differs from its sealed copy"),
    (gone, doctor_files.content, "api-key is missing"),
    (directory_instead, doctor_files.content, "api-key is no regular file"),
    (foreign_file, doctor_files.content, "note is foreign"),
    (foreign_folder, doctor_files.content, "0123456789ab is foreign"),
    (foreign_service, doctor_files.content, "visitor is foreign"),
    (stray_link, doctor_files.content, "current does not name the bundle in force"),
    (damaged_seal, doctor_files.sealed, "does not open: it is damaged, or from another host"),
    (lost_seal, doctor_files.sealed, "is missing"),
    (foreign_seal, doctor_files.sealed, "app.0123456789ab.cred is foreign"),
    (open_run, doctor_files.staged, "the rotation of api-key by kim is open since 2026-01-01T00:00:00Z"),
    (waiting, doctor_files.staged, "is staged and not adopted"),
    (forgotten, doctor_files.staged, "no bundle is staged for db"),
    (other_files, doctor_files.staged, "the bundle of db has other files than the catalogue says"),
]


@pytest.mark.parametrize(("plant", "check", "sentence"), PLANTED, ids=[plant.__name__ for plant, _, _ in PLANTED])
def test_what_is_planted_is_told(
    plant: Callable[[Plantation], None],
    check: Callable[[examined.Target], str],
    sentence: str,
    plantation: Plantation,
) -> None:
    plant(plantation)
    assert sentence in told(check, plantation)


def test_a_lost_bundle_is_told(plantation: Plantation) -> None:
    lost_bundle(plantation)
    assert "of host is missing" in told(doctor_files.content, plantation)


def test_memory_that_is_none_is_told(plantation: Plantation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmpfs, "options", lambda _: {"nosuid", "nodev"})
    monkeypatch.setattr(tmpfs, "exposure", lambda _: "The secrets could be swapped to /swap, which is not encrypted")
    assert "without noexec; The secrets could be swapped" in told(doctor_files.memory, plantation)
    monkeypatch.setattr(tmpfs, "options", lambda _: None)
    assert "no tmpfs" in told(doctor_files.memory, plantation)


@pytest.mark.parametrize(
    ("days", "sentence"),
    [(91, "api-key is due for rotation since"), (70, "due within 30 days: api-key"), (10, "no secret")],
)
def test_ages(days: int, sentence: str, plantation: Plantation) -> None:
    created = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    plantation.alter(lambda st: setattr(st.secrets["api-key"], "created", created))
    if days > 90:
        assert sentence in told(doctor_times.ages, plantation)
    else:
        note = doctor_times.ages(plantation.target())
        assert sentence in note
        assert isinstance(note, examined.Caution) == (days > 60)


def test_the_life_of_each_secret(plantation: Plantation) -> None:
    kept = state.Previous("2" * 32, "2026-01-01T00:00:00Z")
    plantation.alter(lambda st: st.secrets["api-key"].ring.append(kept))
    target = plantation.target()
    found = {each.secret: each for each in lives.lives(target, 14)}
    assert found.keys() == {"api-key", "ca", "db-password", "tls"}
    assert found["api-key"].ring == (kept,) and found["tls"].ring == ()
    assert (found["db-password"].due, found["db-password"].ends, found["db-password"].rotated) == (None, None, None)
    assert found["api-key"].created < str(found["api-key"].due) < str(found["api-key"].ends)
    assert found["tls"].certificate and found["tls"].certificate.names == ("localhost",)
    assert found["tls"].ends == found["tls"].certificate.ends
    assert found["api-key"].certificate is None
    assert lives.under_way(target) is None


def test_findings_are_told_one_by_one_and_all_of_them() -> None:
    several = [f"file {number} is wrong" for number in range(examined.MOST + 3)]
    sick = examined.judge("files", "mend them", lambda: examined.verdict(several, "", ["see"]))
    assert (sick.ok, sick.findings, sick.remedy) == (False, (*several, "see"), "mend them.")
    assert "and 4 more. What to do: mend them." in sick.message
    warned = examined.judge("files", "mend them", lambda: examined.verdict([], "", ["see", "look"]))
    assert (warned.ok, warned.warn, warned.findings, warned.remedy) == (True, True, ("see", "look"), "")
    assert examined.judge("files", "", lambda: examined.Caution("see")).findings == ("see",)
    assert examined.judge("files", "", lambda: "all is well").findings == ()
    broken = examined.judge("files", "mend it", lambda: Path("/nowhere/at-all").read_text())
    assert broken.findings == ("/nowhere/at-all cannot be read (No such file or directory)",)


def test_a_secret_ends_no_later_than_its_certificate(plantation: Plantation) -> None:
    """The catalogue gives `tls` no age, as an owner's certificate may have none; `api-key` has only an age."""
    target = plantation.target()
    told = metrics.of_secrets(target, lives.lives(target, 14))["coffre_secret_expiry_timestamp_seconds"]
    days = {labels["secret"]: round((end - time.time()) / 86400) for labels, end in told}
    assert days == {"api-key": 90, "ca": 400, "tls": 90}
    target.values["tls"] = b"-----BEGIN CERTIFICATE-----\nnothing\n"
    told = metrics.of_secrets(target, lives.lives(target, 14))["coffre_secret_expiry_timestamp_seconds"]
    assert {labels["secret"] for labels, _ in told} == {"api-key", "ca"}


def test_certificates_that_no_client_takes(plantation: Plantation, tmp_path: Path) -> None:
    assert "tls expires on" in doctor_times.certificates(plantation.target())
    target = plantation.target()
    target.endpoints = ("https://elsewhere.example:8443/ready",)
    with pytest.raises(CoffreError, match="tls is refused by a client: Hostname mismatch"):
        doctor_times.certificates(target)
    other = tmp_path / "other.pem"
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout /dev/null -out {other}"
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    target = plantation.target()
    target.ca_path = other
    with pytest.raises(CoffreError, match="tls is refused by a client: self-signed certificate in certificate chain"):
        doctor_times.certificates(target)
    path = plantation.folder("proxy") / "tls"
    key, _, chain = path.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")
    assert key
    path.write_bytes(key + other.read_bytes() + b"-----BEGIN CERTIFICATE-----" + chain)
    assert "tls cannot be used: key values mismatch" in told(doctor_times.certificates, plantation)


# How a container is softened, what it should have, and the keys by which its service in the file does without.
SOFTENED: list[tuple[Callable[[dict[str, Any]], Any], str, dict[str, Any]]] = [
    (lambda data: data["HostConfig"].update(ReadonlyRootfs=False), "a read-only root", {"read_only": False}),
    (lambda data: data["HostConfig"].update(CapDrop=None), "all capabilities dropped", {"cap_drop": []}),
    (lambda data: data["HostConfig"].update(CapAdd=["SYS_ADMIN"]), "no capability added", {"cap_add": ["SYS_ADMIN"]}),
    (lambda data: data["HostConfig"].update(Privileged=True), "no privileges of the host", {"privileged": True}),
    (lambda data: data["HostConfig"].update(SecurityOpt=None), "no way to new privileges", {"security_opt": []}),
    (
        lambda data: data["HostConfig"]["SecurityOpt"].append("seccomp=unconfined"),
        "seccomp on",
        {"security_opt": ["no-new-privileges:true", "seccomp=unconfined"]},
    ),
    (
        lambda data: data["HostConfig"].update(MemorySwap=2000),
        "a memory limit that covers swap",
        {"memswap_limit": "2g"},
    ),
    (
        lambda data: data["HostConfig"].update(Memory=0, MemorySwap=0),
        "a memory limit that covers swap",
        {"mem_limit": None},
    ),
    (lambda data: data["HostConfig"].update(PidsLimit=None), "a limit of processes", {"pids_limit": -1}),
    (lambda data: data["HostConfig"].update(CpuShares=2048), "fewer shares of the processors than the proxy", {}),
    (lambda data: data["HostConfig"].update(Ulimits=None), "no core dumps", {"ulimits": {"core": -1}}),
    (lambda data: data["HostConfig"].update(PidMode="host"), "no namespace of the host", {"pid": "host"}),
    (lambda data: data["HostConfig"].update(IpcMode="host"), "no namespace of the host", {"ipc": "host"}),
    (
        lambda data: data["NetworkSettings"]["Networks"].update(demo_edge={}),
        "internal networks only",
        {"networks": ["web", "edge"]},
    ),
    (
        lambda data: data["Mounts"].append({"Source": "/var/run/docker.sock", "Type": "bind"}),
        "no way to the engine",
        {"volumes": ["/var/run/docker.sock:/var/run/docker.sock"]},
    ),
]


def described_with(keys: dict[str, Any], **file: Any) -> Any:
    """The catalogue of a Compose file whose app has these keys."""
    data = copy.deepcopy(CATALOGUE)
    data["services"][0]["compose"] |= keys
    data["compose"] |= file
    return described.parse(data)


@pytest.mark.parametrize(("soften", "what"), [each[:2] for each in SOFTENED], ids=[what for _, what, _ in SOFTENED])
def test_softened_containers_are_told(
    soften: Callable[[dict[str, Any]], Any], what: str, plantation: Plantation
) -> None:
    soften(plantation.containers[0])
    assert told(doctor_containers.hardening, plantation) == f"demo-app-1 should have {what}"


@pytest.mark.parametrize(
    ("soften", "what", "keys"), [each for each in SOFTENED if each[2]], ids=[what for _, what, keys in SOFTENED if keys]
)
def test_what_the_file_itself_does_without_is_a_warning(
    soften: Callable[[dict[str, Any]], Any], what: str, keys: dict[str, Any], plantation: Plantation
) -> None:
    soften(plantation.containers[0])
    plantation.catalogue = described_with(keys)
    assert warned(doctor_containers.hardening, plantation) == f"demo-app-1 does without {what}"


@pytest.mark.parametrize(("soften", "what"), [each[:2] for each in SOFTENED], ids=[what for _, what, _ in SOFTENED])
def test_of_a_stack_that_asks_for_no_hardening_all_is_a_warning(
    soften: Callable[[dict[str, Any]], Any], what: str, plantation: Plantation
) -> None:
    soften(plantation.containers[0])
    plantation.catalogue = described_with({}, **{"x-coffre": {}})
    assert warned(doctor_containers.hardening, plantation) == f"demo-app-1 does without {what}"


@pytest.mark.parametrize("user", ["0:0", "root", ""])
def test_a_container_that_runs_as_root_is_a_warning(user: str, plantation: Plantation) -> None:
    plantation.containers[0]["Config"]["User"] = user
    text = told(doctor_containers.hardening, plantation)
    assert text == "demo-app-1 should have its service's uid; demo-app-1 runs as root"
    plantation.containers[0]["Config"]["User"] = "0:0"
    plantation.catalogue = described_with({"user": "0:0"})
    assert warned(doctor_containers.hardening, plantation) == "demo-app-1 runs as root"


def test_a_container_of_another_uid_is_told(plantation: Plantation) -> None:
    plantation.containers[0]["Config"]["User"] = "60999:60999"
    assert told(doctor_containers.hardening, plantation) == "demo-app-1 should have its service's uid"


@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        ([0], "the packages of the images are 0 days old"),
        ([0, 30], "the packages of the images are 30 days old"),
        (
            [0, 31],
            "since they were built: app (31 days); give container_images_packages_of in the inventory",
        ),
        ([400, 20000], "since they were built: app (400 days)"),
        ([20000], "the packages of the images are 0 days old"),
    ],
)
def test_old_images_are_a_warning(
    days: list[int], sentence: str, plantation: Plantation, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [(datetime.now(UTC) - timedelta(days=each)).strftime("%Y-%m-%dT%H:%M:%SZ") for each in days]
    monkeypatch.setattr(compose, "call", lambda *_, **__: "\n".join(layers))
    note = doctor_containers.images(plantation.target())
    assert sentence in note
    assert isinstance(note, examined.Caution) == ("since" in sentence)


def test_a_proxy_without_a_share_is_told(plantation: Plantation) -> None:
    proxy = json.loads(json.dumps(HARDENED)) | {"Name": "/demo-proxy-1"}
    proxy["HostConfig"]["PortBindings"] = {"8443/tcp": [{"HostPort": "8443"}]}
    plantation.containers.append(proxy)
    sentence = "demo-app-1 should have fewer shares of the processors than the proxy"
    assert told(doctor_containers.hardening, plantation) == sentence
    proxy["HostConfig"]["CpuShares"] = 8192
    assert doctor_containers.hardening(plantation.target())


def test_the_proxy_may_be_on_a_network_that_is_not_internal(plantation: Plantation) -> None:
    plantation.containers[0]["NetworkSettings"]["Networks"]["demo_edge"] = {}
    plantation.containers[0]["HostConfig"]["PortBindings"] = {"8443/tcp": [{"HostPort": "8443"}]}
    assert doctor_containers.hardening(plantation.target())


def warned(check: Callable[[examined.Target], str], plantation: Plantation) -> str:
    """What a check that passes would have a person see to, "" for nothing."""
    note = check(plantation.target())
    return str(note) if isinstance(note, examined.Caution) else ""


@pytest.mark.parametrize("profile", ["", "unconfined", None])
def test_containers_without_an_apparmor_profile_are_a_warning(profile: str | None, plantation: Plantation) -> None:
    assert warned(doctor_containers.hardening, plantation) == ""
    plantation.containers[0]["AppArmorProfile"] = profile
    assert warned(doctor_containers.hardening, plantation).startswith("no AppArmor profile confines demo-app-1, though")


def test_a_kernel_without_apparmor_is_a_warning_unless_it_has_selinux(plantation: Plantation) -> None:
    enabled = plantation.sys / "module/apparmor/parameters/enabled"
    enabled.write_text("N\n")
    assert warned(doctor_containers.hardening, plantation).startswith("AppArmor is off in this kernel")
    enabled.unlink()
    assert warned(doctor_containers.hardening, plantation).startswith("AppArmor is off in this kernel")
    (plantation.sys / "fs/selinux").mkdir(parents=True)
    (plantation.sys / "fs/selinux/enforce").write_text("1")
    assert warned(doctor_containers.hardening, plantation) == ""


class Filter:
    """The packet filter of a host, as commands tell it: `rules` is Docker's chain, `loaded` our table."""

    def __init__(self, plantation: Plantation, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rules = True
        network = {"Id": "a" * 64, "Driver": "bridge", "Options": {}, "Name": "demo_web", "Internal": True}
        monkeypatch.setattr(compose, "call", self.call)
        monkeypatch.setattr(examined.Target, "ask", staticmethod(lambda *_: [network]))
        plantation.containers[0]["HostConfig"]["PortBindings"] = {"8443/tcp": [{"HostPort": "8443"}]}
        rules = firewall.of_stack([network], {"8443/tcp"})
        plantation.paths.firewall.write_text(rules)
        self.loaded = self.intended = "\n".join(firewall.shown(rules))
        monkeypatch.setattr(doctor_host, "ENGINE", plantation.paths.lib_root / "daemon.json")
        monkeypatch.setattr(doctor_host, "ENGINE_PID", plantation.paths.lib_root / "docker.pid")

    def call(self, command: list[str]) -> str:
        match command[0]:
            case "unshare":
                return self.intended
            case "docker":
                return f"{'a' * 64}\n"
            case "nft" if self.loaded:
                return self.loaded
            case "iptables" if self.rules:
                return "Chain DOCKER-USER (1 references)\n"
        raise CoffreError("no such thing")


@pytest.fixture
def packets(plantation: Plantation, monkeypatch: pytest.MonkeyPatch) -> Filter:
    return Filter(plantation, monkeypatch)


def test_a_flushed_packet_filter_is_told(plantation: Plantation, packets: Filter) -> None:
    assert warned(doctor_host.packet_filter, plantation) == ""
    packets.loaded += "and more"
    assert told(doctor_host.packet_filter, plantation).startswith("the loaded table inet coffre is not that of /usr")
    packets.loaded, packets.rules = "", False
    sentence = told(doctor_host.packet_filter, plantation)
    assert sentence.startswith("the loaded table inet coffre is none, in spite of /usr/local/lib/coffre/firewall.nft; ")
    assert "the engine's own rules are gone" in sentence


def test_networks_from_which_the_host_is_open_are_told(plantation: Plantation, packets: Filter) -> None:
    rules = plantation.paths.firewall.read_text()
    for different in ("", rules.replace("aaa", "bbb"), rules.replace("8443", "22")):
        plantation.paths.firewall.write_text(different)
        assert "can be reached" in told(doctor_host.packet_filter, plantation)
    # As with the rules of an earlier version, which take in none of a stack's.
    plantation.paths.firewall.write_text(rules)
    packets.loaded = packets.intended = "chain containers"
    assert "can be reached" in told(doctor_host.packet_filter, plantation)


@pytest.mark.parametrize(
    ("configuration", "arguments"),
    [
        ('{"iptables": false}', ""),
        ('{"firewall-backend": "nftables"}', ""),
        ("{}", "dockerd\0--iptables=false\0"),
        ("", "dockerd\0--firewall-backend\0nftables\0"),
    ],
)
def test_an_engine_that_makes_no_rules_lacks_none(
    configuration: str, arguments: str, plantation: Plantation, packets: Filter
) -> None:
    packets.rules = False
    assert "are gone" in told(doctor_host.packet_filter, plantation)
    doctor_host.ENGINE.write_text(configuration)
    doctor_host.ENGINE_PID.write_text("42\n")
    (plantation.processes / "42").mkdir()
    (plantation.processes / "42/cmdline").write_text(arguments)
    assert warned(doctor_host.packet_filter, plantation) == ""


@pytest.mark.parametrize(("release", "kept"), [("12", True), ("13", False)])
def test_a_pin_of_debian_12_is_told_on_13(
    release: str, kept: bool, plantation: Plantation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_host, "RELEASE", plantation.paths.lib_root / "os-release")
    monkeypatch.setattr(doctor_host, "PINS", plantation.paths.lib_root / "pins")
    doctor_host.RELEASE.write_text(f'NAME="Debian GNU/Linux"\nVERSION_ID="{release}"\n')
    assert doctor_host.packages(plantation.target())
    doctor_host.PINS.touch()
    if kept:
        assert doctor_host.packages(plantation.target())
    else:
        assert "is left from Debian 12" in told(doctor_host.packages, plantation)


def test_values_in_metadata_are_told(plantation: Plantation, monkeypatch: pytest.MonkeyPatch) -> None:
    value = plantation.value("db", "db-password").decode()
    plantation.containers[0]["Config"]["Labels"]["note"] = f"db={value}"
    assert (
        told(doctor_leaks.metadata, plantation) == "the value of db-password stands in docker inspect of the containers"
    )
    del plantation.containers[0]["Config"]["Labels"]["note"]
    monkeypatch.setattr(compose, "call", lambda *_, **__: f"RUN echo {value.encode().hex()}")
    assert told(doctor_leaks.metadata, plantation) == "the value of db-password stands in docker history of sha256:abc"


def test_a_value_too_short_to_be_searched_for_is_named(plantation: Plantation) -> None:
    target = plantation.target()
    target.__dict__["values"] = {"pin": b"12345678901", "api-key": plantation.canary.encode()}
    assert doctor_leaks.metadata(target).endswith("; too short to be searched for: pin")


@pytest.mark.parametrize("variable", ["DEMO_MODE=true", "API_KEY=", "DB_PASSWORD=x", "KC_BOOTSTRAP_ADMIN_PASSWORD=x"])
def test_variables_that_are_for_secrets_are_told(variable: str, plantation: Plantation) -> None:
    plantation.containers[0]["Config"]["Env"].append(variable)
    assert told(doctor_leaks.environment, plantation) == f"demo-app-1 has the variable {variable.partition('=')[0]}"


@pytest.mark.parametrize(
    "variable", ["HTTPS_PROXY=http://kim:pa%20ss@proxy.example:3128", "DATABASE_URL=postgres://:x@db/shop"]
)
def test_a_password_in_a_url_of_a_variable_is_told(variable: str, plantation: Plantation) -> None:
    plantation.containers[0]["Config"]["Env"] += ["PUBLIC_URL=https://localhost:8443/@me", "MAIL=a:b@c", variable]
    name = variable.partition("=")[0]
    assert told(doctor_leaks.environment, plantation) == f"demo-app-1 has a password in the variable {name}"


@pytest.mark.parametrize("kind", ["environ", "cmdline"])
def test_values_in_processes_are_told(kind: str, plantation: Plantation) -> None:
    process = plantation.processes / "42"
    process.mkdir()
    for name in ("environ", "cmdline"):
        (process / name).write_bytes(b"PATH=/\0")
    assert "in 2 environments and argument lists" in doctor_leaks.environment(plantation.target())
    (process / kind).write_bytes(b"K=" + plantation.value("app", "api-key") + b"\0")
    assert told(doctor_leaks.environment, plantation) == f"the value of api-key stands in {process / kind}"


@pytest.mark.parametrize(
    ("exported", "group", "kind", "warned"),
    [
        ({"K": "api-key"}, "own", "environ", True),
        ({"K": "api-key"}, "other", "environ", False),
        ({"K": "api-key"}, "own", "cmdline", False),
        ({"K": "other"}, "own", "environ", False),
        ({}, "own", "environ", False),
    ],
)
def test_a_value_that_the_environment_shim_gave_is_a_warning(
    exported: dict[str, str], group: str, kind: str, warned: bool, plantation: Plantation
) -> None:
    target = plantation.target()
    container = plantation.containers[0]
    container["Config"].setdefault("Labels", {})["com.docker.compose.service"] = "app"
    service = target.catalogue.services["app"]
    entry = compose_file.Entry("app", {}, coffre={"environment": exported})
    target.catalogue.services["app"] = replace(service, entry=entry)
    process = plantation.processes / "42"
    process.mkdir()
    (process / "cgroup").write_text(f"0::/system.slice/docker-{container['Id'] if group == 'own' else group}.scope\n")
    (process / kind).write_bytes(b"K=" + plantation.value("app", "api-key") + b"\0")
    if warned:
        said = doctor_leaks.environment(target)
        assert said == "app has the value of api-key in its environment, as its x-coffre.environment says"
    else:
        with pytest.raises(CoffreError, match=f"the value of api-key stands in {process / kind}"):
            doctor_leaks.environment(target)


def test_values_in_logs_are_told(plantation: Plantation, tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    log.write_text('{"log": "started"}\n')
    (tmp_path / "c-json.log.1").write_bytes(b'{"log": "got ' + plantation.value("app", "api-key") + b'"}\n')
    plantation.containers[0]["LogPath"] = str(log)
    assert told(doctor_leaks.logs, plantation) == "the value of api-key stands in the log of demo-app-1"


def test_a_value_of_several_lines_is_told_where_each_became_an_entry(plantation: Plantation, tmp_path: Path) -> None:
    lines = ["the first line of it", "and yet another one"]
    log = tmp_path / "c-json.log"
    plantation.containers[0]["LogPath"] = str(log)
    target = plantation.target()
    target.__dict__["values"] = {"note": "\n".join(lines).encode(), "api-key": plantation.canary.encode()}
    log.write_text(json.dumps({"log": lines[0]}) + "\n")
    assert doctor_leaks.logs(target).startswith("no value in")
    log.write_text("".join(json.dumps({"log": f"{line}\n"}) + "\n" for line in lines))
    with pytest.raises(CoffreError, match="the value of note stands in the log of demo-app-1"):
        doctor_leaks.logs(target)


@pytest.mark.parametrize(
    ("text", "sentence"), [(b"started", ""), (b"got %s", "the value of api-key stands in the log")]
)
def test_logs_of_another_driver_are_searched_as_the_engine_tells_them(
    text: bytes, sentence: str, plantation: Plantation, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = plantation.value("app", "api-key")
    monkeypatch.setattr(compose, "logged", lambda _: text.replace(b"%s", value))
    if sentence:
        assert sentence in told(doctor_leaks.logs, plantation)
    else:
        assert not isinstance(doctor_leaks.logs(plantation.target()), examined.Caution)


def test_logs_that_the_engine_cannot_read_are_not_called_clean(
    plantation: Plantation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> bytes:
        raise CoffreError("configured logging driver does not support reading")

    plantation.containers[0]["HostConfig"]["LogConfig"] = {"Type": "gelf"}
    monkeypatch.setattr(compose, "logged", refuse)
    note = doctor_leaks.logs(plantation.target())
    assert isinstance(note, examined.Caution)
    assert note == "not searched: the log of demo-app-1, which the driver gelf does not give back"


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([(200, None), (200, {"status": "ready"})], ""),
        (
            [(503, None), (503, {"cause": "secret missing: api-key"})],
            f"{ENDPOINTS[0]} answers 503; {ENDPOINTS[1]} answers 503 (secret missing: api-key)",
        ),
        ([(200, None), (404, ["other"])], f"{ENDPOINTS[1]} answers 404"),
        ([(0, None), (200, None)], f"{ENDPOINTS[0]} gives no answer that can be trusted"),
    ],
)
def test_the_stack_is_asked_where_the_inventory_says(
    answers: list[tuple[int, Any]], sentence: str, plantation: Plantation, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(zip(ENDPOINTS, answers, strict=True))
    monkeypatch.setattr(endpoints, "fetch", lambda url, *_: given[url])
    if sentence:
        assert told(doctor_answers.endpoints, plantation) == sentence
    else:
        assert doctor_answers.endpoints(plantation.target()) == f"{', '.join(ENDPOINTS)} answer"


def test_a_stack_without_an_endpoint_says_so(plantation: Plantation) -> None:
    target = plantation.target()
    target.endpoints = ()
    assert doctor_answers.endpoints(target) == "the inventory names no endpoint"


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ((True, '{"status": "ready"}'), ""),
        ((False, '{"cause": "client refused"}'), 'demo-app-1 is not ready ({"cause": "client refused"})'),
        ((False, ""), "demo-app-1 is not ready (it says nothing)"),
    ],
)
def test_each_container_is_asked_by_its_own_check(
    own: tuple[bool, str], sentence: str, plantation: Plantation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def checked(_: Container, command: list[str]) -> tuple[bool, str]:
        asked.append(command)
        return own

    monkeypatch.setattr(compose, "checked", checked)
    plantation.containers[:] = [json.loads(json.dumps(RUNNING))]
    if sentence:
        assert told(doctor_answers.readiness, plantation) == sentence
    else:
        assert doctor_answers.readiness(plantation.target()) == "1 containers pass their own check"
    assert asked == [["probe", "/ready"]]


def test_the_health_check_is_asked_where_there_is_no_readiness_command(
    plantation: Plantation, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = json.loads(json.dumps(RUNNING))
    del container["Config"]["Labels"]["coffre.ready"]
    container["Config"]["Healthcheck"] = {"Test": ["CMD-SHELL", "probe /health"]}
    plantation.containers[:] = [container]
    asked: list[list[str]] = []

    def checked(_: Container, command: list[str]) -> tuple[bool, str]:
        asked.append(command)
        return True, ""

    monkeypatch.setattr(compose, "checked", checked)
    assert doctor_answers.readiness(plantation.target()) == "1 containers pass their own check"
    assert asked == [["/bin/sh", "-c", "probe /health"]]
    del container["Config"]["Healthcheck"]
    assert warned(doctor_answers.readiness, plantation) == (
        "without a health check, so that it counts as healthy when it has run for a while: demo-app-1"
    )


@pytest.mark.parametrize(
    ("health", "sentence"),
    [("healthy", ""), ("starting", ""), ("unhealthy", "app needs a rollout (it is unhealthy)")],
)
def test_a_container_that_the_engine_has_not_asked_yet_is_well(
    plantation: Plantation, monkeypatch: pytest.MonkeyPatch, health: str, sentence: str
) -> None:
    container = json.loads(json.dumps(RUNNING))
    container["State"]["Health"] = {"Status": health}
    container["HostConfig"]["RestartPolicy"] = {"Name": "unless-stopped"}
    plantation.containers[:] = [container]
    plantation.paths.compose.write_text("")
    runs = compose.parse(container)
    desired = DesiredService("app", runs.config_hash, runs.image, runs.image_id, runs.bundle, "restart", runs.restart)
    monkeypatch.setattr(compose, "desired", lambda _: {"app": desired})
    if sentence:
        assert told(doctor_containers.containers, plantation) == sentence
    else:
        assert doctor_containers.containers(plantation.target()) == "1 containers run their current bundles"


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., None]:
    """A git repository in tmp_path/repo; calling it runs git there."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "init.defaultBranch=main"]
        folder = tmp_path / "repo"
        folder.mkdir(exist_ok=True)
        subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)

    git("init")
    return git


def looked_at(plantation: Plantation, tmp_path: Path) -> None:
    """Let the doctor look at the repository's history."""
    collected = history.collect(tmp_path / "repo")
    assert collected
    history.write(tmp_path / "words.gz", collected.words)
    assert (tmp_path / "words.gz").stat().st_mode & 0o777 == 0o600
    plantation.history = examined.History(tmp_path / "words.gz", tuple(collected.private_keys), "clean")


def test_values_in_the_history_are_told(
    repository: Callable[..., None], plantation: Plantation, tmp_path: Path
) -> None:
    (tmp_path / "repo" / "readme").write_text("nothing to see, -----BEGIN PRIVATE KEY----- is but a header\n")
    repository("add", ".")
    repository("commit", "-m", "first")
    looked_at(plantation, tmp_path)
    assert doctor_leaks.git_history(plantation.target()) == "clean"

    # Committed, removed, and no longer of any branch.
    leak, key = tmp_path / "repo" / "leak", tmp_path / "repo" / "key"
    leak.write_bytes(b"password: '" + plantation.value("db", "db-password") + b"'\n")
    key.write_bytes(plantation.value("proxy", "tls"))
    repository("add", ".")
    repository("commit", "-m", "second")
    repository("reset", "--hard", "HEAD^")
    looked_at(plantation, tmp_path)
    sentence = told(doctor_leaks.git_history, plantation)
    assert "is a private key" in sentence
    assert "the value of db-password stands in it" in sentence
    assert "the value of tls stands in it" in sentence
    assert "api-key" not in sentence


def test_a_value_in_a_commits_message_is_told(
    repository: Callable[..., None], plantation: Plantation, tmp_path: Path
) -> None:
    repository("commit", "--allow-empty", "-m", f"Use {plantation.value('app', 'api-key').decode()}.")
    looked_at(plantation, tmp_path)
    assert told(doctor_leaks.git_history, plantation) == "the value of api-key stands in it"


def test_logins_that_do_not_count_for_good_are_told(plantation: Plantation, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, list[str]] = {"client": [], "db-password": []}
    monkeypatch.setattr(agree, "refusals", lambda *_: found)
    assert doctor_answers.logins(plantation.target()) == "accepted as deployed: client, db-password"
    found |= {"client": [Aside("Somebody gave it another secret.")], "db-password": ["It is refused: run site.yml."]}
    text = told(doctor_answers.logins, plantation)
    assert text == "client: Somebody gave it another secret.; db-password: It is refused: run site.yml."


def test_logins_need_the_python_of_the_modules(plantation: Plantation, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr(agree, "refusals", missing)
    assert "the modules' Python is not on this host" in told(doctor_answers.logins, plantation)


def test_a_host_without_anything_is_told_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    target = examined.Target(
        StackPaths("demo", tmp_path / "run", tmp_path / "lib"),
        described.parse(CATALOGUE),
        ("https://localhost:1/ready",),
        tmp_path / "ca.crt",
        examined.History(None, (), "clean"),
    )
    found = {check.check: check for check in doctor.examine(target)}
    assert len(found) == len(doctor.EXAMINATIONS)
    assert found["state"].message.startswith("stack demo was never deployed on this host. What to do: run playbooks")
    assert found["engine"].message.startswith("docker is not installed on this host")
    assert found["containers"].message == "not checked, because of: engine, state"
    assert found["git history"].ok


def test_what_cannot_be_read_fails_its_own_check_only(plantation: Plantation, tmp_path: Path) -> None:
    (tmp_path / "words.gz").write_bytes(gzip.compress(b"words")[:-3])
    plantation.history = examined.History(tmp_path / "words.gz", (), "clean")
    plantation.paths.compose.write_text("services: {}\n")
    target = plantation.target()
    target.ca_path = tmp_path / "absent"
    found = {check.check: check for check in doctor.examine(target)}
    assert not found["git history"].ok
    assert "cannot be read (No such file or directory)" in found["certificates"].message
    assert found["bundles"].ok and found["permissions"].ok


def test_what_is_to_be_seen_to_passes_with_a_warning(plantation: Plantation) -> None:
    created = (datetime.now(UTC) - timedelta(days=70)).strftime("%Y-%m-%dT%H:%M:%SZ")
    plantation.alter(lambda st: setattr(st.secrets["api-key"], "created", created))
    found = {check.check: check for check in doctor.examine(plantation.target())}
    assert (found["ages"].ok, found["ages"].warn) == (True, True)
    assert (found["bundles"].ok, found["bundles"].warn) == (True, False)
    assert (found["containers"].ok, found["containers"].warn) == (False, False)


def test_a_state_that_is_none_is_told(plantation: Plantation) -> None:
    plantation.paths.state.write_text("{")
    found = {check.check: check for check in doctor.examine(plantation.target())}
    assert "cannot be understood" in found["state"].message
    assert found["bundles"].message == "not checked, because of: state"
