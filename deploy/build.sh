# Sourced by train.sh and test.sh: install what is missing, configure, build. Says nothing and touches no network when all is there.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

# install_packages GROUP...   the packages of these groups in packages.txt that are not installed yet
install_packages() {
    command -v dpkg-query >/dev/null || {
        say "This is not Debian; make sure that you have the counterparts of the packages in deploy/packages.txt."
        return 0
    }
    local wanted missing=() package group reason
    wanted=" $* "
    while read -r package group reason; do
        [[ $package == \#* || -z $package || $wanted != *" $group "* ]] && continue
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done <"$root/deploy/packages.txt"
    ((${#missing[@]})) || return 0

    local as_root=()
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            say "These packages are missing and installing them needs root or sudo: ${missing[*]}"
            return 1
        fi
        as_root=(sudo)
        [[ -t 0 ]] || as_root=(sudo -n)
        if ! "${as_root[@]}" true; then
            say "These packages are missing and sudo was refused: ${missing[*]}"
            return 1
        fi
    fi
    say "Installing: ${missing[*]}"
    local log
    log=$(mktemp) || return 1
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
        # the lists of a fresh system are empty, those of an old one out of date
        if ! "${as_root[@]}" apt-get -q update >"$log" 2>&1 ||
            ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            rm -f "$log"
            say "apt-get could not install them: see the lines above."
            return 1
        fi
    fi
    rm -f "$log"
}

# configure DIR OPTION...   cmake, quiet unless it fails
configure() {
    local dir=$1 log
    shift
    # without this, a tree that was configured with other tools would keep them
    mkdir -p "$dir" && log=$dir/configure.log
    if ! cmake -S "$root" -B "$dir" -G Ninja "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        say "The build could not be configured: see the lines above (all of them are in $log)."
        return 1
    fi
}

# build DIR [TARGET...]   ninja, one line when there is nothing to do
build() {
    local dir=$1
    shift
    if ! ninja -C "$dir" "$@" >"$dir/build.log" 2>&1; then
        grep -E -A 12 'FAILED|error:' "$dir/build.log" | head -n 60 >&2
        say "The build failed: see the lines above (all of them are in $dir/build.log)."
        return 1
    fi
}
