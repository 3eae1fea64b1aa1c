"""A generation whose workers die: half of four workers are killed while they hold leases, and the run ends with the
same parameters, bit for bit, as one that nobody disturbed. Real processes; 8 generations (30 with HWM_FULL)."""

import json
import os
import signal
import subprocess
import sys
import time

from runs import BIN, SOURCE, Scratch, expect, wait_for

FULL = os.environ.get("HWM_FULL") == "1"
EXPERIMENT = os.path.join(SOURCE, "deploy", "experiments", "cartpole_es.yaml")
GENERATIONS = 30 if FULL else 8
TASKS = 16  # of a generation
SETTINGS = [
    f"run.max_updates={GENERATIONS}", "run.max_env_steps=0", "run.workers=0", "run.report_interval_s=0.2", f"evolution.population={2 * TASKS}",
    "evolution.episodes=48", "evolution.task_individuals=2", "evolution.lr=0.05", "evaluation.every_updates=1000",
    "evaluation.lease_ms=1500", "evaluation.episodes=4", "evaluation.confirm_episodes=4",
]


def start(scratch, log, *command):
    with open(os.path.join(scratch.path, log), "w") as f:
        process = subprocess.Popen(command, stdout=f, stderr=f)
    scratch.processes.append(process)
    return process


def stats(endpoint):
    done = subprocess.run([os.path.join(BIN, "hwm"), "stats", "--server", endpoint, "--json"], capture_output=True, text=True, timeout=30)
    return json.loads(done.stdout) if done.returncode == 0 else None


def tasks_of(endpoint):
    return (stats(endpoint) or {}).get("tasks") or {}


def stopped_with_leases(endpoint, workers):
    """Only they are there: stop them in mid-generation, when tasks are theirs. Nothing goes on then."""
    wait_for("the second generation", lambda: tasks_of(endpoint).get("completed", 0) > TASKS, 120)
    for _ in range(100):
        for worker in workers:
            worker.send_signal(signal.SIGSTOP)
        if tasks_of(endpoint)["leased"] > 0:
            return
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    raise AssertionError("they never held a lease")


def evolve(scratch, name, workers, kill):
    """Train; kill so many workers once some generations are through. Returns controller.safetensors and leases given twice."""
    endpoint, run = f"ipc://{scratch.path}/{name}.sock", scratch.run_dir(name)
    server = start(scratch, f"{name}.server.log", os.path.join(BIN, "hwm-server"), "--listen", endpoint, "--dir", os.path.join(scratch.path, name + ".db"))
    sets = [word for item in SETTINGS for word in ("--set", item)]
    learner = start(scratch, f"{name}.learner.log", os.path.join(BIN, "hwm-learner"), "--server", endpoint, "--experiment", EXPERIMENT, "--run-dir", run, *sets)
    worker = lambda k: start(scratch, f"{name}.worker{k}.log", os.path.join(BIN, "hwm-worker"), "--server", endpoint, "--environments", "1")
    team = [worker(k) for k in range(kill or workers)]
    if kill:
        stopped_with_leases(endpoint, team)
        for process in team:
            process.kill()
            process.wait()
        team += [worker(k) for k in range(kill, workers)]
    wait_for("the end", lambda: learner.poll() is not None, 200)
    expect(learner.returncode == 0, "learner ended with", learner.returncode)
    tasks = stats(endpoint)["tasks"]
    for process in team + [server]:
        if process.poll() is None:
            process.terminate()
            expect(process.wait(timeout=20) == 0, "exit", process.returncode)
    with open(os.path.join(run, "checkpoints", "latest", "controller.safetensors"), "rb") as f:
        return f.read(), tasks


def main():
    with Scratch() as scratch:
        alone, quiet = evolve(scratch, "quiet", 1, 0)
        killed, loud = evolve(scratch, "killed", 4, 2)
        expect(quiet["leased_again"] == 0, quiet)
        expect(loud["leased_again"] > 0, "nobody held a lease when it died:", loud)
        expect(loud["failed"] == 0, loud)
        expect(alone == killed, "the parameters differ:", alone[:600], killed[:600])
        print(f"{GENERATIONS} generations, {loud['leased_again']} leases given again: the same {len(alone)} bytes")


sys.exit(main())
