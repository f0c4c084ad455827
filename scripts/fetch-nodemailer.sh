#!/usr/bin/env bash
# Installs nodemailer into a private folder: DEST/node_modules/nodemailer (NODE_PATH=DEST/node_modules finds it).
#
# usage: scripts/fetch-nodemailer.sh DEST
#
# Safe to repeat: does nothing where it is already there.
set -euo pipefail
dest=${1:?usage: fetch-nodemailer.sh DEST}
version=6.9.16

have=$(node -p "require('$(realpath -m "$dest")/node_modules/nodemailer/package.json').version" 2>/dev/null || true)
if [ "$have" != "$version" ]; then
  mkdir -p "$dest"
  echo "nodemailer: installing $version"
  npm install --prefix "$dest" --no-audit --no-fund --no-save --ignore-scripts --loglevel=error "nodemailer@$version"
fi
echo "nodemailer: $version in $dest/node_modules"
