"""What joining, leaving and new parameters cost: a server and workers as processes on this machine, figures printed, nothing asserted.

  joining.py join [--workers 64]     R5: from a worker's start, knowing only the address, to its first stored chunk, one after the
                                     other; R7: from a publication to the moment when all of them act with it, and a slow worker
  joining.py stop [--seconds 60]     R4: what a worker that is stopped, then killed, costs the one beside it

Workers step 2 environments at --pace-hz decisions a second. The programs are those of --bin (build/bin).
"""

import argparse
import os
import signal
import subprocess
import sys
import time

from scale import ROOT, System


class Publisher:
    """Publishes the parameters of version 1 again and again, as newer versions."""

    def __init__(self, system):
        import rpc

        subprocess.run(["protoc", f"--python_out={system.folder.name}", "-I", f"{ROOT}/proto", "hwm.proto"], check=True)
        sys.path.insert(0, system.folder.name)
        import hwm_pb2 as pb

        self.pb, self.client, self.version = pb, rpc.Client(pb, system.endpoint, None), 1
        self.hello()
        self.first = self.client.ok(fetch=pb.Fetch(set="controller", version=1)).fetch

    def hello(self):
        self.client.ok(hello=self.pb.Hello(role=self.pb.OPERATOR, host="publisher", version="joining"))

    def publish(self):
        self.hello()  # it sends no heartbeats
        self.version += 1
        f = self.first
        self.client.ok(publish=self.pb.Publish(
            set="controller", version=self.version, tag=1, tensor=f.tensor, size=f.size, offset=0, values=f.values, crc=f.crc))
        return time.monotonic()


def alive(system):
    return {w["pid"]: w for w in system.stats()["workers"] if w["alive"]}


def until(condition, limit_s=60):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > limit_s:
            raise SystemExit(f"joining: not within {limit_s} s")
        time.sleep(0.01)
    return time.monotonic() - began


def line(name, values):
    values = sorted(values)
    print(f"{name}: median {values[len(values) // 2]:.2f} s, longest {values[-1]:.2f} s of {len(values)}", flush=True)


def join(o, system):
    options = ["--server", system.endpoint, "--environments", "2", "--pace-hz", str(o.pace_hz)]
    took = []
    for _ in range(o.workers):
        began = time.monotonic()
        worker = system.start("worker", *options)
        until(lambda: alive(system).get(worker.pid, {}).get("chunks", 0) > 0)
        took.append(time.monotonic() - began)
    line(f"R5 start to first stored chunk, 1 to {o.workers} workers", took)

    publisher, acts = Publisher(system), []
    for _ in range(10):
        published = publisher.publish()
        until(lambda: min(w["version"] for w in alive(system).values()) >= publisher.version)
        acts.append(time.monotonic() - published)
    line(f"R7 publication to acting in all of {o.workers} workers", acts)

    for process in system.processes[2:]:
        process.send_signal(signal.SIGTERM)
    for process in system.processes[2:]:
        process.wait(timeout=30)
    del system.processes[2:]
    slow = system.start("worker", "--server", system.endpoint, "--environments", "1", "--pace-hz", "1")
    until(lambda: alive(system).get(slow.pid, {}).get("version", 0) == publisher.version)
    fetched, acts = [], []
    for _ in range(3):
        handed_out = lambda: system.stats()["params"]["fetched_bytes"]
        before, published = handed_out(), publisher.publish()
        until(lambda: handed_out() > before)
        fetched.append(time.monotonic() - published)
        until(lambda: alive(system)[slow.pid]["version"] == publisher.version)
        acts.append(time.monotonic() - published)
    line("R7 a worker of one decision a second: publication to fetched", fetched)
    line("R7 the same: to acting, at the next border of a chunk of 8 decisions", acts)


def stop(o, system):
    options = ["--server", system.endpoint, "--environments", "2", "--pace-hz", str(o.pace_hz)]
    other, victim = system.start("worker", *options), system.start("worker", *options)
    until(lambda: all(alive(system).get(w.pid, {}).get("chunks", 0) > 3 for w in (other, victim)))
    for how, seconds in ((signal.SIGSTOP, o.seconds), (signal.SIGKILL, 5.0)):
        os.kill(victim.pid, how)
        first = last = alive(system)[other.pid]
        began = moved = time.monotonic()
        gap = 0.0
        while time.monotonic() - began < seconds:
            now = alive(system)[other.pid]
            if now["chunks"] > last["chunks"]:
                gap, moved = max(gap, time.monotonic() - moved), time.monotonic()
            last = now
            time.sleep(0.05)
        elapsed = time.monotonic() - began
        rate = (last["env_steps"] - first["env_steps"]) / elapsed
        blocked = last["blocked_s"] - first["blocked_s"]
        print(f"R4 beside {how.name} for {elapsed:.0f} s: {rate:.0f} of {2 * o.pace_hz:.0f} steps/s offered, blocked {blocked:.3f} s, "
              f"longest time between chunks {gap:.2f} s", flush=True)
    print("R4 the server's log of the one that stood still: " + "; ".join(
        text.split("streams abandoned ")[1].strip() for text in system.log_of(system.processes[0]).splitlines() if "streams abandoned" in text))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"))
    parser.add_argument("--pace-hz", type=float, default=20)
    forms = parser.add_subparsers(required=True)
    form = forms.add_parser("join")
    form.add_argument("--workers", type=int, default=64)
    form.set_defaults(run=join)
    form = forms.add_parser("stop")
    form.add_argument("--seconds", type=float, default=60)
    form.set_defaults(run=stop)
    o = parser.parse_args()
    os.environ.setdefault("HWM_BIN_DIR", o.bin)
    os.environ.setdefault("HWM_SOURCE_DIR", ROOT)
    with System(o.bin, os.path.join(ROOT, "deploy/experiments/cartpole.yaml")) as system:
        o.run(o, system)


if __name__ == "__main__":
    main()
