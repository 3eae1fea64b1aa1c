"""Steps of a real run, materialised, against the rule written in NumPy: equal to the last bit.

A short training run fills a store with experience of many parameter versions. `hwm replay materialise` recovers W of stored
steps from key frames; here the plastic update of each is computed again in float32 from pre, post, W and the coefficients, in
the order of operations that the library promises (common/plastic/hebb.h), and W_next must be the same number.
"""

import csv
import os
import subprocess
import sys
import tempfile

import numpy as np

BIN = os.environ["HWM_BIN_DIR"]
SOURCE = os.environ["HWM_SOURCE_DIR"]


def hwm(*args):
    done = subprocess.run([os.path.join(BIN, "hwm"), *args], capture_output=True, text=True, timeout=200)
    if done.returncode != 0:
        sys.exit(f"hwm {' '.join(args)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def update(w, pre, post, rule, w_max):
    """ABCD with max-norm bound, one layer of many steps: w (N,P,Q), pre (N,Q), post (N,P), rule (N,P,Q,4)."""
    x, y = pre[:, None, :], post[:, :, None]
    a, b, c, d = (rule[..., k] for k in range(4))
    changed = w + ((x * (a * y) + b * x) + (c * y + d))
    largest = np.abs(changed).max(axis=(1, 2)) / np.float32(w_max)
    m = np.maximum(np.float32(1), largest)
    return changed * (np.float32(1) / m)[:, None, None]


# The same steps as a line per synapse: nine digits say which float it is.
def compare_csv(run, folder):
    draw = ["replay", "materialise", "--dir", run, "--steps", "30", "--seed", "5", "--out"]
    hwm(*draw, os.path.join(folder, "some.npz"))
    hwm(*draw, os.path.join(folder, "some.csv"))
    steps, seen = np.load(os.path.join(folder, "some.npz")), set()
    at = {(e, i, s): k for k, (e, i, s) in enumerate(zip(steps["env"], steps["incarnation"], steps["step"]))}
    for row in csv.DictReader(open(os.path.join(folder, "some.csv"))):
        k, layer, i, j = at[int(row["env"]), int(row["incarnation"]), int(row["step"])], row["layer"], int(row["post_unit"]), int(row["pre_unit"])
        for name, value in (("w", steps[f"{layer}.W"][k, i, j]), ("w_next", steps[f"{layer}.W_next"][k, i, j]), ("dw", steps[f"{layer}.dW"][k, i, j]),
                            ("pre", steps[f"{layer}.pre"][k, j]), ("post", steps[f"{layer}.post"][k, i]), ("reward", steps["reward"][k])):
            assert np.float32(row[name]) == value, (row, name, value)
        assert int(row["terminated"]) == steps["terminated"][k]
        seen.add((k, layer, i, j))
    each = sum(steps[f"{layer}.W"][0].size for layer in ("layer1", "layer2"))
    assert len(seen) == len(at) * each, len(seen)  # a step may be drawn twice


def main():
    with tempfile.TemporaryDirectory() as folder:
        run, out = os.path.join(folder, "run"), os.path.join(folder, "steps.npz")
        w_max = 0.25  # so that the bound works
        hwm("train", os.path.join(SOURCE, "deploy/experiments/cartpole.yaml"), "--run-dir", run, "--max-env-steps", "2000",
            "--set", f"rule.w_max={w_max}", "--set", "evaluation.episodes=2")
        print(hwm("replay", "materialise", "--dir", run, "--steps", "800", "--out", out).strip())
        steps = np.load(out)
        compare_csv(run, folder)
        n = len(steps["reward"])
        assert n == 800, n
        assert len(steps["versions"]) > 3, "too few versions"
        which = np.searchsorted(np.sort(steps["versions"]), steps["version"])
        order = np.argsort(steps["versions"])
        bounded = 0
        for layer in ("layer1", "layer2"):
            get = lambda name: steps[f"{layer}.{name}"]
            rule = get("rule")[order[which]]
            want = update(get("W"), get("pre"), get("post"), rule, w_max)
            assert want.dtype == np.float32
            different = (want.view(np.uint32) != get("W_next").view(np.uint32)).sum()
            assert different == 0, f"{layer}: {different} of {want.size} weights differ"
            assert ((get("W_next") - get("W")) == get("dW")).all()
            assert (get("dW") != 0).any()
            bounded += (np.abs(get("W_next")).max(axis=(1, 2)) > 0.999 * w_max).sum()
        assert bounded > 50, "the bound never worked"
        first = steps["act"][:, :4]
        assert np.array_equal(first, steps["layer1.pre"])
        # a step's successor, where both were drawn, begins with the W that it left
        index = {(e, i, s): k for k, (e, i, s) in enumerate(zip(steps["env"], steps["incarnation"], steps["step"]))}
        pairs = 0
        for (e, i, s), k in index.items():
            j = index.get((e, i, s + 1))
            if j is not None and steps["episode"][j] == steps["episode"][k]:
                for layer in ("layer1", "layer2"):
                    assert np.array_equal(steps[f"{layer}.W_next"][k], steps[f"{layer}.W"][j]), (e, s)
                pairs += 1
        assert pairs > 20, pairs
        print(f"{n} steps of {len(steps['versions'])} versions, {bounded} layers at the bound, {pairs} pairs: equal to the last bit")


main()
