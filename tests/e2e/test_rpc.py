"""An independent client: the README's Python and more of the protocol, against the real server in plain text and over CURVE.

usage: test_rpc.py plain|curve
"""

import json
import os
import re
import struct
import subprocess
import sys

from rpc import SOURCE, STEPS, Client, Server, chunk, signature

CHUNKS = 30


def readme_code():
    with open(os.path.join(SOURCE, "README.md")) as f:
        return re.search(r"```python\n(.*?)```", f.read(), re.S).group(1)


def check_batch(pb, sample, batch, length):
    assert sample.batch == batch and sample.length == length
    row = struct.unpack(f"<{batch + 1}I", sample.row)
    prefix = struct.unpack(f"<{batch}I", sample.prefix)
    step = struct.unpack(f"<{batch}q", sample.step)
    reward = struct.unpack(f"<{row[-1]}f", sample.column[1])
    obs = struct.unpack(f"<{3 * row[-1]}f", sample.column[2])
    key = struct.unpack(f"<{6 * batch}f", sample.key[0])
    for i in range(batch):
        assert row[i + 1] - row[i] == prefix[i] + length
        assert key[6 * i] == reward[row[i]] == step[i] - prefix[i]
        for t in range(row[i], row[i + 1]):
            assert reward[t] == reward[row[i]] + t - row[i]
            assert abs(obs[3 * t + 2] - reward[t] - 0.2) < 1e-4
    assert [p.version for p in sample.param] == [1]


def drive(pb, endpoint, keys, work):
    operator = Client(pb, endpoint, keys)
    operator.ok(ping=pb.Ping())
    # nothing but ping, stats and hello without a hello
    assert operator.call(list_params=pb.ListParams()).status == pb.HWM_ECLOSED
    operator.ok(hello=pb.Hello(role=pb.OPERATOR, host="python", version="test"))
    assert operator.call(sample=pb.Sample(batch=1, length=1)).status == pb.HWM_ENOTFOUND
    operator.ok(table_create=pb.TableCreate(name="python", signature=signature(pb), capacity_steps=10000, experiment="run: {}", seed=11))
    hello = operator.ok(hello=pb.Hello(role=pb.OPERATOR, environments=1, host="python", version="test", subscribe=True)).hello
    assert hello.seed == 11 and hello.experiment == "run: {}" and hello.signature == signature(pb)

    # appends in flight, one repeated: stored once
    sent = [operator.send(append=pb.Append(chunk=chunk(pb, hello, k))) for k in range(CHUNKS)]
    sent.append(operator.send(append=pb.Append(chunk=chunk(pb, hello, CHUNKS - 1))))
    status = {}
    while len(status) < len(sent):
        reply = operator.receive()
        status[reply.id] = reply.status
    assert sorted(status.values()) == [pb.HWM_OK] * CHUNKS + [pb.HWM_EDUPLICATE], status
    wrong = chunk(pb, hello, CHUNKS)
    wrong.column[2] = b"123"
    reply = operator.call(append=pb.Append(chunk=wrong))
    assert reply.status == pb.HWM_ESIGNATURE and "obs f32 (3)" in reply.message, reply

    check_batch(pb, operator.ok(sample=pb.Sample(batch=16, length=5, materialise=True, draw=3)).sample, 16, 5)
    reply = operator.call(sample=pb.Sample(batch=0, length=5))
    assert reply.status == pb.HWM_EINVAL and "batch is 0" in reply.message, reply

    # parameters in two parts; the announcement comes by itself
    values = struct.pack("<6f", *range(6))
    tensor = [pb.TensorSpec(name="rule.a", dtype=pb.F32, shape=[2, 3])]
    crc = params_crc("rule.a", [2, 3], values)
    publish = dict(set="controller", version=1, tag=1, size=24, crc=crc)
    operator.ok(publish=pb.Publish(tensor=tensor, offset=0, values=values[:8], **publish))
    assert operator.call(fetch=pb.Fetch(set="controller")).status == pb.HWM_ENOTFOUND  # not whole yet
    n = operator.send(publish=pb.Publish(offset=8, values=values[8:], **publish))
    seen = {}
    while len(seen) < 2:
        reply = operator.receive()
        seen[reply.id] = reply
    assert seen[n].status == pb.HWM_OK
    assert seen[0].announce.set == "controller" and seen[0].announce.version == 1
    fetched = operator.ok(fetch=pb.Fetch(set="controller", part_bytes=8, offset=16)).fetch
    assert fetched.values == values[16:] and fetched.crc == crc and fetched.version == 1
    torn = operator.call(publish=pb.Publish(set="controller", version=2, tag=1, size=24, crc=crc + 1, tensor=tensor, values=values))
    assert torn.status == pb.HWM_ECORRUPT, torn
    assert operator.ok(heartbeat=pb.Heartbeat()).heartbeat.announce[0].version == 1

    # tasks
    task = operator.ok(task_submit=pb.TaskSubmit(type="evaluate", payload=b"p", lease_ms=60000)).task.task
    assert operator.call(task_result=pb.TaskResult(task=task)).status == pb.HWM_EAGAIN
    assert operator.ok(task_lease=pb.TaskLease(type="evaluate")).task.payload == b"p"
    operator.ok(task_complete=pb.TaskComplete(task=task, result=b"r"))
    assert operator.ok(task_result=pb.TaskResult(task=task)).task.result == b"r"

    # an older or newer protocol is refused with a sentence
    operator.socket.send_multipart([b"", pb.Request(protocol=9, id=77, ping=pb.Ping()).SerializeToString()])
    reply = operator.receive()
    assert reply.id == 77 and reply.status == pb.HWM_EVERSION and "protocol 9" in reply.message, reply

    stats = json.loads(operator.ok(stats=pb.Stats()).stats.json)
    table = stats["replay"]["tables"][0]
    assert table["name"] == "python" and table["inserted_steps"] == STEPS * CHUNKS, table
    assert stats["requests"]["refusals"]["HWM_ESIGNATURE"] == 1, stats["requests"]

    # the README's code, as it stands
    output = subprocess.run(
        [sys.executable, "-c", f"ENDPOINT, KEYS = {endpoint!r}, {keys!r}\n" + readme_code()],
        cwd=work, capture_output=True, text=True, timeout=60)
    assert output.returncode == 0, output.stderr
    assert "obs (32, 3)" in output.stdout and output.stdout.endswith("1 2.5\n"), output.stdout

    if keys:
        security(pb, endpoint, keys, operator)
    operator.ok(shutdown=pb.Shutdown())


