"""The sample file is what the tables say, every experiment file loads, and what is printed reads back to the same.

usage: experiments.py ROOT      (the programs are found in HWM_BIN_DIR)
"""

import glob
import os
import subprocess
import sys
import tempfile

import tree


def hwm(*arguments):
    environment = {k: v for k, v in os.environ.items() if not (k.startswith("HWM_") and "__" in k)}
    program = os.path.join(os.environ["HWM_BIN_DIR"], "hwm")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, env=environment)


def main(root):
    complaints = []
    sample = hwm("config", "--sample")
    if sample.returncode != 0 or len(sample.stdout) < 1000:
        sys.exit(f"hwm config --sample: exit {sample.returncode}\n{sample.stderr}")
    if sample.stdout != tree.read(root, "deploy/experiments/reference.yaml"):
        complaints.append("deploy/experiments/reference.yaml: not what the tables say: run `ninja -C build generated`")
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
