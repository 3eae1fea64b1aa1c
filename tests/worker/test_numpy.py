"""Raw chunks, replayed by a rule written in NumPy, against what the worker's state really was: equal to the last bit.

dumper (tests/worker/dumper.c) rolls out against a real server and dumps the whole plastic state before and after every step. Here
key frames and columns are sampled as they are stored, the published parameters are fetched, and numpy_rules.py carries the state
from each key frame over the rows that follow, across chunks and versions: every rule without transcendental functions, every bound.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

SOURCE = os.environ["HWM_SOURCE_DIR"]
sys.path.insert(0, f"{SOURCE}/tests/e2e")

from numpy_rules import Rule  # noqa: E402
from rpc import BIN, Client  # noqa: E402

HIDDEN, INPUTS, BATCH, ROWS = [6, 3], 4, 40, 8  # of chunks of 8 rows: nearly all cross a border
FIRST, LAST, TERMINAL, STILL = 1, 2, 4, 8


def wait_for(path, process):
    end = time.time() + 30
    while not os.path.exists(path):
        assert process.poll() is None and time.time() < end, "the server did not start"
        time.sleep(0.02)


def read_dump(path):
    with open(path, "rb") as f:
        size = json.loads(f.readline())["state"]
        rows = np.frombuffer(f.read(), dtype=[("env", "<u4"), ("version", "<u4"), ("step", "<u8"), ("before", "<f4", (size,)), ("after", "<f4", (size,))])
    return {(int(r["env"]), int(r["step"])): (int(r["version"]), r["before"], r["after"]) for r in rows}


def fetch(client, version):
    values, specs, offset, size = b"", None, 0, 1
    while offset < size:
        part = client.ok(fetch=client.pb.Fetch(set="controller", version=version, offset=offset)).fetch
        specs = list(part.tensor) if offset == 0 else specs
        values, offset, size = values + part.values, offset + len(part.values), part.size
    flat, out = np.frombuffer(values, "<f4"), {}
    for spec in specs:
        n = int(np.prod(spec.shape)) if spec.shape else 1
        out[spec.name] = flat[:n].reshape(tuple(spec.shape)) if spec.shape else flat[0]
        flat = flat[n:]
    return out


def bits(x):
    return np.ascontiguousarray(x, np.float32).view(np.uint32)


def compare(client, rule, dump):
    pb = client.pb
    signature = client.ok(hello=pb.Hello(role=pb.OPERATOR, table="dump")).hello.signature
    sample = client.ok(sample=pb.Sample(table="dump", batch=BATCH, length=ROWS, materialise=True, uncounted=True)).sample
    u32 = lambda b: np.frombuffer(b, "<u4")
    rows, prefix, segment = u32(sample.row), u32(sample.prefix), u32(sample.segment_row)
    columns = {}
    for spec, column in zip(signature.column, sample.column):
        kind = "u1" if spec.dtype == pb.U8 else "<f4"
        columns[spec.name] = np.frombuffer(column, kind).reshape(-1, *spec.shape)
    keys = [(spec.name, np.frombuffer(key, "<f4").reshape(BATCH, *spec.shape)) for spec, key in zip(signature.key, sample.key)]
    flat = lambda s: np.concatenate([np.ravel(s[name]) for name, _ in keys])
    planes, compared, changed, versions = {}, 0, 0, set()
    for b in range(BATCH):
        state = {name: key[b].copy() for name, key in keys}
        env, start = int(u32(sample.env)[b]), int(np.frombuffer(sample.step, "<i8")[b])
        for row in range(rows[b], rows[b + 1]):
            step = start - int(prefix[b]) + row - int(rows[b])
            if columns["flags"][row] & LAST:
                break  # what follows is another episode
            version, before, after = dump[env, step]
            param = sample.param[u32(sample.segment_param)[np.searchsorted(segment, row, "right") - 1]]
            assert param.version == version, (param.version, version)
            if version not in planes:
                planes[version] = rule.planes(fetch(client, version))
            assert (bits(flat(state)) == bits(before)).all(), f"environment {env}, step {step}: before"
            rule.step(state, columns["act"][row], columns["action"][row], planes[version])
            different = (bits(flat(state)) != bits(after)).sum()
            assert different == 0, f"environment {env}, step {step}: {different} of {len(after)} numbers differ after the step"
            compared += 1
            changed += (after != before).any()
            versions.add(version)
    assert compared > 100 and changed > compared // 5 and len(versions) > 2, (compared, changed, len(versions))
    return compared


def run(pb, kind, recurrent=False, env="cartpole", **fields):
    inputs = INPUTS
    with tempfile.TemporaryDirectory() as folder:
        socket, dump = f"{folder}/s", f"{folder}/dump"
        text = ", ".join(f"{k}: {v}" for k, v in dict(kind=kind, phi_std=0.5, **fields).items())
        yaml = f"env: {{name: {env}}}\nrule: {{{text}}}\ncontroller: {{hidden: {HIDDEN}, cell: {'recurrent' if recurrent else 'mlp'}}}\nworker: {{chunk_steps: 8}}\n"
        log = open(f"{folder}/server.log", "w")
        server = subprocess.Popen([f"{BIN}/hwm-server", "--listen", f"ipc://{socket}", "--dir", f"{folder}/store"], stdout=log, stderr=log)
        try:
            wait_for(socket, server)
            done = subprocess.run([f"{BIN}/../tests/dumper", f"ipc://{socket}", yaml, dump, "30", "100000"], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            rule = Rule(inputs, HIDDEN + [1], kind, recurrent=recurrent, **fields)
            return compare(Client(pb, f"ipc://{socket}", None), rule, read_dump(dump))
        finally:
            server.terminate()
            server.wait(timeout=30)


def main():
    work = tempfile.mkdtemp(prefix="hwm-numpy-")
    subprocess.run(["protoc", f"--python_out={work}", "-I", f"{SOURCE}/proto", "hwm.proto"], check=True)
    sys.path.insert(0, work)
    import hwm_pb2 as pb

    rules = [dict(kind="abcd"), dict(kind="shifted"), dict(kind="mod3", modulator="unit"), dict(kind="trace", modulator="reward"),
             dict(kind="oja"), dict(kind="bcm"), dict(kind="miconi")]
    cases = [dict(**rule, bound=bound, w_max=0.4, eta=0.2) for rule, bound in itertools.product(rules, ("none", "clip", "max_norm", "decay"))]
    cases += [
        dict(kind="abcd", terms="ABCDE", oja=0.4, w_max=0.3),
        dict(kind="abcd", modulator="reward", update_every=3, average=2, reward_rate=0.3),
        dict(kind="mod3", modulator="none", update_every=2, bound="clip", w_max=0.2),
        dict(kind="trace", modulator="none", trace_decay=0.7, oja=0.2, bound="none", eta=0.02),
        dict(kind="abcd", granularity="neuron", terms="ABCDE"),
        dict(kind="mod3", modulator="reward", granularity="shared"),
        dict(kind="shifted", granularity="layer", terms="ABC"),
        dict(kind="miconi", granularity="neuron", recurrent=True),
        dict(kind="abcd", recurrent=True, w_max=0.4),
        dict(kind="mod3", modulator="unit", recurrent=True, bound="decay", decay=0.05),
        dict(kind="miconi", recurrent=True, modulator="unit", oja=0.3, bound="clip", w_max=0.2),
    ]
    began = time.monotonic()
    for case in cases:
        try:
            n = run(pb, **case)
        except AssertionError as e:
            sys.exit(f"{case}: {e}")
        print(f"{case}: {n} steps")
    print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s")


main()
