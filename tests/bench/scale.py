"""How far one server goes, and what it stores: real servers, learners and workers as processes on this machine.

  scale.py workers [--counts 1,2,4,...] [--environments N] [--pace-hz R] [--seconds S]
      1 to 64 workers against one server. Workers pace their environments (hwm-worker --pace-hz), as a slow simulator or a robot
      would, so that many fit on few cores. Prints steps appended per second, the processor time of server and workers, and the time
      from append to acknowledgement, taken by a client that appends to a second table of the same store.
  scale.py sizes [--seconds S] EXPERIMENT.yaml...
      What a step costs on the wire and on the disk, and what a worker of 16 environments at 20 decisions per second sends.

The programs are those of --bin (build/bin); both forms print a table in Markdown.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
# nothing trains: the learner creates the table, publishes the untrained controller and waits for a prefill that never ends
IDLE = ["--set", "train.prefill_steps=100000000", "--set", "replay.capacity_steps=100000001", "--set", "run.max_env_steps=1000000000"]


class System:
    """A server on a free TCP port of loopback and an idle learner; workers on demand."""

    def __init__(self, bin_dir, experiment):
        self.bin, self.folder = bin_dir, tempfile.TemporaryDirectory(prefix="hwm-scale-")
        self.processes, self.workers = [], []
        try:
            self.begin(experiment)
        except BaseException:
            self.__exit__()
            raise

    def begin(self, experiment):
        self.server = self.start("server", "--listen", "tcp://127.0.0.1:*", "--dir", f"{self.folder.name}/store")
        self.endpoint = self.wait("the server", self.listening)
        self.start("learner", "--server", self.endpoint, "--experiment", experiment, "--run-dir", f"{self.folder.name}/run", *IDLE)
        self.table = self.wait("the table", lambda: [t["name"] for t in self.stats()["replay"]["tables"]])[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.folder.cleanup()

    def start(self, program, *options):
        log = f"{self.folder.name}/{len(self.processes)}.log"
        with open(log, "w") as f:
            process = subprocess.Popen([f"{self.bin}/hwm-{program}", *options], stdout=f, stderr=f)
        self.processes.append(process)
        return process

    def log_of(self, process):
        with open(f"{self.folder.name}/{self.processes.index(process)}.log") as f:
            return f.read()

    def listening(self):
        words = self.log_of(self.processes[0]).split()
        found = [word[len("endpoint="):] for word in words if word.startswith("endpoint=")]
        return found[0] if found else None

    def stats(self):
        done = subprocess.run([f"{self.bin}/hwm", "stats", "--server", self.endpoint, "--json"], capture_output=True, text=True, timeout=30)
        return json.loads(done.stdout) if done.returncode == 0 else {"replay": {"tables": []}, "workers": []}

    def one_table(self):
        return [t for t in self.stats()["replay"]["tables"] if t["name"] == self.table][0]

    def wait(self, what, condition, limit_s=60):
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            for process in self.processes:
                if process.poll():
                    raise SystemExit(f"scale: {os.path.basename(process.args[0])} ended with {process.returncode}, see its log:\n{self.log_of(process)[-1000:]}")
            time.sleep(0.05)
        raise SystemExit(f"scale: waited {limit_s} s in vain for {what}")

    def grow(self, count, *options):
        """Brings the number of workers to `count`, each of which has stored something."""
        while len(self.workers) < count:
            self.workers.append(self.start("worker", "--server", self.endpoint, "--table", self.table, *options))
        alive = lambda: [w for w in self.stats()["workers"] if w["alive"] and w.get("chunks", 0) > 0]
        self.wait(f"{count} workers", lambda: len(alive()) >= count)


def cpu_s(processes):
    """Processor time of the processes so far, user and system."""
    total = 0
    for process in processes:
        with open(f"/proc/{process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Probe:
    """A client that appends one small chunk at a time to a table of its own and measures each acknowledgement."""

    def __init__(self, system):
        import rpc

        subprocess.run(["protoc", f"--python_out={system.folder.name}", "-I", f"{ROOT}/proto", "hwm.proto"], check=True)
        sys.path.insert(0, system.folder.name)
        import hwm_pb2 as pb

        self.pb, self.rpc, self.k = pb, rpc, 0
        self.client = rpc.Client(pb, system.endpoint, None)
        self.client.ok(hello=pb.Hello(role=pb.OPERATOR, host="probe", version="scale"))
        self.client.ok(table_create=pb.TableCreate(name="probe", signature=rpc.signature(pb), capacity_steps=100000, experiment="run: {}", seed=1))
        self.hello = self.client.ok(hello=pb.Hello(role=pb.OPERATOR, table="probe", environments=1, host="probe", version="scale")).hello

    def measure(self, seconds):
        """Milliseconds from append to acknowledgement, sorted; 50 appends a second."""
        latency, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            message = self.rpc.chunk(self.pb, self.hello, self.k)
            self.k += 1
            began = time.monotonic()
            self.client.ok(append=self.pb.Append(chunk=message))
            latency.append((time.monotonic() - began) * 1e3)
            time.sleep(max(0.0, 0.02 - latency[-1] * 1e-3))
        return sorted(latency)


def scale_workers(o):
    rows = []
    with System(o.bin, os.path.join(ROOT, "deploy/experiments/cartpole.yaml")) as system:
        probe = Probe(system)
        for count in [int(c) for c in o.counts.split(",")]:
            system.grow(count, "--environments", str(o.environments), "--pace-hz", str(o.pace_hz))
            probe.measure(0.5)
            before, began = system.one_table(), time.monotonic()
            server, workers = cpu_s([system.server]), cpu_s(system.workers)
            latency = probe.measure(o.seconds)
            elapsed = time.monotonic() - began
            after = system.one_table()
            rows.append((
                count, count * o.environments * o.pace_hz, (after["inserted_steps"] - before["inserted_steps"]) / elapsed,
                100 * (cpu_s([system.server]) - server) / elapsed, 100 * (cpu_s(system.workers) - workers) / elapsed,
                latency[len(latency) // 2], latency[len(latency) * 99 // 100]))
            print(f"{count} workers measured", file=sys.stderr)
    print("| workers | steps/s offered | steps/s appended | server, % of a core | all workers, % of a core | ack p50 | ack p99 |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print("| {} | {:,.0f} | {:,.0f} | {:.0f} | {:.0f} | {:.1f} ms | {:.1f} ms |".format(*row))


def sizes(o):
    print("| experiment | bytes/step on the wire | bytes/step on disk | steps/GB | KB/s of a worker, 16 x 20 Hz |")
    print("|---|---|---|---|---|")
    for experiment in o.experiments:
        with System(o.bin, experiment) as system:
            system.grow(1, "--environments", "16")
            time.sleep(o.seconds)
            system.workers[0].send_signal(signal.SIGTERM)
            system.workers[0].wait(timeout=20)
            stats = system.stats()
            table = [t for t in stats["replay"]["tables"] if t["name"] == system.table][0]
            wire = sum(w["bytes"] for w in stats["workers"]) / table["inserted_steps"]
            disk = table["bytes"] / table["steps"]
        name = os.path.splitext(os.path.basename(experiment))[0]
        print(f"| `{name}` | {wire:.0f} | {disk:.0f} | {1e9 / disk / 1e6:.1f} M | {wire * 320 / 1e3:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"))
    forms = parser.add_subparsers(required=True)
    workers = forms.add_parser("workers")
    workers.add_argument("--counts", default="1,2,4,8,16,32,64")
    workers.add_argument("--environments", type=int, default=16)
    workers.add_argument("--pace-hz", type=float, default=50)
    workers.add_argument("--seconds", type=float, default=6)
    workers.set_defaults(run=scale_workers)
    form = forms.add_parser("sizes")
    form.add_argument("--seconds", type=float, default=3)
    form.add_argument("experiments", nargs="+", metavar="EXPERIMENT.yaml")
    form.set_defaults(run=sizes)
    o = parser.parse_args()
    os.environ.setdefault("HWM_BIN_DIR", o.bin)
    os.environ.setdefault("HWM_SOURCE_DIR", ROOT)
    o.run(o)


if __name__ == "__main__":
    main()
