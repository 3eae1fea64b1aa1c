"""The sample file is what the tables say, every experiment file loads, what is printed reads back to the same, and
--print-config of every program that reads one says where each value came from.

usage: experiments.py ROOT      (the programs are found in HWM_BIN_DIR)
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

import tree


def run(program, *arguments, **more):
    environment = {k: v for k, v in os.environ.items() if not (k.startswith("HWM_") and "__" in k)} | more
    path = os.path.join(os.environ["HWM_BIN_DIR"], program)
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, env=environment)


def hwm(*arguments):
    return run("hwm", *arguments)


ORIGIN = re.compile(r"  (\w+): .*  # (default|line \d+ of the file|environment HWM_\w+|--set)$")


def origins(root, complaints):
    """Each program once, with a value from every source."""
    path = os.path.join(root, "deploy", "experiments", "cartpole.yaml")
    experiment = ({"HWM_TRAIN__LR": "0.01"}, "train.lambda=0.9")
    asked = [("hwm", ("train", path, "--print-config"), *experiment), ("hwm", ("config", path), *experiment)]
    asked.append(("hwm-learner", ("--experiment", path, "--print-config"), *experiment))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write("store:\n  commit_ms: 20\n")
        config.flush()
        asked.append(("hwm-server", ("--config", config.name, "--print-config"), {"HWM_STORE__MAP_BYTES": "67108864"}, "service.heartbeat_ms=500"))
        for program, arguments, environment, override in asked:
            said = run(program, *arguments, "--set", override, **environment)
            rows = [ORIGIN.match(line) for line in said.stdout.splitlines() if line.startswith("  ")]
            sources = {row[2].split()[0] for row in rows if row}
            if said.returncode != 0 or None in rows or sources != {"default", "line", "environment", "--set"}:
                complaints.append(f"{program} {' '.join(arguments)}: exit {said.returncode}, sources {sources}: {said.stderr.strip()}\n{said.stdout}")
            refused = run(program, *arguments, "--set", "nowhere.x=1")
            if refused.returncode != 2 or "nowhere.x: unknown section" not in refused.stderr:
                complaints.append(f"{program}: a wrong --set gives exit {refused.returncode}: {refused.stderr.strip()}")


def main(root):
    complaints = []
    sample = hwm("config", "--sample")
    if sample.returncode != 0 or len(sample.stdout) < 1000:
        sys.exit(f"hwm config --sample: exit {sample.returncode}\n{sample.stderr}")
    if sample.stdout != tree.read(root, "deploy/experiments/reference.yaml"):
        complaints.append("deploy/experiments/reference.yaml: not what the tables say: run `ninja -C build generated`")
    origins(root, complaints)
    experiments = sorted(glob.glob(os.path.join(root, "deploy", "experiments", "*.yaml")))
    for path in experiments:
        name = os.path.relpath(path, root)
        first = hwm("config", path, "--plain")
        if first.returncode != 0:
            complaints.append(f"{name}: {first.stderr.strip()}")
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as resolved:
            resolved.write(first.stdout)
            resolved.flush()
            second = hwm("config", resolved.name, "--plain")
        if second.stdout != first.stdout:
            complaints.append(f"{name}: what `hwm config` prints does not read back to the same: {second.stderr.strip()}")
    tree.finish(complaints, len(experiments))


if __name__ == "__main__":
    main(sys.argv[1])
