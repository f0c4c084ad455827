#!/usr/bin/env bash
# Unpacks Debian's Exim into DEST without installing it: its package excludes Postfix, and the tests use both.
#
# usage: scripts/fetch-exim.sh DEST
#
# DEST/exim is the command then, to be given a configuration by -C. Debian's Exim wants a user Debian-exim at its start;
# DEST/exim shows it one by nss_wrapper instead of adding it to the system. Exim starts itself anew and empties the
# environment for that, so a configuration needs these lines:
#
#   exim_path = DEST/exim
#   keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
#
# Safe to repeat: does nothing where it already runs. The libraries it needs are in packaging/packages.txt.
set -euo pipefail
: "${1:?usage: fetch-exim.sh DEST}"
mkdir -p "$1"
dest=$(realpath "$1")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Whoever asks: what a user has fetched, root may find here as well. Exim reads a configuration only of whom it runs as
# or of root, so the probe is made anew each time.
runs() {
  [ -x "$dest/exim" ] && printf 'primary_hostname = exim.test\nkeep_environment =\n' >"$work/probe.conf" &&
    "$dest/exim" -C "$work/probe.conf" -bV >"$work/probe.log" 2>&1
}
write_command() {
  local id
  id=$(id -u)
  [ "$id" -ne 0 ] || id=64999  # as root Exim delivers under this one, which owns nothing
  { cat /etc/passwd; echo "Debian-exim:x:$id:$id:Exim:$dest:/usr/sbin/nologin"; } >"$dest/passwd"
  { cat /etc/group; echo "Debian-exim:x:$id:"; } >"$dest/group"
  cat >"$dest/exim" <<EOF
#!/bin/sh
LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD='$dest/passwd' NSS_WRAPPER_GROUP='$dest/group'
export LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
exec '$dest/usr/sbin/exim4' "\$@"
EOF
  chmod 755 "$dest/exim"
}
if runs; then
  echo "exim: $(grep -m 1 '^Exim version' "$work/probe.log"), as $dest/exim"
  exit 0
fi

download=$work/download
mkdir "$download"
chmod 755 "$work" "$download"
[ "$(id -u)" -ne 0 ] || chown _apt "$download" 2>/dev/null || true  # who downloads when root asks
echo "exim: downloading exim4-daemon-heavy and exim4-base"
fetch() {
  (cd "$download" && apt-get download -qq exim4-daemon-heavy exim4-base)
}
if ! fetch; then
  if [ "$(id -u)" -eq 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
  fetch
fi
for package in "$download"/*.deb; do dpkg -x "$package" "$dest"; done
chmod u-s "$dest/usr/sbin/exim4"
write_command
if ! runs; then
  echo "exim: $dest/exim does not run:" >&2
  cat "$work/probe.log" >&2
  ldd "$dest/usr/sbin/exim4" | grep 'not found' >&2 || true
  exit 1
fi
echo "exim: $(grep -m 1 '^Exim version' "$work/probe.log"), as $dest/exim"
