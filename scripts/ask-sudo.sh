#!/usr/bin/env bash
# Has sudo ask for the password now if it will need one, rather than in the middle of a long run.
#
# usage: scripts/ask-sudo.sh WHAT      "WHAT needs root" is what the user reads
#
# Says nothing to root, nor where sudo asks for no password.
set -euo pipefail
what=${1:?usage: ask-sudo.sh WHAT}

[ "$(id -u)" -ne 0 ] || exit 0
if ! command -v sudo >/dev/null; then
  echo "$what needs root: run this as root, or install sudo" >&2
  exit 1
fi
if sudo -n true 2>/dev/null; then exit 0; fi
echo "$what needs root: sudo asks for your password now"
if ! sudo -v; then
  echo "$what needs root, and sudo says no: run this as root, or as a user who may sudo" >&2
  exit 1
fi
