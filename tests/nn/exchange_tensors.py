"""Python's safetensors opens our file and finds every value, and we read a file that it wrote.

usage: exchange_tensors.py EXCHANGE_TENSORS      (run by the Python of the readers' venv)
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

SHAPES = {"encoder/0/weight": (3, 5), "bias": (7,), "rule.a": (2, 2, 2)}


def known():
    at, tensors = 0, {}
    for name, shape in SHAPES.items():
        n = int(np.prod(shape))
        tensors[name] = (np.arange(at, at + n, dtype=np.float32) / 8 - 3).reshape(shape)
        at += n
    return tensors


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = os.path.join(folder, "ours.safetensors"), os.path.join(folder, "theirs.safetensors")
        subprocess.run([program, "write", ours], check=True, timeout=60)
        with safe_open(ours, framework="np") as f:
            assert f.metadata() == {"experiment": 'cart "pole"', "version": "12"}, f.metadata()
            assert set(f.keys()) == set(SHAPES), f.keys()
            for name, value in known().items():
                tensor = f.get_tensor(name)
                assert tensor.dtype == np.float32 and tensor.shape == value.shape, name
                assert (tensor == value).all(), f"{name}: {tensor}"
        save_file(known(), theirs, metadata={"format": "np"})
        subprocess.run([program, "read", theirs], check=True, timeout=60)
        # a value that differs is noticed
        wrong = known()
        wrong["bias"][3] += 1
        save_file(wrong, theirs)
        assert subprocess.run([program, "read", theirs], stderr=subprocess.DEVNULL, timeout=60).returncode == 1
    print(f"{len(SHAPES)} tensors exchanged both ways")


if __name__ == "__main__":
    main(sys.argv[1])
