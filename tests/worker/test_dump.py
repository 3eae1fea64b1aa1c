"""Materialised steps are what the worker had: every rule, bound and cell against the dump of a real worker, to the last bit.

dumper (tests/worker/dumper.c) rolls out against a real server with new parameters at every chunk boundary and dumps W before and
after every step. The table is small, so earlier chunks are evicted on the way; `hwm replay materialise` then recovers what is left.
The first case publishes 1,000 versions (HWM_FULL: all of them do; else the others 64).
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

BIN = os.environ["HWM_BIN_DIR"]
FULL = os.environ.get("HWM_FULL") == "1"
RULES = ("abcd", "mod3", "shifted", "trace", "network", "hebb", "oja", "bcm", "miconi")
BOUNDS = ("none", "clip", "max_norm", "decay")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def read_dump(path):
    with open(path, "rb") as f:
        head = json.loads(f.readline())
        size = head["state"]
        rows = np.frombuffer(f.read(), dtype=[("env", "<u4"), ("version", "<u4"), ("step", "<u8"), ("before", "<f4", (size,)), ("after", "<f4", (size,))])
    return head["connections"], rows


def compare(yaml, versions, capacity):
    with tempfile.TemporaryDirectory() as folder:
        endpoint, dump, out = f"ipc://{folder}/s", f"{folder}/dump", f"{folder}/steps.npz"
        log = open(f"{folder}/server.log", "w")
        server = subprocess.Popen([os.path.join(BIN, "hwm-server"), "--listen", endpoint, "--dir", f"{folder}/store"], stdout=log, stderr=log)
        try:
            run(os.path.join(BIN, "..", "tests", "dumper"), endpoint, yaml, dump, str(versions), str(capacity))
        finally:
            server.terminate()
            server.wait(timeout=20)
        run(os.path.join(BIN, "hwm"), "replay", "materialise", "--dir", f"{folder}/store", "--steps", "300", "--out", out)
        connections, rows = read_dump(dump)
        steps = np.load(out)
    at = {(int(e), int(s)): k for k, (e, s) in enumerate(zip(rows["env"], rows["step"]))}
    found = np.array([at[int(e), int(s)] for e, s in zip(steps["env"], steps["step"])])
    assert len(found) >= 200, len(found)
    assert (rows["version"][found] == steps["version"]).all()
    assert steps["step"].min() > 0 and len(np.unique(steps["version"])) > 3
    changed = 0
    for name, offset, P, Q in connections:
        for ours, theirs in (("before", "W"), ("after", "W_next")):
            want = rows[ours][found][:, offset : offset + P * Q].reshape(-1, P, Q)
            have = steps[f"{name}.{theirs}"]
            different = (want.view(np.uint32) != have.view(np.uint32)).sum()
            assert different == 0, f"{name}.{theirs}: {different} of {have.size} weights differ"
        changed += (steps[f"{name}.dW"] != 0).sum()
    assert changed > 0, "nothing ever changed"
    return len(found), int(steps["step"].min())


def main():
    began = time.monotonic()
    cases = [f"rule: {{kind: {kind}, bound: {bound}, phi_std: 0.5, w_max: 0.4, eta: 0.2}}" for kind, bound in itertools.product(RULES, BOUNDS)]
    cases += [
        "rule: {kind: mod3, granularity: neuron, modulator: prediction, oja: 0.3}\ncontroller: {inputs: [o, d, a, r, 1]}",
        "rule: {kind: abcd, granularity: shared, update_every: 3, average: 2, modulator: reward}",
        "rule: {kind: trace, granularity: layer, naive: bcm}",
        "rule: {kind: miconi, bound: clip, w_max: 0.3}\ncontroller: {cell: recurrent, plastic: [recurrent]}\nenv: {name: sequence, sequence: recall}",
        "rule: {kind: abcd, w_max: 0.4}\ncontroller: {cell: recurrent, hidden: [8, 6]}\nworker: {burn_in_steps: 3, chunk_steps: 5}",
    ]
    for k, case in enumerate(cases):
        many = FULL or k == 0
        text = case if "env:" in case else f"env: {{name: cartpole}}\n{case}"
        text = text if "controller:" in text else f"{text}\ncontroller: {{hidden: [6]}}"
        n, first = compare(text + "\n", 1000 if many else 64, 2000 if many else 600)
        print(f"{case.splitlines()[0]}: {n} steps from step {first} on")
    print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s")


main()