def security(pb, endpoint, keys, operator):
    viewer = Client(pb, endpoint, keys, key="viewer")
    viewer.ok(hello=pb.Hello(role=pb.VIEWER))
    reply = viewer.call(append=pb.Append(chunk=pb.Chunk(env=5, sequence=1, steps=1)))
    assert reply.status == pb.HWM_EDENIED and "viewer may not append" in reply.message, reply
    reply = viewer.call(hello=pb.Hello(role=pb.LEARNER))
    assert reply.status == pb.HWM_EDENIED, reply
    # plain text gets no answer at all
    plain = Client(pb, endpoint, None)
    plain.send(ping=pb.Ping())
    assert not plain.socket.poll(700)
    # a key that is taken out is refused at its next request, on the live connection
    os.unlink(f"{keys}/authorized/viewer.pub")
    reply = viewer.call(ping=pb.Ping())
    assert reply.status == pb.HWM_EDENIED and "not authorised" in reply.message, reply
    stats = json.loads(operator.ok(stats=pb.Stats()).stats.json)["requests"]
    assert stats["revoked_keys"] >= 1 and stats["failed_handshakes"] >= 1, stats


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def params_crc(name, shape, values):
    """CRC-32C over names, shapes and values, as hwm.proto describes it."""
    return crc32c(name.encode() + b"\0" + struct.pack(f"<{1 + len(shape)}I", len(shape), *shape) + values)


def main(mode):
    with Server(curve=mode == "curve") as server:
        server.start()
        drive(server.pb, server.endpoint, server.keys, server.work)
        assert server.process.wait(10) == 0, server.process.returncode
        print(f"{mode}: passed")


main(sys.argv[1])
