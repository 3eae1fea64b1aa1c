"""The whole data path with the real programs over ipc: from an experiment file to a judged rule, and what happens when a part dies."""

import json
import os
import shutil
import signal
import subprocess
import sys

from runs import (CARTPOLE, SOURCE, Scratch, children, expect, finish, hwm, kill, last, metrics, small_set, wait_for)


def test_short_run_trains_and_ends():
    with Scratch() as s:
        train = s.train("--max-env-steps", "1200", "--episodes", "5", "--json", *small_set())
        code, out, err = finish(train, 100)
        expect(code == 0, "exit", code, err)
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        expect(last(s.run_dir(), "env_steps") >= 1200, "env steps", last(s.run_dir(), "env_steps"))
        expect(last(s.run_dir(), "updates") >= 20, "updates", last(s.run_dir(), "updates"))
        steps = [m["env_steps"] for m in metrics(s.run_dir())]
        expect(steps == sorted(steps), "env_steps never fall", steps)
        # the last line is the evaluation, and `hwm eval` repeats it to the last digit
        judged = lines[-1]
        expect(judged["episodes"] == 5 and judged["mean"] >= 1, judged)
        expect(set(judged["controls"]) >= {"zeroed", "shuffled", "frozen_at_0", "reset_at_100", "untrained", "random_actions"}, judged)
        again = [hwm("eval", "--checkpoint", s.run_dir(), "--episodes", "5", "--json") for _ in range(2)]
        expect(again[0][0] == 0, again[0])
        expect(again[0] == again[1], "two evaluations with one seed differ", again)
        repeated = json.loads(again[0][1])
        for key in ("mean", "std", "min", "max", "episodes", "seed", "env_steps"):
            expect(repeated[key] == judged[key], key, repeated[key], judged[key])
        other = json.loads(hwm("eval", "--checkpoint", s.run_dir(), "--episodes", "5", "--seed", "99", "--json")[1])
        expect(other["seed"] == 99, other)
        # nothing is left behind
        for name in ("endpoint", "server.sock"):
            expect(not os.path.exists(os.path.join(s.run_dir(), name)), name, "is left over")
        for name in ("config.yaml", "metrics.jsonl", "checkpoints", "logs/server.log", "logs/learner.log", "logs/worker-0.log"):
            expect(os.path.exists(os.path.join(s.run_dir(), name)), name, "is missing")
        # "untrained" is what the same seed plays whose learning rate moves nothing
        still = s.run_dir("still")
        code, out, err = finish(s.train("--max-env-steps", "300", "--episodes", "5", "--json", *small_set(train__lr=1e-30), run_dir=still), 100)
        unmoved = json.loads(out.splitlines()[-1])
        expect(code == 0 and last(still, "updates") >= 5, "updates", last(still, "updates"), err)
        for key in ("mean", "std", "min", "max"):
            expect(judged["controls"]["untrained"][key] == unmoved[key], key, judged["controls"]["untrained"], unmoved)
        expect(any(judged[key] != unmoved[key] for key in ("mean", "std", "min", "max")), "nothing was learned", judged, unmoved)
        # the same command with more steps resumes
        before = last(s.run_dir(), "updates")
        code, out, err = finish(s.train("--max-env-steps", "1600", "--episodes", "2", *small_set()), 100)
        expect(code == 0 and "resuming" in out, code, out, err)
        expect(last(s.run_dir(), "updates") > before, "no update after resuming")
        # a run that was stopped while it was judged has nothing left to learn, and says no other number of steps
        os.remove(os.path.join(s.run_dir(), "evaluation.json"))
        code, out, err = finish(s.train("--max-env-steps", "1600", "--episodes", "2", *small_set()), 100)
        steps = [m["env_steps"] for m in metrics(s.run_dir())]
        expect(code == 0 and steps == sorted(steps), code, "env_steps never fall", steps, err)
        # another experiment in the same directory is refused
        code, out, err = finish(s.train("--max-env-steps", "1600", *small_set(train__gamma=0.5)), 20)
        expect(code == 2 and "train.gamma" in err, code, err)


def test_worker_killed_training_goes_on():
    with Scratch() as s:
        train = s.train("--max-env-steps", "1000000", "--workers", "2", *small_set())
        wait_for("the first updates", lambda: last(s.run_dir(), "updates") >= 5, 60, train)
        workers = children(train, "hwm-worker")
        expect(len(workers) == 2, workers)
        kill(workers[0])
        at = last(s.run_dir(), "env_steps")
        wait_for("a new worker", lambda: set(children(train, "hwm-worker")) - set(workers), 30, train)
        wait_for("more steps", lambda: last(s.run_dir(), "env_steps") > at + 200, 60, train)
        expect(len(children(train, "hwm-worker")) == 2, "two workers again")
        # SIGINT: a clean stop, exit 130, and how to resume
        train.send_signal(signal.SIGINT)
        code, out, err = finish(train, 60)
        expect(code == 130, code, err)
        expect("hwm train" in err and "--run-dir" in err, err)
        expect("killed by signal 9" in out, out)


