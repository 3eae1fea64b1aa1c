#!/usr/bin/env bash
# deploy/test.sh [--all | --ci] [--coverage] [options of ctest]
#
# Installs what is missing, builds with AddressSanitizer and UndefinedBehaviorSanitizer in build-test/, Release in build/ and
# what runs threads with ThreadSanitizer in build-tsan/, runs every test and ends with CTest's summary and its exit status.
# Tests that measure memory or learn run the Release programs, all others the sanitized ones.
#   --all        kills, mutations and long runs at full length; our files are also read by the readers of others, which are
#                put into build-test/readers/ from PyPI; as root a worker is put behind a bad network link; where a container
#                engine answers, the image and the composed system are tested as well
#   --ci         as --all, but at the usual, shortened length
#   --coverage   instead: build in build-coverage/ without sanitizers, run the same tests, and end with the share of lines of
#                common/ and server/ that they ran; fails below 85 %
set -u
source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

stages=(build run render test)
full=off
readers=
containers=off
namespaces=off
coverage=
options=()
for option in "$@"; do
    case $option in
    --all | --ci)
        [[ $option == --all ]] && full=on
        stages+=(system)
        readers=$root/build-test/readers/bin/python
        ((EUID == 0)) && [[ -c /dev/net/tun ]] && namespaces=on
        docker info >/dev/null 2>&1 && containers=on && stages+=(container)
        ;;
    --coverage)
        coverage=yes
        ;;
    -h | --help)
        sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    *) options+=("$option") ;;
    esac
done

# install_readers PYTHON   the venv of tests/readers.txt, made anew when that list has changed
install_readers() {
    local venv=${1%/bin/python}
    cmp -s "$root/tests/readers.txt" "$venv/readers.txt" && return 0
    if ! { /usr/bin/python3 -m venv --clear "$venv" && "$1" -m pip install -q -r "$root/tests/readers.txt"; } >"$root/build-test/readers.log" 2>&1; then
        tail -n 5 "$root/build-test/readers.log" >&2
        say "The readers of tests/readers.txt could not be installed from PyPI (see the lines above): their tests are left out of this run."
        return 1
    fi
    cp "$root/tests/readers.txt" "$venv/readers.txt"
}

"$root/deploy/packages.sh" install "${stages[@]}" || exit 1

if [[ $coverage ]]; then
    configure "$root/build-coverage" -DCMAKE_BUILD_TYPE=Debug -DHWM_COVERAGE=on -DHWM_TESTS=on -DHWM_BENCH=off || exit 1
    build "$root/build-coverage" || exit 1
    find "$root/build-coverage" -name '*.gcda' -delete
    # what must learn is too slow without optimisation, and the analysers run no lines
    ctest --test-dir "$root/build-coverage" --output-on-failure -j2 -LE learn -E 'check_(clang-tidy|cppcheck)' "${options[@]}"
    status=$?
    # the summary comes last, so that it can be seen
    /usr/bin/python3 "$root/tests/checks/coverage.py" "$root" "$root/build-coverage" 85 common server || status=1
    exit $status
fi

configure "$root/build" -DCMAKE_BUILD_TYPE=Release -DHWM_NATIVE="${HWM_NATIVE:-off}" -DHWM_TESTS=on || exit 1
build "$root/build" || exit 1
configure "$root/build-tsan" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O1 -DHWM_SANITIZE=thread \
    -DHWM_TESTS=on -DHWM_BENCH=off || exit 1
build "$root/build-tsan" threaded_tests || exit 1
mkdir -p "$root/build-test"
[[ $readers ]] && { install_readers "$readers" || readers=; }
configure "$root/build-test" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O1 -DHWM_SANITIZE=address,undefined \
    -DHWM_TESTS=on -DHWM_BENCH=off -DHWM_FULL=$full -DHWM_CONTAINERS=$containers -DHWM_NAMESPACES=$namespaces -DHWM_RELEASE_DIR="$root/build" -DHWM_TSAN_DIR="$root/build-tsan" \
    -DHWM_READERS="$readers" || exit 1
build "$root/build-test" || exit 1
exec ctest --test-dir "$root/build-test" --output-on-failure -j2 "${options[@]}"
