"""Workers as processes: a new one is useful within seconds, a dead one hinders nobody, a late one has the newest parameters.

R5  a worker that knows only the address stores its first chunk
R7  one that comes late acts with what was the newest when it came, or newer
R4  a worker that is killed or stopped does not hold up the other
R14 SIGTERM ends with exit 0

How long each takes is printed; the limits here are those of a machine with other work. tests/bench/joining.py measures on a quiet one.
"""

import json
import os
import signal
import subprocess
import tempfile
import time

BIN = os.environ["HWM_BIN_DIR"]
SOURCE = os.environ["HWM_SOURCE_DIR"]
LIMIT_S = 60


def start(folder, name, *args):
    log = open(os.path.join(folder, name + ".log"), "w")
    return subprocess.Popen([os.path.join(BIN, "hwm-" + name.split("-")[0]), *args], stdout=log, stderr=log)


def main():
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/s"

        def stats():
            done = subprocess.run([os.path.join(BIN, "hwm"), "stats", "--server", endpoint, "--json"], capture_output=True, text=True, timeout=30)
            return json.loads(done.stdout) if done.returncode == 0 else None

        def worker(pid):
            s = stats()
            found = [w for w in s["workers"] if w["pid"] == pid] if s else []
            return found[0] if found else {}  # not yet, or the server had other things to do

        def wait(what, limit_s, condition):
            began = time.monotonic()
            while not condition():
                assert time.monotonic() - began < limit_s, f"{what}: not within {limit_s} s"
                time.sleep(0.05)
            return time.monotonic() - began

        running = []
        try:
            running.append(start(folder, "server", "--listen", endpoint, "--dir", f"{folder}/r"))
            running.append(start(folder, "learner", "--server", endpoint, "--experiment", os.path.join(SOURCE, "deploy/experiments/cartpole.yaml"),
                                 "--run-dir", f"{folder}/run", "--set", "run.max_env_steps=1000000"))
            wait("table", LIMIT_S, lambda: (stats() or {}).get("replay", {}).get("tables"))
            first = start(folder, "worker-0", "--server", endpoint)
            running.append(first)
            took = wait("R5: first chunk", LIMIT_S, lambda: worker(first.pid).get("chunks", 0) > 0)
            print(f"R5 first chunk after {took:.2f} s")
            wait("training", 2 * LIMIT_S, lambda: worker(first.pid).get("version", 0) > 3)

            late = start(folder, "worker-1", "--server", endpoint)
            running.append(late)
            newest = 0

            def look():
                nonlocal newest
                w = worker(first.pid)
                newest = w.get("version", 0) + w.get("version_lag", 0)
                return newest > 3

            wait("the newest version", LIMIT_S, look)
            wait("late worker", LIMIT_S, lambda: worker(late.pid).get("chunks", 0) > 0)
            took = wait("R7: newest parameters", LIMIT_S, lambda: worker(late.pid).get("version", 0) >= newest)
            print(f"R7 newest parameters after {took:.2f} s")

            for how in (signal.SIGSTOP, signal.SIGKILL):
                os.kill(late.pid, how)
                before = 0

                def begin():
                    nonlocal before
                    before = worker(first.pid).get("env_steps", 0)
                    return before > 0

                wait("the other worker", LIMIT_S, begin)
                took = wait(f"R4: progress beside {how.name}", LIMIT_S, lambda: worker(first.pid).get("env_steps", 0) > before + 300)
                print(f"R4 300 steps in {took:.2f} s beside {how.name}")

            paced = start(folder, "worker-2", "--server", endpoint, "--environments", "2", "--pace-hz", "25")
            running.append(paced)
            began = time.monotonic()
            wait("paced worker", LIMIT_S, lambda: worker(paced.pid).get("env_steps", 0) >= 50)
            elapsed = time.monotonic() - began
            assert elapsed > 0.9, f"50 steps of 2 environments at 25 a second took {elapsed:.2f} s"

            began = time.monotonic()
            first.terminate()
            assert first.wait(timeout=LIMIT_S) == 0
            print(f"R14 stopped in {time.monotonic() - began:.2f} s")
        finally:
            for process in reversed(running):
                if process.poll() is None:
                    os.kill(process.pid, signal.SIGCONT)
                    process.terminate()
                    try:
                        process.wait(timeout=15)
                    except subprocess.TimeoutExpired:
                        process.kill()


main()
