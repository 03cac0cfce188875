"""What can happen to a rotation: each fault is done while the run is held up at a record, and repaired after it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from machines import core, on_machine
from rotations import Site

from tests.keyvault_emulator.control import Control

Act = Callable[[Site], object]


def nothing(site: Site) -> None:
    """For a fault that passes by itself."""


@dataclass(frozen=True)
class Fault:
    """`do` is done while the run is held up, `mend` before the next run. `what` is for the table.

    `prepare` comes before it all, and `restore` at its end. `says` is what the harmed run has to say, if that matters.
    """

    what: str
    do: Act
    mend: Act = nothing
    prepare: Act = nothing
    restore: Act = nothing
    says: str = ""


def shell(command: str) -> Act:
    """A command of root's on the host; STACK is the stack's name, and `of SERVICE` its containers."""

    def run(site: Site) -> None:
        names = "of() { docker ps --quiet --all --filter label=com.docker.compose.project=$STACK "
        names += "--filter label=com.docker.compose.service=$1; }"
        on_machine(f"STACK={site.stack}; {names}; {command}")

    return run


def stopped(service: str) -> Fault:
    return Fault(f"{service} is killed", shell(f"docker kill $(of {service})"), shell(f"docker start $(of {service})"))


def down(service: str) -> Fault:
    """Whoever comes next has to see to it."""
    return Fault(f"{service} is killed, and stays so", shell(f"docker kill $(of {service})"))


def silent(service: str) -> Fault:
    return Fault(
        f"{service} stops to answer",
        shell(f"docker pause $(of {service})"),
        shell(f"docker unpause $(of {service}) || true"),
    )


# A container that comes up from now on loses its networks at once, so its readiness fails for want of the others.
WAYLAY = """
docker events --filter type=container --filter event=start --filter label=com.docker.compose.project=$STACK \
  --filter label=com.docker.compose.service=SERVICE --format '{{.ID}}' | while read -r id; do
    docker inspect --format '{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}' $id |
      xargs --no-run-if-empty -n 1 -I NETWORK docker network disconnect --force NETWORK $id
  done
"""


def sick(service: str) -> Fault:
    script = shlex.quote(WAYLAY.replace("SERVICE", service))
    return Fault(
        f"the new container of {service} never becomes healthy",
        shell(
            f"systemd-run --quiet --collect --unit=waylay --setenv=STACK=$STACK sh -c {script}; "
            "until pgrep -f 'docker events --filter type=container' >/dev/null; do sleep 0.1; done; sleep 0.5"
        ),
        shell("systemctl stop waylay.service || true"),
    )


def small_disk(site: Site) -> None:
    """Let the stack's folder be a file system of its own: a test host has no disk that may be filled."""
    shell(
        "lib=/var/lib/coffre/$STACK; mountpoint -q $lib && exit; mkdir -p /mnt/small; "
        "mount -t tmpfs -o size=4m,mode=0700 small /mnt/small; cp -a $lib/. /mnt/small/; mount --move /mnt/small $lib"
    )(site)


def whole_disk(site: Site) -> None:
    """Undo `small_disk`: the folder is on the host's disk again, with what it has now."""
    shell(
        "lib=/var/lib/coffre/$STACK; mountpoint -q $lib || exit 0; mkdir -p /mnt/small; mount --move $lib /mnt/small; "
        "find $lib -mindepth 1 -delete; cp -a /mnt/small/. $lib/; sync; umount /mnt/small"
    )(site)


# Fills what is left, down to the last block.
FILL = "dd if=/dev/zero of={0} bs=64k 2>/dev/null || true; dd if=/dev/zero of={0}.rest bs=512 2>/dev/null || true"
LIB, RUN = "/var/lib/coffre/$STACK/sealed/filler", "/run/coffre/filler"
DISK = Fault("the disk is full", shell(FILL.format(LIB)), shell(f"rm -f {LIB} {LIB}.rest"), small_disk, whole_disk)
TMPFS = Fault("the tmpfs is full", shell(FILL.format(RUN)), shell(f"rm -f {RUN} {RUN}.rest"))


# The controller's connections end, and it gets no other; what runs on the host goes on.
CUT = Fault(
    "the network is cut",
    shell("mv /usr/sbin/sshd /usr/sbin/sshd.away; pkill -KILL -x sshd-session || true"),
    shell("mv /usr/sbin/sshd.away /usr/sbin/sshd"),
)


# As Keycloak's permanent admin, with whichever password of the run is live.
MEDDLE = r"""
import sys
from coffre.engines import containers
from coffre.host import bundles, escrow, state
from coffre.paths import StackPaths
from coffre.strategies.keycloak import session as keycloak

paths = StackPaths(sys.argv[1])
st = state.load(paths)
server = keycloak.Instance(containers.healthy(paths, "keycloak")).url
passwords = [bundles.value(paths, st, "host", "keycloak-admin-password")]
passwords += escrow.values_by_version(paths, st.run).get("keycloak-admin-password", {}).values()
for password in passwords:
    with keycloak.session(server, "admin", password.decode()) as admin:
        if admin is None:
            continue
        if sys.argv[2] == "client":
            admin.change_current_realm("iam")
            identity = admin.get_client_id("automation-cli")
            admin.update_client(identity, admin.get_client(identity) | {"secret": "somebody-elses"})
        else:
            admin.set_user_password(admin.get_user_id("admin"), "somebody-elses", temporary=False)
        break
"""


def meddled(what: str) -> Act:
    """Somebody else changes a client's secret, or the admin's password, in the middle of the run."""

    def run(site: Site) -> None:
        on_machine(f"{core()} - {site.stack} {what}", MEDDLE)

    return run


CLIENT_REFUSED = Fault("the new secret is refused, for somebody has set another", meddled("client"))
ADMIN_REFUSED = Fault("the new password is refused, for somebody has set another", meddled("admin"))
# Both roles: the one that comes is the one that nobody is logged in as.
ROLE_REFUSED = Fault(
    "the new role is refused, for somebody has taken its password",
    shell(
        "docker exec $(of postgres) psql -XqAt -d postgres -c \"SELECT format('ALTER ROLE %I PASSWORD NULL', r) "
        "FROM unnest(ARRAY['keycloak_a', 'keycloak_b']) r WHERE r NOT IN "
        '(SELECT usename FROM pg_stat_activity WHERE usename IS NOT NULL AND client_addr IS NOT NULL)" | '
        "docker exec -i $(of postgres) psql -Xq -v ON_ERROR_STOP=1 -d postgres"
    ),
)


def transient_errors(what: str, control: Control, kind: str, operation: str, **settings: str | float | None) -> Fault:
    """The Key Vault does what the emulator is told, until it is told no more."""
    return Fault(
        f"the vault {what}",
        lambda _: control.fault(kind, operation, **settings),
        lambda _: control.clear_faults(),
    )


def both(*faults: Fault) -> Fault:
    """Several at once."""

    def each(name: str) -> Act:
        return lambda site: [getattr(fault, name)(site) for fault in faults]

    return Fault(", and ".join(fault.what for fault in faults), each("do"), each("mend"))
