"""The deployed stack as its users and its host's kernel see it."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from machines import STACK, Container, fetch, read_state, run_playbook

testinfra_hosts = ["ansible://stack_hosts"]

SECRETS = {
    "app": {"audit-log-signing-key", "flask-secret-key", "keycloak-service-client-secret", "versions.json"},
    "keycloak": {"keycloak.conf"},
    "postgres": set(),
    "proxy": {"haproxy.cfg", "proxy-tls"},
}
UIDS = {"app": 60611, "keycloak": 60612, "postgres": 60613, "proxy": 60614}


def test_healthy_through_the_proxy_for_those_who_trust_its_ca(host: Any, containers: list[Container]) -> None:
    status, body = fetch(host, "/health")
    assert status == 200
    assert json.loads(body) == {"status": "healthy"}  # the secrets' names are for those inside
    app = next(each for each in containers if each.service == "app")
    inside = json.loads(host.check_output(f"docker exec {app.inspect['Id']} python3 -IS /opt/app/app/probe.py /health"))
    assert inside == {"status": "healthy", "secrets": dict.fromkeys(SECRETS["app"] - {"versions.json"}, "loaded")}
    assert fetch(host, "/ready")[0] == 200
    assert fetch(host, "/realms/iam/.well-known/openid-configuration")[0] == 200


def test_refused_by_those_who_do_not(host: Any) -> None:
    status, reason = fetch(host, "/health", ca="")
    assert status == 0
    assert "CERTIFICATE_VERIFY_FAILED" in reason


def test_plain_http_only_redirects(host: Any) -> None:
    status, target = fetch(host, "/health", url="http://localhost:8080")
    assert status in (301, 308)
    assert target == "https://localhost:8443/health"


def test_secrets_lie_on_a_tmpfs_that_never_swaps(host: Any) -> None:
    options = host.check_output("findmnt --noheadings --output FSTYPE,OPTIONS --mountpoint /run/coffre").split()
    assert options[0] == "tmpfs"
    assert {"rw", "nosuid", "nodev", "noexec", "noswap", "mode=700"} <= set(options[1].split(","))


def test_each_secret_is_readable_by_its_service_alone(host: Any) -> None:
    """Every path below the tmpfs and the library is accounted for: type, mode, owner."""
    seen = host.check_output(f"find /run/coffre /var/lib/coffre/{STACK} -printf '%y %04m %U:%G %p\\n'").splitlines()
    state = read_state(host)
    assert len(seen) > 20
    for line in seen:
        kind, mode, owner, path = line.split(" ", 3)
        match path.removeprefix(f"/run/coffre/{STACK}").split("/") if path.startswith("/run/") else None:
            case ["", service, *rest] if service in UIDS or service == "host":
                uid = UIDS.get(service, 0)
                reload = service == "proxy"
                expected = {
                    "f": ("0400", f"{uid}:{uid}"),
                    "d": ("0500" if reload else "0700", f"{uid}:{uid}" if reload else "0:0"),
                    "l": ("0777", owner),
                }[kind]
                assert (mode, owner) == expected, line
                if rest:
                    assert rest[0] in {*state["services"][service]["bundles"], "current"}, line
                assert kind != "l" or rest == ["current"], line
            case _:
                assert (kind, mode, owner) in {("d", "0700", "0:0"), ("f", "0600", "0:0"), ("f", "0644", "0:0")}, line


def test_each_container_sees_exactly_its_own_secrets(host: Any, containers: list[Container]) -> None:
    for container in containers:
        root = f"/proc/{container.pid}/root"
        seen = host.check_output(f"find {root}/run/secrets -type f -printf '%f\\n' 2>/dev/null || true").split()
        assert set(seen) == SECRETS[container.service], container.service
        mounts = host.check_output(f"cat /proc/{container.pid}/mountinfo").splitlines()
        from_host = {line.split()[4] for line in mounts if f"/{STACK}/" in line.split()[3]}
        # One that reloads has the folder of its bundles, the others each file.
        reloads = container.service == "proxy"
        allowed = {"/run/secrets"} if reloads else {f"/run/secrets/{name}" for name in SECRETS[container.service]}
        assert from_host == allowed, container.service


def test_containers_are_held_down(host: Any, containers: list[Container]) -> None:
    for container in containers:
        settings = container.inspect["HostConfig"]
        assert settings["ReadonlyRootfs"] is True
        assert settings["Privileged"] is False
        assert settings["Memory"] == settings["MemorySwap"] > 0
        assert 0 < settings["PidsLimit"] <= 512
        assert (settings["CpuShares"] > 1024) == (container.service == "proxy")
        assert settings["RestartPolicy"]["Name"] == "unless-stopped"
        assert settings["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
        # What the kernel says of every process in it, not what the engine was asked for.
        read = (
            "for pid in $(docker top {} -eo pid | tail -n +2); do cat /proc/$pid/status /proc/$pid/limits; echo; done"
        )
        processes = host.check_output(read.format(container.inspect["Id"])).strip().split("\n\n")
        for process in processes:
            status = dict(re.findall(r"^(\w+):\s+(.*)$", process, re.MULTILINE))
            uid = UIDS[container.service]
            assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(uid)}, container.service
            assert status["NoNewPrivs"] == "1"
            assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
            assert re.search(r"^Max core file size\s+0\s+0\s", process, re.MULTILINE)


def test_nothing_can_be_written_where_it_would_stay(host: Any, containers: list[Container]) -> None:
    """Each container's file systems are read-only, tmpfs, or a volume that the template names."""
    volumes = {"app": {"/var/lib/coffre-app"}, "postgres": {"/var/lib/postgresql"}}
    fleeting = {"tmpfs", "proc", "devpts", "mqueue", "sysfs", "cgroup", "cgroup2"}
    # Bind mounts of Docker's own, which the container's user cannot write.
    engine = {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}
    for container in containers:
        writable = set()
        for line in host.check_output(f"cat /proc/{container.pid}/mounts").splitlines():
            _, target, kind, options, *_ = line.split()
            if kind not in fleeting and "rw" in options.split(","):
                writable.add(target)
        assert writable - engine == volumes.get(container.service, set()), container.service


