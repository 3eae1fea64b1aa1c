"""The service under peers that stop, vanish or are killed, and under a stop of its own.

usage: test_faults.py stopped_peer|stopped_server|killed_workers|late_clients|sigterm_under_load|black_hole
"""

import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import zmq

from rpc import BIN, FULL, STEPS, Client, Server, chunk, signature


def crc32c_of(data):
    """CRC-32C by table, quick enough for megabytes."""
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def stats(client):
    return json.loads(client.ok(stats=client.pb.Stats()).stats.json)


def inserted(client):
    return stats(client)["replay"]["tables"][0]["inserted_steps"]


def make_table(server):
    pb = server.pb
    client = server.client()
    client.ok(hello=pb.Hello(role=pb.LEARNER))
    client.ok(table_create=pb.TableCreate(name="t", signature=signature(pb), capacity_steps=10**6, experiment="run: {}"))
    return client


class Worker(Client):
    """Keeps `window` appends in flight; sends again what was not answered when it has to say hello again."""

    def __init__(self, server, endpoint=None):
        super().__init__(server.pb, endpoint or server.endpoint, server.keys, key="worker")
        self.unanswered, self.acknowledged, self.next, self.beat, self.hello = {}, 0, 0, 0.0, None

    def greet(self):
        pb = self.pb
        self.hello = self.ok(hello=pb.Hello(role=pb.WORKER, environments=1, client=os.urandom(16))).hello
        self.next = 0

    def push(self):
        self.unanswered[self.send(append=self.pb.Append(chunk=chunk(self.pb, self.hello, self.next)))] = None
        self.next += 1

    def pull(self):
        while self.socket.poll(0):
            reply = self.receive()
            if reply.id in self.unanswered:
                assert reply.status == self.pb.HWM_OK, reply
                del self.unanswered[reply.id]
                self.acknowledged += 1
        if time.time() - self.beat > 0.5:
            self.beat = time.time()
            self.send(heartbeat=self.pb.Heartbeat())


def anonymous_bytes(pid):
    """What a process holds, without the pages of its files."""
    with open(f"/proc/{pid}/status") as f:
        return 1024 * int(next(line for line in f if line.startswith("RssAnon:")).split()[1])


def pump(workers, seconds, window=8):
    end = time.time() + seconds
    while time.time() < end:
        for worker in workers:
            while len(worker.unanswered) < window:
                worker.push()
            worker.pull()
        time.sleep(0.001)


def settle(workers, seconds=30):
    end = time.time() + seconds
    while any(worker.unanswered for worker in workers) and time.time() < end:
        for worker in workers:
            worker.pull()
        time.sleep(0.002)
    assert not any(worker.unanswered for worker in workers)


