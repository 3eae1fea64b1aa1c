"""What the design promises about bad networks and lost programs, across containers: a worker behind 100 ms and 5 % loss whose line is
then cut for 60 s, one that is frozen for as long, a learner that is killed, and a clean stop of everything over the bad line.
Prometheus is started beside them and has to see the server.
"""

import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from engine import (BASE, DEPLOY, Project, experiment, free_port, image, keys, kill_program, metrics, run, say, stats_here, table,
                    wait, workers_alive)  # fmt: skip
from link import Link

CUT_S = 60
NEAR_IP, FAR_IP = "10.78.0.1", "10.78.0.2"
PROMETHEUS = "hwm-prometheus:test"


def started_at(container):
    text = run("docker", "inspect", "-f", "{{.State.StartedAt}}", container).strip()
    return datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


def worker_named(answer, host):
    """The living session of the worker in this container (its host name is the container's short id)."""
    return next((w for w in answer["workers"] if w["alive"] and host.startswith(w["host"])), None)


def asked(port, query):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={query}", timeout=5) as reply:
        rows = json.load(reply)["data"]["result"]
    return float(rows[0]["value"][1]) if rows else 0.0


def stop(project, limit_s=10):
    """SIGTERM to everything of the project, clients before the server as `hwm train` does it: exit 0 within the limit."""
    longest = 0.0
    present = project("config", "--services").split()
    for service in ("worker", "learner", "server"):
        containers = project.containers(service) if service in present else []
        if not containers:
            continue
        start = time.monotonic()
        run("docker", "stop", "-t", "20", *containers)
        longest = max(longest, time.monotonic() - start)
        for container in containers:
            code = run("docker", "inspect", "-f", "{{.State.ExitCode}}", container).strip()
            assert code == "0", f"{service} ended with {code}"
    assert longest < limit_s, f"a stop took {longest:.1f} s"
    return longest


def main():
    image()
    run("docker", "build", "-q", "--build-arg", f"BASE={BASE}", "-f", os.path.join(DEPLOY, "prometheus.Dockerfile"), "-t", PROMETHEUS, DEPLOY,
        timeout_s=400, env=dict(os.environ, DOCKER_BUILDKIT="0"))
    folder = tempfile.mkdtemp(prefix="hwm-keys-")
    keys(folder)
    port, prometheus_port = free_port(), free_port()
    name = f"hwmlink{os.getpid()}"
    system = Project(name, "compose.yaml", HWM_KEYS=folder, HWM_PORT=str(port), HWM_EXPERIMENT_FILE=experiment(folder),
                     HWM_PROMETHEUS_IMAGE=PROMETHEUS, HWM_PROMETHEUS_PORT=str(prometheus_port))
    # no network but the bad line
    alone = os.path.join(folder, "alone.yaml")
    with open(alone, "w") as f:
        f.write('version: "3.8"\nservices: {worker: {network_mode: none}}\n')
    elsewhere = Project(name + "far", "compose.worker.yaml", alone, HWM_KEYS=folder, HWM_SERVER=f"tcp://{NEAR_IP}:{port}")
    ask = lambda: stats_here(port, folder)
    inserted = lambda: (a := ask()) and a["replay"]["tables"] and table(a)["inserted_steps"] or 0
    link = None
    try:
        system("--profile", "metrics", "up", "-d", "--scale", "worker=2")
        wait("two workers store experience", lambda: (a := ask()) and workers_alive(a) == 2 and a["replay"]["tables"] and table(a)["steps"] > 1500, 90)

        # R5: a worker that joins knows an address and a key
        known = {w["host"] for w in ask()["workers"]}
        joining = subprocess.Popen([*system.command, "--profile", "metrics", "up", "-d", "--scale", "worker=3"], env=system.environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait("the newcomer's first chunk", lambda: any(w["host"] not in known and w.get("chunks", 0) > 0 for w in (ask() or {"workers": []})["workers"]), 60,
             pause_s=0.05)
        stored = time.time()
        assert joining.wait(120) == 0
        joined = max(system.containers("worker"), key=started_at)
        first = stored - started_at(joined)
        assert first < 5, f"the newcomer's first chunk was stored {first:.1f} s after its start"
        say(f"R5: first chunk {first:.1f} s after the container's start")

        # R11 and R4: one worker behind a bad line, which is then cut, while another is frozen
        elsewhere("up", "-d")
        far = elsewhere.containers("worker")[0]
        pid = run("docker", "inspect", "-f", "{{.State.Pid}}", far).strip()
        link = Link("/proc/self/ns/net", f"/proc/{pid}/ns/net", NEAR_IP, FAR_IP, delay_s=0.1, loss=0.05)
        wait("the far worker stores", lambda: (a := ask()) and (w := worker_named(a, far)) and w.get("chunks", 0) > 0, 30)
        chunks = lambda: worker_named(ask(), far)["chunks"]
        at = chunks()
        time.sleep(8)
        slow = (chunks() - at) / 8
        assert slow > 0, "nothing comes through at 100 ms and 5 %"

        frozen = joined
        link.cut.value = 1
        run("docker", "pause", frozen)
        steps, slowest = inserted(), float("inf")
        for _ in range(CUT_S // 5):
            time.sleep(5)
            now = inserted()
            slowest = min(slowest, (now - steps) / 5)
            steps = now
        assert slowest > 0, "the others stood still"
        assert workers_alive(ask()) == 2
        link.cut.value = 0
        start = time.monotonic()
        wait("the far worker is back", lambda: (w := worker_named(ask(), far)) and w.get("chunks", 0) > 0, 30)
        healed = time.monotonic() - start
        assert healed < 10, f"the far worker stored again {healed:.1f} s after healing"
        run("docker", "unpause", frozen)
        start = time.monotonic()
        wait("the frozen worker is back", lambda: (w := worker_named(ask(), frozen)) and w.get("chunks", 0) > 0, 30)
        thawed = time.monotonic() - start
        say(f"R11: {slow:.1f} chunks a second at 100 ms and 5 %; {CUT_S} s cut, stored again {healed:.1f} s after healing")
        say(f"R4: cut off and frozen for {CUT_S} s, the other two stored at least {slowest:.0f} steps a second; back after {thawed:.1f} s")

        # R6: the learner, while the bad line goes on
        updates, at = metrics(system)[-1]["updates"], inserted()
        kill_program(system.containers("learner")[0])
        start = time.monotonic()
        wait("more updates", lambda: (m := metrics(system)) and m[-1]["updates"] > updates and inserted() > at, 60)
        say(f"R6: learner killed at update {updates}, beyond it again after {time.monotonic() - start:.1f} s")

        scraped = wait("Prometheus has scraped the server", lambda: asked(prometheus_port, "hwm_replay_inserted_steps_total"), 60)
        assert asked(prometheus_port, "up%7Bjob=%22hwm%22%7D") == 1.0
        say(f"Prometheus: {scraped:.0f} inserted steps scraped")

        # R14: over the bad line first
        link.loss.value = 0.05
        stopped = stop(elsewhere)
        log = run("docker", "logs", far, check=False)
        assert "chunks given up" not in log, log[-2000:]
        longest = stop(system)
        say(f"R14: far worker stopped in {stopped:.1f} s, the slowest of the others in {longest:.1f} s, all with exit code 0")
    except BaseException:
        print(system("logs", "--no-color", "--tail", "30", check=False))
        print(elsewhere("logs", "--no-color", "--tail", "20", check=False))
        raise
    finally:
        if link is not None:
            link.close()
        elsewhere("down", "-v", check=False)
        system("--profile", "metrics", "down", "-v", check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