def test_only_the_proxy_is_on_a_network_that_leads_outside(host: Any, containers: list[Container]) -> None:
    names = " ".join(f"{STACK}_{name}" for name in ("edge", "app", "web", "data"))
    networks = json.loads(host.check_output(f"docker network inspect {names}"))
    assert {entry["Name"]: entry["Internal"] for entry in networks} == {
        f"{STACK}_edge": False,
        f"{STACK}_app": True,
        f"{STACK}_web": True,
        f"{STACK}_data": True,
    }
    places = {container.service: set(container.inspect["NetworkSettings"]["Networks"]) for container in containers}
    assert places == {
        "proxy": {f"{STACK}_edge", f"{STACK}_app", f"{STACK}_web"},
        "app": {f"{STACK}_app"},
        "keycloak": {f"{STACK}_web", f"{STACK}_data"},
        "postgres": {f"{STACK}_data"},
    }
    published = {
        container.service for container in containers if any(container.inspect["NetworkSettings"]["Ports"].values())
    }
    assert published == {"proxy"}


def test_the_demo_is_there_for_this_machine_alone(host: Any) -> None:
    listening = host.check_output("ss --no-header --listening --tcp --numeric 'sport = :8443 or sport = :8080'")
    assert {line.split()[3] for line in listening.splitlines()} == {"127.0.0.1:8443", "127.0.0.1:8080"}


def test_the_app_reaches_neither_keycloak_nor_the_database(host: Any, containers: list[Container]) -> None:
    """By address, from inside, where no name is needed; the proxy, for comparison, does reach Keycloak."""
    places = {each.service: each for each in containers}
    addresses = {
        name: [each["IPAddress"] for each in places[name].inspect["NetworkSettings"]["Networks"].values()]
        for name in ("keycloak", "postgres")
    }
    targets = [f"{address} {port}" for address in addresses["keycloak"] for port in (8080, 9000, 7800)]
    targets += [f"{address} 5432" for address in addresses["postgres"]]
    connect = (
        "import socket, sys\n"
        "for target in sys.argv[1:]:\n"
        "    address, port = target.split()\n"
        "    try:\n"
        "        socket.create_connection((address, int(port)), 0.5)\n"
        "        print(target)\n"
        "    except OSError:\n"
        "        pass"
    )
    command = f"nsenter --net --target {{}} python3 -c {shlex.join([connect, *targets])}"
    assert host.check_output(command.format(places["app"].pid)) == ""
    reached = host.check_output(command.format(places["proxy"].pid)).splitlines()
    assert {line.split()[1] for line in reached} >= {"8080", "9000"}


def test_the_host_is_brought_up_in_the_right_order(host: Any) -> None:
    assert host.service("coffre-restore.service").is_enabled
    assert host.service("docker.service").is_enabled
    properties = host.check_output("systemctl show --property=Requires,After docker.service")
    assert all("coffre-restore.service" in line.split("=", 1)[1].split() for line in properties.splitlines())


def test_check_mode_sees_nothing_to_do() -> None:
    play = run_playbook("--check", "--diff")
    assert play.status == 0, play.output
    assert {host: figures["changed"] for host, figures in play.recap.items()} == {"debian12": 0, "debian13": 0}, (
        play.output
    )
    assert play.end[0] == "Nothing was changed."
