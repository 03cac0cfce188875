#!/bin/sh
# Makes a Debian 13 file system in the tar file $1 from the mirror that this Debian host uses itself; needs mmdebstrap.
set -eu

mirror() { # $1: the label of the archive
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" |
    grep --extended-regexp --max-count=1 '^(https?|mirror\+file):' || true)
  case $uri in
    mirror+file:*) grep --extended-regexp --only-matching --max-count=1 'https?://[^[:space:]]+' "${uri#mirror+file:}" ;;
    *) echo "$uri" ;;
  esac
}

main=$(mirror Debian)
security=$(mirror Debian-Security)
if [ -z "$main" ]; then
  echo 'No Debian mirror is among the sources of apt on this host: add one to /etc/apt/sources.list.d and run again.' >&2
  exit 1
fi

exec mmdebstrap --quiet --mode=root --variant=minbase --include=ca-certificates \
  --aptopt='Acquire::Languages "none"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
  trixie "$1" "deb $main trixie main" ${security:+"deb $security trixie-security main"}
