"""An independent client: the README's Python and more of the protocol, against the real server in plain text and over CURVE.

usage: test_rpc.py plain|curve
"""

import json
import os
import re
import struct
import subprocess
import sys
import time
import urllib.request

import zmq

from rpc import BIN, SOURCE, STEPS, Client, Server, chunk, signature

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


def drive(server):
    pb, endpoint, keys, work = server.pb, server.endpoint, server.keys, server.work
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

    statistics(server, pb, endpoint, keys, operator)
    if keys:
        security(server, pb, endpoint, keys, operator)
    operator.ok(shutdown=pb.Shutdown())


# every statistic that the protocol promises: path in the JSON, and its series
STATISTICS = {
    "uptime_s": "hwm_server_uptime_seconds", "memory_bytes": "hwm_server_memory_bytes", "disk.free_bytes": "hwm_server_disk_free_bytes",
    "disk.total_bytes": "hwm_server_disk_total_bytes", "version": None,
    "replay.store.free_bytes": "hwm_store_free_pages_bytes", "replay.store.oldest_reader_commits": "hwm_store_oldest_reader_commits",
    "replay.store.commit_seconds.le": "hwm_store_commit_seconds_bucket", "replay.store.commit_seconds.sum": "hwm_store_commit_seconds_sum",
    **{f"replay.tables.0.{key}": series for key, series in {
        "steps": "hwm_replay_table_steps", "chunks": "hwm_replay_table_chunks", "episodes": "hwm_replay_table_episodes",
        "bytes": "hwm_replay_table_bytes", "capacity_steps": "hwm_replay_capacity_steps", "evicted_steps": "hwm_replay_evicted_steps_total",
        "inserted_steps": "hwm_replay_inserted_steps_total", "inserted_per_s": "hwm_replay_inserted_steps_per_second",
        "sampled_steps": "hwm_replay_sampled_steps_total", "sampled_per_s": "hwm_replay_sampled_steps_per_second",
        "ratio": "hwm_replay_samples_per_insert_ratio", "limiter.diff": "hwm_limiter_cursor_steps",
        "limiter.waiting_inserts": "hwm_limiter_inserts_waiting_chunks", "limiter.insert_wait_s": "hwm_limiter_insert_wait_seconds_total",
        "limiter.sample_wait_s": "hwm_limiter_sample_wait_seconds_total", "duplicates": "hwm_replay_chunks_duplicate_total",
        "refusals.HWM_ESIGNATURE": 'hwm_replay_chunks_refused_total{table="python",reason="HWM_ESIGNATURE"}',
        "sample_age_steps": "hwm_replay_sample_age_steps"}.items()},
    **{f"workers.0.{key}": series for key, series in {
        "id": None, "host": None, "role": None, "first_seen_s": None, "last_seen_s": "hwm_worker_last_seen_seconds",
        "steps_per_s": "hwm_worker_stored_steps_per_second", "episodes": "hwm_worker_episodes_finished_total", "recent_returns.0": None,
        "return_mean": "hwm_worker_recent_return_number", "version": None, "version_lag": "hwm_worker_version_lag_versions"}.items()},
}


