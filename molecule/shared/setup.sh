# Runs inside a test host's image while it is built.
useradd --create-home --shell /bin/bash ops
echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops
# What waits for hardware or consoles that a container does not have.
systemctl mask systemd-udevd.service systemd-udev-trigger.service getty.target console-getty.service \
  systemd-firstboot.service systemd-modules-load.service apt-daily.timer apt-daily-upgrade.timer
: >/etc/machine-id
