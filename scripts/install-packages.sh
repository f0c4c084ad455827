#!/usr/bin/env bash
# Installs the Debian packages of packaging/packages.txt that are missing, with the services they bring switched off.
#
# usage: scripts/install-packages.sh [SECTION...]      default: build demo test node
#
# Asks apt for nothing when nothing is missing. Needs root, itself or by sudo. Never removes a package.
set -euo pipefail
cd "$(dirname "$0")/.."

sections=("$@")
[ ${#sections[@]} -gt 0 ] || sections=(build demo test node)

packages_of() {
  awk -v want="$1" '/^\[/ { section = substr($0, 2, length($0) - 2); next }
                    section == want && NF && $1 !~ /^#/ { print $1 }' packaging/packages.txt
}
is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for section in "${sections[@]}"; do
  if [ "$section" = node ] && command -v node >/dev/null && command -v npm >/dev/null; then continue; fi
  for package in $(packages_of "$section"); do
    is_installed "$package" || missing+=("$package")
  done
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "packages: everything is installed (${sections[*]})"
  exit 0
fi
echo "packages: ${#missing[@]} missing: ${missing[*]}"

scripts/ask-sudo.sh "packages: installing them"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 "$@"
}

# Asked whether a service may start, the policy answers no (invoke-rc.d: 101): the tests start servers themselves, on
# their own ports and folders.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

echo "packages: apt-get update"
apt_get update -qq
removed=$(apt_get install --simulate --no-install-recommends "${missing[@]}" | awk '/^Remv/ { print $2 }' | tr '\n' ' ')
if [ -n "$removed" ]; then
  echo "packages: apt would remove: $removed" >&2
  echo "packages: that is yours to decide: install by hand what is missing, then come back" >&2
  exit 1
fi
echo "packages: apt-get install"
apt_get install -y -q --no-install-recommends "${missing[@]}"
echo "packages: done"
