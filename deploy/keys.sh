#!/usr/bin/env bash
# deploy/keys.sh [DIR]
#
# Makes the CURVE keys of a deployment in DIR (default: deploy/keys) with the image's own `hwm keygen`, readable by the user that
# runs in the containers. What exists stays. HWM_IMAGE names the image (hwm:latest).
set -eu
dir=${1:-$(dirname "${BASH_SOURCE[0]}")/keys}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
"${DOCKER:-docker}" run --rm --user 0 --network none -v "$dir:/keys" "${HWM_IMAGE:-hwm:latest}" \
    sh -c 'hwm keygen /keys && chown -R 10001:10001 /keys'
printf 'The keys are in %s. A machine that runs workers needs server.pub and worker.key of it.\n' "$dir"
