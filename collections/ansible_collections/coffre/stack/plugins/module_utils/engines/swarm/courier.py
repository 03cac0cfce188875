"""Who brings HAProxy its files on a swarm: a service beside it, on the same nodes, with a task that may come and go.

A secret of a swarm can be given to a new task alone, and a new HAProxy would cut its clients off. So the courier's new
task has the new files, and puts them into memory of the node's that both share; HAProxy's own task stays. A node that
was away, or was booted, gets them as it gets the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from ...compose_file import LABEL_ADOPT, LABEL_BUNDLE, MOUNT, Entry
from ...rollout.proxies.haproxy.config import NAME
from ...rollout.proxies.haproxy.proxy import MASTER

FOLDER = str(PurePosixPath(MASTER).parent)  # HAProxy's socket and the courier's bundles, in both their containers
SERVED = "/tmp/served"  # noqa: S108 - in memory of the courier's own
SIZE = "4m"  # of two bundles: that in force and the next
# Of a bundle that is refused nothing stays, and Swarm puts the courier of before back, whose bundle is in force still.
# HAProxy's own check comes first, for one that does not run yet reads its files as it starts; one that is just starting
# has two seconds to listen. perl is part of every Debian.
SCRIPT = r"""
set -eu
umask 077
cd "$1"
new=$2 old=$(readlink current || true)
point() { ln -sfn "$1" .link && mv -T .link current; }
if [ ! -d "$new" ]; then
  rm -rf .new
  mkdir .new
  cp "$5"/* .new/
  mv .new "$new"
fi
haproxy -c -f "$new/$3" || { rm -rf "$new"; exit 1; }
point "$new"
said=Success=1
[ ! -S master.sock ] || said=$(perl -MIO::Socket::UNIX -e '
  alarm 120;
  my $master;
  for (1 .. 20) { last if $master = IO::Socket::UNIX->new("master.sock"); select undef, undef, undef, 0.1 }
  print("Success=1: HAProxy does not run\n"), exit if !$master;
  print $master "reload\n";
  $master->flush;
  $master->shutdown(1);
  print while <$master>;
' || true)
echo "$said"
case $said in
  *Success=1*) ;;
  *) if [ -n "$old" ]; then point "$old"; else rm current; fi; [ "$new" = "$old" ] || rm -rf "$new"; exit 1 ;;
esac
for each in *; do [ ! -d "$each" ] || [ -L "$each" ] || [ "$each" = "$new" ] || rm -rf "$each"; done
touch "$4"
exec sleep infinity
"""


def called(service: str) -> str:
    """The name of a proxy's courier, of the memory that both share, too."""
    return f"{service}-courier"


def mounts(entry: Entry) -> list[dict[str, Any]]:
    """The shared memory in HAProxy's own container, where it looks for its bundle and has its socket."""
    return [_mount(entry, MOUNT), _mount(entry, FOLDER)]


def _mount(entry: Entry, target: str) -> dict[str, Any]:
    # Else the engine would give the folder the rights that the image's has.
    return {"type": "volume", "source": called(entry.name), "target": target, "volume": {"nocopy": True}}


def volume(entry: Entry) -> dict[str, Any]:
    """The shared memory: a node's own, and gone with the last container that has it."""
    uid, gid = entry.user or (0, 0)
    options = f"size={SIZE},uid={uid},gid={gid},mode=0700,nosuid,nodev,noexec"
    return {"driver": "local", "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": options}}


def service(
    entry: Entry, proxy: Mapping[str, Any], bundle: str, secrets: list[dict[str, Any]], network: str
) -> dict[str, Any]:
    """The courier beside a rendered HAProxy, with the files of a bundle."""
    # The one of before leaves first, so that one comes anew, and brings its bundle, wherever Swarm puts it back. It is
    # one node after another: of several at once Swarm looks for failures when all have come up, and then leaves those
    # out of account that are older than `monitor` (swarmkit's updater.go).
    way = {"order": "stop-first", "parallelism": 1, "monitor": "2s"}
    kept = ("image", "user", "cap_drop", "read_only", "ulimits", "logging")
    return {
        **{key: proxy[key] for key in kept if key in proxy},
        # A dollar is doubled, for the file's variables are filled in when it is deployed.
        "entrypoint": ["/bin/sh", "-c", SCRIPT.replace("$", "$$"), "courier", FOLDER, bundle, NAME, SERVED, MOUNT],
        # Once it has come through nothing of it changes.
        "healthcheck": {
            "test": ["CMD", "test", "-e", SERVED],
            "interval": "60s",
            "start_period": "150s",
            "start_interval": "250ms",
        },
        "stop_grace_period": "0s",
        "volumes": [
            _mount(entry, FOLDER),
            {"type": "tmpfs", "target": str(PurePosixPath(SERVED).parent), "tmpfs": {"size": 65536}},
        ],
        "networks": {network: None},
        "secrets": secrets,
        "labels": {LABEL_ADOPT: entry.adopt, LABEL_BUNDLE: bundle},
        "deploy": {
            "mode": "global",
            "endpoint_mode": "dnsrr",
            "update_config": {**way, "failure_action": "rollback"},
            "rollback_config": way,
            "restart_policy": {"condition": "any", "delay": "1s"},
            "placement": proxy["deploy"]["placement"],
            "resources": {"limits": {"memory": "64m", "pids": 32}},
        },
    }
