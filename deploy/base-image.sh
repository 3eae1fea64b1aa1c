#!/usr/bin/env bash
# deploy/base-image.sh [IMAGE]
#
# Makes a Debian 12 base image with debootstrap, for machines that reach the Debian packages but no image registry. Default
# IMAGE: debian:bookworm-slim. Needs root, debootstrap and a running engine; takes about a minute.
set -eu
image=${1:-debian:bookworm-slim}
docker=${DOCKER:-docker}
say() { printf '%s\n' "$*" >&2; }

((EUID == 0)) || { say "debootstrap needs root: run deploy/base-image.sh with sudo."; exit 1; }
command -v debootstrap >/dev/null || { say "debootstrap is missing: apt-get install debootstrap"; exit 1; }
"$docker" info >/dev/null 2>&1 || { say "No container engine answers: start dockerd first."; exit 1; }

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
say "Making $image with debootstrap"
debootstrap --variant=minbase --include=ca-certificates bookworm "$tree" >"$tree.log" 2>&1 ||
    { tail -n 5 "$tree.log" >&2; say "debootstrap failed: see the lines above."; exit 1; }
rm -f "$tree.log"
# what a slim image leaves out
rm -rf "$tree"/usr/share/{doc,man,info,locale}/* "$tree"/usr/share/i18n/locales "$tree"/var/cache/apt/* \
    "$tree"/var/lib/apt/lists/* "$tree"/var/log/*
# the machine's own package sources and apt settings, so that the build reaches what the machine reaches
cp -a /etc/apt/sources.list.d "$tree"/etc/apt/ 2>/dev/null || true
[ ! -f /etc/apt/sources.list ] || cp /etc/apt/sources.list "$tree"/etc/apt/sources.list
tar -C "$tree" -c . | "$docker" import --change 'CMD ["bash"]' - "$image" >/dev/null
say "$image is ready."
