"""What the end-to-end tests share: a scratch directory, starting `hwm train`, waiting for its progress."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.environ["HWM_BIN_DIR"]
SOURCE = os.environ["HWM_SOURCE_DIR"]
HWM = os.path.join(BIN, "hwm")
CARTPOLE = os.path.join(SOURCE, "deploy", "experiments", "cartpole.yaml")
# small enough for a few seconds under sanitizers: a short prefill, tiny models, a handful of updates
SMALL = [
    "train.prefill_steps=200", "train.warmup_updates=5", "train.publish_every_updates=2", "evaluation.every_updates=10",
    "evaluation.episodes=4", "model.members=2", "model.units=16", "model.batch=16", "imagination.batch=16", "imagination.horizon=5",
    "train.critic_units=16", "run.report_interval_s=0.2", "run.checkpoint_interval_s=1", "worker.environments=4",
]


def small_set(**fields):
    sets = list(SMALL) + [f"{key.replace('__', '.')}={value}" for key, value in fields.items()]
    return [word for item in sets for word in ("--set", item)]


class Scratch:
    """A directory that is removed at the end, with everything that still runs in it killed first."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="hwm-e2e-")
        self.processes = []
        return self

    def __exit__(self, kind, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        if kind is not None:
            self.show_logs()
        shutil.rmtree(self.path, ignore_errors=True)

    def show_logs(self):
        for folder, _, names in os.walk(self.path):
            for name in sorted(names):
                if name.endswith(".log"):
                    with open(os.path.join(folder, name), errors="replace") as f:
                        text = f.read()
                    print(f"---- {name}\n{text[-3000:]}", file=sys.stderr)

    def run_dir(self, name="run"):
        return os.path.join(self.path, name)

    def train(self, *arguments, run_dir=None, experiment=CARTPOLE):
        command = [HWM, "train", experiment, "--run-dir", run_dir or self.run_dir(), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process


def finish(process, timeout_s=60):
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def hwm(*arguments, timeout_s=60):
    done = subprocess.run([HWM, *arguments], capture_output=True, text=True, timeout=timeout_s)
    return done.returncode, done.stdout, done.stderr


def metrics(run_dir):
    """The complete lines of metrics.jsonl."""
    try:
        with open(os.path.join(run_dir, "metrics.jsonl")) as f:
            text = f.read()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


def wait_for(what, condition, timeout_s=60, process=None):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        if process is not None and process.poll() is not None:
            code, out, err = finish(process)
            raise AssertionError(f"`hwm train` ended with {code} before {what}\n{out}\n{err}")
        time.sleep(0.05)
    raise AssertionError(f"waited {timeout_s} s in vain for {what}")


def last(run_dir, key, fallback=0):
    values = [line[key] for line in metrics(run_dir) if line.get(key) is not None]
    return values[-1] if values else fallback


def children(process, name):
    """Process ids of the children of `hwm train` that run the program of that name."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            if parent == process.pid and os.path.basename(os.readlink(f"/proc/{entry}/exe")) == name:
                found.append(int(entry))
        except (OSError, ValueError, IndexError):
            continue
    return sorted(found)


def kill(pid, number=signal.SIGKILL):
    os.kill(pid, number)


def expect(condition, *said):
    if not condition:
        raise AssertionError(" ".join(str(word) for word in said))