def statistics(server, pb, endpoint, keys, operator):
    """Each of them over RPC, over HTTP, in `hwm stats --json` and `--prometheus`, and the page shows what a person looks for."""
    worker = Client(pb, endpoint, keys, key="worker")
    worker.ok(hello=pb.Hello(role=pb.WORKER, environments=1, host="python"))
    worker.ok(episode=pb.Episode(env=0, episode=1, episode_return=12.5, steps=8, param_version=1))
    worker.ok(heartbeat=pb.Heartbeat(param_version=0, env_steps=8))
    command = [os.path.join(BIN, "hwm"), "stats", "--server", endpoint, *(["--key-dir", keys] if keys else [])]
    say = lambda *options: subprocess.run([*command, *options], capture_output=True, text=True, check=True, timeout=60).stdout
    http = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{server.http}/{path}", timeout=30).read().decode()
    for prometheus, answer in (
        (say("--prometheus"), json.loads(operator.ok(stats=pb.Stats()).stats.json)),
        (http("metrics"), json.loads(http("api/stats"))),
        (say("--prometheus"), json.loads(say("--json"))),
    ):
        for path, series in STATISTICS.items():
            value = answer
            for key in path.split("."):
                value = value[int(key)] if isinstance(value, list) else value[key]
            assert value is not None, path
            assert series is None or f"\n{series}" in prometheus, series
    table = answer["replay"]["tables"][0]
    assert table["episodes"] == 1 and table["refusals"] == {"HWM_ESIGNATURE": 1}, table
    assert 0 < table["sample_age_steps"] < STEPS * CHUNKS and 0 < table["ratio"], table
    counts = answer["replay"]["store"]["commit_seconds"]["count"]
    assert counts == sorted(counts) and 0 < counts[-1] == answer["replay"]["store"]["commits"], counts
    assert answer["workers"][0]["version_lag"] == 1 and answer["workers"][0]["recent_returns"] == [12.5], answer["workers"]
    page = say()
    for words in ("table     python: 240 of", "1 episodes", "refused HWM_ESIGNATURE 1", "per insert", "free pages in the file", "alive of 1"):
        assert words in page, (words, page)


def logged(server, *words):
    """The server's log has a line with all of these words."""
    with open(f"{server.work}/server.log") as f:
        lines = f.read().splitlines()
    assert any(all(word in line for word in words) for line in lines), (words, lines[-20:])


def refused(pb, operator, counter, *arguments, **options):
    """A client of this kind gets no answer, and is counted."""
    count = lambda: json.loads(operator.ok(stats=pb.Stats()).stats.json)["requests"][counter]
    before = count()
    attempt = Client(pb, *arguments, **options)
    attempt.send(ping=pb.Ping())
    end = time.time() + 20
    while count() == before and time.time() < end:
        time.sleep(0.05)
    assert count() > before, counter
    assert not attempt.socket.poll(300)
    attempt.socket.close(0)


def security(server, pb, endpoint, keys, operator):
    viewer = Client(pb, endpoint, keys, key="viewer")
    viewer.ok(hello=pb.Hello(role=pb.VIEWER))
    reply = viewer.call(append=pb.Append(chunk=pb.Chunk(env=5, sequence=1, steps=1)))
    assert reply.status == pb.HWM_EDENIED and "viewer may not append" in reply.message, reply
    reply = viewer.call(hello=pb.Hello(role=pb.LEARNER))
    assert reply.status == pb.HWM_EDENIED, reply
    logged(server, "not allowed", "role=viewer", "request=append", "address=")
    logged(server, "role refused", "role=learner", viewer.public.decode())
    # no key: plain text gets no answer at all
    refused(pb, operator, "failed_handshakes", endpoint, None)
    logged(server, "handshake failed", "no CURVE", "address=")
    # a key of its own making
    public, secret = zmq.curve_keypair()
    refused(pb, operator, "refused_keys", endpoint, keys, own=(public, secret))
    logged(server, "key refused", public.decode())
    # the right key for another server
    refused(pb, operator, "failed_handshakes", endpoint, keys, server_key=zmq.curve_keypair()[0])
    # a key that is taken out is refused at its next request, on the live connection, and on any new one
    os.unlink(f"{keys}/authorized/viewer.pub")
    reply = viewer.call(ping=pb.Ping())
    assert reply.status == pb.HWM_EDENIED and "not authorised" in reply.message, reply
    logged(server, "key no longer authorised", viewer.public.decode(), "request=ping")
    refused(pb, operator, "refused_keys", endpoint, keys, key="viewer")
    stats = json.loads(operator.ok(stats=pb.Stats()).stats.json)
    assert stats["requests"]["revoked_keys"] == 1, stats["requests"]
    assert stats["requests"]["refusals"]["HWM_EDENIED"] == 3, stats["requests"]
    assert stats["replay"]["tables"][0]["inserted_steps"] == STEPS * CHUNKS


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
        server.start("--http", "0")
        drive(server)
        assert server.process.wait(10) == 0, server.process.returncode
        print(f"{mode}: passed")


main(sys.argv[1])
