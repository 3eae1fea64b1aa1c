#!/usr/bin/env bash
# deploy/packages.sh list|missing|install STAGE...
#
# The Debian packages of deploy/packages.txt whose stage is one of these: print their names, print those that are not installed,
# or install those. Quick, and without network, when nothing is missing.
set -u
list=$(dirname "${BASH_SOURCE[0]}")/packages.txt

say() { printf '%s\n' "$*" >&2; }

packages_of() {
    local package stage reason
    while read -r package stage reason; do
        [[ -z $package || $package == \#* || " $* " != *" $stage "* ]] || printf '%s\n' "$package"
    done <"$list"
}

missing_of() {
    local package
    packages_of "$@" | while read -r package; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || printf '%s\n' "$package"
    done
}

apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@"; }

install_missing() {
    local missing log
    mapfile -t missing < <(missing_of "$@")
    ((${#missing[@]})) || return 0
    as_root=()
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            say "These packages are missing, and installing them needs root or sudo: ${missing[*]}"
            return 1
        fi
        as_root=(sudo)
        [[ -t 0 ]] || as_root=(sudo -n)
        if ! "${as_root[@]}" true; then
            say "These packages are missing, and sudo was refused: ${missing[*]}"
            return 1
        fi
    fi
    say "Installing ${missing[*]}"
    log=$(mktemp) || return 1
    # the lists of a fresh system are empty and those of an old one out of date: a second try after an update
    if ! apt install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 &&
        ! { apt update && apt install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        rm -f "$log"
        say "apt-get could not install these packages (see the lines above): ${missing[*]}"
        return 1
    fi
    rm -f "$log"
}

action=${1:-}
(($#)) && shift
if ! command -v dpkg-query >/dev/null && [[ $action != list ]]; then
    say "This is not Debian: make sure that the counterparts of the packages in $list are installed."
    exit 0
fi
case $action in
list) packages_of "$@" ;;
missing) missing_of "$@" ;;
install) install_missing "$@" ;;
*)
    say "usage: deploy/packages.sh list|missing|install STAGE...   (stages: $(awk '!/^#/ && NF {print $2}' "$list" | sort -u | tr '\n' ' '))"
    exit 2
    ;;
esac
