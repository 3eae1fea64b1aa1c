"""A bad network link between two network namespaces: IP packets go from one TUN device to the other with a delay, a share of them is
lost, and all of them while the link is cut. TCP above it is the kernel's own, so that retransmission and back-off are real. Needs
root; works on kernels without sch_netem."""

import collections
import ctypes
import fcntl
import multiprocessing
import os
import random
import select
import struct
import subprocess
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
QUEUE_PACKETS = 20000  # each way: what comes beyond is lost


def enter(namespace):
    """This thread, and what it starts, into the network namespace of this file."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(namespace, os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(fd)


def open_tun(namespace, name):
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    enter(namespace)
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    finally:
        enter(f"/proc/self/fd/{own}")
        os.close(own)
    return fd


def command(namespace, *words):
    subprocess.run(["nsenter", f"--net={namespace}", *words], check=True, capture_output=True)


class Link:
    """near and far: files of network namespaces (/run/netns/NAME, /proc/PID/ns/net). They reach each other as near_ip and far_ip."""

    def __init__(self, near, far, near_ip, far_ip, delay_s=0.0, loss=0.0, seed=1):
        self.delay_s = multiprocessing.Value("d", delay_s)
        self.loss = multiprocessing.Value("d", loss)
        self.cut = multiprocessing.Value("b", 0)
        self.lost = multiprocessing.Value("q", 0)
        name = f"hwm{os.getpid() % 100000}{random.randrange(1000)}"
        self.fds = []
        for namespace, end, own, other in ((near, "n", near_ip, far_ip), (far, "f", far_ip, near_ip)):
            self.fds.append(open_tun(namespace, name + end))
            command(namespace, "ip", "addr", "add", own, "peer", other, "dev", name + end)
            command(namespace, "ip", "link", "set", name + end, "up")
        self.process = multiprocessing.Process(target=self.forward, args=(seed,), daemon=True)
        self.process.start()

    def forward(self, seed):
        draw = random.Random(seed)
        queues = [collections.deque(), collections.deque()]  # of what came in at fds[i]: (due, packet)
        while True:
            now = time.monotonic()
            due = min((q[0][0] for q in queues if q), default=now + 0.1)
            ready, _, _ = select.select(self.fds, [], [], max(0.0, due - now))
            now = time.monotonic()
            for fd in ready:
                queue = queues[self.fds.index(fd)]
                for _ in range(64):
                    try:
                        packet = os.read(fd, 65536)
                    except BlockingIOError:
                        break
                    if self.cut.value or draw.random() < self.loss.value or len(queue) >= QUEUE_PACKETS:
                        self.lost.value += 1
                        continue
                    queue.append((now + self.delay_s.value, packet))
            for i in (0, 1):
                while queues[i] and queues[i][0][0] <= now:
                    try:
                        os.write(self.fds[1 - i], queues[i].popleft()[1])
                    except (BlockingIOError, OSError):
                        self.lost.value += 1

    def close(self):
        self.process.kill()
        self.process.join()
        for fd in self.fds:
            os.close(fd)


class Namespace:
    """A network namespace with a loopback, removed at the end."""

    def __init__(self, name):
        self.name = f"hwm{os.getpid()}{name}"
        self.path = f"/run/netns/{self.name}"

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", self.name], check=False)