def test_server_killed_keeps_what_it_acknowledged():
    with Scratch() as s:
        train = s.train("--max-env-steps", "1000000", *small_set())
        wait_for("the first updates", lambda: last(s.run_dir(), "updates") >= 5, 60, train)
        code, stats, err = hwm("stats", "--server", s.run_dir(), "--json")
        expect(code == 0, err)
        stored = table_steps(json.loads(stats))
        expect(stored >= 200, stored)
        code, series, err = hwm("stats", "--server", s.run_dir(), "--prometheus")
        expect(code == 0 and "# TYPE hwm_server_uptime_seconds gauge\nhwm_server_uptime_seconds " in series, code, series, err)
        expect('hwm_service_connected_clients{role="learner"} 1\n' in series, series)
        if shutil.which("promtool"):  # what Prometheus' own tool says of a running system
            judged = subprocess.run(["promtool", "check", "metrics"], input=series, capture_output=True, text=True, timeout=60)
            expect(judged.returncode == 0, judged.returncode, judged.stdout, judged.stderr)
        code, out, err = hwm("stats", "--server", s.run_dir(), "--prometheus", "--json")
        expect(code == 2 and "--prometheus" in err, code, err)
        code, out, err = hwm("ping", "--server", s.run_dir(), "--count", "3")
        expect(code == 0 and "3 round trips" in out, code, out, err)
        kill(children(train, "hwm-server")[0])
        code, out, err = finish(train, 60)
        expect(code == 1, code, err)
        expect("server was killed by signal 9" in err and "Resume with: hwm train" in err, err)
        # the same command goes on: what was acknowledged is there, and training ends as it should
        target = last(s.run_dir(), "env_steps") + 300
        train = s.train("--max-env-steps", str(int(target)), "--no-evaluation", *small_set())
        first = wait_for("statistics", lambda: stats_of(s.run_dir()), 30, train)
        expect(table_steps(first) >= stored, "stored", stored, "after reopening", table_steps(first))
        code, out, err = finish(train, 100)
        expect(code == 0, code, err)


def test_learner_killed_says_how_to_resume():
    with Scratch() as s:
        train = s.train("--max-env-steps", "1000000", *small_set())
        wait_for("the first updates", lambda: last(s.run_dir(), "updates") >= 5, 60, train)
        kill(children(train, "hwm-learner")[0])
        code, out, err = finish(train, 60)
        expect(code == 1 and "learner was killed by signal 9" in err and "Resume with" in err, code, err)
        # SIGTERM of the resumed run: a clean stop with exit 0
        train = s.train("--max-env-steps", "1000000", *small_set())
        at = last(s.run_dir(), "updates")
        wait_for("more updates", lambda: last(s.run_dir(), "updates") > at, 60, train)
        train.terminate()
        code, out, err = finish(train, 60)
        expect(code == 0 and "Stopped cleanly" in err, code, err)


def test_errors_are_sentences():
    with Scratch() as s:
        code, _, err = hwm("train", "/nonexistent.yaml", "--run-dir", s.run_dir())
        expect(code in (1, 2) and "/nonexistent.yaml" in err, code, err)
        code, _, err = hwm("train", CARTPOLE, "--run-dir", s.run_dir(), "--set", "train.lrr=1")
        expect(code == 2 and "lrr" in err and "lr" in err, code, err)
        code, _, err = hwm("train", CARTPOLE, "--run-dir", s.run_dir(), "--set", "train.gamma=7")
        expect(code == 2 and "gamma" in err and "7" in err, code, err)
        code, _, err = hwm("eval", "--checkpoint", s.path)
        expect(code == 1 and "neither a run directory" in err, code, err)
        code, _, err = hwm("stats", "--server", f"ipc://{s.path}/none.sock")
        expect(code == 1 and "none.sock" in err, code, err)
        code, _, err = hwm("stats", "--server", "tcp:/oops")
        expect(code == 1 and "tcp:/oops" in err, code, err)


def stats_of(run_dir):
    if not os.path.exists(os.path.join(run_dir, "endpoint")):
        return None
    code, out, _ = hwm("stats", "--server", run_dir, "--json")
    found = json.loads(out) if code == 0 else None
    return found if found and table_steps(found) > 0 else None


def table_steps(stats):
    return sum(table["steps"] for table in stats["replay"]["tables"])


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print(f"{sys.argv[1]}: passed")
