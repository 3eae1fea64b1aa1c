"""The network rule, fitted to naive episodes before imagination, through the real programs: for every naive rule the learner says the
error on held-out episodes beside that of predicting zero, and what it then acts with and goes on from are the fitted networks.
"""

import json
import math
import os
import re
import struct
import sys

from runs import Scratch, expect, finish, hwm, small_set

# of predicting zero: Oja's and BCM's constants vary between episodes, structured random updates have no sign that could be known
LIMITS = {"oja": (0, 0.8), "bcm": (0, 0.9), "hebb": (0.8, 1.2)}
FITTED = re.compile(r"rule fitted.*held_out=(\d+) error=(\S+) of_predicting_zero=(\S+)")


def tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n])
    header.pop("__metadata__", None)
    return {name: data[8 + n + t["data_offsets"][0] : 8 + n + t["data_offsets"][1]] for name, t in header.items()}


def run(scratch, naive, updates):
    """One update of imagination with a learning rate of nothing. The learner's words about the fit; the rule that it ends with."""
    where = scratch.run_dir(f"{naive}{updates}")
    sets = small_set(rule__kind="network", rule__naive=naive, rule__units=8, train__fit_updates=updates, train__lr=1e-12, run__max_updates=1)
    code, out, err = finish(scratch.train("--seed", "4", "--no-evaluation", *sets, run_dir=where), 200)
    expect(code == 0, out, err)
    with open(os.path.join(where, "logs", "learner.log")) as f:
        said = FITTED.search(f.read())
    path = os.path.join(scratch.path, f"{naive}{updates}.safetensors")
    code, out, err = hwm("export", os.path.join(where, "checkpoints", "latest"), "--safetensors", path)
    expect(code == 0, out, err)
    return said, tensors(path)


def main():
    with Scratch() as scratch:
        said, random = run(scratch, "oja", 0)
        expect(said is None, said)
        for naive, (low, high) in LIMITS.items():
            said, fitted = run(scratch, naive, 3000)
            expect(said, "the learner did not say how well", naive, "was fitted")
            held_out, error, zero = int(said[1]), float(said[2]), float(said[3])
            expect(held_out > 5000 and zero > 0 and low * zero <= error <= high * zero, naive, said[0])
            moved = 0
            for name, values in fitted.items():
                floats = lambda b: struct.unpack(f"<{len(b) // 4}f", b)
                far = math.dist(floats(values), floats(random[name]))
                expect((far > 1e-3) == (".net_" in name), naive, name, "moved by", far)
                moved += far > 1e-3
            expect(moved == 4, moved, "tensors of two layers")
            print(f"{naive}: held-out error {error:.3g}, of predicting zero {zero:.3g}, ratio {error / zero:.3f}")


sys.exit(main())
