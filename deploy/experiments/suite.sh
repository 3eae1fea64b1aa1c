#!/usr/bin/env bash
# deploy/experiments/suite.sh [--quick] [--seeds N] [--out DIR] [--readme FILE] [NAME ...]
#
# Trains experiments with seeds 0 .. N-1 (5), one run after the other, and writes one row of figures per NAME into the table of
# README.md, between its markers, and the curves beside the experiment. First it says how many hours that will take. Run again
# after an interruption it goes on where it stopped: finished runs are kept.
#
# NAME         deploy/experiments/NAME.yaml, or a path of such a file
# NAME:LABEL   the same with the options of its line "# suite LABEL:", as cartpole_flip:static
# NAME@OTHER   the runs of NAME, judged in the environment of OTHER without any more training
# --quick      one seed, a fifth of the environment steps, and no row: a look at whether everything works, no figure to quote
# --readme FILE  where the table is; "" prints the rows only
#
# Without NAME: every row of the table.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
hwm=${HWM_BIN_DIR:-$root/build/bin}/hwm

quick=0 seeds=5 out=runs/suite readme=$root/README.md names=()
while (($#)); do
    case $1 in
    --quick) quick=1 ;;
    --seeds) seeds=${2:?--seeds needs a number}; shift ;;
    --out) out=${2:?--out needs a directory}; shift ;;
    --readme) readme=${2?--readme needs a file, or \"\"}; shift ;;
    --help) sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "suite.sh: unknown option $1; see --help" >&2; exit 2 ;;
    *) names+=("$1") ;;
    esac
    shift
done
[[ -x $hwm ]] || { echo "suite.sh: $hwm is not built; deploy/train.sh builds it" >&2; exit 1; }
[[ -z $readme ]] || grep -q '^<!-- suite -->$' "$readme" 2>/dev/null ||
    { echo "suite.sh: $readme has no line <!-- suite --> before its table" >&2; exit 2; }
