"""The composed system: keys, two projects on two networks, and a kill -9 of each program, one after the other.

Nothing that was acknowledged may be lost, training has to go on by itself, and the return has to rise.
"""

import os
import shutil
import tempfile
import time

from engine import Project, experiment, free_port, gateway, image, keys, kill_program, metrics, run, say, stats, table, wait, workers_alive


def best_return(project):
    return max((line["eval_best"] for line in metrics(project) if "eval_best" in line), default=None)


def main():
    image()
    folder = tempfile.mkdtemp(prefix="hwm-keys-")
    keys(folder)
    port = free_port()
    endpoint = f"tcp://{gateway()}:{port}"
    name = f"hwmtest{os.getpid()}"
    system = Project(name, "compose.yaml", HWM_KEYS=folder, HWM_PORT=str(port), HWM_EXPERIMENT_FILE=experiment(folder))
    elsewhere = Project(name + "far", "compose.worker.yaml", HWM_KEYS=folder, HWM_SERVER=endpoint)
    try:
        system("up", "-d", "--scale", "worker=2")
        ask = lambda: stats(endpoint, folder)
        wait("two workers store experience", lambda: (a := ask()) and workers_alive(a) == 2 and a["replay"]["tables"] and table(a)["steps"] > 1500, 90)
        first = wait("a first evaluation", lambda: best_return(system), 60)

        started = time.monotonic()
        elsewhere("up", "-d", "--scale", "worker=2")
        wait("four workers, two of them from the other network", lambda: (a := ask()) and workers_alive(a) == 4 and
             sum(1 for w in a["workers"] if w["alive"] and w["env_steps"] > 0) == 4, 60)
        say(f"attached: two workers of another network stored steps {time.monotonic() - started:.1f} s after compose was asked")

        for service in ("worker", "learner", "server"):
            before = ask()
            kill_program(system.containers(service)[0])
            started = time.monotonic()
            goal = table(before)["inserted_steps"]
            updates = metrics(system)[-1]["updates"] if service != "learner" else None
            wait(f"{service} back and four workers at work", lambda: (a := ask()) and a["replay"]["tables"] and workers_alive(a) == 4
                 and table(a)["inserted_steps"] > goal + 200, 120)
            after = ask()
            assert table(after)["inserted_steps"] >= goal, "acknowledged steps are gone"
            assert table(after)["steps"] + table(after)["evicted_steps"] >= goal, "acknowledged steps are gone"
            if updates is not None:
                wait("more updates", lambda: (m := metrics(system)) and m[-1]["updates"] > updates, 60)
            say(f"kill -9 of the {service}: whole again after {time.monotonic() - started:.1f} s, {goal} steps before, "
                f"{table(after)['inserted_steps']} after")
        last = wait("a better return than the first", lambda: (b := best_return(system)) and b > first and b, 120)
        say(f"best return of an evaluation: {first:.0f} at first, {last:.0f} at the end")

        system("up", "-d", "--scale", "worker=1")
        wait("one worker here and two elsewhere", lambda: (a := ask()) and workers_alive(a) == 3, 60)
        started = time.monotonic()
        system("stop", "-t", "15")
        states = run("docker", "inspect", "-f", "{{.Name}} {{.State.ExitCode}} {{.State.OOMKilled}}", *system.containers("server"),
                     *system.containers("learner"), *system.containers("worker"))
        assert all(line.split()[1] == "0" for line in states.splitlines() if line), f"not every program ended with 0:\n{states}"
        say(f"stopped cleanly in {time.monotonic() - started:.1f} s")
    except BaseException:
        print(system("logs", "--no-color", "--tail", "30", check=False))
        print(elsewhere("logs", "--no-color", "--tail", "20", check=False))
        raise
    finally:
        elsewhere("down", "-v", check=False)
        system("down", "-v", check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
