# Runs inside a test host's image while it is built.
useradd --create-home --shell /bin/bash operator
echo 'operator ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/operator
# What waits for hardware or consoles that a container does not have.
systemctl mask systemd-udevd.service systemd-udev-trigger.service getty.target console-getty.service \
  systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer
rm -f /etc/machine-id
