# Sourced by train.sh and test.sh: configure and build, silent unless something fails.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

# configure DIR OPTION...   cmake, quiet unless it fails
configure() {
    local dir=$1 log
    shift
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
