#!/usr/bin/env bash
# deploy/test.sh [--all] [options of ctest]
#
# Installs what is missing, builds with AddressSanitizer and UndefinedBehaviorSanitizer in build-test/ and Release in build/,
# runs every test and ends with CTest's summary and its exit status. Tests that measure memory or learn run the Release
# programs, all others the sanitized ones.
#   --all   soak, learning and system tests at full length
set -u
source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

stages=(build run test)
full=off
options=()
for option in "$@"; do
    case $option in
    --all)
        full=on
        stages+=(system)
        ;;
    -h | --help)
        sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    *) options+=("$option") ;;
    esac
done

"$root/deploy/packages.sh" install "${stages[@]}" || exit 1
configure "$root/build" -DCMAKE_BUILD_TYPE=Release -DHWM_NATIVE="${HWM_NATIVE:-off}" -DHWM_TESTS=on || exit 1
build "$root/build" || exit 1
configure "$root/build-test" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O1 -DHWM_SANITIZE=address,undefined \
    -DHWM_TESTS=on -DHWM_BENCH=off -DHWM_FULL=$full -DHWM_RELEASE_DIR="$root/build" || exit 1
build "$root/build-test" || exit 1

export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=0:detect_stack_use_after_return=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
exec ctest --test-dir "$root/build-test" --output-on-failure -j2 "${options[@]}"