((quick)) && seeds=1
((${#names[@]})) || mapfile -t names < <(sed -n '/^<!-- suite -->$/,/^<!-- \/suite -->$/s/^| `\([^`]*\)`.*/\1/p' "$root/README.md")
((${#names[@]})) || { echo "suite.sh: which experiment? See --help" >&2; exit 2; }

# sets experiment, name, label, other, row_name and the values of its "# suite" line: threshold, minutes, options
read_name() {
    local path=$1
    other='' label='' threshold='' minutes=5 options=()
    [[ $path == *@* ]] && { other=${path##*@}; path=${path%%@*}; }
    [[ ${path##*/} == *:* ]] && { label=${path##*:}; path=${path%:*}; }
    [[ $path == *.yaml ]] || path=$here/$path.yaml
    [[ -r $path ]] || { echo "suite.sh: cannot read $path" >&2; exit 2; }
    experiment=$path name=$(basename "$path" .yaml)
    [[ -z $other || $other == *.yaml ]] || other=$here/$other.yaml
    [[ -z $other || -r $other ]] || { echo "suite.sh: cannot read $other" >&2; exit 2; }
    local line word
    line=$(sed -n "s/^# suite${label:+ $label}: //p" "$path" | head -n 1)
    [[ -n $line || -z $label ]] || { echo "suite.sh: $path has no line \"# suite $label: ...\"" >&2; exit 2; }
    for word in $line; do
        case $word in
        threshold=*) threshold=${word#*=} ;;
        minutes=*) minutes=${word#*=} ;;
        *) options+=("$word") ;;
        esac
    done
    [[ -z $other ]] || threshold=''  # the steps to it were those of NAME
    row_name=$name${label:+:$label}${other:+@$(basename "$other" .yaml)}
}

run_dir() { # of seed $1
    ((quick)) && echo "$out/quick-$name${label:+-$label}" || echo "$out/$name${label:+-$label}-seed$1"
}

# how long it will take, counting what is still to be done
hours=0
declare -A counted=()
for each in "${names[@]}"; do
    read_name "$each" || exit
    left=0
    for ((seed = 0; seed < seeds; seed++)); do
        run=$(run_dir "$seed")
        [[ -s $run/evaluation.json || -n ${counted[$run]-} ]] || left=$((left + 1))
        counted[$run]=1
    done
    ((quick)) && minutes=$(awk "BEGIN { print $minutes / 5 }")
    hours=$(awk "BEGIN { print $hours + $left * $minutes / 60 }")
    echo "$row_name: $left of $seeds runs to do, about $minutes minutes each on two idle cores" >&2
done
printf 'suite.sh: about %.1f hours in all\n' "$hours" >&2

train() { # one run: seed
    local run steps arguments
    run=$(run_dir "$1")
    [[ -s $run/evaluation.json ]] && return
    arguments=(--seed "$1" --run-dir "$run")
    if ((quick)); then
        steps=$(sed -n 's/^ *max_env_steps: *\([0-9]*\).*/\1/p' "$experiment" | head -n 1)
        arguments+=(--max-env-steps $((${steps:-20000} / 5)))
    fi
    echo "$name${label:+:$label}, seed $1: $run" >&2
    mkdir -p "$out"
    "$hwm" train "$experiment" "${arguments[@]}" ${options[0]+"${options[@]}"} >"$run.txt" 2>&1 && return
    local status=$?
    tail -n 12 "$run.txt" >&2
    echo "suite.sh: $run ended with $status; the same command goes on from here" >&2
    exit "$status"
}

# the row of name $1 takes the place of the one that README has, or stands behind those of the same experiment, or last
put_row() {
    row=$2 awk -v name="$1" '
        function named(line) { return index(line, "| `") == 1 ? substr(line, 4, index(substr(line, 4), "`") - 1) : "" }
        function experiment(of) { sub(/[:@].*/, "", of); return of }
        /^<!-- suite -->$/ { inside = 1 }
        /^<!-- \/suite -->$/ { inside = 0 }
        { line[NR] = $0 }
        inside && named($0) == name { same = NR }
        inside && experiment(named($0)) == experiment(name) { kin = NR }
        inside { last = NR }
        END {
            at = same ? same : kin ? kin : last
            for (i = 1; i <= NR; i++) {
                if (i != same) print line[i]
                if (i == at) print ENVIRON["row"]
            }
        }' "$readme" >"$readme.new" && mv "$readme.new" "$readme"
}

first=1 again=''
((seeds == 5)) || again=" --seeds $seeds"  # a row says what repeats it
((quick)) && again=" --quick"
for each in "${names[@]}"; do
    read_name "$each"
    runs=() judged=()
    for ((seed = 0; seed < seeds; seed++)); do
        train "$seed" || exit
        run=$(run_dir "$seed")
        runs+=("$run")
        if [[ -n $other ]]; then
            file=$run/in-$(basename "$other" .yaml).json
            [[ -s $file ]] || "$hwm" eval "$run" --in "$other" --controls --save "$file" >"${file%.json}.txt" || exit
            judged+=("$file")
        else
            judged+=("$run")
        fi
    done
    head=()
    ((first)) && head=(--head) && first=0
    "$hwm" report "${judged[@]}" --summary ${head[0]+"${head[@]}"} --name "$row_name" ${threshold:+--threshold "$threshold"} \
        --command "deploy/experiments/suite.sh$again $each" | tee "$out/.rows" || exit
    if [[ -n $readme ]] && ((!quick)); then
        put_row "$row_name" "$(tail -n 1 "$out/.rows")"
        if [[ -z $label && -z $other ]]; then
            "$hwm" plot "${runs[@]}" --out "${experiment%.yaml}.png" >"$out/$name-plot.txt" 2>&1 ||
                { tail -n 3 "$out/$name-plot.txt" >&2; exit 1; }
        fi
    fi
    rm -f "$out/.rows"
done
