"""An update that is not finite: an environment of one's own pays rewards whose squares no float holds. Every such update is dropped,
counted and said; the first batches lie in the run directory as files that need no program of ours; a hundred in a row end the run with
a sentence."""

import glob
import json
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["HWM_SOURCE_DIR"], "tests", "e2e"))
from runs import SOURCE, Scratch, expect, finish, last, small_set  # noqa: E402

EXAMPLE = os.path.join(SOURCE, "deploy", "plugin-example", "spring.c")
HUGE = 3e38


def read(path):
    """Tensors {name: (shape, numbers)} and metadata of a safetensors file."""
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    tensors = {}
    for name, entry in head.items():
        if name != "__metadata__":
            a, b = entry["data_offsets"]
            tensors[name] = (entry["shape"], struct.unpack(f"<{(b - a) // 4}f", data[a:b]))
    return tensors, head["__metadata__"]


def build(folder):
    with open(EXAMPLE) as f:
        text = f.read()
    wild = text.replace("*reward = (float)(", f"*reward = {HUGE}F + (float)(")
    expect(wild != text, "the example has changed")
    with open(os.path.join(folder, "wild.c"), "w") as f:
        f.write(wild)
    subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-I", os.path.join(SOURCE, "common"), "-o", os.path.join(folder, "wild.so"),
                    os.path.join(folder, "wild.c"), "-lm"], check=True, timeout=60)


with Scratch() as s:
    build(s.path)
    os.environ["HWM_PLUGIN_DIR"] = s.path
    process = s.train("--max-env-steps", "100000", *small_set(env__name="plugin", env__plugin="wild", env__obs_sign="none", model__terminals="false",
                                                             model__predict_reward="true", run__learner_threads=1))
    code, out, err = finish(process, 100)
    expect(code == 1, code, out, err)
    with open(os.path.join(s.run_dir(), "logs", "learner.log")) as f:
        log = f.read()
    expect("not finite" in log, log[-2000:])
    expect(log.count("update skipped") >= 5, log[-2000:])  # the log limits how often it says so
    expect(last(s.run_dir(), "skipped_updates") >= 100, last(s.run_dir(), "skipped_updates"))
    files = sorted(glob.glob(os.path.join(s.run_dir(), "dumps", "*.safetensors")))
    expect(len(files) == 8 and log.count("batch kept") == 8, files, log.count("batch kept"))
    for path in files:
        expect(path in log, path, "is not in the log")
        tensors, meta = read(path)
        expect("finite" in meta["reason"], meta)
        starts = os.path.basename(path).startswith("starts-")
        expect(tensors["obs"][0] == ([16, 1, 3] if starts else [32, 2, 3]), path, tensors["obs"][0])
        expect(not starts or tensors["state"][0][0] == 16 and tensors["z"][0] == [16, 3], path, sorted(tensors))
        expect(max(tensors["reward"][1]) > 0.9 * HUGE, max(tensors["reward"][1]))
        expect(all(abs(u) <= 1 for u in tensors["action"][1]), "actions")
print("ok")
