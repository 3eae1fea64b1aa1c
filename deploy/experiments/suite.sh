#!/usr/bin/env bash
# deploy/experiments/suite.sh [--quick] [--seeds N] [--out DIR] [--threshold R] [EXPERIMENT.yaml ...]
#
# Trains every experiment with seeds 0 .. N-1, one after the other, and prints one table of returns over 100 fresh episodes beside
# their controls. Without experiments: cartpole. Run again after an interruption it goes on where it stopped: finished runs are kept.
# --quick: one seed, a fifth of the environment steps: minutes, and a look at whether everything works; no figure to quote.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
hwm=${HWM_BIN_DIR:-$root/build/bin}/hwm

quick=0 seeds=5 out=runs/suite threshold=400 experiments=()
while (($#)); do
    case $1 in
    --quick) quick=1 ;;
    --seeds) seeds=${2:?--seeds needs a number}; shift ;;
    --out) out=${2:?--out needs a directory}; shift ;;
    --threshold) threshold=${2:?--threshold needs a return}; shift ;;
    --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "suite.sh: unknown option $1; see --help" >&2; exit 2 ;;
    *) experiments+=("$1") ;;
    esac
    shift
done
((${#experiments[@]})) || experiments=("$here/cartpole.yaml")
[[ -x $hwm ]] || { echo "suite.sh: $hwm is not built; deploy/train.sh builds it" >&2; exit 1; }
((quick)) && seeds=1

runs=()
for experiment in "${experiments[@]}"; do
    [[ -r $experiment ]] || { echo "suite.sh: cannot read $experiment" >&2; exit 2; }
    name=$(basename "$experiment" .yaml)
    for ((seed = 0; seed < seeds; seed++)); do
        run=$out/$name-seed$seed
        options=(--seed "$seed" --run-dir "$run")
        if ((quick)); then
            run=$out/quick-$name
            steps=$(sed -n 's/^ *max_env_steps: *\([0-9]*\).*/\1/p' "$experiment" | head -n 1)
            options=(--seed "$seed" --run-dir "$run" --max-env-steps $((${steps:-20000} / 5)))
        fi
        runs+=("$run")
        [[ -s $run/evaluation.json ]] && continue
        echo "$name, seed $seed: $run" >&2
        mkdir -p "$out"
        "$hwm" train "$experiment" "${options[@]}" >"$run.txt" 2>&1 || {
            status=$?
            tail -n 12 "$run.txt" >&2
            echo "suite.sh: $run ended with $status; the same command goes on from here" >&2
            exit "$status"
        }
    done
done
"$hwm" report "${runs[@]}" --threshold "$threshold" --markdown | tee "$out/table.md"
