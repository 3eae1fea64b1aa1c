#!/usr/bin/env bash
# What bash offers for half a word, with the script that `hwm completion` prints and the programs of HWM_BIN_DIR.
set -eu
PATH=$HWM_BIN_DIR:$PATH
source <(hwm completion)

# offered WORD...   the completions of the last word
offered() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    case $1 in
    hwm) _hwm ;;
    *) _hwm_program "$1" ;;
    esac
    printf '%s ' "${COMPREPLY[@]}"
}

failed=0
expect() {
    local wanted=$1 got
    shift
    got=$(offered "$@")
    [[ $got == "$wanted " ]] || {
        echo "'$*': wanted '$wanted', got '$got'"
        failed=1
    }
}

expect "--listen" hwm-server --li
expect "--experiment" hwm-learner --exp
expect "--environments" hwm-worker --env
expect "--log --log-level" hwm-server --log
expect "train trace" hwm tra
expect "--run-dir" hwm train --run
exit $failed