def stopped_peer():
    """A client that asks for samples without reading, then is stopped: the server's memory stays bounded, nobody waits for it."""
    unread_bytes = 32 << 20
    with Server() as server:
        server.start("--set", f"service.reply_bytes={unread_bytes}")
        pb, learner = server.pb, make_table(server)
        worker = Worker(server)
        worker.greet()
        pump([worker], 1)
        pid = os.fork()
        if pid == 0:
            zmq.Context._instance = None
            greedy = Client(pb, server.endpoint, None)
            greedy.ok(hello=pb.Hello(role=pb.OPERATOR))
            while True:
                try:
                    greedy.n += 1
                    request = pb.Request(protocol=1, id=greedy.n, sample=pb.Sample(batch=2000, length=4, draw=greedy.n))
                    greedy.socket.send_multipart([b"", request.SerializeToString()], zmq.DONTWAIT)
                except zmq.Again:
                    pass
                time.sleep(0.002)
        try:
            pump([worker], 2)
            os.kill(pid, signal.SIGSTOP)
            before, start = stats(learner), time.time()
            at_start = anonymous_bytes(server.process.pid)
            rate = []
            while time.time() - start < (600 if FULL else 60):
                at = worker.acknowledged
                pump([worker], 5)
                rate.append((worker.acknowledged - at) // 5)
            after = stats(learner)
            at_end = anonymous_bytes(server.process.pid)
            # what the peer leaves unread, and the index of what is appended meanwhile
            assert at_end - at_start < 2 * unread_bytes, f"memory grew from {at_start} to {at_end} bytes behind a stopped peer"
            assert min(rate) > 0, f"the worker stood still for 5 s: {rate}"
            assert after["requests"]["dead_clients"] > before["requests"]["dead_clients"], after["requests"]
            settle([worker])
            assert inserted(learner) == STEPS * worker.acknowledged
        finally:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        print(f"memory {at_start >> 20} -> {at_end >> 20} MiB, chunks a second in any 5 s at least {min(rate)}")


class Appender:
    """A real worker process (tests/net/appender.c): what it appended and what was acknowledged, as it says five times a second."""

    def __init__(self, server, rate, keys=None, endpoint=None, prefix=()):
        program = os.path.join(BIN, "..", "tests", "appender")
        self.process = subprocess.Popen([*prefix, program, endpoint or server.endpoint, keys or server.keys or "-", str(rate)], stdout=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text, self.lines = b"", []

    def read(self):
        self.text += self.process.stdout.read() or b""
        *whole, self.text = self.text.split(b"\n")
        self.lines += [[int(word) for word in line.split()] for line in whole]
        return self.lines[-1] if self.lines else [0, 0, 0, 0]

    def stop(self, timeout_s=40):
        """SIGTERM: everything is acknowledged, exit 0."""
        self.process.terminate()
        assert self.process.wait(timeout_s) == 0, f"appender ended with {self.process.returncode}"
        appended, acknowledged, _, _ = self.read()
        assert appended == acknowledged, (appended, acknowledged)
        return appended


def killed_workers():
    """64 worker processes, a third of them killed with -9 at random moments: the others lose nothing and are not held up."""
    with Server() as server:
        server.start()
        learner = make_table(server)
        workers = [Appender(server, 20) for _ in range(64)]
        try:
            end = time.time() + 60
            while any(worker.read()[1] < 5 for worker in workers) and time.time() < end:
                time.sleep(0.1)
            assert all(worker.read()[1] >= 5 for worker in workers)
            assert sum(w["alive"] for w in stats(learner)["workers"]) == 64
            random.seed(5)
            gone = random.sample(workers, 21)
            for worker in gone:
                time.sleep(random.uniform(0, 0.3))
                worker.process.kill()
            left = [worker for worker in workers if worker not in gone]
            at = [worker.read()[1] for worker in left]
            end = time.time() + 20
            while sum(w["alive"] for w in stats(learner)["workers"]) > 43 and time.time() < end:
                time.sleep(0.2)
            assert sum(not w["alive"] for w in stats(learner)["workers"]) == 21
            assert all(worker.read()[1] > n + 20 for worker, n in zip(left, at)), "some stood still"
            longest = max(line[3] for worker in left for line in worker.lines)
            # newcomers store at once, in places of their own
            fresh = [Appender(server, 20) for _ in range(21)]
            workers += fresh
            start = time.time()
            while any(worker.read()[1] == 0 for worker in fresh) and time.time() < start + 20:
                time.sleep(0.05)
            first = time.time() - start
            assert first < 5, f"21 newcomers stored their first chunks after {first:.1f} s"
            sure = sum(worker.stop() for worker in left + fresh)
            for worker in gone:
                worker.process.wait()
                sure += worker.read()[1]
            unsure = sum(worker.read()[0] - worker.read()[1] + 20 for worker in gone)  # what it did not live to say
            table = stats(learner)["replay"]["tables"][0]
            chunks = table["inserted_steps"] / STEPS
            assert sure <= chunks <= sure + unsure, (sure, chunks, unsure)
            assert table["gaps"] == 0 and table["refused"] == 0, table
            print(f"{sure} acknowledged chunks, {int(chunks)} stored; nobody waited longer than {longest} ms; newcomers after {first:.1f} s")
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.wait()


def stopped_server():
    """The server is stopped: workers keep what they produce up to their limit and no further, then go on."""
    with Server() as server:
        server.start()
        learner = make_table(server)
        worker = Appender(server, 1000)
        rss = lambda: int(open(f"/proc/{worker.process.pid}/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
        try:
            time.sleep(2)
            assert worker.read()[1] > 100, worker.read()
            before = rss()
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(600 if FULL else 60)
            growth = rss() - before
            # the backlog (64 MiB) and what the allocator adds to chunks of 400 bytes
            assert growth < 160 << 20, f"the worker grew by {growth} bytes behind a stopped server"
            server.process.send_signal(signal.SIGCONT)
            start, at = time.time(), worker.read()[1]
            while worker.read()[1] < at + 1000 and time.time() < start + 30:
                time.sleep(0.05)
            took = time.time() - start
            assert took < 10, f"recovered after {took:.1f} s"
            # ten minutes fill the backlog: it is sent before the worker is asked to stop
            while worker.read()[0] - worker.read()[1] > 1000 and time.time() < start + 300:
                time.sleep(0.2)
            total = worker.stop()
            learner.ok(hello=server.pb.Hello(role=server.pb.LEARNER))
            assert inserted(learner) == STEPS * total, (inserted(learner), total)
            print(f"the worker grew by {growth >> 20} MiB, recovered {took:.1f} s after the server went on, {total} chunks stored once")
        finally:
            server.process.send_signal(signal.SIGCONT)
            worker.process.kill()
            worker.process.wait()


def late_clients():
    """Clients that join, or were stopped, while versions of 2 MiB are published: each has a whole one within 2 s, never older than what was there."""
    size, tensors = 2 << 20, 64
    with Server(curve=True) as server:
        server.start()
        pb, learner = server.pb, make_table(server)
        shape = [pb.TensorSpec(name=f"t{k}", dtype=pb.F32, shape=[size // 4 // tensors]) for k in range(tensors)]
        head = b"".join(f"t{k}".encode() + b"\0" + struct.pack("<2I", 1, size // 4 // tensors) for k in range(tensors))

        def publish(version):
            values = struct.pack("<f", version) * (size // 4)
            crc = crc32c_of(head + values)
            learner.ok(hello=pb.Hello(role=pb.LEARNER))  # the checksum may have taken longer than a client may be silent
            for offset in range(0, size, 1 << 20):
                learner.ok(publish=pb.Publish(set="actor", version=version, tag=2, size=size, offset=offset, crc=crc,
                                              tensor=shape if offset == 0 else [], values=values[offset : offset + (1 << 20)]))

        def fetch(client):
            """The newest version, in parts, as a client does it; where it was superseded and removed meanwhile, the one after it."""
            while True:
                version, values = 0, b""
                while len(values) < size:
                    reply = client.call(fetch=pb.Fetch(set="actor", version=version, offset=len(values)))
                    if reply.status == pb.HWM_ENOTFOUND and version != 0:
                        break
                    assert reply.status == pb.HWM_OK, reply.message
                    part = reply.fetch
                    version = part.version
                    values += part.values
                if len(values) == size:
                    assert values == struct.pack("<f", version) * (size // 4), "a torn version"
                    return version

        publish(1)
        newest, longest, slow = 1, 0.0, None
        for n in range(6):
            newest += 1
            publish(newest)
            if n == 0:
                slow = server.client(key="worker")
                slow.ok(hello=pb.Hello(role=pb.WORKER, environments=1, subscribe=True))
            start = time.time()
            late = server.client(key="worker")
            hello = late.ok(hello=pb.Hello(role=pb.WORKER, environments=1, subscribe=True)).hello
            assert [a.version for a in hello.announce] == [newest], hello.announce
            version = fetch(late)
            longest = max(longest, time.time() - start)
            assert version >= newest, (version, newest)
            late.socket.close(0)
        # one that did not read for all that time, long enough to be given up: its next words bring it up to date
        time.sleep(6)
        start = time.time()
        assert slow.call(heartbeat=pb.Heartbeat()).status == pb.HWM_ECLOSED
        slow.ok(hello=pb.Hello(role=pb.WORKER, environments=1, subscribe=True))
        assert fetch(slow) == newest
        longest = max(longest, time.time() - start)
        assert longest < 2, f"the newest parameters took {longest:.2f} s"
        print(f"newest of {newest} versions of {size >> 20} MiB fetched {longest:.2f} s after the first word at the latest")


def sigterm_under_load():
    """SIGTERM with appends in flight: exit 0 within 10 s, and what was acknowledged is there afterwards, once."""
    with Server() as server:
        server.start()
        make_table(server)
        workers = [Worker(server) for _ in range(8)]
        for worker in workers:
            worker.greet()
        pump(workers, 1)
        for worker in workers:
            for _ in range(20):
                worker.push()
        start = time.time()
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(20)
        took = time.time() - start
        assert status == 0, status
        assert took < 10, took
        for worker in workers:
            while worker.socket.poll(200):
                reply = worker.receive()
                if reply.id in worker.unanswered and reply.status == server.pb.HWM_OK:
                    worker.acknowledged += 1
                    del worker.unanswered[reply.id]
        server.start()
        chunks = inserted(server.client()) / STEPS
        sure = sum(worker.acknowledged for worker in workers)
        assert sure <= chunks <= sure + sum(len(worker.unanswered) for worker in workers), (sure, chunks)
        print(f"stopped in {took:.2f} s, {sure} acknowledged, {int(chunks)} stored")


class Line(threading.Thread):
    """A TCP line to the server with a delay, which can be made to swallow everything."""

    def __init__(self, port, delay_s):
        super().__init__(daemon=True)
        self.target, self.delay_s, self.swallow, self.stop = port, delay_s, False, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        peers, queues = {}, []
        while not self.stop:
            ready, _, _ = select.select([self.listener, *peers], [], [], 0.005)
            now = time.time()
            for s in ready:
                if s is self.listener:
                    near, _ = s.accept()
                    far = socket.create_connection(("127.0.0.1", self.target))
                    peers[near], peers[far] = far, near
                    continue
                try:
                    data = s.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    for end in (s, peers[s]):
                        peers.pop(end, None)
                        end.close()
                    continue
                queues.append((now + self.delay_s, peers[s], data))
            while queues and queues[0][0] <= now and not self.swallow:
                _, to, data = queues.pop(0)
                if to in peers:
                    to.sendall(data)


def black_hole():
    """100 ms each way, then nothing at all for longer than the server waits: recovered within 10 s of healing, nothing lost."""
    with Server() as server:
        server.listen = "tcp://127.0.0.1:*"
        server.start()
        learner = make_table(server)
        line = Line(int(server.endpoint.rsplit(":", 1)[1]), 0.1)
        worker = Worker(server, endpoint=f"tcp://127.0.0.1:{line.port}")
        worker.greet()
        pump([worker], 3, window=64)
        assert worker.acknowledged > 20, worker.acknowledged
        line.swallow = True
        time.sleep(60 if FULL else 8)
        assert stats(learner)["requests"]["dead_clients"] >= 1
        line.swallow = False
        healed = time.time()
        # what was swallowed arrives late; whoever was declared dead is told so and says hello again
        closed = False
        while not closed and time.time() - healed < 10:
            worker.send(heartbeat=server.pb.Heartbeat())
            while worker.socket.poll(100) and not closed:
                reply = worker.receive()
                if reply.id in worker.unanswered and reply.status in (server.pb.HWM_OK, server.pb.HWM_EDUPLICATE):
                    worker.acknowledged += 1
                    del worker.unanswered[reply.id]
                closed = reply.status == server.pb.HWM_ECLOSED
        assert closed, "not told within 10 s of healing"
        old, again = worker.hello, list(worker.unanswered)
        sequence_of = {n: worker.acknowledged + i for i, n in enumerate(sorted(again))}
        worker.unanswered.clear()
        worker.greet()
        assert worker.hello.incarnation != old.incarnation or worker.hello.first_env != old.first_env
        # the old stream's chunks, as they were: all of them in flight, as a worker sends them
        sent = {worker.send(append=server.pb.Append(chunk=chunk(server.pb, old, sequence_of[n]))) for n in sorted(again)}
        while sent:
            reply = worker.receive()
            if reply.id in sent:
                assert reply.status in (server.pb.HWM_OK, server.pb.HWM_EDUPLICATE), reply
                sent.remove(reply.id)
        took = time.time() - healed
        assert took < 10, took
        assert inserted(learner) == STEPS * (worker.acknowledged + len(again)), (inserted(learner), worker.acknowledged, len(again))
        line.stop = True
        print(f"recovered {took:.1f} s after healing, {len(again)} chunks sent again")


if __name__ == "__main__":
    {f.__name__: f for f in (stopped_peer, stopped_server, killed_workers, late_clients, sigterm_under_load, black_hole)}[sys.argv[1]]()
