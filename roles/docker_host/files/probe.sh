# Says, a line each, what this host lacks; changes nothing.
# $1: SHA-256 of the lock of the modules' Python; $2: True for live-restore; $3: True for a host of a swarm. stdin: SHA-256 and path of each of our files.
. /etc/os-release
# Of Compose, which this host is to find as our modules do.
export DOCKER_CONFIG=/usr/local/lib/coffre/docker

# What takes long is asked side by side. The engine and its plugins are asked, not dpkg: a host may have them from elsewhere.
{
  docker compose version --short 2>/dev/null | grep -Eq '^v?([2-9]|[1-9][0-9])\.' || echo "package docker-compose"
  docker buildx version >/dev/null 2>&1 || echo "package docker-buildx"
} &
{
  /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || echo "package python3-venv"
  PYTHONPATH=/usr/local/lib/coffre PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m coffre.rollout.firewall 2>/dev/null || echo firewall
} &

command -v dockerd >/dev/null || echo "package docker.io"
command -v docker >/dev/null || [ "$VERSION_ID" = 12 ] || echo "package docker-cli"
command -v iptables >/dev/null || echo "package iptables"
command -v nft >/dev/null || echo "package nftables"
command -v systemd-creds >/dev/null || echo "package systemd"
[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" != Y ] ||
  command -v apparmor_parser >/dev/null || echo "package apparmor"

# Debian 13's packages on Debian 12; what is left of them on a Debian 13 would keep its own packages away.
sources=/etc/apt/sources.list.d/coffre-trixie.sources
pins=/etc/apt/preferences.d/coffre-trixie
if [ "$VERSION_ID" != 12 ]; then
  for file in $sources $pins; do [ ! -e $file ] || echo "stale $file"; done
elif [ ! -e $sources ]; then
  echo source
elif ! grep -qs trixie-security $sources || ! grep -qs trixie-security $pins; then
  echo "source without security"
fi

files=$(cat)
echo "$files" | sha256sum --check --quiet - 2>/dev/null | sed -n 's/^\(.*\): FAILED.*/file \1/p'
echo "$files" | cut -c67- | xargs -d '\n' stat -c '%a:%u:%g %n' 2>/dev/null | sed -n '/^644:0:0 /!s/^[^ ]* /file /p'
# The environment bears the lock it was made from, in a folder where the host's Python of today must still look.
packages=$(/usr/local/lib/coffre/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null)
echo "$1  $packages/coffre.lock" | sha256sum --check --status - 2>/dev/null || echo python

# By its status this command tells of no engine in some versions only.
engine=$(docker info --format '{{.ServerVersion}} {{.LiveRestoreEnabled}} {{.SecurityOptions}}' 2>/dev/null)
[ -n "${engine%% *}" ] || echo engine
[ "$2" != True ] || case "$engine" in *" true "*) ;; *) echo live-restore ;; esac
# What the engine was started with.
[ "$3" != True ] || { echo "$engine" | grep -q no-new-privileges &&
  tr '\0' '\n' <"/proc/$(cat /run/docker.pid)/environ" | grep -qx DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1; } 2>/dev/null || echo swarm
if [ ! -d /run/systemd/system ]; then
  echo systemd
elif ! systemctl is-enabled --quiet docker.service || ! systemctl is-enabled --quiet coffre-restore.service ||
  systemctl show --property=NeedDaemonReload coffre-restore.service nftables.service docker.service | grep -q yes ||
  { [ "$3" = True ] && ! systemctl is-enabled --quiet coffre-swarm-unlock.service; }; then
  echo boot
fi 2>/dev/null
wait
