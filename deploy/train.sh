#!/usr/bin/env bash
# deploy/train.sh [EXPERIMENT.yaml] [options of hwm train]
#
# Installs what is missing, builds Release in build/ and trains; without an experiment, deploy/experiments/cartpole_flip.yaml:
# a controller finds out within a few steps that its motor is wired backwards. Two minutes.
# HWM_NATIVE=on compiles for this CPU only. The same command with the same --run-dir resumes.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

experiment=$root/deploy/experiments/cartpole_flip.yaml
if (($#)) && [[ $1 != -* ]]; then
    experiment=$1
    shift
fi
"$root/deploy/packages.sh" install build run || exit 1
configure "$root/build" -DCMAKE_BUILD_TYPE=Release -DHWM_NATIVE="${HWM_NATIVE:-off}" || exit 1
build "$root/build" programs || exit 1
exec "$root/build/bin/hwm" train "$experiment" "$@"
