"""schedule: rounds. Two runs of the real programs with one seed end with the same parameters, optimisers and pool and with the same
experience, bit for bit, however many workers share the environments; another seed ends elsewhere; a run whose programs are all killed
with kill -9, and one whose worker, learner or server is killed, resume and end where the run that nobody touched did."""

import hashlib
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.environ["HWM_SOURCE_DIR"], "tests", "e2e"))
from runs import Scratch, children, expect, finish, hwm, kill, last, small_set, wait_for  # noqa: E402

FILES = ["controller", "model", "critic", "training"]


def start(scratch, name, seed, *more):
    arguments = ["--deterministic", "--seed", str(seed), "--max-env-steps", "1000", "--episodes", "2", *small_set(run__round_steps=64, imagination__clamp_quantile=0.01, model__refresh_updates=7), *more]
    return scratch.train(*arguments, run_dir=scratch.run_dir(name))


def run(scratch, name, seed, *more):
    code, out, err = finish(start(scratch, name, seed, *more), 100)
    expect(code == 0, name, "exit", code, out, err)


def content(scratch, run_name, file):
    with open(os.path.join(scratch.run_dir(run_name), "checkpoints", "latest", file + ".safetensors"), "rb") as f:
        return f.read()


def replay(scratch, name):
    """Of the stored steps with the weights they had, oldest first: a hash."""
    out = os.path.join(scratch.run_dir(name), "all.csv")
    code, said, err = hwm("replay", "materialise", "--dir", scratch.run_dir(name), "--select", "oldest", "--steps", "900", "--out", out)
    expect(code == 0, "hwm replay materialise", code, said, err)
    with open(out, "rb") as f:
        text = f.read()
    expect(text.count(b"\n") > 900, "only", text.count(b"\n"), "lines")
    return hashlib.sha256(text).hexdigest()


def same(scratch, one, other):
    for file in FILES:
        expect(content(scratch, one, file) == content(scratch, other, file), f"{file} of {one} and {other} differ")
    for key in ("env_steps", "updates", "eval_mean", "model_loss", "actor_loss", "replay_steps"):
        a, b = last(scratch.run_dir(one), key), last(scratch.run_dir(other), key)
        expect(a == b, key, "of", one, a, "of", other, b)
    expect(replay(scratch, one) == replay(scratch, other), "replay of", one, "and", other, "differ")


def interrupted(scratch, name, program, at_updates, *more, number=signal.SIGKILL, seed=5):
    """Kills a program of a run, or all of them, in mid-training; where the run ended with it, starts it again."""
    process = start(scratch, name, seed, *more)
    wait_for("training", lambda: last(scratch.run_dir(name), "updates") >= at_updates, 60, process)
    if program:
        for pid in children(process, program):
            kill(pid, number)
    else:
        for one in ("hwm-worker", "hwm-learner", "hwm-server"):
            for pid in children(process, one):
                kill(pid)
        kill(process.pid, signal.SIGKILL)
    code, out, err = finish(process, 100)
    if code != 0 or number == signal.SIGTERM:
        run(scratch, name, seed, *more)


with Scratch() as s:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        run(s, name, seed)
    same(s, "a", "b")
    for file in FILES:
        expect(content(s, "a", file) != content(s, "c", file), file, "is the same for two seeds")
    expect(last(s.run_dir("a"), "env_steps") >= 1000, last(s.run_dir("a"), "env_steps"))
    # the same environments in the hands of two workers
    run(s, "two", 5, "--workers", "2", "--set", "worker.environments=2")
    same(s, "a", "two")
    interrupted(s, "killed", None, 30)
    same(s, "a", "killed")
    interrupted(s, "killed_worker", "hwm-worker", 20)
    same(s, "a", "killed_worker")
    interrupted(s, "killed_learner", "hwm-learner", 40)
    same(s, "a", "killed_learner")
    # the learner outlives the server and ends in the middle of a round
    interrupted(s, "killed_server", "hwm-server", 50)
    same(s, "a", "killed_server")
    interrupted(s, "stopped", "hwm-learner", 35, number=signal.SIGTERM)
    same(s, "a", "stopped")
    # a world model with a memory, latents kept between updates, several starts of a sequence, a critic on replayed rewards
    recall = [word for one in ("model.kind=rssm", "model.sequences=4", "model.sequence_steps=8", "imagination.starts_per_sequence=4",
                               "train.replay_critic=0.3", "train.critic=twohot", "run.max_updates=60") for word in ("--set", one)]
    run(s, "recall", 5, *recall)
    expect(last(s.run_dir("recall"), "remembered_sequences") > 0.05, last(s.run_dir("recall"), "remembered_sequences"))
    interrupted(s, "recalled", "hwm-learner", 30, *recall)
    same(s, "recall", "recalled")
    code, out, err = finish(start(s, "d", 5, "--set", "worker.flush_ms=5"), 100)
    expect(code == 2 and "flush_ms" in err, "flush_ms", code, err)
print("ok")
