"""A client written from hwm.proto alone, and a server to talk to: what the tests of the protocol share."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import zmq
import zmq.auth

BIN = os.environ["HWM_BIN_DIR"]
SOURCE = os.environ["HWM_SOURCE_DIR"]
FULL = os.environ.get("HWM_FULL") == "1"


class Client:
    def __init__(self, pb, endpoint, keys, key="operator", kind=zmq.DEALER, own=None, server_key=None):
        self.pb, self.n = pb, 0
        self.socket = zmq.Context.instance().socket(kind)
        self.socket.linger = 0
        if keys:
            self.public, self.socket.curve_secretkey = own or zmq.auth.load_certificate(f"{keys}/{key}.key")
            self.socket.curve_publickey = self.public
            self.socket.curve_serverkey = server_key or zmq.auth.load_certificate(f"{keys}/server.pub")[0]
        self.socket.connect(endpoint)

    def send(self, **body):
        self.n += 1
        message = self.pb.Request(protocol=1, id=self.n, **body).SerializeToString()
        self.socket.send_multipart([b"", message])
        return self.n

    def receive(self):
        assert self.socket.poll(20000), "no reply within 20 s"
        frames = self.socket.recv_multipart()
        assert len(frames) == 2 and frames[0] == b"", frames
        reply = self.pb.Reply.FromString(frames[1])
        assert reply.protocol == 1
        return reply

    def call(self, **body):
        n = self.send(**body)
        while True:
            reply = self.receive()
            if reply.id == n:
                return reply

    def ok(self, **body):
        reply = self.call(**body)
        assert reply.status == self.pb.HWM_OK, f"{list(body)}: {reply.message}"
        return reply


STEPS = 8


def signature(pb):
    columns = [("flags", pb.U8, []), ("reward", pb.F32, []), ("obs", pb.F32, [3]), ("action", pb.F32, [1]), ("act", pb.F32, [4])]
    return pb.Signature(
        column=[pb.TensorSpec(name=n, dtype=d, shape=s) for n, d, s in columns],
        key=[pb.TensorSpec(name="W0", dtype=pb.F32, shape=[2, 3])])


def chunk(pb, hello, k):
    first = k * STEPS
    rows = range(first, first + STEPS)
    floats = lambda values: struct.pack(f"<{len(values)}f", *values)
    return pb.Chunk(
        env=hello.first_env, incarnation=hello.incarnation, sequence=k + 1, first_step=first, episode=0, episode_step=first,
        steps=STEPS, param=pb.ParamRef(set="controller", version=1),
        column=[bytes([1 if t == 0 else 0 for t in rows]), floats([float(t) for t in rows]),
                floats([t + d / 10 for t in rows for d in range(3)]), floats([0.0] * STEPS), floats([0.0] * 4 * STEPS)],
        key=[floats([float(first)] * 6)])


class Server:
    """hwm-server in a directory of its own, which is removed at the end; `pb` is the module generated from hwm.proto."""

    def __init__(self, curve=False):
        self.curve, self.process, self.endpoint, self.keys, self.http = curve, None, None, None, None

    def __enter__(self):
        self.work = tempfile.mkdtemp(prefix="hwm-rpc-")
        subprocess.run(["protoc", f"--python_out={self.work}", "-I", f"{SOURCE}/proto", "hwm.proto"], check=True)
        sys.path.insert(0, self.work)
        import hwm_pb2

        self.pb = hwm_pb2
        self.listen = f"ipc://{self.work}/socket"
        if self.curve:
            self.keys, self.listen = f"{self.work}/keys", "tcp://127.0.0.1:*"
            subprocess.run([f"{BIN}/hwm", "keygen", self.keys], check=True, stdout=subprocess.DEVNULL)
        return self

    def start(self, *options):
        command = [f"{BIN}/hwm-server", "--dir", f"{self.work}/store", "--set", "store.map_bytes=268435456", "--listen", self.listen]
        command += ["--key-dir", self.keys] if self.keys else []
        log = f"{self.work}/server.log"
        with open(log, "w") as f:
            self.process = subprocess.Popen(command + list(options), stderr=f)
        end = time.time() + 30
        self.endpoint = None
        while self.endpoint is None and time.time() < end:
            assert self.process.poll() is None, "the server ended at once"
            found = re.search(r"listening endpoint=(\S+)", open(log).read())
            self.endpoint = found.group(1) if found else None
            port = re.search(r" http: listening .*port=(\d+)", open(log).read())
            self.http = int(port.group(1)) if port else None
            time.sleep(0.05)
        return self.endpoint

    def client(self, **options):
        return Client(self.pb, self.endpoint, self.keys, **options)

    def __exit__(self, kind, *_):
        if kind is not None and os.path.exists(f"{self.work}/server.log"):
            print(open(f"{self.work}/server.log").read()[-5000:], file=sys.stderr)
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.work, ignore_errors=True)
